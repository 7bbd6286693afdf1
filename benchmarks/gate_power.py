"""How often the whole default gate passes a model that is as good as the champion, better, or worse, by points of
accuracy: `python -m benchmarks.gate_power [RUNS]`. The models are those of `benchmarks.gate_year`."""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from benchmarks.gate_year import ACCURACY, BASELINE, LABELS, World, measure
from r2d.config.gate import GateConfig
from r2d.evaluation.sections.labels import Comparator
from r2d.gate.rules import evaluate_rules

GAINS = (-0.02, 0.0, 0.02, 0.04)
NUM_ROWS = (400, 800, 1_600, 3_200)


class JointPower(NamedTuple):
    """Of one number of rows, and of one true gain in accuracy."""

    passed: float
    """Share of the runs in which the gate passed."""
    least: float
    """Means of what the gate says of a model that is as good as the champion (`GateDecision.joint_power`)."""
    largest: float


def joint_power(num_rows: int, gain: float, num_runs: int) -> JointPower:
    """Simulate that many runs, each on test rows of its own."""
    rules, outcomes, stated = GateConfig().for_labels(LABELS), [], []
    for seed in range(num_runs):
        world = World(num_rows, seed)
        baselines = {Comparator.LINEAR_MODEL: world.model(BASELINE)}
        champion, challenger = world.model(ACCURACY), world.model(ACCURACY + gain)
        decision = evaluate_rules(measure(challenger, baselines, champion, resampled=True), rules)
        outcomes.append(decision.outcome == "passed")
        stated.append(decision.joint_power or (np.nan, np.nan))
    return JointPower(float(np.mean(outcomes)), *np.nanmean(stated, axis=0).tolist())


def main(num_runs: int) -> None:
    columns = [f"{100 * gain:+.0f} points" if gain else "as good" for gain in GAINS]
    print(f"| test rows | {' | '.join(columns)} | what the gate says of one that is as good |")
    print("|---|" + "---|" * (len(GAINS) + 1))
    for num_rows in NUM_ROWS:
        found = {gain: joint_power(num_rows, gain, max(100, num_runs * 800 // max(800, num_rows))) for gain in GAINS}
        cells = [f"{100 * found[gain].passed:.0f} %" for gain in GAINS]
        said = f"{100 * found[0.0].least:.0f} to {100 * found[0.0].largest:.0f} %"
        print(f"| {num_rows:,} | {' | '.join(cells)} | {said} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
