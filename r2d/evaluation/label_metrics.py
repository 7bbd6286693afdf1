"""Metrics of predicted labels: values, intervals, differences to other systems on the same rows, safety, ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.bootstrap import PairedGroups, bootstrap_differences, bootstrap_intervals, group_sums, mcnemar
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.labels import (
    Auroc,
    ClassMetrics,
    LabelIntervals,
    LabelMetrics,
    RankingMetrics,
    SafetyMetrics,
    TriageErrors,
    TriageRates,
    WorstCase,
)
from r2d.label_scores import BoolArray, FloatArray, IntArray, label_counts, label_scores

SEVERE_LEVELS = 2
"""An under-triage by at least that many levels is severe."""
TRIAGE_RATES = ("under_triage_rate", "over_triage_rate", "severe_under_triage_rate")
"""In the order of their columns among the sums."""
ONE_GOLD_LABEL = "all gold rows have one label"


def label_metrics(predictions: Predictions) -> LabelMetrics:
    """Accuracy, F1 and the confusion matrix. An invalid prediction is its last column, and never a class of its own, as
    it is in the published code."""
    gold, predicted, num_labels = predictions.gold, predictions.predicted, predictions.num_labels
    counts = label_counts(gold, predicted, num_labels)[0]
    scores = label_scores(counts)
    if not predictions.labels:
        return without_classes(predictions.correct.tolist(), invalid_label_rate=float(scores.invalid_label_rate))
    cells = np.bincount(gold * (num_labels + 1) + predicted, minlength=num_labels * (num_labels + 1))
    return LabelMetrics(
        num_rows=len(predictions),
        accuracy=float(scores.accuracy),
        macro_f1=float(scores.macro_f1),
        weighted_f1=float(scores.weighted_f1),
        invalid_label_rate=float(scores.invalid_label_rate),
        per_class={
            label: ClassMetrics(
                precision=float(np.nan_to_num(scores.precision[index])),
                recall=float(np.nan_to_num(scores.recall[index])),
                f1=float(scores.f1[index]),
                support=int(counts[num_labels + index]),
                predicted=int(counts[2 * num_labels + index]),
            )
            for index, label in enumerate(predictions.labels)
        },
        confusion_matrix=tuple(map(tuple, cells.reshape(num_labels, num_labels + 1).tolist())),
    )


def without_classes(correct: Sequence[float], *, invalid_label_rate: float = 0.0) -> LabelMetrics:
    """The metrics of rows with options of their own. A class is a label that rows share: there is none, and no F1.

    Args:
        correct: probability of each row of being predicted correctly; 0 or 1 for a model.
    """
    return LabelMetrics(
        num_rows=len(correct),
        accuracy=sum(correct) / len(correct),
        macro_f1=None,
        weighted_f1=None,
        invalid_label_rate=invalid_label_rate,
    )


@dataclass(frozen=True)
class LabelStatistics:
    """Label metrics as functions of sums over rows, so that they can be resampled, compared and sliced.

    macro-F1 of a resample is over the labels that occur in the gold rows of that resample.
    """

    num_labels: int
    ordered: bool = False
    costs: FloatArray | None = None
    """[gold label, predicted label]; an invalid prediction costs the most that its row can."""
    has_classes: bool = True
    """False where each row has options of its own; then accuracy and the invalid-label rate are all there is."""

    @classmethod
    def of(cls, labels: LabelsConfig, costs: FloatArray | None = None) -> LabelStatistics:
        return cls(len(labels.names) or 1, labels.is_ordered, costs, has_classes=not labels.per_row)

    @property
    def num_columns(self) -> int:
        return 3 * self.num_labels + 4

    def sums(self, predictions: Predictions, where: BoolArray | None = None) -> FloatArray:
        """[groups, columns] over the rows of `where`: `label_counts`, then rows with under-triage, over-triage and
        severe under-triage, and their cost. A group without such rows is a row of zeros."""
        rows = np.ones(len(predictions), dtype=bool) if where is None else where
        groups, levels = predictions.groups, predictions.levels
        gold, predicted = predictions.gold, predictions.predicted
        if not self.has_classes:  # one class: what is right, what there is, what is valid
            gold, predicted = np.zeros_like(gold), np.where(predictions.valid, 0, 1)
        counts = label_counts(gold, predicted, self.num_labels, groups=groups, where=rows, correct=predictions.correct)
        events = [levels > 0, levels < 0, levels >= SEVERE_LEVELS, row_costs(predictions, self.costs)]
        added = [np.bincount(groups, weights=event * rows, minlength=predictions.num_groups) for event in events]
        return np.column_stack([counts, *added]).astype(np.float64)

    def __call__(self, sums: FloatArray) -> dict[str, FloatArray]:
        """Sums [..., columns] -> name -> metric [...]; recall and precision are called `recall/{index of the
        label}`."""
        scores = label_scores(sums[..., :-4])
        num_rows = sums[..., self.num_labels : 2 * self.num_labels].sum(axis=-1)
        undefined = np.full(num_rows.shape, np.nan)
        metrics = {
            "accuracy": scores.accuracy,
            "macro_f1": scores.macro_f1 if self.has_classes else undefined,
            "weighted_f1": scores.weighted_f1 if self.has_classes else undefined,
            "invalid_label_rate": scores.invalid_label_rate,
        }
        under, over, severe, cost = np.moveaxis(sums[..., -4:], -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.ordered:
                metrics |= {"under_triage_rate": under / num_rows, "over_triage_rate": over / num_rows}
                metrics["severe_under_triage_rate"] = severe / num_rows
            if self.costs is not None:
                metrics["mean_cost"] = cost / num_rows
        for index in range(self.num_labels if self.has_classes else 0):
            metrics[f"recall/{index}"] = scores.recall[..., index]
            metrics[f"precision/{index}"] = scores.precision[..., index]
            occurs = sums[..., self.num_labels + index] > 0
            metrics[f"f1/{index}"] = np.where(occurs, scores.f1[..., index], np.nan)
        return metrics

    def trials(self, sums: FloatArray) -> dict[str, int]:
        """Name of each metric that is a proportion -> groups that have a row in its denominator. An F1 is 1 just where
        no row is wrong, so it counts as one."""
        gold, predicted = (sums[:, n * self.num_labels : (n + 1) * self.num_labels] > 0 for n in (1, 2))
        rates = ("accuracy", "macro_f1", "weighted_f1", "invalid_label_rate", *TRIAGE_RATES)
        trials = dict.fromkeys(rates, int(gold.any(axis=1).sum()))
        for index in range(self.num_labels):
            trials[f"recall/{index}"] = int(gold[:, index].sum())
            trials[f"precision/{index}"] = int(predicted[:, index].sum())
        return trials

    def paired_groups(self, first: FloatArray, second: FloatArray) -> dict[str, PairedGroups]:
        """Name of each metric but the cost -> the groups in which two models differ in what it counts.

        Args:
            first: `sums` of one model; second: of the other.
        """
        trials, other_trials = self.trials(first), self.trials(second)
        counted, other_counted = self._counted(first), self._counted(second)
        return {
            name: PairedGroups(
                more=int((counted[name] > other_counted[name]).sum()),
                fewer=int((counted[name] < other_counted[name]).sum()),
                total=min(trials[name], other_trials[name]),
            )
            for name in counted
        }

    def _counted(self, sums: FloatArray) -> dict[str, FloatArray]:
        """Name -> [groups]: the rows in the numerator of the metric; of an F1, those that are right."""
        correct, gold, predicted = np.split(sums[:, :-4], 3, axis=1)
        right = correct.sum(axis=1)
        counted = {"accuracy": right, "macro_f1": right, "weighted_f1": right}
        counted["invalid_label_rate"] = gold.sum(axis=1) - predicted.sum(axis=1)
        counted |= dict(zip(TRIAGE_RATES, sums[:, -4:-1].T, strict=True))
        for index in range(self.num_labels):
            counted |= dict.fromkeys((f"recall/{index}", f"precision/{index}"), correct[:, index])
        return counted


def row_costs(predictions: Predictions, costs: FloatArray | None) -> FloatArray:
    """[rows]: cost of each prediction; 0 without a cost matrix."""
    if costs is None:
        return np.zeros(len(predictions))
    of_rows: FloatArray = np.column_stack([costs, costs.max(axis=1)])[predictions.gold, predictions.predicted]
    return of_rows


def label_intervals(
    predictions: Predictions, statistics: LabelStatistics, config: IntervalsConfig, *, minus: Predictions | None = None
) -> LabelIntervals:
    """Every label metric with its interval; or its difference to that of another system, with McNemar's test.

    Args:
        minus: the same rows as that system predicted them.
    """
    sums, test = statistics.sums(predictions), None
    if minus is None:
        estimates = bootstrap_intervals(sums, statistics, config, statistics.trials(sums))
    else:
        other = statistics.sums(minus)
        differing = statistics.paired_groups(sums, other)
        estimates = bootstrap_differences(sums, other, statistics, config, differing)
        test = mcnemar(predictions.correct, minus.correct, predictions.groups)
    return LabelIntervals(
        confidence=config.confidence,
        num_resamples=config.num_resamples,
        num_groups=predictions.num_groups,
        **{name: estimate for name, estimate in estimates.items() if "/" not in name},
        per_class={
            label: {name: estimates[f"{name}/{index}"] for name in ("recall", "precision", "f1")}
            for index, label in enumerate(predictions.labels)
        },
        mcnemar=test,
    )


def difference_to_chances(
    predictions: Predictions, chances: Sequence[float], config: IntervalsConfig
) -> LabelIntervals:
    """Accuracy minus that of a baseline which is right by chance, where rows have options of their own.

    Args:
        chances: probability of each row that the baseline is right.
    """
    rows = np.column_stack([predictions.correct, np.array(chances), np.ones(len(predictions))])
    sums = group_sums(rows, predictions.groups, predictions.num_groups)
    undefined = IntervalEstimate(None)
    return LabelIntervals(
        confidence=config.confidence,
        num_resamples=config.num_resamples,
        num_groups=predictions.num_groups,
        accuracy=bootstrap_intervals(
            sums, lambda sums: {"accuracy": (sums[..., 0] - sums[..., 1]) / sums[..., 2]}, config
        )["accuracy"],
        macro_f1=undefined,
        weighted_f1=undefined,
        invalid_label_rate=undefined,
    )


def safety_metrics(
    predictions: Predictions, *, costs: FloatArray | None = None, num_worst_cases: int = 20
) -> SafetyMetrics:
    """Under-triage (predicted less urgent than gold) and over-triage, as shares of all rows. An invalid prediction is
    one level below the least urgent label.

    Args:
        costs: [gold label, predicted label]; an invalid prediction costs the most that one on that gold label can.
    """
    levels = predictions.levels
    severe = levels >= SEVERE_LEVELS
    of_label = {label: levels[predictions.gold == index] for index, label in enumerate(predictions.labels)}
    confidence, labels = predictions.confidence, [*predictions.labels, None]
    under = np.flatnonzero(levels > 0).tolist()
    worst_first = sorted(under, key=lambda row: (-levels[row], -confidence[row], predictions.ids[row]))
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
        worst_cases=tuple(
            WorstCase(
                id=predictions.ids[row],
                gold_label=predictions.labels[int(predictions.gold[row])],
                predicted_label=labels[predictions.predicted[row]],
                levels=int(levels[row]),
                confidence=float(confidence[row]),
            )
            for row in worst_first[:num_worst_cases]
        ),
    )


def _errors_by_levels(levels: IntArray) -> TriageErrors:
    """Rows that are `levels` above 0."""
    distances, counts = np.unique(levels[levels > 0], return_counts=True)
    return TriageErrors(
        num_rows=int(counts.sum()),
        rate=float((levels > 0).mean()),
        by_levels=dict(zip(distances.tolist(), counts.tolist(), strict=True)),
    )


def ranking_metrics(predictions: Predictions, *, ordered: bool) -> RankingMetrics:
    """MCC, quadratic weighted kappa and AUROC (one label against the rest), by scikit-learn. An invalid prediction is a
    class of its own in MCC, and in kappa one level below the least urgent."""
    from sklearn.metrics import cohen_kappa_score, matthews_corrcoef, roc_auc_score

    gold, predicted, shares = predictions.gold, predictions.predicted, predictions.probabilities
    undefined: dict[str, str] = {}
    if len(np.unique(gold)) == 1:
        undefined |= {"mcc": ONE_GOLD_LABEL, "quadratic_weighted_kappa": ONE_GOLD_LABEL}
    if not ordered:
        undefined["quadratic_weighted_kappa"] = "the labels are not ordered"
    per_class: dict[str, float | None] = {}
    for index, label in enumerate(predictions.labels):
        has_label = gold == index
        if has_label.all() or not has_label.any():
            undefined[f"auroc {label}"] = f"{'every' if has_label.any() else 'no'} gold row has this label"
        per_class[label] = None if f"auroc {label}" in undefined else float(roc_auc_score(has_label, shares[:, index]))
    defined = [value for value in per_class.values() if value is not None]
    if not defined:
        undefined["auroc macro"] = ONE_GOLD_LABEL
    indices = list(range(predictions.num_labels + 1))
    return RankingMetrics(
        mcc=None if "mcc" in undefined else float(matthews_corrcoef(gold, predicted)),
        quadratic_weighted_kappa=None
        if "quadratic_weighted_kappa" in undefined
        else float(cohen_kappa_score(gold, predicted, labels=indices, weights="quadratic")),
        auroc=Auroc(macro=sum(defined) / len(defined) if defined else None, per_class=per_class),
        undefined=undefined,
    )
