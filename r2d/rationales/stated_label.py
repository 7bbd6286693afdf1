"""Which label a stated answer stands for: `(c) wooded area.`, `**same day** because ...`, `B`. A guess is no answer."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from r2d.text import normalise_label

LONGEST_STATED = 1_000
NEAR = 0.8
"""Likeness of a misspelt label to the option of its letter (`field` to `feild` is 0.8), above which it is that one."""

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
"""What may stand behind a label of one word: `no, ...` and `no because ...` state it, `no evidence of` does not."""
_TRAILING = " \t\r\n.,;:!?*_`\"'“”‘’«»$~)]}>\\"


@dataclass(frozen=True, slots=True)
class StatedLabel:
    """The option found, and where in the stated text it ends."""

    label: str | None = None
    end: int = 0
    repaired: bool = False
    """It was not written as the option is."""
    whole: bool = False
    """The option stands there in full, not as a letter."""
    detail: str = ""
    """Why there is none; never text of the answer."""


def find_label(stated: str, options: Sequence[str]) -> StatedLabel:
    """The option that a stated answer begins with.

    In full; else before an explanation, the longest option first; else by its letter alone. The text wins over a
    letter that names another option. An answer that offers two options, or whose letter and text have nothing in
    common, states none.
    """
    stated = stated[:LONGEST_STATED]
    starts, letter, rest = _starts(stated)
    by_letter = options[letter] if letter is not None and letter < len(options) else None
    found = _exact(stated, starts, options) or _longest(stated, starts, options)
    if found is not None:
        if _offers_another(stated[found.end :], options):
            return StatedLabel(detail="two answers stated")
        clash = by_letter is not None and normalise_label(by_letter) != normalise_label(found.label or "")
        return StatedLabel(found.label, found.end, found.repaired or clash, found.whole)
    if letter is None:
        return StatedLabel()
    if by_letter is None:
        return StatedLabel(detail="letter without an option")
    if _OR.match(stated, rest) or _ANOTHER_LETTER.match(stated, rest):
        return StatedLabel(detail="two answers stated")
    if _EXPLANATION.match(stated, rest):
        return StatedLabel(by_letter, rest)
    end = _SENTENCE_END.search(stated, rest)
    stop = end.start() if end else len(stated)
    if _near(stated[rest:stop], by_letter):
        return StatedLabel(by_letter, stop, repaired=True)
    return StatedLabel(detail="letter and text disagree")


def _starts(stated: str) -> tuple[list[int], int | None, int]:
    """Where the label may begin, in order of trust; the place of the letter's option; where the text behind it begins.

    A number marks a choice too, but does not say which: lists are counted from 0 or from 1.
    """
    starts: list[int] = []
    letter, rest = None, 0
    position = _end(_MARKUP, stated, 0)
    for _ in range(2):
        starts += [position, _end(_BRACKETS, stated, position)]
        marker = _MARKER.match(stated, position) or _ONE_LETTER.match(stated, position)
        if marker:
            name = (marker.group("a") or marker.groupdict().get("b") or "").casefold()
            if letter is None and name.isalpha():
                letter = ord(name) - ord("a")
                rest = marker.start("gap")
                rest = rest if _EXPLANATION.match(stated, rest) else marker.end()
            starts.append(_end(_BRACKETS, stated, marker.end()))
        filler = _FILLER.match(stated, starts[-1])
        if not filler:
            break
        position = _end(_MARKUP, stated, filler.end())
    return list(dict.fromkeys(starts)), letter, rest


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _exact(stated: str, starts: Sequence[int], options: Sequence[str]) -> StatedLabel | None:
    known = {normalise_label(option): option for option in reversed(options)}
    for start in starts:
        text = stated[start:]
        for form in (text, text.rstrip(_TRAILING)):
            if label := known.get(normalise_label(form)):
                return StatedLabel(label, start + len(form), whole=True)
    return None


def _longest(stated: str, starts: Sequence[int], options: Sequence[str]) -> StatedLabel | None:
    for start in starts:
        matches = [
            (match.end(), option)
            for option in options
            if (match := _written(option).match(stated, start))
            and (" " in option.strip() or _FOLLOWING.match(stated, match.end()))
        ]
        if matches:
            end, option = max(matches, key=lambda pair: pair[0])
            repaired = normalise_label(stated[start:end]) != normalise_label(option)
            return StatedLabel(option, end, repaired, whole=True)
    return None


@lru_cache(maxsize=8192)
def _written(option: str) -> re.Pattern[str]:
    """The option up to a word boundary; a space, a hyphen and an underscore in it are as good as one another."""
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
    start = _end(_BRACKETS, rest, marker.end() if marker else joined.end())
    others = (_written(option).match(rest, start) for option in options)
    return any(match is not None and _CLOSED.match(rest, match.end()) for match in others)


def _near(text: str, option: str) -> bool:
    """Whether a text is a misspelling, a part or an extension of the option."""
    ours, theirs = normalise_label(text.strip(_TRAILING)), normalise_label(option)
    if not ours or len(ours) > 3 * len(theirs) + 20:
        return False
    words, wanted = set(ours.split()), set(theirs.split())
    if words <= wanted or wanted <= words:
        return True
    return difflib.SequenceMatcher(None, ours.replace(" ", ""), theirs.replace(" ", ""), False).ratio() >= NEAR
