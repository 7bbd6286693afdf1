"""Marks in the output of a model: reasoning, channels and chat templates, by the lists of `marks.yaml`.

What stands in reasoning, and the prompt that a text repeats, is no answer. A text that opens with a mark of that shape
which is in no list is not read: it would be a draft that counts as an answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from r2d.config.rationales import ParseConfig
from r2d.config.section import Section, parse_section
from r2d.files import read_yaml
from r2d.rationales.records import Reason
from r2d.rationales.wording import SHORTEST_NOTE

REASONING_REMOVED = "reasoning removed"
PROMPT_REMOVED = "prompt removed"
_STANDS_OPEN = re.compile(
    r"[\s*_`#>-]{0,20}(?P<mark>"
    r"<(?P<angle>[^\W\d_][\w:.-]{0,40})(?:\s[^<>\n]{0,100})?>"
    r"|\[(?P<square>[^\W\d_][\w :.-]{0,40})\]"
    r"|\((?P<round>[^\W\d_][\w :.-]{0,40})\)"
    r"|(?:<\||<<|<｜|◁|◀|《|〈|【|〖|「|⟨|⟪|‹|«|\{\{|\[\[|::)\s?(?P<other>[^\W\d_][\w :.▁-]{0,40})\s?"
    r"(?:\|>|>>|｜>|▷|▶|》|〉|】|〗|」|⟩|⟫|›|»|\}\}|\]\]|::))"
    r"|\s{0,20}(?P<signs>(?:\(\(|[|#=~^%$@+]{1,3}|-{2,3})\s?(?P<signed>[^\W\d_][\w -]{0,40})\s?"
    r"(?:\)\)|[|#=~^%$@+]{1,3}|-{2,3}))"
    r"|\s{0,20}(?P<stars>[*_]{1,3}(?P<starred>[^\W\d_][\w -]{0,40})[*_]{1,3})"
)
"""A text that opens with a name in brackets."""
_SHORT_TAG = re.compile(r"\W{1,3}[A-Za-z][A-Za-z_:.-]{0,24}(?: [A-Za-z]{1,12})?\W{1,3}")
_TOKEN = re.compile(r"<[|｜]\s?/?[^\W\d_][\w:./▁-]{0,60}\s?[|｜]>")
_BARE_START = re.compile(r"\s{0,20}(?:thinking\.\.\.|here\s)", re.I)
_BRACKETS = "<>[]"
_OF_REASONING = re.compile(r"think|thought|reason|reflect|scratch|monolog|ponder|deliberat|draft|plan\b|\bcot\b", re.I)


_WRITTEN_MARK = re.compile(
    r"(?:(?P<angle>&lt;|&\#0*60;|&\#x0*3c;|＜|\\<|<\s|<(?=/\s))|［|\\\[)(?P<name>/?\s?(?:[\w:.-]|\|){2,40}"
    r"|\s?/?\w+)\s?(?:&gt;"
    r"|&\#0*62;|&\#x0*3e;|＞|\\>|>|］|\\\])",
    re.I,
)
"""A mark whose brackets are entities, full-width, escaped, or have spaces within."""
_DRAFTED = (
    r"(?:scratch\s?-?pad|scratch|thinking|think|thoughts?(?:\sprocess)?|(?:inner\s|internal\s)?monologue|drafts?"
    r"|brainstorm(?:ing)?|deliberation)"
)
_DRAFT_FENCE = re.compile(
    rf"^[ \t]*(?P<fence>`{{3,}}|~{{3,}})[^\n`]{{0,20}}\b{_DRAFTED}\b[^\n]{{0,20}}\n.*?(?:^[ \t]*(?P=fence)[ \t]*$|\Z)",
    re.I | re.M | re.S,
)
_DRAFT_HEADING = re.compile(
    rf"\s{{0,20}}(?P<sign>\#{{1,6}}|\*\*|__|={{2,}}|-{{2,}})[ \t]{{0,3}}(?:my\s"
    rf"|the\s)?{_DRAFTED}[ \t]{{0,3}}:?[ \t#*_=-]{{0,6}}(?:\n|\Z)",
    re.I,
)
"""A block of code, or a heading at the beginning, that calls what follows a draft, up to the next such heading."""


class Marks(Section):
    """The lists of `marks.yaml`, which says what each is."""

    reasoning: tuple[tuple[str, str], ...]
    rationale: tuple[str, ...]
    final_channels: tuple[str, ...]
    channels: tuple[str, ...]
    bare_channels: tuple[str, ...]
    asked: tuple[str, ...]
    answered: tuple[str, ...]
    padding: tuple[str, ...]
    content: tuple[tuple[str, ...], ...] = Field(min_length=1)


class VisibleText(NamedTuple):
    """The part of an output in which an answer counts, or the reason why there is none."""

    text: str = ""
    edits: tuple[str, ...] = ()
    reasoning: str = ""
    """The last reasoning that stood in a mark in which others put the rationale."""
    reason: Reason | None = None
    detail: str = ""


_OPENS_WITH_MARK = re.compile(r"[\W_]|[^\n]{0,40}:|\w{0,10}(?i:analysis|commentary|user|system)")
"""What each text begins with that opens with a mark of a channel or of a turn; one in plain letters ends in a colon."""
_BARE_LINES = re.compile(r"(?:analysis|commentary)[ \t]*\n.*\n(?:assistant[ \t]*\n?)?final[ \t]*\n", re.I | re.S)
_BARE_ASKED = re.compile(r"(?:system|user)[ \t]*(?:\n|(?=[A-Z]))")
_BARE_ANSWERED = re.compile(r"(?:^|(?<=[.!?]))(?:assistant|model)[ \t]*\n", re.M)
"""What is left of channels and of turns where the special tokens were taken out."""


@cache
def shipped_marks() -> Marks:
    """The lists of `marks.yaml`."""
    source = Path(__file__).with_name("marks.yaml")
    return parse_section(Marks, read_yaml(source), where=str(source))


def visible_text(content: str, config: ParseConfig, note: str = "") -> VisibleText:
    """The text behind the prompt that it repeats, without its reasoning.

    Args:
        note: the text that was asked about: of several turns of a repeated chat, the first behind it answers.
    """
    text, edits = _without_padding(_in_plain_signs(content).strip()), tuple[str, ...]()
    if not _OPENS_WITH_MARK.match(text):
        return _without_reasoning(text, edits, config)
    has_channels = _has_channels(text)
    finals = list(_shipped("final_channels").finditer(text)) if has_channels else []
    if len(finals) > 1:
        return VisibleText(reason="unclear_answer", detail=f"{len(finals)} final channels")
    if finals:
        text, edits = _without_padding(text[finals[0].end() :]), (REASONING_REMOVED,)
    elif has_channels:
        return VisibleText(edits=(REASONING_REMOVED,))
    elif bare := _BARE_LINES.match(text):
        text, edits = text[bare.end() :], (REASONING_REMOVED,)
    elif (asked := _shipped("asked").match(text) or _BARE_ASKED.match(text)) and (
        not asked.group().strip("*_# ")[0].isalpha() or _shipped("answered").search(text) or _BARE_ANSWERED.search(text)
    ):
        answers = list(_shipped("answered").finditer(text)) or list(_BARE_ANSWERED.finditer(text))
        behind = text.rfind(note.strip()) if len(note.strip()) >= SHORTEST_NOTE else -1
        if len(answers) > 1:
            answers = [match for match in answers if 0 <= behind < match.start()][:1]
        if not answers:
            return VisibleText(reason="prompt_repeated", detail="no turn that answers it alone")
        text, edits = text[answers[0].end() :], (PROMPT_REMOVED,)
    elif opening := _shipped("answered").match(text):
        text = text[opening.end() :]
    return _without_reasoning(text, edits, config)


def _in_plain_signs(content: str) -> str:
    """The text with the marks of reasoning in angle or square brackets as they are in the list."""
    if not any(map(content.__contains__, ("&lt;", "&#", "＜", "［", "\\<", "\\[", "< ", "</ "))):
        return content

    def plain(match: re.Match[str]) -> str:
        name = match.group("name").replace(" ", "")
        if _OF_REASONING.search(name) is None:
            return match.group()
        return f"<{name}>" if match.group("angle") else f"[{name}]"

    return _WRITTEN_MARK.sub(plain, content)


def _without_reasoning(text: str, edits: tuple[str, ...], config: ParseConfig) -> VisibleText:
    """The text outside the marks of reasoning, unless it then opens with one that is not known."""
    pairs = _pairs(config.reasoning_tags, config.reasoning_marks)
    outside, removed = _outside(text, pairs)
    if ("```" in outside or "~~~" in outside) and (rest := _DRAFT_FENCE.sub("", outside)) != outside:
        outside, removed = rest.strip(), (REASONING_REMOVED,)
    if (opening := _DRAFT_HEADING.match(outside)) is not None:
        sign = re.escape(opening.group("sign"))
        behind = re.compile(rf"^{sign}[ \t]{{0,3}}(?=[^\W\d_])", re.M).search(outside, opening.end())
        if behind is None:
            return VisibleText(edits=(*edits, *removed), reason="unknown_mark", detail=_shown(opening.group().strip()))
        outside, removed = outside[behind.start() :], (REASONING_REMOVED,)
    reasoning = _last_inside(text, [pair for pair in pairs if pair[0] in shipped_marks().rationale]) if removed else ""
    text = _without_padding(outside)
    if mark := unknown_mark(text):
        return VisibleText(edits=(*edits, *removed), reason="unknown_mark", detail=mark)
    return VisibleText(text, tuple(dict.fromkeys((*edits, *removed))), reasoning)


def without_reasoning(content: str, tags: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The text outside the marks of reasoning and the tags, and what was done.

    What precedes a lone end is reasoning too: its start was in the prompt.
    """
    return _outside(content, _pairs(tuple(tags)))


def turn_start(text: str, position: int) -> int | None:
    """Where behind a position a turn of a chat ends or begins; None where none does. Names in plain letters count not:
    `System:` begins many a line."""
    if "<" not in text and "[" not in text:
        return None
    match = _shipped("turns in brackets").search(text, position)
    return match.start() if match else None


def unknown_token(text: str) -> str | None:
    """The first special token in a text, `<|...|>`, that is in no list; None where each is in one."""
    if "|>" not in text and "｜>" not in text:
        return None
    found = (match.group() for match in _TOKEN.finditer(text))
    mark = next((token for token in found if token.casefold() not in _known_tokens()), None)
    return None if mark is None else _shown(mark)


@cache
def _known_tokens() -> frozenset[str]:
    marks = shipped_marks()
    lists = (marks.asked, marks.answered, marks.padding, marks.channels, marks.final_channels, *marks.reasoning)
    return frozenset(token.casefold() for names in lists for name in names for token in _TOKEN.findall(name))


def unknown_mark(text: str) -> str | None:
    """The mark that a text opens with, where it is in no list; None where it opens with none.

    A placeholder of de-identified texts (`[NAME]`, `<PERSON>`) is none: its end does not stand in the text.
    """
    match = _STANDS_OPEN.match(text)
    if match is None:
        return None
    name = next(name for name in match.group("angle", "square", "round", "other", "signed", "starred") if name)
    mark = match.group("mark") or match.group("signs") or match.group("stars")
    if name.casefold() in {name for names in shipped_marks().content for name in names}:
        return None
    is_closed = re.search(rf"[/\\]\s?{re.escape(name)}|end[\s_]of[\s_]{re.escape(name)}|end[\s_]{re.escape(name)}",
                          text[match.end() :], re.I) is not None  # fmt: skip
    is_placeholder = match.group("angle") is None or not name.islower()
    is_named_so = _OF_REASONING.search(name) is not None
    if match.group("signed"):
        return _shown(mark) if is_named_so and (is_closed or mark in text[match.end() :]) else None
    if match.group("starred") and not (is_named_so and is_closed):
        return None
    if match.group("other") is None and is_placeholder and not is_closed and not is_named_so:
        return None
    return _shown(mark)


def _shown(mark: str) -> str:
    return mark if _SHORT_TAG.fullmatch(mark) else f"a mark of {len(mark)} characters"


@lru_cache(maxsize=64)
def _pairs(tags: tuple[str, ...], own: tuple[tuple[str, str], ...] = ()) -> tuple[tuple[str, str], ...]:
    """The shipped marks of reasoning, the tags and others, each as its start and its end."""
    return (*shipped_marks().reasoning, *((f"<{tag}>", f"</{tag}>") for tag in tags), *own)


def _has_channels(text: str) -> bool:
    if _shipped("channels").match(text):
        return True
    bare = next(filter(text.startswith, shipped_marks().bare_channels), None)
    return bare is not None and (
        text[len(bare) : len(bare) + 1].isupper() or _shipped("final_channels").search(text) is not None
    )


def _without_padding(text: str) -> str:
    """The text without padding marks around it."""
    text = text.strip()
    if text[:1] not in _BRACKETS and text[-1:] not in _BRACKETS:
        return text
    pattern = _shipped("padding")
    while match := pattern.match(text):
        text = text[match.end() :].lstrip()
    for mark in shipped_marks().padding:
        while text[-len(mark) :].casefold() == mark.casefold():
            text = text[: -len(mark)].rstrip()
    return text


def _outside(content: str, pairs: tuple[tuple[str, str], ...]) -> tuple[str, tuple[str, ...]]:
    """The text outside the pairs of marks, and what was done."""
    are_shipped = len(pairs) == len(shipped_marks().reasoning)  # whose marks begin with one of these
    if are_shipped and not ("<" in content or "[" in content or "◁" in content or _BARE_START.match(content)):
        return content.strip(), ()
    pattern = _pair_pattern(pairs)
    outside: list[str] = []
    position, is_inside, found = 0, False, False
    for match in pattern.finditer(content):
        found = True
        if match.lastgroup == "end":
            outside = outside if is_inside else []
            is_inside = False
        else:
            outside += [] if is_inside else [content[position : match.start()]]
            is_inside = True
        position = match.end()
    outside += [] if is_inside else [content[position:]]
    return "".join(outside).strip(), (REASONING_REMOVED,) if found else ()


def _last_inside(content: str, pairs: Sequence[tuple[str, str]]) -> str:
    """The text between the last mark that opens one of the pairs and its end."""
    opening = closing = None
    for match in _pair_pattern(tuple(pairs)).finditer(content):
        if match.lastgroup == "end":
            closing = match
        else:
            opening, closing = match, None
    return content[opening.end() : closing.start()].strip() if opening and closing else ""


@lru_cache(maxsize=64)
def _pair_pattern(pairs: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    ends, starts = (sorted({pair[side] for pair in pairs}, key=len, reverse=True) for side in (1, 0))
    first = "".join(re.escape(letter) for letter in sorted({mark[0] for pair in pairs for mark in pair}))
    forms = f"(?P<end>{'|'.join(map(_form, ends))})|(?P<start>{'|'.join(map(_form, starts))})"
    return re.compile(f"(?=[{first}])(?:{forms})", re.I)  # most places are passed over at once


@cache
def _shipped(name: str) -> re.Pattern[str]:
    """The marks of a list, or those of turns that stand in brackets."""
    marks = shipped_marks()
    if name == "turns in brackets":
        lists = (*marks.asked, *marks.answered, *marks.padding, *_known_tokens())
        return _pattern(tuple(mark for mark in dict.fromkeys(lists) if mark[0] in "<["))
    return _pattern(getattr(marks, name))


@lru_cache(maxsize=64)
def _pattern(marks: tuple[str, ...]) -> re.Pattern[str]:
    """Matches any of the marks; one of plain letters at the start of a line, or behind another mark."""
    start, end = r"(?:^|(?<=[>\]]))[*_]{0,2}", "[*_]{0,2}"
    forms = [f"{start}{_form(mark)}{end}" if mark[0].isupper() or mark[0] == "#" else _form(mark)
             for mark in sorted(marks, key=len, reverse=True)]  # fmt: skip
    return re.compile("|".join(forms), re.I | re.M)


def _form(mark: str) -> str:
    """The mark as a regular expression: any space for a blank, and attributes within angle brackets."""
    form = r"\s".join(map(re.escape, mark.split()))
    is_tag = re.fullmatch(r"<[A-Za-z][\w:.-]*>", mark) is not None
    if is_tag:
        return form[:-1] + r"(?:\s[^<>]{0,100})?>"
    return form + "[^<>]{0,200}>" if mark.startswith("<") and mark.endswith('"') else form
