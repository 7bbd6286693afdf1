"""Numbers that an authority issues: one shape, perhaps a checksum, and the words that announce them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from r2d.config.validation import Recogniser
from r2d.privacy.finding import Detector, Finding

GAP = "[ \\-\u00a0\u2010-\u2013]"
"""What stands between groups of digits: blank, no-break blank, hyphen, dash."""

REACH_BEFORE, REACH_AFTER = 45, 25
"""Characters before and after a number in which an announcing word counts."""

ANNOUNCED = 0.95
ANNOUNCED_BUT_UNSOUND = 0.7
"""An announced number with a wrong checksum is most likely the right number with a typing error."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """One kind of number. Scores of zero drop it."""

    shape: str
    """Pattern that Python and RE2 read alike; no look-around."""
    sound: Callable[[str], bool]
    """Checksum or rule of assignment, given the letters and digits alone, in capitals."""
    words: str
    """Pattern of the words that announce it."""
    alone_grouped: float
    """Score of a sound number, written in groups, that nothing announces."""
    alone_plain: float
    """The same, written in one piece."""


def scheme_detector(recogniser: Recogniser, scheme: Scheme) -> Detector:
    """A detector of one scheme: candidates by shape, scored by soundness, grouping and announcement."""
    flags = re.ASCII | re.IGNORECASE
    shape = re.compile(rf"(?<![\w.\-/+]){scheme.shape}(?![\w/]|[.\-]\d)", flags)
    words = re.compile(scheme.words, flags)

    def detect(text: str) -> Iterator[Finding]:
        for match in shape.finditer(text):
            score = _score(scheme, match[0], announced=stands_near(text, match.start(), match.end(), words))
            if score > 0.0:
                yield Finding(recogniser, match.start(), match.end(), score)

    return Detector(hint=_hint(scheme), detect=detect)


def _hint(scheme: Scheme) -> str:
    """The shape, with its announcement where it counts for nothing without one."""
    shape = rf"\b{scheme.shape}\b"
    if scheme.alone_grouped or scheme.alone_plain:
        return f"(?i){shape}"
    words = f"(?:{scheme.words})"
    return rf"(?i){words}[\s\S]{{0,{REACH_BEFORE}}}{shape}|{shape}[\s\S]{{0,{REACH_AFTER}}}{words}"


def _score(scheme: Scheme, value: str, announced: bool) -> float:
    """How sure a candidate is. Small letters are read only where it is announced: shapes alone are too weak then."""
    sound = scheme.sound(letters_and_digits(value))
    if announced:
        return ANNOUNCED if sound else ANNOUNCED_BUT_UNSOUND
    if not sound or value != value.upper():
        return 0.0
    return scheme.alone_plain if value.isalnum() else scheme.alone_grouped


def stands_near(text: str, start: int, end: int, words: re.Pattern[str]) -> bool:
    """Whether one of `words` stands shortly before or after `text[start:end]`."""
    before, after = text[max(0, start - REACH_BEFORE) : start], text[end : end + REACH_AFTER]
    return bool(words.search(before) or words.search(after))


def letters_and_digits(value: str) -> str:
    """A value without its separators, in capitals."""
    return "".join(character for character in value.upper() if character.isalnum())
