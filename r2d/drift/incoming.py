"""Calls that a model has decided, as the figures of which drift is measured; read as a stream."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from r2d.config.jobs import CallsConfig
from r2d.drift.reference import NO_DECLARED_LABEL, DriftReference, in_reference_digits
from r2d.drift.words import WordCounts
from r2d.errors import DataError
from r2d.evaluation.decided_rows import FloatArray
from r2d.inference.calls import read_calls, scan_calls
from r2d.inference.output import Plan, read_plan

COLUMNS = ("label", "label_probability", "why", "text_characters")


@dataclass(frozen=True)
class IncomingCalls:
    """What is known of the calls of one batch inference."""

    num_rows: int
    model: dict[str, Any]
    """name and hash of the model that decided."""
    labels: dict[str, int]
    """Predicted label -> calls."""
    confidences: FloatArray
    """Probability of the predicted label of each decided call."""
    lengths: FloatArray
    """Characters of each call that the model has read."""
    why_handed_over: dict[str, int]
    words: WordCounts | None
    """None where the calls themselves were not given."""


def incoming_calls(predictions: Path, calls: str | None, reference: DriftReference, *, max_texts: int) -> IncomingCalls:
    """Read the output of a batch inference and, for the words, the file that it had read.

    Raises:
        DataError: the predictions are no output of a batch inference, or of other calls than these.
    """
    plan = read_plan(predictions)
    if plan is None:
        raise DataError(f"{predictions}: was not written by a batch inference; give its output")
    labels, why = Counter[str](), Counter[str]()
    confidences, lengths = [], []
    with pq.ParquetFile(predictions) as opened:
        for batch in opened.iter_batches(columns=list(COLUMNS)):
            why.update(_counted(batch.column("why")))
            read = batch.filter(batch.column("label").is_valid())
            undeclared = pc.equal(read.column("why"), "no_declared_label").fill_null(False)
            labels.update(_counted(read.filter(pc.invert(undeclared)).column("label")))
            labels[NO_DECLARED_LABEL] += pc.sum(undeclared).as_py() or 0
            confidences.append(read.column("label_probability").drop_null().to_numpy())
            lengths.append(read.column("text_characters").to_numpy())
    return IncomingCalls(
        num_rows=plan.input.num_rows,
        model=asdict(plan.model),
        labels=dict(sorted((+labels).items())),
        confidences=in_reference_digits(np.concatenate(confidences)),
        lengths=np.concatenate(lengths).astype(np.float64),
        why_handed_over=dict(why.most_common()),
        words=None if calls is None else _words(predictions, _as_it_was_read(calls, plan), plan, reference, max_texts),
    )


def _counted(column: pa.Array) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in column.drop_null().value_counts().to_pylist()}


def _as_it_was_read(path: str, plan: Plan) -> CallsConfig:
    settings = {name: plan.settings[name] for name in ("format", "columns", "delimiter", "encoding")}
    return CallsConfig.model_validate({"path": path, **settings})


def _words(predictions: Path, calls: CallsConfig, plan: Plan, reference: DriftReference, max_texts: int) -> WordCounts:
    scanned = scan_calls(calls)
    if scanned.fingerprint != plan.input.fingerprint:
        raise DataError(
            f"{calls.path}: is not what {predictions} was made from (another content); give the calls that the batch "
            "inference has read, or leave them out"
        )
    counts = WordCounts(reference.vocabulary)
    share = max_texts / scanned.num_rows
    for row, call in enumerate(read_calls(calls)):
        if call.text and call.text.strip() and _draw(row) < share:
            counts.add(call.text)
    return counts


def _draw(row: int) -> float:
    """A number between 0 and 1 that is the same for a row each time."""
    return int.from_bytes(hashlib.blake2b(row.to_bytes(8), digest_size=8).digest()) / 2**64
