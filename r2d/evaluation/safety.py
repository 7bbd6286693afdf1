"""Safety, where labels are levels of urgency: how often, how far and where a patient is sent too low or too high.

Under-triage: the predicted label is less urgent than gold. Over-triage: more urgent. Both are shares of all rows. An
invalid prediction counts as under-triage to one level below the least urgent: nobody is told to hurry. So a model
cannot look safer by not answering.
"""

from __future__ import annotations

import numpy as np

from r2d.evaluation.label_metrics import SEVERE_LEVELS, row_costs
from r2d.evaluation.metrics import SafetyMetrics, TriageErrors, TriageRates, WorstCase
from r2d.evaluation.predictions import Predictions
from r2d.label_scores import FloatArray, IntArray


def safety_metrics(
    predictions: Predictions, *, costs: FloatArray | None = None, num_worst_cases: int = 20
) -> SafetyMetrics:
    """Count the errors by direction and distance. The labels are in order of urgency, the most urgent first.

    Args:
        costs: [gold label, predicted label]; an invalid prediction costs the most that one on that gold label can.
    """
    levels = predictions.levels
    severe = levels >= SEVERE_LEVELS
    of_label = {label: levels[predictions.gold == index] for index, label in enumerate(predictions.labels)}
    return SafetyMetrics(
        num_rows=len(predictions),
        num_invalid=int((~predictions.valid).sum()),
        under_triage=_errors_by_levels(levels),
        over_triage=_errors_by_levels(-levels),
        severe_under_triage=TriageErrors(
            num_rows=int(severe.sum()), rate=float(severe.mean()), min_levels=SEVERE_LEVELS
        ),
        by_gold_label={
            label: TriageRates(
                num_rows=len(of_rows),
                under_triage_rate=float((of_rows > 0).mean()) if len(of_rows) else None,
                over_triage_rate=float((of_rows < 0).mean()) if len(of_rows) else None,
            )
            for label, of_rows in of_label.items()
        },
        mean_cost=None if costs is None else float(row_costs(predictions, costs).mean()),
        worst_cases=worst_cases(predictions, num_worst_cases),
    )


def worst_cases(predictions: Predictions, number: int) -> tuple[WorstCase, ...]:
    """The first under-triaged rows by levels, then by confidence, then by id. They hold ids and labels, no texts."""
    levels, confidence = predictions.levels, predictions.confidence
    under = np.flatnonzero(levels > 0).tolist()
    order = sorted(under, key=lambda row: (-levels[row], -confidence[row], predictions.ids[row]))
    names = [*predictions.labels, None]
    return tuple(
        WorstCase(
            id=predictions.ids[row],
            gold_label=predictions.labels[int(predictions.gold[row])],
            predicted_label=names[predictions.predicted[row]],
            levels=int(levels[row]),
            confidence=float(confidence[row]),
        )
        for row in order[:number]
    )


def _errors_by_levels(levels: IntArray) -> TriageErrors:
    """Rows that are `levels` above 0."""
    distances, counts = np.unique(levels[levels > 0], return_counts=True)
    return TriageErrors(
        num_rows=int(counts.sum()),
        rate=float((levels > 0).mean()),
        by_levels=dict(zip(distances.tolist(), counts.tolist(), strict=True)),
    )
