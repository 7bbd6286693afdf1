"""From the text of an LLM to a label and a rationale, or to the reason why it gives none. Nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from r2d.config.rationales import ParseConfig
from r2d.rationales.json_answer import JsonAnswer, find_json_answer
from r2d.rationales.records import Parsed, Reason
from r2d.rationales.stated_label import StatedLabel, find_label

LONGEST_TEXT = 100_000
"""Characters that are looked at, reasoning not counted: no answer is as long, and a user's pattern may be slow."""
MOST_CANDIDATES = 50
"""Matches of one pattern that are looked at."""

_FENCE = re.compile(r"```[\w-]{0,20}[ \t]{0,5}\n(?P<inside>.*?)(?:\n```\s*|\Z)", re.DOTALL)
_SENTENCE = re.compile(r"[.!?。！？][\"'”’)\]*_]{0,4}\s+|\n")
_CONNECTIVE = re.compile(r"(?:[\s,;:–—-]|\b(?:so|thus|hence|therefore|and|then|consequently|because)\b){1,40}\Z", re.I)
_NAMES = r"rationale|reason(?:s|ing)?|explanation|justification|analysis"
_HEADING_FORM = (
    r"(?:[^\w\n]|_){{0,12}}(?:\d{{1,2}}[.)]\s{{1,3}})?[*_]{{0,3}}(?:clinical\s|my\s)?(?:{names})[*_ \t]{{0,6}}"
    r"[:：][*_\s]{{0,12}}"
    r"|(?:\#{{1,6}}|\*\*|__)[ \t]{{0,3}}(?:clinical\s|my\s)?(?:{names})[*_ \t]{{0,6}}\n\s{{0,12}}"
)
_HEADING = re.compile(_HEADING_FORM.format(names=rf"{_NAMES}|a|answer|response"), re.I)
_HEADED_LINE = re.compile(rf"^(?:{_HEADING_FORM.format(names=_NAMES)})", re.I | re.M)
_TAG = re.compile(rf"</?(?:{_NAMES})>\s{{0,12}}", re.I)
_END_TAG = re.compile(r"\A[\s*_.]{0,12}</\w{1,30}>")
_LEADING = " \t\r\n.,;:!?*_`\"'”’)]}>$\\-–—•"


@dataclass(frozen=True, slots=True)
class _Text:
    """What is left of a text to look at."""

    text: str
    stopped: bool
    """Whether it ends where the token limit cut it."""
    edits: tuple[str, ...]

    def rejected(self, reason: Reason, parser: str = "", detail: str = "") -> Parsed:
        return Parsed(parser=parser, edits=self.edits, reason=reason, detail=detail)


def parse(content: str, options: Sequence[str], config: ParseConfig, *, stopped_at_limit: bool) -> Parsed:
    """The label, one of `options`, and the rationale that a text states.

    The first answer counts that stands before a run-on and names an option. Time is linear in the text with the
    patterns by default.
    """
    text, edits = without_reasoning(content, config.reasoning_tags)
    if len(text) > LONGEST_TEXT:
        text, edits = text[:LONGEST_TEXT], (*edits, "shortened")
        stopped_at_limit = True
    if not text:
        return Parsed(edits=edits, reason="truncated" if stopped_at_limit else "empty")
    if config.structure == "json":
        return _parse_json(_Text(text, stopped_at_limit, edits), options, config)
    fence = _FENCE.fullmatch(text)
    whole = fence.group("inside").strip() if fence else text
    kept = _before_run_on(whole, config.run_on_patterns)
    cut = len(kept) < len(whole)
    part = _Text(kept, stopped_at_limit and not cut, (*edits, "run-on cut") if cut else edits)
    return _parse_text(part, options, config, behind=whole[len(kept) :])


def _parse_text(part: _Text, options: Sequence[str], config: ParseConfig, behind: str) -> Parsed:
    refused = None
    for parser, match in _candidates(part.text, config.answer_patterns):
        stated = find_label(match.group("label"), options)
        end = match.start("label") + stated.end
        if stated.label is not None and part.stopped and not _complete(stated, part.text[end:], options):
            return part.rejected("truncated", parser)
        if stated.label is not None:
            return _accepted(part, parser, match, stated, end)
        refused = refused or (parser, match, stated)
    if not config.require_label:
        return _without_label(part, refused[1] if refused else None, refused[0] if refused else "as written")
    if refused and part.stopped and not part.text[refused[1].end() :].strip():
        return part.rejected("truncated", refused[0])
    if refused:
        return part.rejected("not_a_label", refused[0], refused[2].detail)
    if part.stopped:
        return part.rejected("truncated")
    if next(_candidates(behind, config.answer_patterns), None):
        return part.rejected("no_answer", detail="only behind a run-on")
    return part.rejected("no_answer", detail="begins like JSON" if part.text[0] in "{[" else "")


def _accepted(part: _Text, parser: str, match: re.Match[str], stated: StatedLabel, end: int) -> Parsed:
    rationale, edits = _rationale(part, match, end)
    if not _has_words(rationale):
        return part.rejected("truncated" if part.stopped else "no_rationale", parser)
    repaired = ("repaired label",) if stated.repaired else ()
    return Parsed(rationale, stated.label, parser, (*part.edits, *repaired, *edits))


def _without_label(part: _Text, match: re.Match[str] | None, parser: str) -> Parsed:
    """A text that was asked for a rationale alone, whole but for an answer that names no option."""
    if match is not None:
        rationale, edits = _rationale(part, match, match.end("label"))
    else:
        rationale, edits = _finished(part.text, part.stopped)
        rationale, heading = _without_heading(rationale)
        edits += heading
    if not _has_words(rationale):
        return part.rejected("truncated" if part.stopped else "no_rationale", parser)
    return Parsed(rationale, None, parser, (*part.edits, *edits))


def _parse_json(part: _Text, options: Sequence[str], config: ParseConfig) -> Parsed:
    answer = find_json_answer(part.text, config.json_label_key, config.json_rationale_key)
    if not isinstance(answer, JsonAnswer):
        return part.rejected("truncated" if part.stopped else "bad_json", detail=answer)
    part = _Text(part.text, False, (*part.edits, *answer.edits))
    stated = find_label(answer.label, options) if answer.label is not None else None
    if config.require_label and (stated is None or stated.label is None):
        reason: Reason = "no_answer" if stated is None else "not_a_label"
        return part.rejected(reason, "json", stated.detail if stated else "no label in the object")
    if not _has_words(answer.rationale):
        return part.rejected("no_rationale", "json")
    repaired = ("repaired label",) if stated is not None and stated.repaired else ()
    return Parsed(answer.rationale.strip(), stated.label if stated else None, "json", (*part.edits, *repaired))


def _candidates(text: str, patterns: Sequence[str]) -> Iterator[tuple[str, re.Match[str]]]:
    """Every stated answer, pattern by pattern; a second one may stand in the line of the first."""
    for number, pattern in enumerate(patterns):
        position = 0
        for _ in range(MOST_CANDIDATES):
            match = _compiled(pattern).search(text, position)
            if match is None:
                break
            if match.group("label"):
                yield f"answer_patterns[{number}]", match
            position = max(match.start("label"), match.start() + 1)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


@lru_cache(maxsize=64)
def _tag_pattern(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"<(?P<end>/?)(?:{'|'.join(map(re.escape, tags))})\b[^<>]{{0,100}}>", re.IGNORECASE)


def without_reasoning(content: str, tags: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The text outside the tags. What stands before an end tag alone is reasoning too: its start was in the prompt."""
    kept: list[str] = []
    position, inside, found = 0, False, False
    for match in _tag_pattern(tags).finditer(content) if tags else ():
        found = True
        if match.group("end"):
            kept = kept if inside else []
            inside = False
        else:
            kept += [] if inside else [content[position : match.start()]]
            inside = True
        position = match.end()
    kept += [] if inside else [content[position:]]
    return "".join(kept).strip(), ("reasoning removed",) if found else ()


def _before_run_on(text: str, patterns: Sequence[str]) -> str:
    """The text up to the first run-on that stands behind its first word."""
    first = re.search(r"\w", text)
    position = first.start() if first else 0
    starts = [match.start() for pattern in patterns if (match := _compiled(pattern).search(text, position))]
    return text[: min(starts)].rstrip() if starts else text


def _complete(stated: StatedLabel, rest: str, options: Sequence[str]) -> bool:
    """Whether a label that the token limit may have cut stands there in full."""
    label = (stated.label or "").casefold()
    longer = any(option.casefold() != label and option.casefold().startswith(label) for option in options)
    return bool(rest.strip()) or (stated.whole and not longer)


def _rationale(part: _Text, match: re.Match[str], end: int) -> tuple[str, tuple[str, ...]]:
    """The group `rationale`; else, after the label, what a heading calls so; else what stands before; else behind."""
    named = match.groupdict().get("rationale")
    if named and named.strip():
        return named.strip(), ()
    before, after = part.text[: match.start()], part.text[end:]
    headed = _HEADED_LINE.search(after)
    if headed and not _HEADED_LINE.search(before):
        rationale, edits = _finished(after[headed.end() :], part.stopped)
        return rationale, ("heading removed", *edits)
    sentences = before[: _sentence_start(before)]
    if _has_words(before):
        chosen = sentences if _has_words(sentences) else before[:-200] + _CONNECTIVE.sub("", before[-200:])
        if _has_words(chosen):
            return _without_heading(_trimmed(chosen))
    rationale, heading = _without_heading(_END_TAG.sub("", after).lstrip(_LEADING))
    rationale, edits = _finished(rationale, part.stopped)
    return rationale, (*heading, *edits)


def _sentence_start(before: str) -> int:
    """Where the sentence begins that the end of a text stands in; a small letter or a digit begins none."""
    offset = max(0, len(before) - 2_000)
    ends = [match.end() for match in _SENTENCE.finditer(before, offset)]
    begins = (end for end in reversed(ends) if before[end - 1] == "\n" or _begins_sentence(before[end : end + 1]))
    return next(begins, 0)


def _begins_sentence(character: str) -> bool:
    return not (character.islower() or character.isdigit())


def _without_heading(text: str) -> tuple[str, tuple[str, ...]]:
    """Without a heading such as `Rationale:` before it, or tags of that name around it."""
    text = text.strip()
    tag = _TAG.match(text)
    heading = _HEADING.match(text)
    if not tag and not heading:
        return text, ()
    return _TAG.sub("", text).strip() if tag else text[heading.end() if heading else 0 :].strip(), ("heading removed",)


def _trimmed(text: str) -> str:
    """Without last lines of mere marks, such as `---`."""
    lines = text.strip().split("\n")
    while lines and not _has_words(lines[-1]):
        lines.pop()
    return "\n".join(lines).strip()


def _finished(text: str, stopped: bool) -> tuple[str, tuple[str, ...]]:
    """Without the last sentence where the token limit cut it."""
    text = _trimmed(text)
    if not stopped or text.endswith((".", "!", "?", "。", '."', ".)")):
        return text, ()
    return _trimmed(text[: _sentence_start(text)]), ("unfinished sentence cut",)


def _has_words(text: str) -> bool:
    return any(character.isalnum() for character in text)
