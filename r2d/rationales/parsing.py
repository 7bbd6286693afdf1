"""From the text of an LLM to a label and a rationale, or to the reason why it gives none. Nothing is guessed.

`visible_text` leaves out reasoning and repeated prompts, `final_answer` finds the answer that counts, `find_label` the
option that it stands for, and what is here the rationale beside it. An answer given as JSON is read by
`read_json_answer`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from r2d.config.rationales import ANSWER_HEADING, ParseConfig
from r2d.rationales.json_answer import COMMENT, JsonAnswer, read_json_answer
from r2d.rationales.marks import PROMPT_REMOVED, turn_start, unknown_token, visible_text
from r2d.rationales.records import Reason
from r2d.rationales.retraction import doubt_behind
from r2d.rationales.standing import IF, says_another, says_of_it, sentence_end, sentence_start, standing_behind
from r2d.rationales.stated_label import StatedLabel, find_label, is_whole, listed_options, named_options
from r2d.rationales.statements import (
    Answer,
    Statement,
    compiled,
    final_answer,
    refuted_parts,
)
from r2d.rationales.wording import (
    is_announcement,
    is_refusal,
    is_transition,
    phrase_pattern,
    without_closing,
    without_drafts,
    without_empty_items,
    without_note,
    without_opening,
)
from r2d.text import small_letters

LONGEST_TEXT = 100_000
"""Characters that are read, reasoning not counted: no answer is as long, and a user's pattern may be slow."""
LIKE_JSON = "begins like JSON"
BEHIND_ANSWER = "text behind the answer left out"
FEWEST_WORDS = 5  # of a text behind the answer that is worth the flag, and of a sentence before it that is a reason

_FENCE = re.compile(r"```[\w-]{0,20}[ \t]{0,5}\n(?P<inside>.*?)(?:\n```\s*|\Z)", re.DOTALL)
_FENCE_MARK = re.compile(r"`{3,}[\w-]{0,20}|[\]\s\"]+")
_CONNECTIVE = re.compile(
    r"(?:[\s,;:–—-]|\b(?:so|thus|hence|therefore|and|but|then|consequently|because)\b"
    r"|\b(?:I|we)(?:\s+(?:would|do|can|must))?\s+(?:think|believe|say|conclude|find)(?:\s+that)?\b){1,40}\Z",
    re.I,
)
_NAMES = (
    r"rationale|reason(?:s|ing)?|explanation|justification|analysis|why|thoughts?|Begründung|Erklärung|raison|explication"
    r"|justificación|razón|explicación|justificativa|justificação|razão|explicação|motivazione|spiegazione|reden|uitleg"
    r"|motivering|toelichting|onderbouwing"
)
_HEADING_FORM = (
    r"(?:[^\w\n]|_){{0,12}}(?:\d{{1,2}}[.)]\s{{1,3}})?[*_]{{0,3}}(?:clinical\s|my\s|long(?:er)?\s|detailed\s)?"
    r"(?:{names})[*_ \t]{{0,6}}[:：][*_\s]{{0,12}}"
    r"|(?:\#{{1,6}}|\*\*|__)[ \t]{{0,3}}(?:clinical\s|my\s)?(?:{names})[*_ \t]{{0,6}}\n\s{{0,12}}"
)
_HEADING = re.compile(_HEADING_FORM.format(names=rf"{_NAMES}|a|answer|response|output|assistant|model"), re.I)
_HEADED_LINE = re.compile(rf"^(?:{_HEADING_FORM.format(names=_NAMES)})", re.I | re.M)
_WRAPPED = re.compile(r"<([\w-]{1,30})>\s*(?P<inside><[\w-]{1,30}>.*</[\w-]{1,30}>)\s*</\1>", re.DOTALL)
_ELEMENT = re.compile(r"<([\w-]{1,30})>(?P<inside>[^<>]*)</\1>")
_FACT = re.compile(
    r"^[^\w\n]{0,12}(?:confidence|certainty|probability|model|tokens|timestamp)[*_ \t]{0,4}[:=][ \t]{0,4}"
    r"(?:[^\s:]{1,30}+ ?){1,3}$(?:\n-{3,}$)?\n?",
    re.I | re.M,
)
"""A line about the answer that is no reason: `Confidence: 0.8`."""
_TAG = re.compile(rf"</?(?:{_NAMES}|output|response|result|final(?:_response)?|solution|assessment)>\s{{0,12}}", re.I)
_EXAMPLE = re.compile(
    r"\W{0,6}(?:q|question|input|example|call|case|note|text|context|patient|passage)\s{0,2}\d{0,4}\s{0,2}[:.]\s", re.I
)
_OBJECTS = re.compile(r"\W*(?:note|user|human)\b", re.I)  # a run-on that may speak of the answer before it
_END_TAG = re.compile(r"\A[\s*_.]{0,12}</\w{1,30}>")
_LEADING = " \t\r\n.,;:!?*_`\"'”’)]}>$\\-–—•"
_WORDS = re.compile(r"\w+")
_MERE_MARKS = re.compile(r"[\W_]*(?:\d{1,2}[.)][\W_]*)?")
_NOT_THAT = re.compile(r"[\s,;(–—-]*(?:and\s+|but\s+)?(?:not|rather\s+than|instead\s+of|no\s+longer)\b", re.I)
_STRUCK = re.compile(r"~~[^~\n]{1,400}~~|<(del|strike)>[^<]{1,400}</\1>|/\*[^*]{1,400}\*/|^[ \t]*//[^\n]*", re.I | re.M)
"""Text that is struck out, or that a line calls a comment."""
_CAUSE = re.compile(
    r"[\s*_\"'”’)\]`$}]*[,;:(–—-]?\s*(?P<reason>(?:because|since|as|due\s+to|given|owing\s+to|on\s+account\s+of|considering"
    r"|in\s+(?:view|light)\s+of)\b)",
    re.I,
)
_GOES_ON = re.compile(r"[*_]{0,3} [*_]{0,3}[^\W\d_]")
_BEGINS_CAUSE = re.compile(r"\W*(?:because|since|as|given|due|owing|considering|with|while|although|though)\b", re.I)


class Parsed(NamedTuple):
    """What the text of one record states."""

    rationale: str = ""
    label: str | None = None  # one of the allowed labels; None where none is stated
    parser: str = ""  # which pattern or structure matched: `answer_patterns[0]`, `correction`, `json`, `as written`
    edits: tuple[str, ...] = ()  # what was done to the text: `reasoning removed`, `run-on cut`, `repaired label`
    flags: tuple[str, ...] = ()  # what a reader of the rationale should know: `text behind the answer left out`
    reason: Reason | None = None  # why the text gives no rationale
    detail: str = ""


class _Text(NamedTuple):
    """The part of a text that is searched."""

    text: str
    stopped: bool  # whether it ends where the token limit cut it
    edits: tuple[str, ...]
    options: Sequence[str]
    note: str

    def rejected(self, reason: Reason, parser: str = "", detail: str = "") -> Parsed:
        return Parsed(parser=parser, edits=self.edits, reason=reason, detail=detail)

    def accepted(self, rationale: _Rationale, label: StatedLabel | None, parser: str) -> Parsed:
        """The rationale and the label, or the reason where the rationale has no words."""
        element = _ELEMENT.fullmatch(rationale.text.strip())
        reasons = element.group("inside").strip() if element else rationale.text
        rationale = rationale._replace(text=_without_marks(_FACT.sub("", reasons)) if ":" in reasons else reasons)
        if not _has_words(rationale.text):
            return self.rejected("truncated" if self.stopped else "no_rationale", parser)
        repaired = ("repaired label",) if label is not None and label.repaired else ()
        edits = (*self.edits, *repaired, *rationale.edits)
        return Parsed(rationale.text, label.label if label else None, parser, edits, rationale.flags)


class _Rationale(NamedTuple):
    """A rationale, what was done to it, and what its reader should know."""

    text: str = ""
    edits: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


def parse(
    content: str,
    options: Sequence[str],
    config: ParseConfig,
    *,
    stopped_at_limit: bool,
    codes: Mapping[str, str] | None = None,
    note: str = "",
) -> Parsed:
    """The label, one of `options`, and the rationale that a text states.

    The last answer counts that stands before a run-on, names an option, and is neither conditional, nor reported, nor
    taken back. Time is linear in the text with the default patterns.

    Args:
        codes: other ways to write an option -> the option.
        note: the text that was asked about: what precedes its repetition is the prompt, and the numbers of the options
            that it lists stand for them.
    """
    visible = visible_text(content, config, note)
    text, edits = visible.text, visible.edits
    if visible.reason is not None:
        return Parsed(edits=edits, reason=visible.reason, detail=visible.detail)
    if not text:
        return Parsed(edits=edits, reason="truncated" if stopped_at_limit else "empty")
    if len(text) > LONGEST_TEXT:
        return Parsed(edits=edits, reason="unclear_answer", detail=f"longer than {LONGEST_TEXT:,} characters")
    options, numbers = listed_options(note, options)
    codes = {**(codes or {}), **numbers} if numbers else codes
    part = _Text(text, stopped_at_limit, edits, options, note)
    text = fence.group("inside").strip() if (fence := _FENCE.fullmatch(text)) else text
    if config.structure == "json" or _is_json_answer(text, config):
        return _parse_json(part, config, codes or {})
    text = wrapped.group("inside") if (wrapped := _WRAPPED.fullmatch(text)) else text
    text = _TABLE.sub(_as_lines, text) if "|" in text else text
    struck = _STRUCK.sub("", text) if any(map(text.__contains__, ("~~", "</", "*/", "//"))) else text
    part = part._replace(text=struck, edits=(*edits, "struck text removed") if struck != text else edits)
    parsed = _parse_text(part, config, codes or {})
    if parsed.reason == "no_rationale" and visible.reasoning:
        return _with_reasoning(parsed, part, visible.reasoning, config, codes or {})
    return parsed


def _as_lines(table: re.Match[str]) -> str:
    """A table as lines of `heading: cell`, where it has one row of values, or a heading in each row, and an answer's
    heading is among them; else as it is."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.group().strip().split("\n")]
    rows = [row for row in rows if not all(_RULED.fullmatch(cell) for cell in row)]
    pairs, has_header = rows, any(map(_HEADING_CELL.fullmatch, rows[0][1:])) if rows else False
    if has_header and len(rows) == 2 and len(rows[0]) == len(rows[1]):
        pairs = [[heading, cell] for heading, cell in zip(*rows, strict=True)]
    elif has_header:
        return table.group()
    if any(len(pair) != 2 for pair in pairs) or not any(_ANSWER_CELL.fullmatch(pair[0]) for pair in pairs):
        return table.group()
    return "\n".join(f"{heading}: {cell}" for heading, cell in pairs) + "\n"


_TABLE = re.compile(r"(?:^[ \t]{0,9}\|[^\n]*\|[ \t]{0,9}(?:\n|\Z)){2,}", re.M)
_RULED = re.compile(r"[:\s-]*")
_ANSWER_CELL = re.compile(rf"[\W_]*{ANSWER_HEADING}[\W_]*", re.I)
_HEADING_CELL = re.compile(rf"[\W_]*(?:clinical\s)?(?:{_NAMES}|{ANSWER_HEADING})[\W_]*", re.I)


def _parse_text(part: _Text, config: ParseConfig, codes: Mapping[str, str]) -> Parsed:
    text = part.text
    before = _before_run_on(text, config)
    is_cut = len(before) < len(text)
    if is_cut and part.note and PROMPT_REMOVED not in part.edits:
        behind = without_note(text, part.note)
        if len(behind) < len(text) and _has_words(behind):
            earlier = final_answer(before, config.answer_patterns, part.options, codes).statement
            later = final_answer(_before_run_on(behind, config), config.answer_patterns, part.options, codes).statement
            if earlier is None or _EXAMPLE.match(text):
                edits = (*part.edits, PROMPT_REMOVED)
                return _parse_text(part._replace(text=behind, edits=edits), config, codes)
            if later is not None and later.label != earlier.label:
                return part.rejected("prompt_repeated", detail="other answers before and behind the repeated note")
    if is_cut and _EXAMPLE.match(text):
        earlier, later = (
            final_answer(one, config.answer_patterns, part.options, codes).statement
            for one in (before, text[len(before) :])
        )
        if earlier is not None and later is not None and earlier.label != later.label:
            return part.rejected("prompt_repeated", detail="it begins with a case, and states an answer behind another")
    edits = (*part.edits, "run-on cut") if is_cut else part.edits
    part = part._replace(text=before, stopped=part.stopped and not is_cut, edits=edits)
    if mark := unknown_token(before):
        return part.rejected("unknown_mark", detail=mark)

    if phrase_pattern("examples").match(small_letters(part.text[:200])):
        return part.rejected("unclear_answer", detail="it begins as an example")
    answer = final_answer(part.text, config.answer_patterns, part.options, codes)
    statement, last = answer.statement, answer.all[-1] if answer.all else None
    is_cut_off = part.stopped and last is not None and not part.text[last.end :].strip()
    if is_cut_off and last is not None and not (last.label is not None and is_whole(last.stated, part.options, codes)):
        return part.rejected("truncated", last.parser)  # within the label; the answers before are not the last
    if statement is not None:
        behind = text[len(before) :].lstrip().partition("\n")[0]
        if is_cut and _OBJECTS.match(behind) and phrase_pattern("retractions").search(small_letters(behind)):
            return part.rejected("unclear_answer", statement.parser, "taken back behind a run-on")
        return part.accepted(_rationale(part, statement, answer), statement.stated, statement.parser)
    if answer.unclear and (config.require_label or answer.unclear == "taken back"):
        return part.rejected("unclear_answer", detail=answer.unclear)
    if not config.require_label:
        if answer.refused:  # the text is the rationale, but for an answer that names no option
            return part.accepted(_rationale(part, answer.refused, Answer()), None, answer.refused.parser)
        return part.accepted(_behind(part, part.text), None, "as written")
    if answer.refused:
        return part.rejected("not_a_label", answer.refused.parser, answer.refused.stated.detail)
    if part.stopped:
        return part.rejected("truncated")
    left_out = text[len(before) :]
    if any(compiled(pattern).search(left_out) for pattern in config.answer_patterns):
        return part.rejected("no_answer", detail="only behind a run-on, or behind a repeated prompt")
    if is_refusal(part.text):
        return part.rejected("refusal")
    return part.rejected("no_answer", detail=LIKE_JSON if part.text.startswith(("{", "[")) else "")


def _before_run_on(text: str, config: ParseConfig) -> str:
    """The text before an invented next question or turn."""
    first_word = _has_words(text)
    position = first_word.start() if first_word else 0
    starts = [
        match.start() for pattern in config.run_on_patterns if (match := compiled(pattern).search(text, position))
    ]
    if (turn := turn_start(text, position)) is not None:
        starts.append(turn)
    return text[: min(starts)].rstrip() if starts else text


def _with_reasoning(
    parsed: Parsed, part: _Text, reasoning: str, config: ParseConfig, codes: Mapping[str, str]
) -> Parsed:
    """The answer with the text in the marks of reasoning as its rationale, unless that states another answer."""
    statement = final_answer(part.text, config.answer_patterns, part.options, codes).statement
    within = final_answer(reasoning, config.answer_patterns, part.options, codes)
    if statement is None or within.unclear or (within.statement and within.statement.label != statement.label):
        return parsed
    inner = part._replace(text=reasoning, edits=part.edits)
    rationale = _rationale(inner, within.statement, within) if within.statement else _behind(inner, reasoning)
    return inner.accepted(rationale, statement.stated, statement.parser)


# --- the rationale beside an answer ---


def _rationale(part: _Text, statement: Statement, answer: Answer) -> _Rationale:
    """The rationale of an answer.

    It is the group `rationale`; else what follows a heading of that name behind the label; else the text before the
    answer, with a reason that stands in the answer's own sentence; else the text behind it.

    Args:
        answer: all statements; what the text does not stand by is left out (`refuted_parts`).
    """
    if statement.rationale and statement.rationale.strip():
        return _Rationale(statement.rationale.strip())
    text = part.text
    before, after = text[: statement.start], text[statement.end :]
    headed = _HEADED_LINE.search(after)
    if headed and not _HEADED_LINE.search(before):
        return _behind(part, after[headed.end() :], ("heading removed",))
    start = statement.sentence_start
    stands_alone = not _has_words(text[start : statement.start])
    refuted = refuted_parts(text, statement, answer)
    reasons, edits = _before(part, text[:start], [span for span in refuted if span[0] < start])
    has_other = any(start <= one.start < statement.start for one in answer.all)
    within = "" if has_other else text[max([start, *(end for _, end in refuted)]) : statement.start]
    if stands_alone and _has_words(reasons) and is_announcement(reasons, without_closing(after), part.note):
        reasons, edits = "", tuple(dict.fromkeys((*edits, "opening removed")))
    within = _CONNECTIVE.sub("", within.strip()).lstrip("*_ \t")
    cause = _CAUSE.match(text, statement.end)
    behind = cause.start("reason") if cause else statement.end
    cause_end = sentence_end(text, behind) if cause else statement.end
    if not (_has_words(within) and _is_reason(within)):
        within = within if _has_words(within) and not _has_words(reasons) and not _has_words(after) else ""
    if _has_words(reasons) or within:
        because = _as_sentence(text[behind:cause_end].strip()) if cause else ""
        left = without_closing(_END_TAG.sub("", text[cause_end:]))
        flags = (BEHIND_ANSWER,) if len(_WORDS.findall(left)) >= FEWEST_WORDS else ()
        parts = [piece for piece in (reasons, within, because) if _has_words(piece)]
        return _Rationale(" ".join(parts) if len(parts) > 1 else _without_marks(parts[0]), edits, flags)
    end = sentence_end(text, statement.end)
    if not cause and _GOES_ON.match(after) and len(_WORDS.findall(text[statement.end : end])) < FEWEST_WORDS:
        after = text[end:]  # `the answer is new york city` gives no reason
    return _behind(part, after, edits)


def _before(part: _Text, text: str, refuted: Sequence[tuple[int, int]]) -> tuple[str, tuple[str, ...]]:
    """The reasons in the text before an answer, without the refuted parts, and what was done."""
    edits: tuple[str, ...] = ()
    for start, end in reversed(refuted):
        text = text[:start] + text[end : end + 1].upper() + text[end + 1 :]
    text, is_draft = without_drafts(text)
    if refuted or is_draft:
        edits = ("refuted text removed",)
        text = without_empty_items(text)
    text, heading = _without_heading(_without_marks(text))
    behind = without_note(text, part.note)
    lead = text[: len(text) - len(behind)].partition(part.note.strip())[0] if len(behind) < len(text) else ""
    if not _has_words(behind) or (lead and len(_WORDS.findall(without_opening(lead, part.options))) > FEWEST_WORDS):
        behind = text  # reasons that quote the note
    opened = without_opening(behind, part.options)
    opened, second = _without_heading(opened)
    if opened != text and not second:
        heading = (*heading, "opening removed")
    return _without_marks(opened), tuple(dict.fromkeys((*edits, *heading, *second)))


def _behind(part: _Text, text: str, edits: tuple[str, ...] = ()) -> _Rationale:
    """The reasons in a text behind an answer, or of one without an answer."""
    text, heading = _without_heading(_END_TAG.sub("", text).lstrip(_LEADING))
    opened = text if is_refusal(text) else without_opening(text, part.options)
    opened, second = _without_heading(opened)
    closed = opened if is_refusal(opened) else without_closing(opened)
    opening = ("opening removed",) if opened != text and not second else ()
    closing = ("closing removed",) if closed != opened.rstrip() else ()
    rationale, cut = _without_cut_sentence(closed, part.stopped)
    return _Rationale(rationale, tuple(dict.fromkeys((*edits, *heading, *second, *opening, *closing, *cut))))


def _is_reason(text: str) -> bool:
    """Whether the words before an answer in its own sentence give a reason."""
    num_words = len(_WORDS.findall(text))
    return not is_transition(text) and num_words >= (3 if _BEGINS_CAUSE.match(text) else FEWEST_WORDS)


def _as_sentence(text: str) -> str:
    """The reason with a capital, and without the bracket that ends it."""
    return text[:1].upper() + (text[1:] if "(" in text else text[1:].removesuffix(").").removesuffix(")"))


def _without_heading(text: str) -> tuple[str, tuple[str, ...]]:
    """The text without a heading such as `Rationale:` before it, or tags of that name around it."""
    text = text.strip()
    if _TAG.match(text):
        return _TAG.sub("", text).strip(), ("heading removed",)
    heading = _HEADING.match(text)
    return (text[heading.end() :].strip(), ("heading removed",)) if heading else (text, ())


def _without_marks(text: str) -> str:
    """The text without last lines of mere marks, such as `---` or the number of an item."""
    lines = text.strip().split("\n")
    while lines and _MERE_MARKS.fullmatch(lines[-1]):
        lines.pop()
    return "\n".join(lines).strip()


def _without_cut_sentence(text: str, stopped: bool) -> tuple[str, tuple[str, ...]]:
    """The text without its last sentence where the token limit cut it."""
    text = _without_marks(text)
    if not stopped or text.endswith((".", "!", "?", "。", '."', ".)")):
        return text, ()
    return _without_marks(text[: sentence_start(text, len(text))]), ("unfinished sentence cut",)


_has_words = re.compile(r"[^\W_]").search


# --- an answer given as JSON ---


def _is_json_answer(text: str, config: ParseConfig) -> bool:
    """Whether a text is one whole JSON object with the keys of a label and a rationale."""
    if not (text.startswith("{") and text.endswith("}")):
        return False
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return {config.json_label_key.casefold(), config.json_rationale_key.casefold()} <= set(map(str.casefold, answer))


def _parse_json(part: _Text, config: ParseConfig, codes: Mapping[str, str]) -> Parsed:
    """The label and the rationale of the object that has the two keys."""
    answer = read_json_answer(part.text, config.json_label_key, config.json_rationale_key, stopped=part.stopped)
    part = part._replace(stopped=False, edits=(*part.edits, *answer.edits))
    if answer.reason is not None:
        return part.rejected(answer.reason, "json", answer.detail)
    stated = find_label(answer.label, part.options, codes) if answer.label is not None else None
    if stated is not None and (doubt := _doubt_beside(part, answer, stated.label, config, codes)):
        return part.rejected("unclear_answer", "json", doubt)
    behind = answer.label[stated.end :] if stated is not None and answer.label is not None else ""
    others = named_options(behind, 0, stated.label or "", part.options, codes) if stated is not None else iter(())
    if stated is not None and stated.label is not None and not _NOT_THAT.match(behind) and any(others):
        stated = StatedLabel(detail="two answers stated")
    if stated is not None and stated.label is not None and standing_behind(stated.name, behind):
        stated = StatedLabel(detail="asked, bounded or taken back")
    if config.require_label and stated is None:
        return part.rejected("no_answer", "json", "no label in the object")
    if config.require_label and stated is not None and stated.label is None:
        return part.rejected("not_a_label", "json", stated.detail)
    return part.accepted(_Rationale((answer.rationale or "").strip()), stated, "json")


def _doubt_beside(
    part: _Text, answer: JsonAnswer, label: str | None, config: ParseConfig, codes: Mapping[str, str]
) -> str:
    """Why the text behind the object, or the rationale in it, leaves its label unclear; empty where neither does."""
    if label is None:
        return ""
    others = (value for key, value in answer.others if _ANSWER_KEY.fullmatch(key.replace("_", " ")))
    if any(find_label(value, part.options, codes).label not in (None, label) for value in others):
        return "another key gives another label"
    start, end = part.text.find("{"), part.text.rfind("}") + 1
    comments = COMMENT.findall(part.text, start, end) if "JSON repaired" in answer.edits else []
    behind = " ".join([*comments, _FENCE_MARK.sub(" ", part.text[end:] if end else "")])
    lead, gap, before = part.text[: max(start, 0)].rpartition("\n")
    if gap and not before.strip():  # a line before it that leads to it
        before = next((line for line in reversed(lead.split("\n")) if line.strip() and "```" not in line), "")
        before = "" if before.rstrip("*_ `").endswith((".", "!", "}", "?")) else before
    if end and (_NO_OWN_JSON.search(before) or IF.search(before) or says_another(before)):
        return "words before the object take it back"
    if end and says_of_it(behind):
        return "words behind the object take it back"
    if doubt := doubt_behind(behind, 0, label, part.options, codes, ()):
        return doubt
    rationale = answer.rationale or ""
    within = final_answer(rationale, config.answer_patterns, part.options, codes)
    if within.statement is not None:
        return "" if within.statement.label == label else "another answer in its rationale"
    if within.unclear == "taken back":
        return "taken back in its rationale"
    last = 0 if answer.label_first else sentence_start(rationale, len(rationale.rstrip()) - 1)
    return doubt_behind(rationale, last, label, part.options, codes, ())


_ANSWER_KEY = re.compile(rf"{ANSWER_HEADING}|chosen|selected", re.I)
_NO_OWN_JSON = re.compile(
    r"/\*|//\s*\Z|<!--|#\s*\Z|\b(?:not|never|wrong|bad|incorrect|invalid|example|template|sample|dummy|placeholder|draft"
    r"|instead\s+of|rather\s+than|unlike)\b|n['’]t\b",
    re.I,
)
"""Words before an object, on its line, of one that is no answer."""
