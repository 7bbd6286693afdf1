"""Words of many texts as counts: how often the known ones are used, and how many are not known."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from r2d.data.drift import jensen_shannon_divergence
from r2d.evaluation.decided_rows import IntArray

MIN_TEXTS_WITH_WORD = 5
"""A rarer word of the reference, such as a name, is not kept: nobody can be found again by the vocabulary."""
MIN_TEXTS_TO_SHOW = 20
"""Calls that must hold a word before a report shows it."""
MAX_VOCABULARY = 20_000
MAX_COMPARED_WORDS = 1_000
"""The most frequent words; among rare ones chance rules."""
MAX_SHOWN_WORDS = 12

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def words_of(text: str) -> list[str]:
    """The words of a text in small letters, without numbers."""
    return _WORD.findall(text.casefold())


def vocabulary_of(texts: Iterable[str]) -> dict[str, int]:
    """Word -> texts that hold it, the most frequent first; without rare words."""
    counts = Counter(word for text in texts for word in set(words_of(text)))
    frequent = [(word, count) for word, count in counts.items() if count >= MIN_TEXTS_WITH_WORD]
    return dict(sorted(frequent, key=lambda item: (-item[1], item[0]))[:MAX_VOCABULARY])


def unfamiliar_share(words: list[str], vocabulary: Mapping[str, int]) -> float:
    """Share of a text's words that are not in the vocabulary; 0 for a text without words."""
    return sum(word not in vocabulary for word in words) / len(words) if words else 0.0


@dataclass
class WordCounts:
    """Words of incoming texts, counted by the vocabulary of the reference."""

    vocabulary: Mapping[str, int]
    num_texts: int = 0
    unfamiliar: list[float] = field(default_factory=list)
    """Share of unfamiliar words of each text."""
    halves: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))
    """Word -> texts that hold it, of every second text and of the others."""

    def add(self, text: str) -> None:
        """Count a text."""
        words = words_of(text)
        self.unfamiliar.append(unfamiliar_share(words, self.vocabulary))
        self.halves[self.num_texts % 2].update(set(words))
        self.num_texts += 1

    def divergence(self, num_reference_texts: int) -> tuple[float, float]:
        """Jensen-Shannon divergence of the words from the reference (Lin 1991), and what of it is due to chance.

        Chance is measured and not computed, since words of a text depend on each other: it is the divergence of two
        random halves of the calls, scaled to the sizes compared (both grow with 1/n + 1/m).

        Returns:
            the divergence and its part due to chance, both in bits.
        """
        words = list(self.vocabulary)[:MAX_COMPARED_WORDS]
        first, second = (_counts(half, words) for half in self.halves)
        if not first.sum() or not second.sum():
            return 1.0, 0.0
        reference = np.array([self.vocabulary[word] for word in words])
        between_halves = jensen_shannon_divergence(first.tolist(), second.tolist())
        scale = (1 / num_reference_texts + 1 / self.num_texts) / (4 / self.num_texts)
        return jensen_shannon_divergence(reference.tolist(), (first + second).tolist()), between_halves * scale

    def changed(self, num_reference_texts: int) -> list[dict[str, Any]]:
        """The words whose use changed most, new ones among them: word, and share of texts in reference and found."""
        now = self.halves[0] + self.halves[1]
        shares: list[dict[str, Any]] = [
            {"word": word, "reference": before / num_reference_texts, "found": now[word] / self.num_texts}
            for word, before in {**dict.fromkeys(now, 0), **self.vocabulary}.items()
            if max(now[word], before) >= MIN_TEXTS_TO_SHOW
        ]
        return sorted(shares, key=lambda one: -abs(one["found"] - one["reference"]))[:MAX_SHOWN_WORDS]


def _counts(found: Counter[str], words: list[str]) -> IntArray:
    return np.array([found[word] for word in words], dtype=np.int64)
