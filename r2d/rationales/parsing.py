"""From the text of an LLM to a label and a rationale, or to the reason why it gives none. Nothing is guessed.

Three parts: `parse` finds the answer and the rationale, `find_label` the option that a stated answer stands for
(`(c) wooded area.`, `**same day** because ...`, `B`), `json_objects` an answer given as JSON.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from r2d.config.rationales import ParseConfig
from r2d.rationales.records import Reason
from r2d.text import normalise_label

JsonObject: TypeAlias = dict[str, Any]

LONGEST_TEXT = 100_000
"""Characters that are read, reasoning not counted: no answer is as long, and a user's pattern may be slow."""
MOST_MATCHES = 50  # matches of one pattern that are tried
LONGEST_STATED = 1_000  # characters of a stated answer in which the label is looked for
SIMILAR = 0.8
"""Likeness of a misspelt label to the option of its letter (`field` to `feild` is 0.8), from which it is that one."""
MOST_OBJECTS = 20  # opening braces that are tried; each may cost a pass over the text

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
class Parsed:
    """What the text of one record states."""

    rationale: str = ""
    label: str | None = None  # one of the allowed labels; None where none is stated
    parser: str = ""  # which pattern or structure matched: `answer_patterns[0]`, `json`, `as written`
    edits: tuple[str, ...] = ()  # what was done to the text: `reasoning removed`, `run-on cut`, `repaired label`
    reason: Reason | None = None  # why the text gives no rationale
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Text:
    """The part of a text that is searched."""

    text: str
    stopped: bool  # whether it ends where the token limit cut it
    edits: tuple[str, ...]

    def rejected(self, reason: Reason, parser: str = "", detail: str = "") -> Parsed:
        return Parsed(parser=parser, edits=self.edits, reason=reason, detail=detail)

    def accepted(self, rationale: str, edits: tuple[str, ...], label: StatedLabel | None, parser: str) -> Parsed:
        """The rationale and the label, or the reason where the rationale has no words."""
        if not _has_words(rationale):
            return self.rejected("truncated" if self.stopped else "no_rationale", parser)
        repaired = ("repaired label",) if label is not None and label.repaired else ()
        return Parsed(rationale, label.label if label else None, parser, (*self.edits, *repaired, *edits))


def parse(content: str, options: Sequence[str], config: ParseConfig, *, stopped_at_limit: bool) -> Parsed:
    """The label, one of `options`, and the rationale that a text states.

    The first answer counts that stands before a run-on and names an option. Time is linear in the text with the
    default patterns.
    """
    text, edits = without_reasoning(content, config.reasoning_tags)
    if len(text) > LONGEST_TEXT:
        text, edits = text[:LONGEST_TEXT], (*edits, "shortened")
        stopped_at_limit = True
    if not text:
        return Parsed(edits=edits, reason="truncated" if stopped_at_limit else "empty")
    if config.structure == "json":
        return _parse_json(_Text(text, stopped_at_limit, edits), options, config)
    if fence := _FENCE.fullmatch(text):
        text = fence.group("inside").strip()
    first_word = re.search(r"\w", text)
    position = first_word.start() if first_word else 0
    run_ons = [
        match.start() for pattern in config.run_on_patterns if (match := _compiled(pattern).search(text, position))
    ]
    before = text[: min(run_ons)].rstrip() if run_ons else text
    is_cut = len(before) < len(text)
    part = _Text(before, stopped_at_limit and not is_cut, (*edits, "run-on cut") if is_cut else edits)

    refused = None
    for parser, match in _stated_answers(part.text, config.answer_patterns):
        stated = find_label(match.group("label"), options)
        end = match.start("label") + stated.end
        if stated.label is not None:
            if part.stopped and not part.text[end:].strip() and not stated.whole:
                return part.rejected("truncated", parser)
            return part.accepted(*_rationale(part, match, end), stated, parser)
        refused = refused or (parser, match, stated)
    if not config.require_label:
        if refused:  # the text is the rationale, but for an answer that names no option
            parser, match, _ = refused
            return part.accepted(*_rationale(part, match, match.end("label")), None, parser)
        rationale, edits = _without_cut_sentence(part.text, part.stopped)
        rationale, heading = _without_heading(rationale)
        return part.accepted(rationale, edits + heading, None, "as written")
    if refused:
        parser, match, stated = refused
        if part.stopped and not part.text[match.end() :].strip():
            return part.rejected("truncated", parser)
        return part.rejected("not_a_label", parser, stated.detail)
    if part.stopped:
        return part.rejected("truncated")
    if next(_stated_answers(text[len(before) :], config.answer_patterns), None):
        return part.rejected("no_answer", detail="only behind a run-on")
    return part.rejected("no_answer", detail="begins like JSON" if part.text.startswith(("{", "[")) else "")


def without_reasoning(content: str, tags: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The text outside the tags, and what was done. What precedes a lone end tag is reasoning too: its start tag
    was in the prompt."""
    outside: list[str] = []
    position, is_inside = 0, False
    edits: tuple[str, ...] = ()
    names = "|".join(map(re.escape, tags))
    for match in _compiled(rf"<(?P<end>/?)(?:{names})\b[^<>]{{0,100}}>").finditer(content) if tags else ():
        edits = ("reasoning removed",)
        if match.group("end"):
            outside = outside if is_inside else []
            is_inside = False
        else:
            outside += [] if is_inside else [content[position : match.start()]]
            is_inside = True
        position = match.end()
    outside += [] if is_inside else [content[position:]]
    return "".join(outside).strip(), edits


def _stated_answers(text: str, patterns: Sequence[str]) -> Iterator[tuple[str, re.Match[str]]]:
    """Every stated answer, pattern by pattern; the line of the first may hold a second."""
    for number, pattern in enumerate(patterns):
        position = 0
        for _ in range(MOST_MATCHES):
            if (match := _compiled(pattern).search(text, position)) is None:
                break
            if match.group("label"):
                yield f"answer_patterns[{number}]", match
            position = max(match.start("label"), match.start() + 1)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


def _rationale(part: _Text, match: re.Match[str], end: int) -> tuple[str, tuple[str, ...]]:
    """The rationale of an answer that ends at `end`, and what was done to it.

    It is the group `rationale`; else what follows a heading of that name behind the label; else the text before the
    answer; else the text after it.
    """
    named = match.groupdict().get("rationale")
    if named and named.strip():
        return named.strip(), ()
    before, after = part.text[: match.start()], part.text[end:]
    headed = _HEADED_LINE.search(after)
    if headed and not _HEADED_LINE.search(before):
        rationale, edits = _without_cut_sentence(after[headed.end() :], part.stopped)
        return rationale, ("heading removed", *edits)
    if _has_words(before):
        rationale = before[: _sentence_start(before)]
        if not _has_words(rationale):
            rationale = before[:-200] + _CONNECTIVE.sub("", before[-200:])
        if _has_words(rationale):
            return _without_heading(_without_marks(rationale))
    rationale, heading = _without_heading(_END_TAG.sub("", after).lstrip(_LEADING))
    rationale, edits = _without_cut_sentence(rationale, part.stopped)
    return rationale, heading + edits


def _sentence_start(before: str) -> int:
    """Where the last sentence of a text begins; a small letter or a digit begins none."""
    ends = [match.end() for match in _SENTENCE.finditer(before, max(0, len(before) - 2_000))]
    for end in reversed(ends):
        first = before[end : end + 1]
        if before[end - 1] == "\n" or not (first.islower() or first.isdigit()):
            return end
    return 0


def _without_heading(text: str) -> tuple[str, tuple[str, ...]]:
    """The text without a heading such as `Rationale:` before it, or tags of that name around it."""
    text = text.strip()
    if _TAG.match(text):
        return _TAG.sub("", text).strip(), ("heading removed",)
    heading = _HEADING.match(text)
    return (text[heading.end() :].strip(), ("heading removed",)) if heading else (text, ())


def _without_marks(text: str) -> str:
    """The text without last lines of mere marks, such as `---`."""
    lines = text.strip().split("\n")
    while lines and not _has_words(lines[-1]):
        lines.pop()
    return "\n".join(lines).strip()


def _without_cut_sentence(text: str, stopped: bool) -> tuple[str, tuple[str, ...]]:
    """The text without its last sentence where the token limit cut it."""
    text = _without_marks(text)
    if not stopped or text.endswith((".", "!", "?", "。", '."', ".)")):
        return text, ()
    return _without_marks(text[: _sentence_start(text)]), ("unfinished sentence cut",)


def _has_words(text: str) -> bool:
    return any(character.isalnum() for character in text)


# --- the label that a stated answer stands for ---

_MARKUP = re.compile(r"[\s*_`\"'“”‘’«»$~]*(?:\\text\{)?")
_BRACKETS = re.compile(r"[\s*_`\"'“”‘’«»$~(\[{<]*")
_MARKER = re.compile(
    r"(?:[(\[]\s?(?P<a>[A-Za-z]|\d{1,2})\s?[)\]]|(?P<b>[A-Za-z]|\d{1,2})(?:[)\]]|[.:](?=\s|[*_]|$)|\s[-–—]\s))[*_]*"
    r"(?P<gap>[\s:*_\-–—]*)"
)
_ONE_LETTER = re.compile(r"(?P<a>[A-Za-z])(?P<gap>)(?=\W*$|\s*[,;.]\s|\s+\(|\s+(?:because|since|as)\b)")
_FILLER = re.compile(
    r"(?:(?:either|option|choice|letter|likely|most likely|probably|clearly|therefore|thus|a|an|the)\b[\s:*_]+)+", re.I
)
_OR = re.compile(r"[\s*_\"'”’)\],]*(?:and/or\b|or\b|/)", re.I)
_AND = re.compile(r"[\s*_\"'”’)\]]*(?:,\s*(?:and\b)?|and\b|&|;)\s*", re.I)
_CLOSED = re.compile(r"[\s*_\"'”’)\]]*(?:$|[.,;!?]|or\b|and\b)", re.I)
_SENTENCE_END = re.compile(r"[.!?;,\n]|\s(?:because|since|as)\s", re.I)
_EXPLANATION = re.compile(r"\s*(?:[.,;!]|because\b|since\b|as\b|$)", re.I)
_ANOTHER_LETTER = re.compile(r"[\s*_)\]]*(?:,|and\b|or\b|/|&|;)[\s(\[*_]*[A-Z](?=[)\].,;]|\s*$|\s+(?:or|and)\b)", re.I)
_FOLLOWING = re.compile(
    r"[\s*_`\"'“”’]*(?:$|[^\w\s]|(?:and|as|at|based|because|but|due|for|given|here|if|in|is|or|rather|since|so|that|"
    r"therefore|this|until|when|which|with)\b)",
    re.I,
)
"""What may follow a label of one word: `no, ...` and `no because ...` state it, `no evidence of` does not."""
_TRAILING = " \t\r\n.,;:!?*_`\"'“”‘’«»$~)]}>\\"


@dataclass(frozen=True, slots=True)
class StatedLabel:
    """The option that a stated answer names, and where in the answer it ends."""

    label: str | None = None
    end: int = 0
    repaired: bool = False  # it was not written as the option is
    whole: bool = False  # it is written in full and no other option begins with it: the text does not end within one
    detail: str = ""  # why there is none; never text of the answer


def find_label(stated: str, options: Sequence[str]) -> StatedLabel:
    """The option that a stated answer begins with.

    In full; else before an explanation, the longest option first; else by its letter alone. The text wins over a
    letter that names another option. An answer that offers two options, or whose letter and text have nothing in
    common, states none.
    """
    stated = stated[:LONGEST_STATED]
    starts, letter, rest = _label_starts(stated)
    by_letter = options[letter] if letter is not None and letter < len(options) else None
    written = _find_written(stated, starts, options)
    if written is not None:
        if _offers_another(stated[written.end :], options):
            return StatedLabel(detail="two answers stated")
        clash = by_letter is not None and normalise_label(by_letter) != normalise_label(written.label or "")
        name = str(written.label).casefold()
        begins_another = any(other.casefold() != name and other.casefold().startswith(name) for other in options)
        return StatedLabel(written.label, written.end, written.repaired or clash, whole=not begins_another)
    if letter is None:
        return StatedLabel()
    if by_letter is None:
        return StatedLabel(detail="letter without an option")
    if _OR.match(stated, rest) or _ANOTHER_LETTER.match(stated, rest):
        return StatedLabel(detail="two answers stated")
    if _EXPLANATION.match(stated, rest):
        return StatedLabel(by_letter, rest)
    sentence_end = _SENTENCE_END.search(stated, rest)
    end = sentence_end.start() if sentence_end else len(stated)
    if _resembles(stated[rest:end], by_letter):
        return StatedLabel(by_letter, end, repaired=True)
    return StatedLabel(detail="letter and text disagree")


def _label_starts(stated: str) -> tuple[list[int], int | None, int]:
    """Where the label may begin, in order of trust; the place of the letter's option; where the text behind it begins.

    A number marks a choice too, but does not say which: lists are counted from 0 or from 1.
    """
    starts: list[int] = []
    letter, rest = None, 0
    position = _end_of(_MARKUP, stated, 0)
    for _ in range(2):
        starts += [position, _end_of(_BRACKETS, stated, position)]
        marker = _MARKER.match(stated, position) or _ONE_LETTER.match(stated, position)
        if marker:
            name = (marker.group("a") or marker.groupdict().get("b") or "").casefold()
            if letter is None and name.isalpha():
                letter = ord(name) - ord("a")
                rest = marker.start("gap")
                rest = rest if _EXPLANATION.match(stated, rest) else marker.end()
            starts.append(_end_of(_BRACKETS, stated, marker.end()))
        filler = _FILLER.match(stated, starts[-1])
        if not filler:
            break
        position = _end_of(_MARKUP, stated, filler.end())
    return list(dict.fromkeys(starts)), letter, rest


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _find_written(stated: str, starts: Sequence[int], options: Sequence[str]) -> StatedLabel | None:
    """The option written in full at one of the places: alone, else before other text, the longest option first."""
    by_name = {normalise_label(option): option for option in reversed(options)}
    for start in starts:
        text = stated[start:]
        for form in (text, text.rstrip(_TRAILING)):
            if label := by_name.get(normalise_label(form)):
                return StatedLabel(label, start + len(form))
    for start in starts:
        matches = [
            (match.end(), option)
            for option in options
            if (match := _option_pattern(option).match(stated, start))
            and (" " in option.strip() or _FOLLOWING.match(stated, match.end()))
        ]
        if matches:
            end, option = max(matches, key=lambda pair: pair[0])
            return StatedLabel(option, end, repaired=normalise_label(stated[start:end]) != normalise_label(option))
    return None


@lru_cache(maxsize=8192)
def _option_pattern(option: str) -> re.Pattern[str]:
    """Matches the option up to a word boundary, with any of space, hyphen and underscore between its words."""
    words = [re.escape(word) for word in re.split(r"(?<=\w)[\s_\-–]+(?=\w)", option.strip()) if word]
    return re.compile(r"[\s_\-–]{0,3}".join(words) + r"(?!\w|[-–/'’_]\w)" if words else r"(?!)", re.I)


def _offers_another(rest: str, options: Sequence[str]) -> bool:
    """Whether a second option follows: `or ...`, or a list of options; `yes, no further care` is none."""
    if _OR.match(rest):
        return True
    joined = _AND.match(rest)
    if joined is None:
        return False
    marker = _MARKER.match(rest, joined.end())
    start = _end_of(_BRACKETS, rest, marker.end() if marker else joined.end())
    matches = (_option_pattern(option).match(rest, start) for option in options)
    return any(match is not None and _CLOSED.match(rest, match.end()) for match in matches)


def _resembles(text: str, option: str) -> bool:
    """Whether a text is a misspelling, a part or an extension of the option."""
    text, option = normalise_label(text.strip(_TRAILING)), normalise_label(option)
    if not text or len(text) > 3 * len(option) + 20:
        return False
    words, option_words = set(text.split()), set(option.split())
    if words <= option_words or option_words <= words:
        return True
    return difflib.SequenceMatcher(None, text.replace(" ", ""), option.replace(" ", ""), False).ratio() >= SIMILAR


# --- an answer given as JSON ---

_DECODER = json.JSONDecoder(strict=False)
_TRAILING_COMMA = re.compile(r",(?=\s{0,50}[}\]])")


def _parse_json(part: _Text, options: Sequence[str], config: ParseConfig) -> Parsed:
    """The answer of the first object that has one of the two keys; case of keys does not count."""
    detail = "no JSON object"
    for item, edits in ((item, edits) for objects, edits in json_forms(part.text) for item in objects):
        detail = "neither key in the object"
        fields = {key.casefold(): value for key, value in reversed(item.items())}
        label = _field_text(fields.get(config.json_label_key.casefold()), ", ")
        rationale = _field_text(fields.get(config.json_rationale_key.casefold()), "\n")
        if label is not None or rationale is not None:
            part = _Text(part.text, False, (*part.edits, *edits))
            stated = find_label(label, options) if label is not None else None
            if config.require_label and stated is None:
                return part.rejected("no_answer", "json", "no label in the object")
            if config.require_label and stated is not None and stated.label is None:
                return part.rejected("not_a_label", "json", stated.detail)
            return part.accepted((rationale or "").strip(), (), stated, "json")
    return part.rejected("truncated" if part.stopped else "bad_json", detail=detail)


def json_forms(text: str) -> Iterator[tuple[list[JsonObject], tuple[str, ...]]]:
    """Yield the JSON objects of a text as written, then without the commas before a closing bracket, which models
    write and JSON forbids; with each, what was done."""
    if "{" in text:
        yield json_objects(text), ()
        mended = _TRAILING_COMMA.sub("", text)
        if mended != text:
            yield json_objects(mended), ("trailing comma removed",)


def json_objects(text: str) -> list[JsonObject]:
    """The whole JSON objects of a text, in order; objects within another are not listed."""
    objects: list[JsonObject] = []
    end = 0
    for _ in range(MOST_OBJECTS):
        position = text.find("{", end)
        if position < 0:
            break
        try:
            item, end = _DECODER.raw_decode(text, position)
            objects.append(item)
        except (ValueError, RecursionError):
            end = position + 1
    return objects


def _field_text(value: Any, separator: str) -> str | None:
    """A text, a whole number, or a list of texts as one text; None for anything else."""
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return separator.join(value)
    return None if isinstance(value, bool) or not isinstance(value, str | int) else str(value)
