"""From calls to rows of the output: what the model says, who decides, and why it is not the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from r2d.errors import ModelError
from r2d.text import normalise_label

if TYPE_CHECKING:
    from r2d.inference.calls import Call
    from r2d.modeling.calibration_file import Calibration
    from r2d.modeling.labels import LabelSets
    from r2d.modeling.predictor import Decision

WHY_HANDED_OVER = {
    "no_text": "the call has no text",
    "damaged_text": "the text holds half characters (\\ud800 to \\udfff alone)",
    "no_options": "the call brings fewer than two options that differ",
    "unusable_options": "the model cannot tell the options apart, or cannot write one of them",
    "no_declared_label": "what the model wrote is none of the labels",
    "below_threshold": "the label is less probable than the threshold of the model",
    "no_threshold": "the evaluation found no threshold that keeps the risk low enough",
    "never_evaluated": "the model has no threshold, because it was never evaluated",
}
"""Every value of `why`, and what it means. Of the first four the model has not seen the call."""

DECISIONS_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("label", pa.string()),
        pa.field("label_probability", pa.float64()),
        pa.field("label_probabilities", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("rationale", pa.string()),
        pa.field("handed_over", pa.bool_(), nullable=False),
        pa.field("why", pa.string()),
        pa.field("text_characters", pa.int64()),
        pa.field("model", pa.string(), nullable=False),
    ]
)
"""One row for each row of the input, in its order. `row` counts from 0, `id` is as found and may repeat. `label` and
`rationale` are null where the model could not be asked. `label_probability` is that of `label`, scaled by the model's
temperature; null where there is no label or it is not declared. `handed_over`: a person decides, and `why` is one of
`WHY_HANDED_OVER`; null where it is not. The text itself is not repeated; `text_characters` is its length."""


class Decides(Protocol):
    """What is needed of `r2d.modeling.predictor.Predictor`."""

    calibration: Calibration | None
    labels: LabelSets

    def decide(
        self,
        texts: Sequence[str],
        options: Sequence[Sequence[str]] | None = None,
        *,
        batch_size: int = 32,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Decision]: ...


def decide_calls(
    calls: Sequence[Call],
    predictor: Decides,
    *,
    first_row: int,
    model: str,
    batch_size: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """A table of `DECISIONS_SCHEMA` with a row for each call.

    A call that the model cannot be asked about is handed over with the reason, instead of failing the others: among a
    million calls there is always an empty one, and somebody waits behind each of the rest.

    Args:
        first_row: place of the first call in the input.
        model: how the column `model` calls the model.
    """
    per_row = predictor.labels.declared is None
    unasked = {place: why for place, call in enumerate(calls) if (why := _cannot_be_asked(call, predictor))}
    asked = [place for place in range(len(calls)) if place not in unasked]
    decisions: dict[int, Decision] = {}
    if asked:
        texts = [calls[place].text or "" for place in asked]
        options = [calls[place].options or () for place in asked] if per_row else None
        decided = predictor.decide(texts, options, batch_size=batch_size, on_progress=on_progress)
        decisions = dict(zip(asked, decided, strict=True))
    rows = [
        {
            "row": first_row + place,
            "id": call.id,
            "text_characters": None if call.text is None else len(call.text),
            "model": model,
            **(_refused(unasked[place]) if place in unasked else _decided(decisions[place], predictor.calibration)),
        }
        for place, call in enumerate(calls)
    ]
    return pa.Table.from_pylist(rows, schema=DECISIONS_SCHEMA)


def _cannot_be_asked(call: Call, predictor: Decides) -> str | None:
    """Why the model cannot be asked about this call; None where it can."""
    if call.text is None or not call.text.strip():
        return "no_text"
    if not _is_whole(call.text):
        return "damaged_text"
    if predictor.labels.declared is not None:
        return None
    options = call.options or ()
    if len({normalise_label(option) for option in options if option} - {""}) < 2:
        return "no_options"
    try:
        predictor.labels.of(options)
    except ModelError:
        return "unusable_options"
    return None


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refused(why: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("label", "label_probability", "rationale"))
    return {**nothing, "label_probabilities": [], "handed_over": True, "why": why}


def _decided(decision: Decision, calibration: Calibration | None) -> dict[str, Any]:
    why = _why_handed_over(decision, calibration)
    return {
        "label": decision.label,
        "label_probability": decision.confidence if decision.valid else None,
        "label_probabilities": list(decision.label_probabilities.items()),
        "rationale": decision.rationale,
        "handed_over": why is not None,
        "why": why,
    }


def _why_handed_over(decision: Decision, calibration: Calibration | None) -> str | None:
    if not decision.valid:
        return "no_declared_label"
    if calibration is None:
        return "never_evaluated"
    if not decision.deferred:
        return None
    return "no_threshold" if calibration.threshold is None else "below_threshold"
