"""The gate and the last screen."""

from __future__ import annotations

from typing import Any

import pytest

from r2d.config import GateConfig
from r2d.registry.gate import judge
from r2d.registry.summary import summary


def metrics(macro_f1: float, majority: float = 0.1, linear: float = 0.5) -> dict[str, Any]:
    figures = {"bleu": 20.0, "paper_bleu": 0.2, "bertscore_f1": 0.8}
    return {
        "num_rows": 100,
        "num_parameters": 1_000,
        "decoding": "constrained",
        "label": {"macro_f1": macro_f1, "accuracy": 0.6, "invalid_label_rate": 0.0},
        "baselines": {
            "majority class": {"macro_f1": majority},
            "TF-IDF + logistic regression": {"macro_f1": linear},
        },
        "rationale": {"populations": {"all": figures}},
    }


@pytest.mark.parametrize(("macro_f1", "passed"), [(0.6, True), (0.5, False), (0.3, False), (0.05, False)])
def test_a_model_must_be_better_than_both_baselines_not_as_good(macro_f1: float, passed: bool) -> None:
    assert judge(metrics(macro_f1), GateConfig()).passed is passed


def test_a_rule_that_is_not_asked_for_is_not_applied() -> None:
    assert judge(metrics(0.3), GateConfig(beat_linear_baseline=False)).passed
    assert judge(metrics(0.0), GateConfig(beat_linear_baseline=False, beat_majority_class=False)).passed


def test_every_rule_gives_its_figures_as_a_reason() -> None:
    assert judge(metrics(0.3), GateConfig()).reasons() == [
        "macro-F1 0.300 is above that of majority class, 0.100",
        "macro-F1 0.300 is NOT above that of TF-IDF + logistic regression, 0.500",
    ]


def options_metrics(accuracy: float, at_random: float = 0.2, frequent: float = 0.3) -> dict[str, Any]:
    """As `evaluate` gives them where each row has options of its own."""
    without = {"macro_f1": None, "invalid_label_rate": 0.0}
    baselines = {"an option at random": at_random, "the option most often right in training": frequent}
    return metrics(0.0) | {
        "label": without | {"accuracy": accuracy},
        "baselines": {name: without | {"accuracy": value} for name, value in baselines.items()},
    }


@pytest.mark.parametrize(("accuracy", "passed"), [(0.31, True), (0.3, False), (0.25, False), (0.1, False)])
def test_with_options_in_the_rows_accuracy_must_be_better_than_both_baselines_of_options(
    accuracy: float, passed: bool
) -> None:
    assert judge(options_metrics(accuracy), GateConfig()).passed is passed


def test_with_options_in_the_rows_the_reasons_speak_of_accuracy() -> None:
    assert judge(options_metrics(0.25), GateConfig()).reasons() == [
        "accuracy 0.250 is above that of an option at random, 0.200",
        "accuracy 0.250 is NOT above that of the option most often right in training, 0.300",
    ]
    assert judge(options_metrics(0.25), GateConfig(beat_linear_baseline=False)).passed


@pytest.mark.parametrize(("passed", "state"), [(True, "champion"), (False, "no alias: it did not pass the gate")])
def test_the_last_screen_fits_a_terminal_and_says_whether_the_model_may_be_used(passed: bool, state: str) -> None:
    registration = {
        "name": "triage",
        "version": "3",
        "reference": "triage@champion",
        "is_new": True,
        "gate_passed": passed,
        "gate_reasons": ["a reason"],
    }
    screen = summary(registration, metrics(0.6), report_uri="/store/report")
    of_options = summary(registration, options_metrics(0.6), report_uri="/store/report")
    assert "macro-F1 to average over" in of_options
    assert "\n  accuracy\n    an option at random " in of_options
    assert "--model triage@champion --option" in of_options
    assert max(len(line) for line in of_options.splitlines()) <= 130
    assert state in screen
    assert "0.600  ██████████████████" in screen
    assert "--model triage@champion" in screen
    assert "/store/report/output.html" in screen
    assert max(len(line) for line in screen.splitlines()) <= 130
