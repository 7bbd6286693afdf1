"""Decides calls: what the model predicts for each, and why a call is deferred to a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from r2d.errors import ModelError
from r2d.inference.calls import Call
from r2d.inference.output import DECISIONS_SCHEMA
from r2d.modeling.calibration_file import Calibration
from r2d.modeling.labels import LabelSets
from r2d.modeling.predictor import Decision, Predictor
from r2d.text import normalise_label


def decide_calls(
    calls: Sequence[Call],
    predictor: Predictor,
    *,
    first_row: int,
    model_name: str,
    batch_size: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """A table of `DECISIONS_SCHEMA`, a row for each call. Invalid calls are deferred and do not fail the others.

    Args:
        first_row: position of the first call in the input.
        model_name: value of the column `model`.
    """
    reasons = [_reason_unreadable(call, predictor.labels) for call in calls]
    readable = [call for call, reason in zip(calls, reasons, strict=True) if reason is None]
    options = None if predictor.labels.declared is not None else [call.options or () for call in readable]
    decisions: list[Decision] = []
    if readable:
        texts = [call.text or "" for call in readable]
        decisions = predictor.decide(texts, options, batch_size=batch_size, on_progress=on_progress)
    in_order = iter(decisions)
    rows = []
    for row, (call, reason) in enumerate(zip(calls, reasons, strict=True), first_row):
        decision = next(in_order) if reason is None else None
        why = reason if decision is None else _reason_deferred(decision, predictor.calibration)
        rows.append(
            {
                "row": row,
                "id": call.id,
                "label": decision and decision.label,
                "label_probability": decision.confidence if decision and decision.valid else None,
                "label_probabilities": list(decision.label_probabilities.items()) if decision else [],
                "rationale": decision and decision.rationale,
                "handed_over": why is not None,
                "why": why,
                "text_characters": None if call.text is None else len(call.text),
                "model": model_name,
            }
        )
    return pa.Table.from_pylist(rows, schema=DECISIONS_SCHEMA)


def _reason_unreadable(call: Call, labels: LabelSets) -> str | None:
    """Why the model cannot read this call; None where it can."""
    if call.text is None or not call.text.strip():
        return "no_text"
    try:
        call.text.encode()
    except UnicodeEncodeError:
        return "damaged_text"
    if labels.declared is not None:
        return None
    options = call.options or ()
    if len({normalise_label(option) for option in options if option} - {""}) < 2:
        return "no_options"
    try:
        labels.of(options)
    except ModelError:
        return "unusable_options"
    return None


def _reason_deferred(decision: Decision, calibration: Calibration | None) -> str | None:
    """Why a decision goes to a person; None where its label is shown."""
    if not decision.valid:
        return "no_declared_label"
    if calibration is None:
        return "never_evaluated"
    if not decision.deferred:
        return None
    return "no_threshold" if calibration.threshold is None else "below_threshold"
