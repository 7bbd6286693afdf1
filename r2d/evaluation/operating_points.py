"""What ordered labels are good for: at each cut "at least as urgent as k" sensitivity, predictive values, workload and
net benefit (Vickers and Elkin 2006), and the labels that declared costs would choose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from r2d.config.evaluation import IntervalsConfig, OperatingPointsConfig
from r2d.evaluation.bootstrap import bootstrap_blocks, bootstrap_differences, bootstrap_intervals, group_sums
from r2d.evaluation.label_metrics import LabelStatistics
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.operating_points import CostDecision, DecisionPoint, OperatingPoints, UrgencyCut
from r2d.label_scores import FloatArray, IntArray

COST_FIGURES = ("mean_cost", "under_triage_rate", "over_triage_rate", "accuracy", "macro_f1")


@dataclass(frozen=True, eq=False)
class CutStatistics:
    """Figures of the cuts as functions of sums over rows.

    Columns of the sums: positive rows, negative rows; then the true positives of the predicted labels and at each
    threshold, then their false positives.
    """

    thresholds: FloatArray
    """[thresholds]"""
    prevalence: FloatArray | None
    """[cuts], declared; None: of the rows."""

    def sums(self, predictions: Predictions) -> FloatArray:
        """[groups, cuts, columns]"""
        places = np.arange(predictions.num_labels - 1)
        positive = predictions.gold[:, None] <= places
        at_least = np.cumsum(predictions.probabilities, axis=1)[:, :-1, None] >= self.thresholds - 1e-12
        flagged = np.concatenate([(predictions.predicted[:, None] <= places)[..., None], at_least], axis=2)
        columns = [
            np.stack([positive, ~positive], axis=2),
            flagged & positive[..., None],
            flagged & ~positive[..., None],
        ]
        return group_sums(
            np.concatenate(columns, axis=2).astype(np.float64), predictions.groups, predictions.num_groups
        )

    def __call__(self, sums: FloatArray) -> dict[str, FloatArray]:
        """Sums [..., cuts, columns] -> name -> [..., cuts]; a figure at a threshold is called `name/{its place}`."""
        num_positive, num_negative = sums[..., :1], sums[..., 1:2]
        true, false = np.split(sums[..., 2:], 2, axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            sensitivity, false_rate = true / num_positive, false / num_negative
            prevalence = num_positive / (num_positive + num_negative)
            if self.prevalence is not None:
                prevalence = np.broadcast_to(self.prevalence[:, None], prevalence.shape)
            found, alarms = sensitivity * prevalence, false_rate * (1 - prevalence)
            flagged, missed = found + alarms, prevalence - found
            ppv, npv = found / flagged, 1 - missed / (1 - flagged)
            odds = self.thresholds / (1 - self.thresholds)
            default = np.maximum(prevalence - (1 - prevalence) * odds, 0.0)
            decided, by_probability = found[..., :1] - alarms[..., :1] * odds, found[..., 1:] - alarms[..., 1:] * odds
        figures = {
            "sensitivity": sensitivity, "specificity": 1 - false_rate, "ppv": ppv, "npv": npv,
            "flagged": flagged, "found": found, "false_alarms": alarms, "missed": missed,
        }  # fmt: skip
        named = {name: values[..., 0] for name, values in figures.items()}
        for place in range(len(self.thresholds)):
            for name in ("sensitivity", "specificity", "ppv", "flagged"):
                named[f"{name}/{place}"] = figures[name][..., place + 1]
            for name, benefit in (("decided", decided), ("probability", by_probability)):
                named[f"{name}:net_benefit/{place}"] = benefit[..., place]
                named[f"{name}:net_benefit_gain/{place}"] = (benefit - default)[..., place]
        return named

    def trials(self, sums: FloatArray) -> list[dict[str, int]]:
        """Of each cut: name of each figure that is a proportion -> groups that have a row in its denominator."""
        has = sums > 0
        flagged = sums[..., 2:].reshape(*sums.shape[:2], 2, -1).sum(axis=2) > 0  # [groups, cuts, thresholds + 1]
        trials = []
        for cut in range(sums.shape[1]):
            positive, negative = (int(has[:, cut, column].sum()) for column in (0, 1))
            of_cut = {"sensitivity": positive, "specificity": negative}
            for place in range(len(self.thresholds)):
                of_cut |= {f"sensitivity/{place}": positive, f"specificity/{place}": negative}
                if self.prevalence is None:
                    of_cut[f"ppv/{place}"] = int(flagged[:, cut, place + 1].sum())
            if self.prevalence is None:
                of_cut["ppv"] = int(flagged[:, cut, 0].sum())
            trials.append(of_cut)
        return trials


def operating_points(
    predictions: Predictions,
    statistics: LabelStatistics,
    config: OperatingPointsConfig,
    interval: IntervalsConfig,
) -> OperatingPoints:
    """Every cut with intervals from one draw of groups, and the labels of least expected cost where costs are declared.

    Args:
        predictions: with the probabilities that are shown.
        statistics: with the costs, if there are any.
    """
    labels, thresholds = predictions.labels, config.threshold_probabilities
    shares = config.shares(labels)
    of_cuts = CutStatistics(np.array(thresholds), None if shares is None else np.cumsum(shares)[:-1])
    sums = of_cuts.sums(predictions)
    estimates = bootstrap_blocks(sums, of_cuts, interval, of_cuts.trials(sums))
    num_positive = sums[:, :, 0].sum(axis=0).astype(int).tolist()
    return OperatingPoints(
        shares_declared=shares is not None,
        cuts=tuple(
            UrgencyCut(
                label=labels[place],
                num_positive=num_positive[place],
                prevalence=float(np.cumsum(shares)[place]) if shares else num_positive[place] / len(predictions),
                as_decided={name: estimate for name, estimate in of_cut.items() if "/" not in name},
                points=_points(of_cut, thresholds),
            )
            for place, of_cut in enumerate(estimates)
        ),
        by_costs=None if statistics.costs is None else _by_costs(predictions, statistics, interval),
    )


def _points(estimates: Mapping[str, IntervalEstimate], thresholds: Sequence[float]) -> tuple[DecisionPoint, ...]:
    points = []
    for place, threshold in enumerate(thresholds):
        here = {
            name.removesuffix(f"/{place}"): estimate
            for name, estimate in estimates.items()
            if name.endswith(f"/{place}")
        }
        decided = {name.removeprefix("decided:"): here[name] for name in here if name.startswith("decided:")}
        by_probability = {name.removeprefix("probability:"): here[name] for name in here if "decided:" not in name}
        prevalence = (estimates["found"].value or 0.0) + (estimates["missed"].value or 0.0)
        treat_all = prevalence - (1 - prevalence) * threshold / (1 - threshold)
        points.append(
            DecisionPoint(
                threshold_probability=threshold,
                treat_all=treat_all,
                as_decided=decided,
                by_probability=by_probability,
            )
        )
    return tuple(points)


def labels_of_least_cost(probabilities: FloatArray, costs: FloatArray) -> IntArray:
    """[rows]: the label whose expected cost is least; of equal ones the most urgent.

    Args:
        probabilities: [rows, labels]; costs: [gold label, predicted label].
    """
    least: IntArray = (probabilities @ costs).round(12).argmin(axis=1)
    return least


def _by_costs(predictions: Predictions, statistics: LabelStatistics, interval: IntervalsConfig) -> CostDecision:
    if statistics.costs is None:
        raise ValueError("costs are needed")
    chosen = labels_of_least_cost(predictions.probabilities, statistics.costs)
    decided = predictions.with_labels([predictions.labels[place] for place in chosen])
    ours, theirs = statistics.sums(decided), statistics.sums(predictions)

    def few(sums: FloatArray) -> dict[str, FloatArray]:
        figures = statistics(sums)
        return {name: figures[name] for name in COST_FIGURES}

    return CostDecision(
        figures=bootstrap_intervals(ours, few, interval, statistics.trials(ours)),
        differences=bootstrap_differences(ours, theirs, few, interval, statistics.paired_groups(ours, theirs)),
    )
