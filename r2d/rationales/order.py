"""Whether outputs that are joined by their order stand beside their own notes, by the words that they share.

A rationale shares more words with its own note than with the note before or behind it. Where an output is missing or
one too many, all that follow share more with that neighbour: at least twice as many, so that notes which are copied
from visit to visit prove nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

CLEAR = 20
"""Outputs in a row that speak for a neighbour, less `AGAINST` for each between them that speaks for its own note, from
which on an order is wrong. Of 950 to 9,741 outputs of CommonsenseQA, PubMedQA and the demo at most 3 did so in the
right order, and 13 in one that was drawn; of 60 outputs behind one that was left out mostly 26 to 58."""
AGAINST = 4
MOST_READ = 20_000  # outputs, evenly spread
SAMPLED = 1_000  # notes, by which the frequent words are known
FREQUENT = 0.25  # of them that have a word which tells no note from another
LONGEST = 5_000  # characters of a text that are read

_find_words = re.compile(r"[^\W\d_]{4,}").findall


class Shift(NamedTuple):
    """Outputs in a row that share more words with a neighbour of their note than with their own."""

    step: int  # 1: with the note behind theirs, so that an output is missing before them; -1: with the note before
    first: int = 0  # place of the first of them, from 0
    num_shifted: int = 0
    num_own: int = 0  # outputs between them that share more with their own note

    @property
    def evidence(self) -> int:
        return self.num_shifted - AGAINST * self.num_own


def find_shift(outputs: Sequence[str], notes: Sequence[str | None]) -> Shift | None:
    """The outputs that plainly belong to the note before or behind theirs; None where there are none.

    Args:
        notes: as many as the outputs; None where a note is not known.
    """
    longest = current = {step: Shift(step) for step in (-1, 1)}
    for place, step, is_shifted in _votes(outputs, notes):
        run = current[step]
        run = Shift(step, place) if run.evidence <= 0 else run
        run = run._replace(num_shifted=run.num_shifted + is_shifted, num_own=run.num_own + (not is_shifted))
        current = current | {step: run}
        if run.evidence > longest[step].evidence:
            longest = longest | {step: run}
    best = max(longest.values(), key=lambda run: run.evidence)
    return best if best.evidence >= CLEAR else None


def _votes(outputs: Sequence[str], notes: Sequence[str | None]) -> Iterator[tuple[int, int, bool]]:
    """Yield the place of each output that tells, -1 or 1, and whether it shares more with the note before or behind
    its own than with that."""
    sampled = [_words(note) for note in notes[:: len(notes) // SAMPLED + 1] if note is not None]
    counts = Counter(word for words in sampled for word in words)
    frequent = {word for word, count in counts.items() if count > FREQUENT * len(sampled)}

    @lru_cache(maxsize=3)
    def words_of_note(place: int) -> set[str] | None:
        note = notes[place] if 0 <= place < len(notes) else None
        return None if note is None else _words(note)

    for place in range(0, len(outputs), len(outputs) // MOST_READ + 1):
        own, words = words_of_note(place), _words(outputs[place]) - frequent
        for step in (-1, 1):
            other = words_of_note(place + step)
            if own is None or other is None:
                continue
            with_own, with_other = len(words & own), len(words & other)
            if with_own > with_other or with_other > 2 * with_own:
                yield place, step, with_other > with_own


def _words(text: str) -> set[str]:
    return set(_find_words(text[:LONGEST].casefold()))
