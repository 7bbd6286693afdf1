"""Under- and over-triage counted on the fingers, and what errors cost."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from r2d.config.evaluation import SafetyConfig
from r2d.evaluation.label_metrics import safety_metrics, worst_cases
from r2d.evaluation.metrics import TriageErrors, TriageRates, WorstCase
from tests.evaluation.predicted import LABELS, predictions_of, random_predictions

GOLD = ["emergency", "emergency", "today", "clinic", "home", "home"]
PREDICTED = ["emergency", "clinic", "clinic", "emergency", "today", None]
COSTS = {
    "emergency": {"today": 10.0, "clinic": 50.0, "home": 100.0},
    "today": {"emergency": 1.0, "clinic": 5.0, "home": 20.0},
    "clinic": {"emergency": 2.0, "today": 1.0, "home": 2.0},
    "home": {"emergency": 3.0, "today": 2.0, "clinic": 1.0},
}


def test_six_rows_counted_by_hand() -> None:
    costs = np.array(SafetyConfig(costs=COSTS).cost_matrix(LABELS))
    metrics = safety_metrics(predictions_of(GOLD, PREDICTED), costs=costs)
    assert (metrics.num_rows, metrics.num_invalid) == (6, 1)
    assert metrics.under_triage == TriageErrors(num_rows=3, rate=3 / 6, by_levels={1: 2, 2: 1})
    assert metrics.over_triage == TriageErrors(num_rows=2, rate=2 / 6, by_levels={2: 2})
    assert metrics.severe_under_triage == TriageErrors(num_rows=1, rate=1 / 6, min_levels=2)
    rates = metrics.by_gold_label
    assert rates["emergency"] == TriageRates(num_rows=2, under_triage_rate=1 / 2, over_triage_rate=0)
    assert rates["home"] == TriageRates(num_rows=2, under_triage_rate=1 / 2, over_triage_rate=1 / 2)
    assert metrics.mean_cost == (0 + 50 + 5 + 2 + 2 + 3) / 6  # no label for `home`: its worst cost, 3


@pytest.mark.parametrize(
    ("label", "under", "over"), [("emergency", 0, 3 / 4), ("home", 3 / 4, 0), ("today", 1 / 4, 2 / 4), (None, 1, 0)]
)
def test_a_constant_predictor_errs_in_the_direction_that_it_must(label: str | None, under: float, over: float) -> None:
    metrics = safety_metrics(predictions_of(LABELS, [label] * 4))
    assert (metrics.under_triage.rate, metrics.over_triage.rate) == (under, over)
    if label is None:
        assert metrics.num_invalid == 4
        assert metrics.under_triage.by_levels == {1: 1, 2: 1, 3: 1, 4: 1}, "further the more urgent the reference"


def test_a_perfect_predictor_has_no_error_no_cost_and_no_worst_case() -> None:
    metrics = safety_metrics(predictions_of(LABELS, LABELS), costs=np.ones((4, 4)) - np.eye(4))
    assert (metrics.under_triage.num_rows, metrics.over_triage.num_rows, metrics.mean_cost) == (0, 0, 0)
    assert metrics.worst_cases == ()


@pytest.mark.parametrize("seed", range(5))
def test_errors_add_up(seed: int) -> None:
    predictions = random_predictions(seed, 200)
    metrics = safety_metrics(predictions)
    assert metrics.under_triage.num_rows + metrics.over_triage.num_rows == (~predictions.correct).sum()
    for side in ("under_triage", "over_triage"):
        errors = getattr(metrics, side)
        assert sum(errors.by_levels.values()) == errors.num_rows
        by_label = sum(one.num_rows * getattr(one, f"{side}_rate") for one in metrics.by_gold_label.values())
        assert by_label == pytest.approx(errors.num_rows)
    assert metrics.mean_cost is None


def test_a_level_without_a_row_has_no_rate() -> None:
    metrics = safety_metrics(predictions_of(["home"], ["home"]))
    assert metrics.by_gold_label["clinic"] == TriageRates(num_rows=0, under_triage_rate=None, over_triage_rate=None)


def test_worst_cases_come_by_levels_then_confidence_then_id_and_hold_no_text() -> None:
    sure, unsure = [0.1, 0.7, 0.1, 0.1], [0.2, 0.4, 0.2, 0.2]
    predictions = predictions_of(
        ["emergency", "emergency", "today", "emergency", "emergency", "home"],
        ["today", "today", None, "today", "home", "emergency"],
        probabilities=np.array([unsure, sure, sure, sure, unsure, unsure]),
    )
    cases = worst_cases(predictions, 10)
    assert [case.id for case in cases] == ["r4", "r2", "r1", "r3", "r0"]
    assert cases[0] == WorstCase(id="r4", gold_label="emergency", predicted_label="home", levels=3, confidence=0.2)
    assert (cases[1].predicted_label, cases[1].confidence) == (None, 0)
    assert worst_cases(predictions, 2) == cases[:2]


# --- the cost matrix ---


def test_a_cost_matrix_follows_the_order_of_the_labels_and_a_right_decision_is_free() -> None:
    shuffled = {gold.upper(): dict(reversed(row.items())) for gold, row in reversed(COSTS.items())}
    matrix = SafetyConfig(costs=shuffled).cost_matrix(LABELS)
    assert matrix is not None
    assert matrix[0] == (0, 10, 50, 100)
    assert [row[place] for place, row in enumerate(matrix)] == [0, 0, 0, 0]
    assert SafetyConfig().cost_matrix(LABELS) is None


def test_every_fault_of_a_cost_matrix_is_named_at_once() -> None:
    wrong = {**COSTS, "clinic": {"clinic": 1.0, "emergency": 2.0, "home": 2.0}, "ambulance": {"home": 1.0}}
    with pytest.raises(ValueError, match="costs: ") as caught:
        SafetyConfig(costs=wrong).cost_matrix(LABELS)
    message = str(caught.value)
    assert "'ambulance' is not declared" in message
    assert "'clinic' for 'clinic' is right and must cost 0, found 1" in message
    assert "'today' for 'clinic' is missing" in message
    assert message.endswith("allowed labels: emergency, today, clinic, home")


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf")])
def test_a_cost_is_a_number_of_at_least_0(cost: float) -> None:
    with pytest.raises(ValidationError):
        SafetyConfig(costs={"home": {"clinic": cost}})
