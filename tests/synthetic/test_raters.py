"""The invented raters of the demo: the shipped file is what they give, and each errs as often as it says."""

from __future__ import annotations

import csv
from pathlib import Path

from r2d.config.loading import load_config
from r2d.synthetic.calls import rule_labels
from r2d.synthetic.raters import NUM_CALLS, RATERS, rated_calls

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_shipped_labels_are_of_the_raters_who_read_the_calls_of_the_demo() -> None:
    run = load_config(CONFIGS / "demo_report.yaml")
    assert run.data == load_config(CONFIGS / "demo.yaml").data  # so that both trainings come from the cache
    raters = run.evaluation.raters
    assert raters is not None
    assert raters.columns is not None
    assert set(raters.columns) == set(RATERS)
    assert Path(raters.file).name == "demo.csv"
    with (CONFIGS / "raters" / "demo.csv").open(encoding="utf-8", newline="") as file:
        shipped = [tuple(row) for row in csv.reader(file)]
    assert shipped == list(rated_calls(run.data.synthetic))
    assert len(shipped) == 1 + NUM_CALLS
    by_rule = rule_labels(run.data.synthetic)
    for rater, labels in zip(RATERS, list(zip(*shipped[1:], strict=True))[1:], strict=True):
        wrong = sum(by_rule[row[0]] != label for row, label in zip(shipped[1:], labels, strict=True))
        assert abs(wrong / NUM_CALLS - RATERS[rater]) < 0.03  # two standard errors of 600 calls
