"""Whether a text is like those that a model was trained on, by its length and its words: what is not, a person decides.

The limits are quantiles of the model's own texts (`r2d.modeling.reference`) with a margin, so that hardly one own text
in a hundred is called unlike. A text that has the length and the words of a note is not found, whatever it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from r2d.modeling.reference import REFERENCE_FILE, read_reference, unfamiliar_share, words_of

OWN_TEXTS_BEYOND = 0.005
"""Share of the model's own texts beyond each limit."""
LENGTH_MARGIN = 3.0
"""A text may be that many times shorter or longer: the length alone seldom makes another kind of text."""
LEAST_UNFAMILIAR = 0.2
"""A lower limit of unfamiliar words is not taken: names, places and slips of the pen are in every note."""
MIN_TEXTS = 200
"""With fewer texts a quantile of that size says nothing, and the check is not made."""


@dataclass(frozen=True)
class Scope:
    """The limits of one model."""

    shortest: float
    """Characters; hardly any text of the training has less."""
    longest: float
    max_unfamiliar: float
    """Share of words."""
    vocabulary: frozenset[str]
    hands_over: bool = True
    """Whether a person decides what is unlike; else it is only remarked."""

    @classmethod
    def of_model(cls, folder: Path) -> Scope | None:
        """Of the texts that the model of a folder was trained on; None where it keeps none or of too few texts.

        Raises:
            ModelError: the reference is damaged.
        """
        if not (folder / REFERENCE_FILE).exists():
            return None
        reference = read_reference(folder / REFERENCE_FILE)
        if reference.num_texts < MIN_TEXTS or not reference.unfamiliar:
            return None
        shortest, longest = np.quantile(reference.lengths, [OWN_TEXTS_BEYOND, 1 - OWN_TEXTS_BEYOND])
        unfamiliar = float(np.quantile(reference.unfamiliar, 1 - OWN_TEXTS_BEYOND))
        return cls(
            float(shortest),
            float(longest),
            max(unfamiliar, LEAST_UNFAMILIAR),
            frozenset(reference.vocabulary),
            reference.out_of_scope == "hand_over",
        )

    def remark(self, text: str) -> str | None:
        """How the text differs from those of the training, in a sentence that quotes nothing; None if it does not."""
        words, length = words_of(text), len(text)
        if not words:
            return "the call has no word"
        if length < self.shortest / LENGTH_MARGIN:
            return (
                f"the call has {length:,} characters, those of the training hardly ever less than {self.shortest:,.0f}"
            )
        if length > self.longest * LENGTH_MARGIN:
            return (
                f"the call has {length:,} characters, those of the training hardly ever more than {self.longest:,.0f}"
            )
        unfamiliar = unfamiliar_share(words, self.vocabulary)
        if unfamiliar > self.max_unfamiliar:
            return (
                f"{unfamiliar:.0%} of the words of the call are not among those of the training, where at most "
                f"{self.max_unfamiliar:.0%} are expected: another language, or another subject"
            )
        return None
