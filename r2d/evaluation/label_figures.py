"""Label figures as functions of sums over rows, so that they can be resampled, compared and sliced at little cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.decided_rows import BoolArray, DecidedRows, FloatArray
from r2d.evaluation.statistics import difference_intervals, intervals, mcnemar

SEVERE_LEVELS = 2
"""Levels by which a decision is less urgent than the reference from which on the under-triage is called severe."""


@dataclass(frozen=True)
class LabelFigures:
    """The figures of one label set. Definitions are those of `label_metrics`; a test holds the two together.

    macro-F1 of a resample is over the labels that occur in that resample's gold rows: the same rule as for the rows
    themselves.
    """

    num_labels: int
    ordered: bool
    costs: FloatArray | None = None
    """[gold label, decided label]; a decision that is no declared label costs the most that its row can."""

    def sums(self, rows: DecidedRows, where: BoolArray | None = None) -> FloatArray:
        """[groups, columns] over the rows of `where`: right, gold and decided rows of each label, then under-triage,
        over-triage, severe under-triage and cost. A group without such rows is a row of zeros."""
        chosen = np.ones(len(rows), dtype=bool) if where is None else where
        counted = [
            self._per_label(rows, rows.gold, chosen & rows.correct),
            self._per_label(rows, rows.gold, chosen),
            self._per_label(rows, rows.said, chosen & (rows.said < self.num_labels)),
        ]
        events = [rows.levels > 0, rows.levels < 0, rows.levels >= SEVERE_LEVELS, row_costs(rows, self.costs)]
        added = [np.bincount(rows.groups, weights=event * chosen, minlength=rows.num_groups) for event in events]
        return np.column_stack([*counted, *added]).astype(np.float64)

    def _per_label(self, rows: DecidedRows, places: Any, where: BoolArray) -> Any:
        cells = rows.groups[where] * self.num_labels + places[where]
        return np.bincount(cells, minlength=rows.num_groups * self.num_labels).reshape(-1, self.num_labels)

    def __call__(self, sums: FloatArray) -> dict[str, FloatArray]:
        """Sums [..., columns] -> name -> figure [...]. Recall and precision are called `recall/{place}` and so on."""
        right, gold, said = np.split(sums[..., : 3 * self.num_labels], 3, axis=-1)
        under, over, severe, cost = np.moveaxis(sums[..., 3 * self.num_labels :], -1, 0)
        rows, occurs = gold.sum(axis=-1), gold > 0
        with np.errstate(invalid="ignore", divide="ignore"):
            f1 = np.where(occurs, 2 * right / (gold + said), 0.0)
            figures = {
                "accuracy": right.sum(axis=-1) / rows,
                "macro_f1": f1.sum(axis=-1) / occurs.sum(axis=-1),
                "weighted_f1": (f1 * gold).sum(axis=-1) / rows,
                "invalid_label_rate": (rows - said.sum(axis=-1)) / rows,
            }
            if self.ordered:
                figures |= {"under_triage_rate": under / rows, "over_triage_rate": over / rows}
                figures["severe_under_triage_rate"] = severe / rows
            if self.costs is not None:
                figures["mean_cost"] = cost / rows
            for place in range(self.num_labels):
                figures[f"recall/{place}"] = right[..., place] / gold[..., place]
                figures[f"precision/{place}"] = right[..., place] / said[..., place]
        return figures

    def trials(self, sums: FloatArray) -> dict[str, int]:
        """The figures that are proportions -> groups that have a row in the denominator."""
        gold, said = (sums[:, n * self.num_labels : (n + 1) * self.num_labels] > 0 for n in (1, 2))
        rates = ("accuracy", "invalid_label_rate", "under_triage_rate", "over_triage_rate", "severe_under_triage_rate")
        found = dict.fromkeys(rates, int(gold.any(axis=1).sum()))
        for place in range(self.num_labels):
            found[f"recall/{place}"] = int(gold[:, place].sum())
            found[f"precision/{place}"] = int(said[:, place].sum())
        return found


def row_costs(rows: DecidedRows, costs: FloatArray | None) -> FloatArray:
    """[rows]: what each decision costs; 0 without a cost matrix."""
    if costs is None:
        return np.zeros(len(rows))
    taken: FloatArray = np.column_stack([costs, costs.max(axis=1)])[rows.gold, rows.said]
    return taken


def label_intervals(rows: DecidedRows, figures: LabelFigures, config: IntervalsConfig) -> dict[str, Any]:
    """Every label figure with its interval.

    Returns:
        confidence, num_resamples, num_groups, and for each figure value, low, high and method;
        per_class: label -> recall, precision, each likewise.
    """
    sums = figures.sums(rows)
    found = intervals(sums, figures, config, figures.trials(sums))
    return _head(rows, config) | _by_class(found, rows)


def label_differences(
    rows: DecidedRows, other: DecidedRows, figures: LabelFigures, config: IntervalsConfig
) -> dict[str, Any]:
    """`rows` minus `other`: two models (or a model and a baseline) on the same rows.

    Returns:
        as `label_intervals`, and mcnemar.

    Raises:
        ValueError: the rows are not the same.
    """
    if rows.ids != other.ids or not np.array_equal(rows.gold, other.gold):
        raise ValueError("two models are compared on the same rows in the same order; the ids or gold labels differ")
    found = difference_intervals(figures.sums(rows), figures.sums(other), figures, config)
    return _head(rows, config) | _by_class(found, rows) | {"mcnemar": mcnemar(rows.correct, other.correct, rows.groups)}


def _head(rows: DecidedRows, config: IntervalsConfig) -> dict[str, Any]:
    return {
        "confidence": config.confidence,
        "num_resamples": config.num_resamples,
        "num_groups": rows.num_groups,
    }


def _by_class(found: dict[str, dict[str, Any]], rows: DecidedRows) -> dict[str, Any]:
    whole: dict[str, Any] = {name: figure for name, figure in found.items() if "/" not in name}
    whole["per_class"] = {
        label: {name: found[f"{name}/{place}"] for name in ("recall", "precision")}
        for place, label in enumerate(rows.labels)
    }
    return whole
