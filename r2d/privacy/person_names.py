"""Names of people: capitalised words that a title, a label, a relation or a qualification marks as a name.

There is no dictionary of names here: a name that nothing marks is missed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from r2d.privacy.finding import Detector, Finding
from r2d.privacy.name_marks import BLANK, MARKS, NOT_A_PERSONS_NAME, QUALIFICATION, SMALL_TITLE, Mark
from r2d.privacy.not_names import NOT_NAMES

_LETTER = r"[^\W\d_]"
_WORD = re.compile(rf"{_LETTER}\.(?={_LETTER}|{BLANK})|{_LETTER}+(?:['’\-]{_LETTER}+)*")
_GAP = re.compile(rf"(?P<comma>,)?{BLANK}{{1,2}}|\^|(?<=\.)")
_PARTICLE_WORDS = "van von de der den da dos del della di la le bin ibn al el ter ten"
_PARTICLES = frozenset(_PARTICLE_WORDS.split())
_PARTICLE_FOLLOWS = re.compile(rf"{BLANK}{_LETTER}")
_MOST_WORDS = 5
_WORDS_BEFORE = re.compile(rf"{_LETTER}[\w.'’\-]*(?:{BLANK}{_LETTER}[\w.'’\-]*){{1,2}}$")
_REACH_BACK = 60

_MARKS = [(re.compile(mark.pattern, re.ASCII), mark) for mark in MARKS]
_SMALL_TITLE = re.compile(SMALL_TITLE, re.ASCII)
_QUALIFICATION = re.compile(QUALIFICATION, re.ASCII)
_NOT_A_PERSONS_NAME = re.compile(NOT_A_PERSONS_NAME, re.ASCII)


def _detect(text: str) -> Iterator[Finding]:
    """What follows each mark, what follows `mr` in small letters, and what stands before `RN` and the like."""
    for pattern, mark in _MARKS:
        for match in pattern.finditer(text):
            if not _NOT_A_PERSONS_NAME.search(text[max(0, match.start() - 20) : match.end()]):
                yield from _name_at(text, match.end(), mark)
    for match in _SMALL_TITLE.finditer(text):
        word = _WORD.match(text, match.end())
        if word and word[0].islower() and len(word[0]) > 2 and word[0] not in NOT_NAMES:
            yield Finding("person_name", match.end(), _without_possessive(text, word.end()), 0.5)
    for match in _QUALIFICATION.finditer(text):
        reach = max(0, match.start() - _REACH_BACK)
        words = _WORDS_BEFORE.search(text[reach : match.start()])
        if words:
            yield from _name_at(text[: match.start()], reach + words.start(), Mark("", 2, 0.7))


def _name_at(text: str, start: int, mark: Mark) -> Iterator[Finding]:
    """The run of name-like words from `start`, if it has as many full words as `mark` asks for."""
    end, num_full, position = start, 0, start
    for _ in range(_MOST_WORDS):
        word = _WORD.match(text, position)
        if not word or not (_capitalised_name(word[0]) or _particle(text, word)):
            break
        if not _particle(text, word):
            end = _without_possessive(text, word.end())
            num_full += len(word[0].rstrip(".")) > 1
            if end < word.end():
                break
        gap = _GAP.match(text, word.end())
        if not gap or (gap["comma"] and not (mark.surname_first and num_full == 1)):
            break
        position = gap.end()
    if num_full >= mark.least and (not mark.capitals_only or text[start:end].isupper()):
        yield Finding("person_name", start, end, mark.score)


def _capitalised_name(word: str) -> bool:
    """Whether a word begins with a capital letter and is none of those that name no one."""
    bare = word.rstrip(".").lower()
    return unicodedata.category(word[0]) == "Lu" and (len(bare) == 1 or bare not in NOT_NAMES)


def _particle(text: str, word: re.Match[str]) -> bool:
    """Whether a word is the `van` or `de` of a longer name."""
    return word[0] in _PARTICLES and _PARTICLE_FOLLOWS.match(text, word.end()) is not None


def _without_possessive(text: str, end: int) -> int:
    """`end`, before the possessive `'s` if there is one."""
    return end - 2 if text[end - 2 : end] in ("'s", "’s", "'S") else end


PERSON_NAME = Detector(
    hint="|".join(
        [rf"(?:{mark.pattern})(?:(?:{'|'.join(sorted(_PARTICLES))}){BLANK})*\p{{Lu}}" for mark in MARKS]
        + [rf"(?:{SMALL_TITLE})\p{{Ll}}", QUALIFICATION]
    ),
    detect=_detect,
)
