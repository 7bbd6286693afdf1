"""What a decision rests on, as far as it can be computed: sentences taken out one by one, and similar cases."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise
from typing import TYPE_CHECKING, NamedTuple

from r2d.modeling.predictor import Predictor
from r2d.rationales.standing import sentence_starts

if TYPE_CHECKING:
    import pyarrow as pa

MOST_PARTS = 40
"""Of a note; in a longer one neighbouring sentences are taken out together."""
PARTS_AT_A_TIME = 4
CHARACTERS_AT_FIRST = 4_096
"""In which the end of what the model reads is looked for first."""
MOST_SIMILAR = 3
LEAST_SIMILARITY = 0.1


@dataclass(frozen=True)
class Part:
    """A sentence of a note, or several."""

    text: str
    effect: float
    """By how much the probability of the label falls when the part is taken out; below 0 where it rises."""


class Parts(NamedTuple):
    """A note, as its effects are measured."""

    read: str
    """The beginning that the model reads, whole sentences: the rest is behind its `max_input_tokens`."""
    spans: list[tuple[int, int]]
    """Start and end of each part in `read`."""
    sentences_each: int
    """In a part; the last may have fewer."""


def parts_of(predictor: Predictor, text: str) -> Parts:
    """What the model reads of a note, in at most `MOST_PARTS` parts of whole sentences."""

    def prompt(end: int) -> list[int]:
        return predictor.prompts.label_prompts([text[:end]])[0]

    whole, near = prompt(len(text)), CHARACTERS_AT_FIRST
    while near < len(text) and prompt(near) != whole:
        near *= 2
    ends = [*sentence_starts(text[:near]), min(near, len(text))][1:]
    read = ends[min(bisect_left(ends, True, key=lambda end: prompt(end) == whole), len(ends) - 1)]
    starts = [0, *(end for end in ends if end < read)]
    step = -(-len(starts) // MOST_PARTS)
    spans = [(start, end) for start, end in pairwise([*starts[::step], read]) if text[start:end].strip()]
    return Parts(text[:read], spans, step)


def sentence_effects(
    predictor: Predictor, parts: Parts, label: str, options: Sequence[str] | None = None
) -> Iterator[Part]:
    """The parts of a note in their order, each with its effect on the probability of a label (occlusion, Zeiler and
    Fergus 2014). None for a note of one part, and for a label that is not declared.

    Decided `PARTS_AT_A_TIME` at a time, when they are asked for, so that a caller can do other work in between.
    """
    if len(parts.spans) < 2:
        return

    def probabilities(texts: list[str]) -> list[float | None]:
        each = None if options is None else [options] * len(texts)
        return [decision.label_probabilities.get(label) for decision in predictor.decide(texts, each, explain=False)]

    text = parts.read
    [whole] = probabilities([text])
    if whole is None:
        return
    rest = iter(parts.spans)
    while spans := list(islice(rest, PARTS_AT_A_TIME)):
        without = probabilities([text[:start] + text[end:] for start, end in spans])
        for (start, end), value in zip(spans, without, strict=True):
            yield Part(text[start:end].strip(), whole - (value or 0.0))


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
