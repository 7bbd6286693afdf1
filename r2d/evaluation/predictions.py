"""The table of an evaluation: what the model said of every test row, and what is known of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from r2d.modeling.calibration_file import Calibration
    from r2d.modeling.predictor import Decision

PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("label", pa.string(), nullable=False),
        pa.field("predicted_label", pa.string(), nullable=False),
        pa.field("valid", pa.bool_(), nullable=False),
        pa.field("label_probabilities", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("handed_over", pa.bool_()),
        pa.field("rationale", pa.string(), nullable=False),
        pa.field("predicted_rationale", pa.string(), nullable=False),
        pa.field("flags", pa.list_(pa.string()), nullable=False),
        pa.field("paper_bleu", pa.float64()),
        pa.field("rouge_l", pa.float64()),
        pa.field("bertscore_f1", pa.float64()),
    ]
)
"""One row a test example; joined to the examples by `id`. `group` is the patient or caller, null where there is none;
`label_probabilities` are scaled by the temperature; `handed_over` is null without a threshold; `flags` are faults of
the written rationale; scores are null without a reference."""


def predictions_table(
    test: pa.Table,
    decisions: Sequence[Decision],
    calibration: Calibration | None,
    flags: Sequence[Sequence[str]],
    scores: Mapping[str, Sequence[float | None]],
) -> pa.Table:
    """Table of `PREDICTIONS_SCHEMA`.

    Args:
        decisions: of the test rows, with probabilities that are not scaled.
        flags: of each row; scores: figure -> of each row.
    """
    from r2d.modeling.calibration_file import scaled_probabilities

    temperature = 1.0 if calibration is None else calibration.temperature
    shown = [scaled_probabilities(decision.label_probabilities, temperature) for decision in decisions]
    confidence = [some.get(decision.label, 0.0) for some, decision in zip(shown, decisions, strict=True)]
    columns = {
        "predicted_label": [decision.label for decision in decisions],
        "valid": [decision.valid for decision in decisions],
        "label_probabilities": [list(some.items()) for some in shown],
        "handed_over": [None if calibration is None else calibration.defers(value) for value in confidence],
        "predicted_rationale": [decision.rationale for decision in decisions],
        "flags": flags,
        **scores,
    }
    taken = {name: test[name].to_pylist() for name in ("id", "split", "group", "label", "rationale")}
    return pa.table(taken | columns, schema=PREDICTIONS_SCHEMA)


def by_id_hash(ids: Sequence[str]) -> list[int]:
    """Row numbers in an order that nobody picks and that stays when rows are added."""
    digests = [hashlib.sha256(id_.encode()).digest() for id_ in ids]
    return sorted(range(len(digests)), key=digests.__getitem__)
