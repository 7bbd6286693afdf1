"""The last screen of a run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlops.registry.summary import summary
from r2d.evaluation.metrics import Comparator, LabelMetrics, Metrics


def label(macro_f1: float | None) -> LabelMetrics:
    return LabelMetrics(num_rows=100, accuracy=0.6, macro_f1=macro_f1, weighted_f1=macro_f1, invalid_label_rate=0.0)


METRICS = Metrics(
    num_rows=100, decoding="constrained", method="r2d", num_parameters=1_000, label=label(0.6),
    baselines={Comparator.MAJORITY_CLASS: label(0.1), Comparator.LINEAR_MODEL: label(0.5)},
)  # fmt: skip
OF_OPTIONS = replace(METRICS, label=label(None), baselines={Comparator.RANDOM_OPTION: label(None)})


@pytest.mark.parametrize(
    ("aliases", "outcome", "state"),
    [
        (["champion"], "passed", "registered; champion)"),
        ([], "failed", "no alias: it did not pass the gate"),
        (["challenger"], "waiting", "registered; challenger)"),
    ],
)
def test_the_last_screen_fits_a_terminal_and_says_whether_the_model_may_be_used(
    aliases: list[str], outcome: str, state: str
) -> None:
    registration = {
        "name": "triage",
        "version": "3",
        "reference": "triage@champion",
        "aliases": aliases,
        "is_new": True,
        "gate_outcome": outcome,
        "gate_reasons": ["a reason " * 40],
        "what_follows": "it is the champion already; nothing moves",
    }
    screen = summary(registration, METRICS, report_uri="/store/report")
    of_options = summary(registration, OF_OPTIONS, report_uri="/store/report")
    assert "macro-F1 to average over" in of_options
    assert "\n  accuracy\n    an option at random " in of_options
    assert "--model triage@champion --option" in of_options
    assert max(len(line) for line in of_options.splitlines()) <= 130
    assert state in screen
    assert "0.600  ██████████████████" in screen
    assert "--model triage@champion" in screen
    assert "/store/report/output.html" in screen
    assert "so: it is the champion already" in screen
    assert max(len(line) for line in screen.splitlines()) <= 130
