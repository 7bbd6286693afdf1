"""Label sets with a stated coverage, such as `same day or sooner`: split conformal prediction with a threshold for each
label (Vovk 2012, Mondrian), by groups (Lee, Barber and Willett 2023, hierarchical conformal prediction).

Of each label the calibration rows say below which probability it hardly ever lies where it is right. A label belongs to
the set of a note from that probability on; of ordered labels those between two of the set belong to it too, and a set
that would be empty holds the predicted label: both only add coverage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.bootstrap import bootstrap_intervals, group_sums
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.estimates import ChoosingSplit, NamedCount
from r2d.evaluation.sections.operating_points import LabelSetsResult
from r2d.label_scores import BoolArray, FloatArray, IntArray

MAX_SHOWN_SETS = 10


@dataclass(frozen=True, eq=False)
class LabelThresholds:
    """From which probability on each label belongs to a set."""

    coverage: float
    num_rows: int
    num_groups: int
    lowest: FloatArray
    """[labels]; 0 where too few groups have the label for the coverage, so that it belongs to every set."""
    split: ChoosingSplit = "calibration"

    @classmethod
    def of(cls, rows: Predictions, coverage: float, split: ChoosingSplit) -> LabelThresholds:
        """Those for which a row of a new group has its reference in the set with that probability, label by label.

        Args:
            rows: of a split that chose nothing else of the model; probabilities as they are shown.
        """
        lowest = np.zeros(rows.num_labels)
        for label in range(rows.num_labels):
            of_label = np.flatnonzero(rows.gold == label)
            lowest[label] = _lowest(rows.probabilities[of_label, label], rows.groups[of_label], coverage)
        return cls(coverage, len(rows), rows.num_groups, lowest, split)

    def sets(self, rows: Predictions, *, ordered: bool) -> BoolArray:
        """[rows, labels]: whether the label belongs to the set of the row."""
        inside = rows.probabilities >= self.lowest - 1e-12
        empty = np.flatnonzero(~inside.any(axis=1))
        inside[empty, rows.probabilities[empty].argmax(axis=1)] = True
        if ordered:
            from_first = np.maximum.accumulate(inside, axis=1)
            from_last = np.maximum.accumulate(inside[:, ::-1], axis=1)[:, ::-1]
            inside = from_first & from_last
        return inside


def _lowest(probabilities: FloatArray, groups: IntArray, coverage: float) -> float:
    """The probability that at least `coverage` of the label's weight reaches: each group weighs the same, shared by its
    rows, and one more group that was not seen reaches none."""
    if not len(probabilities):
        return 0.0
    _, of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(-probabilities, kind="stable")
    reached = np.cumsum(1 / sizes[of_row][order]) / (len(sizes) + 1)
    enough = np.flatnonzero(reached >= coverage - 1e-12)
    return float(probabilities[order][enough[0]]) if len(enough) else 0.0


def label_sets(
    rows: Predictions, thresholds: LabelThresholds, *, ordered: bool, interval: IntervalsConfig
) -> LabelSetsResult:
    """Coverage and size of the sets of rows that did not choose the thresholds, with intervals over groups."""
    labels, inside = rows.labels, thresholds.sets(rows, ordered=ordered)
    covered, size = inside[np.arange(len(rows)), rows.gold], inside.sum(axis=1)
    of_label = rows.gold[:, None] == np.arange(rows.num_labels)
    columns = np.column_stack([np.ones(len(rows)), covered, size, size == 1, of_label, of_label & covered[:, None]])
    sums = group_sums(columns.astype(np.float64), rows.groups, rows.num_groups)

    def statistics(sums: FloatArray) -> Mapping[str, FloatArray]:
        num_rows, num_covered, sizes, single = (sums[..., column] for column in range(4))
        num_gold, num_found = np.split(sums[..., 4:], 2, axis=-1)
        with np.errstate(invalid="ignore"):
            shares = num_found / num_gold
        figures = {"coverage": num_covered / num_rows, "mean_size": sizes / num_rows, "single": single / num_rows}
        return figures | {f"label/{place}": shares[..., place] for place in range(len(labels))}

    trials = {"coverage": rows.num_groups, "single": rows.num_groups}
    trials |= {f"label/{place}": int((sums[:, 4 + place] > 0).sum()) for place in range(len(labels))}
    estimates = bootstrap_intervals(sums, statistics, interval, trials)
    names = Counter(set_name(labels, row, ordered=ordered) for row in inside)
    return LabelSetsResult(
        target=thresholds.coverage,
        split=thresholds.split,
        num_rows=thresholds.num_rows,
        num_groups=thresholds.num_groups,
        lowest_probability=dict(zip(labels, thresholds.lowest.tolist(), strict=True)),
        coverage=estimates["coverage"],
        coverage_of_label={label: estimates[f"label/{place}"] for place, label in enumerate(labels)},
        mean_size=estimates["mean_size"],
        single_share=estimates["single"],
        most_frequent=tuple(NamedCount(name=name, num_rows=count) for name, count in names.most_common(MAX_SHOWN_SETS)),
    )


def set_name(labels: Sequence[str], inside: BoolArray, *, ordered: bool) -> str:
    """A set in words: `same day or sooner`, `within three days or later`, `same day to self care`, `any label`."""
    places = np.flatnonzero(inside).tolist()
    first, last = labels[places[0]], labels[places[-1]]
    if len(places) == 1:
        return first
    if len(places) == len(labels):
        return "any label"
    if not ordered:
        return " or ".join(labels[place] for place in places)
    if places[0] == 0:
        return f"{last} or sooner"
    return f"{first} or later" if places[-1] == len(labels) - 1 else f"{first} to {last}"
