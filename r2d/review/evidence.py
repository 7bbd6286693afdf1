"""What a decision rests on, as far as it can be computed: sentences taken out one by one, and similar cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from r2d.modeling.predictor import Predictor
from r2d.rationales.standing import sentence_starts

if TYPE_CHECKING:
    import pyarrow as pa

MOST_PARTS = 40
"""Of a note; in a longer one neighbouring sentences are taken out together."""
MOST_SIMILAR = 3
LEAST_SIMILARITY = 0.1


@dataclass(frozen=True)
class Part:
    """A sentence of a note, or several."""

    text: str
    effect: float
    """By how much the probability of the label falls when the part is taken out; below 0 where it rises."""


def sentence_effects(predictor: Predictor, text: str, label: str, options: Sequence[str] | None = None) -> list[Part]:
    """The parts of a note in their order, each with its effect on the probability of a label (occlusion, Zeiler and
    Fergus 2014). Empty for a note of one sentence, and for a label that is not declared."""
    bounds = [*sentence_starts(text), len(text)]
    step = -(-(len(bounds) - 1) // MOST_PARTS)
    bounds = [*bounds[:-1:step], len(text)]
    spans = [(start, end) for start, end in pairwise(bounds) if text[start:end].strip()]
    if len(spans) < 2:
        return []
    texts = [text, *(text[:start] + text[end:] for start, end in spans)]
    decisions = predictor.decide(texts, None if options is None else [options] * len(texts), explain=False)
    whole, *without = [decision.label_probabilities.get(label) for decision in decisions]
    if whole is None:
        return []
    return [
        Part(text[start:end].strip(), whole - (value or 0.0))
        for (start, end), value in zip(spans, without, strict=True)
    ]


@dataclass(frozen=True)
class Similar:
    """A labelled case that shares words with a note."""

    row_id: str
    text: str
    label: str
    similarity: float
    """Cosine of the two texts' TF-IDF weights: 1 for the same words."""


class SimilarCases:
    """Labelled cases, found by their words."""

    def __init__(self, examples: pa.Table) -> None:
        """`examples`: a table of `EXAMPLES_SCHEMA`."""
        self._rows = examples.select(["id", "text", "label"]).to_pylist()

    @cached_property
    def _index(self):  # type: ignore[no-untyped-def]
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        return vectorizer, vectorizer.fit_transform(row["text"] for row in self._rows)

    def to(self, text: str, *, but: str) -> list[Similar]:
        """The most similar cases first, without the one whose id is `but`."""
        vectorizer, matrix = self._index
        similarities = (matrix @ vectorizer.transform([text]).T).toarray().ravel()
        found = []
        for place in similarities.argsort()[::-1][: MOST_SIMILAR + 1]:
            row = self._rows[place]
            if row["id"] != but and similarities[place] >= LEAST_SIMILARITY:
                found.append(Similar(row["id"], row["text"], row["label"], float(similarities[place])))
        return found[:MOST_SIMILAR]
