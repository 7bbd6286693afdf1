"""Compares evaluated models: metrics over the seeds, intervals, differences to the first variant, spread over sources.

A variant's metric is the mean of those of its seeds; every seed of every variant is measured on the same draws of
groups. The interval of a variant covers the sampling of test rows only: it is about these trained models. That of a
difference covers the seeds too where both variants have `MIN_SEEDS`, and only such a difference can be marked.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import IntervalsConfig
from r2d.errors import DataError
from r2d.evaluation.bootstrap import bootstrap_differences, bootstrap_intervals, resampled_sums
from r2d.evaluation.comparison.models import COLUMNS, ROW_SCORES, AskedModel, MeasuredModel, VariantFacts
from r2d.evaluation.label_metrics import LabelStatistics
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.labels import Comparator, HeadlineName
from r2d.label_scores import FloatArray

JsonObject = dict[str, Any]

MIN_SEEDS = 3
"""With fewer trained models of a variant nothing is said of its recipe."""


@dataclass(frozen=True)
class SeedSummary:
    """A metric over the seeds of a variant."""

    values: Sequence[float]
    """Of the models that have the metric."""

    @property
    def mean(self) -> float | None:
        """None without a model."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def std(self) -> float | None:
        """The sample standard deviation; None for fewer than two models."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class VariantResult:
    """A variant over its seeds."""

    facts: VariantFacts
    num_models: int
    metrics: Mapping[str, SeedSummary]
    """Key of `COLUMNS` -> its values."""
    intervals: Mapping[str, IntervalEstimate]
    """accuracy, macro_f1 (labels of a declared set), under_triage_rate (ordered labels), and `ROW_SCORES`."""
    differences: Mapping[str, IntervalEstimate]
    """The same minus the first variant; marked where `is_marked`. Empty for the first variant itself, and
    without `ROW_SCORES` where the two have different reference rationales: the difference would be one of those too."""

    def to_json(self) -> JsonObject:
        """variant, method, source, references, n, figures (mean, std, n), intervals, differences (with `marked`)."""
        facts = asdict(self.facts)
        del facts["seed"]
        figures = {
            key: {"mean": summary.mean, "std": summary.std, "n": len(summary.values)}
            for key, summary in self.metrics.items()
        }
        intervals = {key: asdict(estimate) for key, estimate in self.intervals.items()}
        differences = {key: asdict(row) | {"marked": is_marked(row)} for key, row in self.differences.items()}
        return facts | {
            "n": self.num_models, "figures": figures, "intervals": intervals, "differences": differences,
        }  # fmt: skip


def source_spread(variants: Sequence[VariantResult]) -> dict[str, float | None]:
    """Key of a column -> largest minus smallest mean over a method's sources; None where a source has none."""
    spread: dict[str, float | None] = {}
    for column in COLUMNS:
        if not column.is_cost:
            means = [variant.metrics[column.key].mean for variant in variants]
            known = [mean for mean in means if mean is not None]
            spread[column.key] = max(known) - min(known) if len(known) == len(means) else None
    return spread


@dataclass(frozen=True)
class Comparison:
    """All variants side by side; the first is the reference."""

    seeds: Sequence[int]
    num_rows: int
    """Of the test split, in `num_groups` groups."""
    num_groups: int
    decoding: str
    bertscore_model: str | None
    confidence: float
    headline: HeadlineName
    baselines: Mapping[Comparator, float]
    """Their headline metric."""
    variants: Sequence[VariantResult]
    sources: Mapping[str, Sequence[VariantResult]]
    """Method that was trained on several rationale sources -> its variants."""
    zero_shot: AskedModel | None
    """A model that was asked and not trained."""
    few_shot: AskedModel | None
    """Of one whose prompt showed solved training rows."""

    @property
    def reference(self) -> str:
        return self.variants[0].facts.variant

    @property
    def with_interval(self) -> list[IntervalEstimate]:
        """Every difference that has an interval."""
        differences = [difference for variant in self.variants for difference in variant.differences.values()]
        return [difference for difference in differences if difference.low is not None]

    @property
    def num_marked(self) -> int:
        """Differences that are marked."""
        return sum(map(is_marked, self.with_interval))

    @property
    def can_mark(self) -> bool:
        """Whether any difference has an interval that covers the seeds."""
        return any(difference.method == "seeds" for difference in self.with_interval)

    def to_json(self) -> JsonObject:
        """The fields, and reference, num_differences (with an interval), num_marked."""
        names = ("variant", "source", "references")
        return vars(self) | {
            "reference": self.reference,
            "baselines": {baseline.value: value for baseline, value in self.baselines.items()},
            "num_differences": len(self.with_interval),
            "num_marked": self.num_marked,
            "variants": [variant.to_json() for variant in self.variants],
            "sources": [
                {
                    "method": method,
                    "rows": [{name: getattr(row.facts, name) for name in names} for row in rows],
                    "spread": source_spread(rows),
                }
                for method, rows in self.sources.items()
            ],
        }


def compare(
    models: Sequence[MeasuredModel], labels: LabelsConfig, config: IntervalsConfig = IntervalsConfig()
) -> Comparison:
    """Compare the models, variants in the order in which they come.

    Raises:
        DataError: two models were not evaluated on the same test rows.
    """
    tables = same_rows(models)
    measure = VariantStatistics(labels)
    names = [model.facts.variant for model in models]
    by_variant = {name: [index for index, other in enumerate(names) if other == name] for name in dict.fromkeys(names)}
    sums = {name: np.hstack([measure.sums(tables[index]) for index in own]) for name, own in by_variant.items()}
    runs = {
        name: VariantRuns(sums[name], is_trained=models[own[0]].facts.seed is not None)
        for name, own in by_variant.items()
    }
    reference, *_ = by_variant
    num_groups = len(sums[reference])
    proportions = dict.fromkeys(("accuracy", "under_triage_rate"), num_groups)
    references = {name: tables[own[-1]]["rationale"] for name, own in by_variant.items()}
    variants = []
    for name, own in by_variant.items():
        metrics = {}
        for column in COLUMNS:
            values = [column.read(models[index]) for index in own]
            metrics[column.key] = SeedSummary([value for value in values if value is not None])
        differences = {} if name == reference else differences_over_seeds(runs[name], runs[reference], measure, config)
        if not references[name].equals(references[reference]):
            differences = {key: value for key, value in differences.items() if key not in ROW_SCORES}
        intervals = bootstrap_intervals(sums[name], measure, config, proportions)
        variants.append(VariantResult(models[own[0]].facts, len(own), metrics, intervals, differences))
    sources = {
        method: [row for row in variants if row.facts.method == method and row.facts.source is not None]
        for method in dict.fromkeys(row.facts.method for row in variants)
    }
    first = models[0].metrics
    asked = [model.zero_shot for model in models if model.zero_shot is not None]
    scorers = {model.metrics.rationale.bertscore for model in models if model.metrics.rationale is not None}
    return Comparison(
        seeds=sorted({model.facts.seed for model in models if model.facts.seed is not None}),
        num_rows=first.num_rows,
        num_groups=num_groups,
        decoding=first.decoding,
        bertscore_model=", ".join(sorted({scorer.model for scorer in scorers if scorer is not None})) or None,
        confidence=config.confidence,
        headline=first.label.headline,
        baselines={baseline: getattr(label, first.label.headline) for baseline, label in first.baselines.items()},
        variants=variants,
        sources={method: rows for method, rows in sources.items() if len(rows) > 1},
        zero_shot=next((facts for facts in asked if not facts["num_examples"]), None),
        few_shot=next((facts for facts in asked if facts["num_examples"]), None),
    )


def same_rows(models: Sequence[MeasuredModel]) -> list[pa.Table]:
    """The predictions of each model that are compared, in the order of the ids.

    Raises:
        DataError: two models were not evaluated on the same rows, labels and groups.
    """
    columns = ["id", "label", "group", "predicted_label", "valid", "rationale", *ROW_SCORES]
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
            f"comparison: {model.name} and {models[0].name} were not evaluated on the same test rows ({what}), so they "
            "cannot be compared; evaluate both with the same data, data.split and evaluation.max_rows"
        )
    return tables


@dataclass(frozen=True)
class VariantStatistics:
    """The metrics of a variant from sums over rows, for the bootstrap: [..., seeds x columns] -> name -> [...]."""

    labels: LabelsConfig

    @cached_property
    def of_labels(self) -> LabelStatistics:
        return LabelStatistics.of(self.labels)

    def sums(self, table: pa.Table) -> FloatArray:
        """[groups, columns] of one seed: those of the labels, then sum and number of rows of each of `ROW_SCORES`."""
        predictions = Predictions.from_table(table, self.labels)
        columns = [self.of_labels.sums(predictions)]
        for name in ROW_SCORES:
            values = np.array(table[name].to_pylist(), dtype=np.float64)  # null becomes NaN
            is_known = np.isfinite(values)
            for counted in (np.where(is_known, values, 0.0), is_known):
                columns.append(np.bincount(predictions.groups, weights=counted).astype(np.float64)[:, None])
        return np.hstack(columns)

    def __call__(self, sums: FloatArray) -> dict[str, FloatArray]:
        """Each metric, the mean of those of the seeds."""
        return {name: values.mean(axis=-1) for name, values in self.of_seeds(sums).items()}

    def of_seeds(self, sums: FloatArray) -> dict[str, FloatArray]:
        """Each metric of each seed, [..., seeds]."""
        width = self.of_labels.num_columns + 2 * len(ROW_SCORES)
        of_seeds = sums.reshape(*sums.shape[:-1], -1, width)
        of_labels, scores = np.split(of_seeds, [self.of_labels.num_columns], axis=-1)
        names = ["accuracy"]
        if self.of_labels.has_classes:
            names += ["macro_f1", *(["under_triage_rate"] if self.of_labels.ordered else [])]
        every = self.of_labels(of_labels)
        metrics = {name: every[name] for name in names}
        with np.errstate(invalid="ignore", divide="ignore"):
            for place, name in enumerate(ROW_SCORES):
                metrics[name] = scores[..., 2 * place] / scores[..., 2 * place + 1]
        return metrics


class VariantRuns(NamedTuple):
    """A variant's models on the same groups."""

    sums: FloatArray
    """[groups, seeds x columns]"""
    is_trained: bool
    """Whether another seed would give another model."""


def differences_over_seeds(
    first: VariantRuns, second: VariantRuns, measure: VariantStatistics, config: IntervalsConfig
) -> dict[str, IntervalEstimate]:
    """Each metric of `first` minus that of `second`.

    With `MIN_SEEDS` trained models of each variant the interval covers rows and seeds: Student's t with the variance of
    the paired bootstrap over groups plus that of the mean over the seeds, of each variant, and Satterthwaite's degrees
    of freedom. It is somewhat too wide, because the bootstrap holds a part of the variance between seeds as well. With
    fewer seeds it is the interval of the bootstrap: of these models, and not of their recipes.
    """
    from scipy.stats import t as student  # type: ignore[import-untyped]

    width = first.sums.shape[1]
    both = np.hstack([first.sums, second.sums])
    values = [measure.of_seeds(runs.sums.sum(axis=0)) for runs in (first, second)]
    trained = [value for value, runs in zip(values, (first, second), strict=True) if runs.is_trained]
    num_seeds = [next(iter(value.values())).size for value in trained]
    if not trained or min(num_seeds) < MIN_SEEDS:
        return bootstrap_differences(first.sums, second.sums, measure, config)
    resampled = resampled_sums(both, config)
    ours, theirs = measure(resampled[:, :width]), measure(resampled[:, width:])
    differences = {}
    for name in values[0]:
        value = float(values[0][name].mean() - values[1][name].mean())
        over_seeds = [np.var(metrics[name], ddof=1) / metrics[name].size for metrics in trained]
        parts = np.array([np.var(ours[name] - theirs[name]), *over_seeds])
        if not np.isfinite(value) or not np.isfinite(parts).all() or parts.sum() <= 1e-24:
            differences[name] = IntervalEstimate(value if np.isfinite(value) else None)
            continue
        degrees = np.array([len(both) - 1, *(count - 1 for count in num_seeds)])
        freedom = parts.sum() ** 2 / (parts**2 / degrees).sum()
        half = float(student.ppf((1 + config.confidence) / 2, freedom) * np.sqrt(parts.sum()))
        differences[name] = IntervalEstimate(value, value - half, value + half, "seeds")
    return differences


def is_marked(difference: IntervalEstimate) -> bool:
    """Whether two recipes are told apart: an interval that covers the seeds excludes 0."""
    return difference.method == "seeds" and difference.excludes_zero
