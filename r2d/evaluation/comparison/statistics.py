"""How sure the figures of a comparison are: intervals of each variant, and differences to the first one.

A variant's figure is the mean of those of its seeds. Groups (patients, callers) are drawn, and every seed of every
variant is measured on the same draws, so that a difference is paired. The trained models are taken as they are: an
interval speaks of other test rows, not of other seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import IntervalsConfig
from r2d.errors import DataError
from r2d.evaluation.bootstrap import Statistics, bootstrap_differences, bootstrap_intervals
from r2d.evaluation.comparison.models import MeasuredModel
from r2d.evaluation.label_metrics import LabelStatistics
from r2d.evaluation.predictions import Predictions
from r2d.label_scores import FloatArray, IntArray

SCORES = ("bertscore_f1", "paper_bleu")
"""Figures of a row's rationale; a model has their mean over the rows with a reference."""


@dataclass(frozen=True)
class SeedMeans:
    """Figures of a variant from the sums of its seeds, side by side: [..., seeds x columns] -> figure [...]."""

    figures: Statistics
    width: int
    """Columns of one seed."""

    def __call__(self, sums: FloatArray) -> dict[str, FloatArray]:
        of_seeds = self.figures(sums.reshape(*sums.shape[:-1], -1, self.width))
        return {name: values.mean(axis=-1) for name, values in of_seeds.items()}


def compared_intervals(
    models: Sequence[MeasuredModel], labels: LabelsConfig, config: IntervalsConfig
) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Each figure of each variant with its interval, and its difference to the first variant of the grid.

    Where two variants are measured against different reference rationales, the difference of a rationale figure would
    be one of the references too: there is none then.

    Returns:
        variant -> intervals: figure -> value, low, high, method, as `IntervalEstimate`; and differences: figure ->
        the same and `marked`: whether the interval does not hold 0. Figures: accuracy, macro_f1 (labels of a declared
        set), under_triage_rate (ordered labels), and `SCORES`.

    Raises:
        DataError: two models were not evaluated on the same test rows.
    """
    rows = same_rows(models)
    measured = _Measured.of(rows, labels)
    sums: dict[str, FloatArray] = {}
    for model, table in zip(models, rows, strict=True):
        own = measured.sums(table)
        sums[model.variant] = np.hstack([sums[model.variant], own]) if model.variant in sums else own
    first = models[0].variant
    references = {model.variant: table["rationale"] for model, table in zip(models, rows, strict=True)}
    found = {}
    for variant, own in sums.items():
        differences = {}
        if variant != first:
            differences = bootstrap_differences(own, sums[first], measured.means, config)
            if not references[variant].equals(references[first]):
                differences = {name: value for name, value in differences.items() if name not in SCORES}
        found[variant] = {
            "intervals": {
                name: asdict(value)
                for name, value in bootstrap_intervals(own, measured.means, config, measured.trials).items()
            },
            "differences": {
                name: asdict(value) | {"marked": value.excludes_zero} for name, value in differences.items()
            },
        }
    return found


def same_rows(models: Sequence[MeasuredModel]) -> list[pa.Table]:
    """What is compared of the predictions of each model, in the order of the ids.

    Raises:
        DataError: two models were not evaluated on the same rows, labels and groups.
    """
    columns = ["id", "label", "group", "predicted_label", "valid", "rationale", *SCORES]
    tables = [model.predictions.select(columns).sort_by("id").combine_chunks() for model in models]
    first = tables[0].select(["id", "label", "group"])
    for model, table in zip(models, tables, strict=True):
        if table.select(["id", "label", "group"]).equals(first):
            continue
        theirs, ours = set(first["id"].to_pylist()), set(table["id"].to_pylist())
        only = sorted(theirs ^ ours)
        what = (
            f"{len(ours - theirs):,} rows are its alone and {len(theirs - ours):,} are missing, such as {only[0]!r}"
            if only
            else "the rows have the same ids, but other labels or groups"
        )
        raise DataError(
            f"comparison: {_called(model)} and {_called(models[0])} were not evaluated on the same test rows ({what}), "
            "so they cannot be compared; evaluate both with the same data, data.split and evaluation.max_rows"
        )
    return tables


def _called(model: MeasuredModel) -> str:
    return f"{model.variant!r}" if model.seed is None else f"{model.variant!r} (seed {model.seed})"


@dataclass(frozen=True)
class _Measured:
    """What is summed over the rows of each group, and the metrics that come of it."""

    labels: LabelsConfig
    statistics: LabelStatistics
    groups: IntArray

    @classmethod
    def of(cls, rows: Sequence[pa.Table], labels: LabelsConfig) -> _Measured:
        return cls(labels, LabelStatistics.of(labels), Predictions.from_table(rows[0], labels).groups)

    @property
    def names(self) -> tuple[str, ...]:
        """The label metrics."""
        if not self.statistics.has_classes:
            return ("accuracy",)
        return ("accuracy", "macro_f1", *(["under_triage_rate"] if self.statistics.ordered else []))

    @property
    def trials(self) -> dict[str, int]:
        return dict.fromkeys(("accuracy", "under_triage_rate"), int(self.groups.max()) + 1)

    @property
    def means(self) -> SeedMeans:
        return SeedMeans(self._figures, self.statistics.num_columns + 2 * len(SCORES))

    def sums(self, table: pa.Table) -> FloatArray:
        """[groups, columns]: those of the labels, then sum and number of rows of each score."""
        columns = [self.statistics.sums(Predictions.from_table(table, self.labels))]
        for name in SCORES:
            values = np.array(table[name].to_pylist(), dtype=np.float64)  # null becomes NaN
            is_known = np.isfinite(values)
            for counted in (np.where(is_known, values, 0.0), is_known):
                columns.append(np.bincount(self.groups, weights=counted).astype(np.float64)[:, None])
        return np.hstack(columns)

    def _figures(self, sums: FloatArray) -> Mapping[str, FloatArray]:
        of_labels, scores = np.split(sums, [-2 * len(SCORES)], axis=-1)
        every = self.statistics(of_labels)
        metrics = {name: every[name] for name in self.names}
        with np.errstate(invalid="ignore", divide="ignore"):
            for place, name in enumerate(SCORES):
                metrics[name] = scores[..., 2 * place] / scores[..., 2 * place + 1]
        return metrics
