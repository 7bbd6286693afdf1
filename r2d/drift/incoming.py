"""The calls of a batch inference, summarised for drift: labels, confidences, lengths and words. Read as a stream."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from r2d.config.jobs import CallsConfig
from r2d.data.drift import jensen_shannon_divergence
from r2d.errors import DataError
from r2d.inference.calls import read_calls, scan_calls
from r2d.inference.output import InferenceModel, Plan, read_plan
from r2d.modeling.reference import (
    NO_DECLARED_LABEL,
    DriftReference,
    FloatArray,
    round_values,
    unfamiliar_share,
    words_of,
)  # fmt: skip

MAX_COMPARED_WORDS = 1_000
"""The most frequent words; counts of rarer ones are mostly chance."""
MIN_TEXTS_TO_SHOW = 20
"""Texts that must hold a word before a report shows it."""
MAX_SHOWN_WORDS = 12


class ChangedWord(NamedTuple):
    """A word and the share of texts that hold it, in the reference and in the calls (`found`)."""

    word: str
    reference: float
    found: float


@dataclass
class WordCounts:
    """Words of incoming texts, counted by the vocabulary of the reference."""

    vocabulary: Mapping[str, int]
    num_texts: int = 0
    unfamiliar: list[float] = field(default_factory=list)
    """Share of unfamiliar words of each text."""
    halves: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))
    """Word -> texts that hold it, among every second text and among the others."""
    in_small_letters: Counter[str] = field(default_factory=Counter)
    """Word that is not in the vocabulary -> texts that hold it in small letters: with a capital it may be a name."""

    def add(self, text: str) -> None:
        """Count a text."""
        words = words_of(text)
        self.unfamiliar.append(unfamiliar_share(words, self.vocabulary))
        self.halves[self.num_texts % 2].update(set(words))
        self.in_small_letters.update(word for word in set(words) if word not in self.vocabulary and word in text)
        self.num_texts += 1

    def divergence(self, num_reference_texts: int) -> tuple[float, float]:
        """Jensen-Shannon divergence of the words from the reference (Lin 1991), and its part due to chance; in bits.

        Chance is measured, not computed, since words of a text depend on each other: it is the divergence of two
        random halves of the calls, scaled to the sizes compared (both grow with 1/n + 1/m).
        """
        words = list(self.vocabulary)[:MAX_COMPARED_WORDS]
        first, second = (np.array([half[word] for word in words], dtype=np.int64) for half in self.halves)
        if not first.sum() or not second.sum():
            return 1.0, 0.0
        reference = [self.vocabulary[word] for word in words]
        between_halves = jensen_shannon_divergence(first.tolist(), second.tolist())
        scale = (1 / num_reference_texts + 1 / self.num_texts) / (4 / self.num_texts)
        return jensen_shannon_divergence(reference, (first + second).tolist()), between_halves * scale

    def changed(self, num_reference_texts: int) -> list[ChangedWord]:
        """The words whose use changed most, among them new ones that do not look like names."""
        counts = self.halves[0] + self.halves[1]
        words = [
            ChangedWord(word, before / num_reference_texts, counts[word] / self.num_texts)
            for word, before in {**dict.fromkeys(counts, 0), **self.vocabulary}.items()
            if max(self.in_small_letters[word] if word not in self.vocabulary else counts[word], before)
            >= MIN_TEXTS_TO_SHOW
        ]
        return sorted(words, key=lambda word: -abs(word.found - word.reference))[:MAX_SHOWN_WORDS]


@dataclass(frozen=True)
class IncomingCalls:
    """The calls of one batch inference."""

    num_rows: int
    model: InferenceModel
    """The model that decided."""
    labels: Mapping[str, int]
    """Predicted label -> calls."""
    confidences: FloatArray
    """Probability of the predicted label of each decided call."""
    lengths: FloatArray
    """Characters of each call that the model has read."""
    deferral_reasons: Mapping[str, int]
    """Value of `why` -> calls deferred to a person for it, the most frequent first."""
    words: WordCounts | None
    """None where the calls themselves were not given."""


def incoming_calls(predictions: Path, calls: str | None, reference: DriftReference, *, max_texts: int) -> IncomingCalls:
    """Read the output of a batch inference and, for the words, the file that it has read.

    Raises:
        DataError: the predictions are no output of a batch inference, or of other calls than these.
    """
    plan = read_plan(predictions)
    if plan is None:
        raise DataError(f"{predictions}: was not written by a batch inference; give its output")
    labels, reasons = Counter[str](), Counter[str]()
    confidences, lengths = [], []
    with pq.ParquetFile(predictions) as file:
        for batch in file.iter_batches(columns=["label", "label_probability", "why", "text_characters"]):
            reasons.update(batch.column("why").drop_null().to_pylist())
            read = batch.filter(batch.column("label").is_valid())
            undeclared = pc.equal(read.column("why"), "no_declared_label").fill_null(False)
            labels.update(pc.if_else(undeclared, NO_DECLARED_LABEL, read.column("label")).to_pylist())
            confidences.append(read.column("label_probability").drop_null().to_numpy())
            lengths.append(read.column("text_characters").to_numpy())
    return IncomingCalls(
        num_rows=plan.input.num_rows,
        model=plan.model,
        labels=dict(sorted(labels.items())),
        confidences=round_values(np.concatenate(confidences)),
        lengths=np.concatenate(lengths).astype(np.float64),
        deferral_reasons=dict(reasons.most_common()),
        words=None if calls is None else _count_words(predictions, calls, plan, reference, max_texts),
    )


def _count_words(predictions: Path, path: str, plan: Plan, reference: DriftReference, max_texts: int) -> WordCounts:
    """Words of at most about `max_texts` calls, read as the batch inference read them."""
    settings = {name: value for name, value in plan.settings.items() if name in CallsConfig.model_fields}
    calls = CallsConfig.model_validate({"path": path, **settings})
    summary = scan_calls(calls)
    if summary.fingerprint != plan.input.fingerprint:
        raise DataError(
            f"{calls.path}: is not what {predictions} was made from (another content); give the calls that the batch "
            "inference has read, or leave them out"
        )
    counts, share = WordCounts(reference.vocabulary), max_texts / summary.num_rows
    for row, call in enumerate(read_calls(calls)):
        # A hash of the row, not a random number: the same calls give the same report.
        draw = int.from_bytes(hashlib.blake2b(row.to_bytes(8), digest_size=8).digest()) / 2**64
        if call.text and call.text.strip() and draw < share:
            counts.add(call.text)
    return counts
