"""Safety, where labels are levels of urgency: how often, how far and where a patient is sent too low or too high.

Under-triage: the decision is less urgent than the reference. Over-triage: more urgent. Both are shares of all rows. A
decision that is no declared label counts as under-triage to one level below the least urgent: nobody is told to hurry,
and a program that reads it may do nothing at all. So a model cannot look safer by not answering.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from r2d.evaluation.decided_rows import BoolArray, DecidedRows, FloatArray
from r2d.evaluation.label_figures import SEVERE_LEVELS, row_costs


def safety_metrics(rows: DecidedRows, *, costs: FloatArray | None = None, num_worst_cases: int = 20) -> dict[str, Any]:
    """Count the errors by direction and distance. For labels in order of urgency, the most urgent first.

    Args:
        costs: [gold label, decided label]; a decision that is no declared label costs the most that a decision on that
            gold label can.

    Returns:
        num_rows, num_invalid (decisions that are no declared label; they are among the under-triaged),
        under_triage and over_triage: num_rows, rate, by_levels: levels (as text) -> rows,
        severe_under_triage: num_rows, rate, min_levels,
        by_gold_label: label -> num_rows, under_triage_rate, over_triage_rate (None without rows),
        mean_cost: None without costs,
        worst_cases: id, gold_label, predicted_label (None: no declared one), levels, confidence.
    """
    severe = rows.levels >= SEVERE_LEVELS
    return {
        "num_rows": len(rows),
        "num_invalid": int((rows.said == len(rows.labels)).sum()),
        "under_triage": _by_distance(rows.levels),
        "over_triage": _by_distance(-rows.levels),
        "severe_under_triage": {
            "num_rows": int(severe.sum()),
            "rate": float(severe.mean()),
            "min_levels": SEVERE_LEVELS,
        },
        "by_gold_label": {label: _of_label(rows, rows.gold == place) for place, label in enumerate(rows.labels)},
        "mean_cost": None if costs is None else float(row_costs(rows, costs).mean()),
        "worst_cases": worst_cases(rows, num_worst_cases),
    }


def worst_cases(rows: DecidedRows, number: int) -> list[dict[str, Any]]:
    """Under-triaged rows: by levels, then by confidence, then by id. Ids and labels, never texts."""
    under = np.flatnonzero(rows.levels > 0)
    confidence = rows.confidence
    order = sorted(under, key=lambda row: (-rows.levels[row], -confidence[row], rows.ids[row]))
    names = [*rows.labels, None]
    return [
        {
            "id": rows.ids[row],
            "gold_label": names[rows.gold[row]],
            "predicted_label": names[rows.said[row]],
            "levels": int(rows.levels[row]),
            "confidence": float(confidence[row]),
        }
        for row in order[:number]
    ]


def _by_distance(levels: Any) -> dict[str, Any]:
    """Of rows that are `levels` too low (or, with the sign turned, too high)."""
    distances, counts = np.unique(levels[levels > 0], return_counts=True)
    return {
        "num_rows": int(counts.sum()),
        "rate": float((levels > 0).mean()),
        "by_levels": {str(distance): int(count) for distance, count in zip(distances, counts, strict=True)},
    }


def _of_label(rows: DecidedRows, where: BoolArray) -> dict[str, Any]:
    levels = rows.levels[where]
    return {
        "num_rows": len(levels),
        "under_triage_rate": float((levels > 0).mean()) if len(levels) else None,
        "over_triage_rate": float((levels < 0).mean()) if len(levels) else None,
    }
