"""A year of weekly retrainings under pure noise, by the rules of the gate: `python -m benchmarks.gate_year [YEARS]`.

Every week a model is trained that is as good as all others but for the noise of training: its true accuracy lies around
`ACCURACY` with the standard deviation `SPREAD`. Each model is measured on the same test rows and held against the gate;
where it passes, it is the champion. Models err on much the same rows, as retrained models do: each row has a difficulty
that all share. Rows are groups of their own. From the predictions to the decision all is the code of the product.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from statistics import NormalDist, mean, stdev

import numpy as np

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import IntervalsConfig
from r2d.config.gate import BetterThanBaseline, GateConfig, NotWorseThanChampion, RulesOfRun
from r2d.evaluation.label_metrics import LabelStatistics, label_intervals, label_metrics
from r2d.evaluation.metrics import ChampionMetrics, Metrics
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.labels import Comparator
from r2d.gate.rules import evaluate_rules
from r2d.label_scores import FloatArray, IntArray

LABELS = LabelsConfig(names=("emergency", "urgent", "soon", "self care"), ordered=True)
SHARES = (0.15, 0.25, 0.3, 0.3)
ACCURACY, SPREAD, BASELINE = 0.82, 0.01, 0.78
SHARED = 0.8
"""Share of the variance that a row's difficulty has, of what decides whether a model is right there."""
WEEKS, HARM = 52, 0.01
QUICK = IntervalsConfig(num_resamples=1_000)
POLICIES = {
    "old defaults: above both baselines, by value": RulesOfRun(
        (
            BetterThanBaseline(rule="better_than_baseline", baseline="simple", by="value"),
            BetterThanBaseline(rule="better_than_baseline", baseline="learnt", by="value"),
        )
    ),
    "not worse than the champion, by value": RulesOfRun(
        (NotWorseThanChampion(rule="not_worse_than_champion", figure="macro_f1", by="value"),)
    ),
    "new defaults": GateConfig().for_labels(LABELS),
}


class World:
    """Test rows, and models that decide about them."""

    def __init__(self, num_rows: int, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.gold: IntArray = self.generator.choice(len(SHARES), size=num_rows, p=SHARES)
        self.ease: FloatArray = self.generator.standard_normal(num_rows)
        self.leaning: FloatArray = self.generator.standard_normal(num_rows)
        """Which way a wrong decision about a row goes."""

    def model(self, accuracy: float, *, under_triage: float = 0.5) -> Predictions:
        """The decisions of a model with that true accuracy; wrong ones are one level away.

        Args:
            under_triage: share of the wrong decisions that are less urgent.
        """
        own, turn = (self.generator.standard_normal(len(self.gold)) for _ in range(2))
        threshold = NormalDist().inv_cdf(accuracy)
        right = threshold + np.sqrt(SHARED) * self.ease + np.sqrt(1 - SHARED) * own > 0
        lower = np.sqrt(SHARED) * self.leaning + np.sqrt(1 - SHARED) * turn < NormalDist().inv_cdf(under_triage)
        step = np.where(self.gold == 0, 1, np.where(self.gold == len(SHARES) - 1, -1, np.where(lower, 1, -1)))
        return self.predictions(np.where(right, self.gold, self.gold + step))

    def predictions(self, predicted: IntArray) -> Predictions:
        names = np.array(LABELS.names)
        return Predictions(
            ids=[str(row) for row in range(len(self.gold))],
            gold_labels=names[self.gold].tolist(),
            predicted_labels=names[predicted].tolist(),
            labels=LABELS.names,
            probabilities=np.full((len(self.gold), len(names)), 1 / len(names)),
            group_names=[None] * len(self.gold),
        )


def measure(
    model: Predictions, baselines: dict[Comparator, Predictions], champion: Predictions | None, *, resampled: bool
) -> Metrics:
    """What the gate reads of an evaluation.

    Args:
        resampled: with intervals; rules by value need none.
    """
    statistics = LabelStatistics.of(LABELS)
    others = baselines | ({} if champion is None else {Comparator.CHAMPION: champion})
    return Metrics(
        num_rows=len(model),
        decoding="constrained",
        method="r2d",
        label=label_metrics(model),
        baselines={name: label_metrics(other) for name, other in baselines.items()},
        champion=None if champion is None else ChampionMetrics(reference="triage/1", label=label_metrics(champion)),
        intervals=label_intervals(model, statistics, QUICK) if resampled else None,
        differences={name: label_intervals(model, statistics, QUICK, minus=other) for name, other in others.items()}
        if resampled
        else {},
    )


@dataclass(frozen=True)
class Year:
    """What became of one year."""

    num_promoted: int
    """After the first champion."""
    num_worse: int
    """Promotions to a model that is truly worse than the champion it replaces."""
    num_harmful: int
    """Worse by more than `HARM`."""
    gain: float
    """True accuracy of the last champion minus that of the first."""
    optimism: float
    """Accuracy of the last champion on the test rows minus its true accuracy."""


def year(rules: RulesOfRun, num_rows: int, seed: int, *, weeks: int = WEEKS, spread: float = SPREAD) -> Year:
    """One year of weekly retrainings; the first champion is there at its beginning."""
    world = World(num_rows, seed)
    baselines = {
        Comparator.MAJORITY_CLASS: world.predictions(np.full(num_rows, 2)),
        Comparator.LINEAR_MODEL: world.model(BASELINE),
    }
    first = true = ACCURACY + spread * float(world.generator.standard_normal())
    champion, losses = world.model(true), []
    resampled = rules == POLICIES["new defaults"]
    for _ in range(weeks):
        challenger_true = ACCURACY + spread * float(world.generator.standard_normal())
        challenger = world.model(challenger_true)
        metrics = measure(challenger, baselines, champion, resampled=resampled)
        if evaluate_rules(metrics, rules).outcome == "passed":
            losses.append(true - challenger_true)
            champion, true = challenger, challenger_true
    return Year(
        num_promoted=len(losses),
        num_worse=sum(loss > 0 for loss in losses),
        num_harmful=sum(loss > HARM for loss in losses),
        gain=true - first,
        optimism=label_metrics(champion).accuracy - true,
    )


def main(num_years: int) -> None:
    print("| rules | test rows | promotions a year | to a worse model | worse by over 1 point | last minus first |")
    print("|---|---|---|---|---|---|")
    for num_rows, years in ((800, num_years), (4_000, num_years // 4)):
        for name, rules in POLICIES.items():
            results = [year(rules, num_rows, seed) for seed in range(years)]
            promoted = sum(result.num_promoted for result in results)
            worse, harmful = (
                f"{100 * sum(numbers) / max(1, promoted):.0f} %"
                for numbers in ([r.num_worse for r in results], [r.num_harmful for r in results])
            )
            gains = [100 * result.gain for result in results]
            error = stdev(gains) / len(gains) ** 0.5
            print(
                f"| {name} | {num_rows:,} | {promoted / years:.1f} | {worse} | {harmful} | {mean(gains):+.1f} points "
                f"(standard error {error:.1f}) |",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
