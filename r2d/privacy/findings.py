"""Findings of identifying text, and what the detectors have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from r2d.config.privacy import Recogniser

GAP = "[ \\-\u00a0\u2010-\u2013]"  # character between groups of digits: blank, no-break blank, hyphen, dash

REACH_BEFORE, REACH_AFTER = 45, 25  # characters before and after a number in which an announcing word counts


@dataclass(frozen=True, slots=True)
class Finding:
    """`text[start:end]` identifies someone. It never holds the identifier itself."""

    recogniser: Recogniser
    start: int  # offsets count characters, as Python does, not bytes
    end: int
    score: float  # certainty from 0 to 1: higher where a checksum passed or a telling word is near


@dataclass(frozen=True, slots=True)
class Detector:
    """One kind of identifier: a cheap pattern for whole columns, then a careful search of the rows that match."""

    hint: str  # RE2 pattern that matches wherever `detect` has a finding (a test holds it to that)
    detect: Callable[[str], Iterator[Finding]]  # findings in a text. They may overlap


def detector(hint: str) -> Callable[[Callable[[str], Iterator[Finding]]], Detector]:
    """Decorator that makes a detector of a function from a text to its findings."""
    return lambda detect: Detector(hint, detect)


def without_overlaps(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that win where several claim the same characters (higher score, then longer), by position."""
    winners: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (-f.score, f.start - f.end, f.start, f.recogniser)):
        if all(finding.end <= other.start or other.end <= finding.start for other in winners):
            winners.append(finding)
    return sorted(winners, key=lambda f: f.start)


def is_announced(text: str, start: int, end: int, words: re.Pattern[str]) -> bool:
    """Whether one of `words` stands shortly before or after `text[start:end]`."""
    before, after = text[max(0, start - REACH_BEFORE) : start], text[end : end + REACH_AFTER]
    return bool(words.search(before) or words.search(after))


def letters_and_digits(value: str) -> str:
    """A value without its separators, in capitals."""
    return "".join(character for character in value.upper() if character.isalnum())
