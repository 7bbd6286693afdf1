"""Risk and coverage by hand, thresholds that hold on rows which did not choose them, and none where none is reached."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from r2d.config.evaluation import SelectiveConfig
from r2d.errors import ConfigError
from r2d.evaluation.decided_rows import BoolArray, DecidedRows, FloatArray
from r2d.evaluation.selective import choose_threshold, risk_coverage, selective_metrics
from tests.evaluation.decided import QUICK, rows_of

BARE = SelectiveConfig(risk="error", bound_confidence=None)


def lost(pattern: str) -> BoolArray:
    return np.array([sign == "x" for sign in pattern])


def two_labels(confidence: FloatArray, harm: BoolArray, **more: Any) -> DecidedRows:
    """Every row is `urgent`; a harmed one was called `later`, with that confidence."""
    said = np.where(harm, "later", "urgent").tolist()
    shares = np.where(harm[:, None], np.column_stack([1 - confidence, confidence]), 0.0)
    shares = np.where(harm[:, None], shares, np.column_stack([confidence, 1 - confidence]))
    return rows_of(["urgent"] * len(harm), said, labels=("urgent", "later"), probabilities=shares, **more)


def simulated(seed: int, num_rows: int) -> tuple[FloatArray, BoolArray]:
    """Confidences that are true: a row with confidence c is wrong with probability 1 - c."""
    draw = np.random.default_rng(seed)
    confidence = draw.uniform(0.6, 1.0, num_rows)
    return confidence, draw.random(num_rows) > confidence


# --- the curve ---


def test_four_rows_worked_by_hand() -> None:
    found = risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), lost(".x.x"))
    assert [(point["coverage"], point["risk"]) for point in found["points"]] == [
        (1 / 4, 0), (2 / 4, 1 / 2), (3 / 4, pytest.approx(1 / 3)), (1, 2 / 4),
    ]  # fmt: skip
    assert found["aurc"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert found["aurc_of_perfect_order"] == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert found["risk"] == 2 / 4


def test_rows_of_equal_confidence_are_shown_together_whatever_their_order() -> None:
    one, other = (risk_coverage(np.array([0.9, 0.5, 0.5, 0.5]), lost(pattern)) for pattern in (".xx.", "..xx"))
    assert one == other
    assert [point["coverage"] for point in one["points"]] == [1 / 4, 1]
    assert risk_coverage(np.full(4, 0.5), lost("x...")) | {"points": []} == {
        "num_rows": 4, "risk": 1 / 4, "aurc": 1 / 4, "aurc_of_perfect_order": 1 / 16, "points": [],
    }  # fmt: skip


def test_a_perfect_order_reaches_the_least_area_and_a_reversed_one_the_most() -> None:
    confidence, errors = np.linspace(1, 0.5, 10), lost(".......xxx")
    best, worst = risk_coverage(confidence, errors), risk_coverage(confidence, errors[::-1])
    assert best["aurc"] == pytest.approx(best["aurc_of_perfect_order"])
    assert worst["aurc"] > worst["risk"] > best["aurc"]


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    points = risk_coverage(*simulated(0, 5_000))["points"]
    assert len(points) == 100
    assert (points[0]["coverage"], points[-1]["coverage"]) == (1 / 5_000, 1)


# --- the threshold ---


def test_the_bare_threshold_shows_as_much_as_the_share_allows() -> None:
    confidence = np.arange(20, 0, -1) / 20
    found = choose_threshold(confidence, lost("." * 10 + "x" * 10), BARE.model_copy(update={"max_risk": 0.2}))
    assert (found.value, found.coverage, found.risk) == (0.45, 12 / 20, 2 / 12)
    assert (found.reason, found.upper_bound) == (None, None)


def test_a_bound_needs_rows_and_is_clopper_pearson_held_for_all_coverages_at_once() -> None:
    confidence = 1 - np.arange(1_000) / 2_000
    found = choose_threshold(confidence, np.arange(1_000) >= 700, SelectiveConfig(risk="error", max_risk=0.05))
    assert found.value is not None
    shown = round(1_000 * found.coverage)
    errors = shown - 700
    expected = stats.binomtest(errors, shown, alternative="less").proportion_ci(1 - 0.05 / 20, method="exact").high
    assert found.upper_bound == pytest.approx(expected)
    assert found.upper_bound <= 0.05
    assert choose_threshold(confidence[:50], np.zeros(50, bool), SelectiveConfig(risk="error")).value is None


def test_no_threshold_is_a_result_with_a_reason() -> None:
    found = choose_threshold(np.linspace(0.5, 1, 100), np.ones(100, bool), BARE)
    assert (found.value, found.coverage, found.risk, found.upper_bound) == (None, 0, None, None)
    assert found.reason is not None
    assert "the lowest share among 20 coverages is 1.0000, max_risk is 0.05" in found.reason
    bounded = choose_threshold(np.linspace(0.5, 1, 100), lost("." * 99 + "x"), SelectiveConfig(max_risk=0.001))
    assert bounded.reason is not None
    assert "the lowest upper bound" in bounded.reason
    nothing = choose_threshold(np.zeros(10), np.ones(10, bool), BARE)
    assert nothing.reason == "no validation row has a declared label"


def test_without_errors_everything_is_shown_but_never_what_is_no_label() -> None:
    confidence = np.array([0.0, 0.0, *np.linspace(0.5, 1, 98)])
    found = choose_threshold(confidence, np.arange(100) < 2, BARE)
    assert (found.value, found.coverage, found.risk) == (0.5, 98 / 100, 0)


def test_a_bound_holds_on_the_population_as_often_as_it_says_and_the_bare_share_does_not() -> None:
    """True risk above confidence t is (1 - t) / 2 here, so each chosen threshold can be judged without test rows."""
    broken = {"bound": 0, "bare": 0}
    for seed in range(200):
        rows = simulated(seed, 400)
        for name, confidence in (("bound", 0.95), ("bare", None)):
            config = SelectiveConfig(risk="error", max_risk=0.1, bound_confidence=confidence)
            value = choose_threshold(*rows, config).value
            broken[name] += value is not None and (1 - value) / 2 > 0.1
    assert broken["bound"] / 200 <= 0.05 < 0.2 < broken["bare"] / 200


# --- validation and test together ---


def test_the_threshold_is_validations_and_the_figures_are_the_tests() -> None:
    confidence = np.tile(np.linspace(1, 0.55, 20), 20)
    validation = two_labels(confidence, confidence < 0.7)
    harm = confidence < 0.7
    harm[0] = True  # one confident error that validation had not
    test = two_labels(confidence, harm)
    config = SelectiveConfig(max_risk=0.05)
    found = selective_metrics(validation, test, ordered=True, config=config, interval=QUICK)
    shown = confidence >= found["threshold"]
    assert found["risk"] == "under_triage"
    assert found["validation"]["coverage"] == found["test"]["coverage"]["value"] == shown.mean()
    assert found["test"]["risk"]["value"] == pytest.approx((shown & harm).sum() / shown.sum())
    assert found["test"]["risk"]["low"] < found["test"]["risk"]["value"] < found["test"]["risk"]["high"]
    assert found["test"]["held"] is (found["test"]["risk"]["value"] <= 0.05)
    assert found["curve"]["num_rows"] == 400


def test_no_threshold_on_validation_means_no_test_figure_but_a_curve() -> None:
    bad = two_labels(np.linspace(0.6, 1, 50), np.ones(50, bool))
    found = selective_metrics(bad, bad, ordered=True, config=SelectiveConfig(), interval=QUICK)
    assert (found["threshold"], found["test"]) == (None, None)
    assert "no threshold reaches it" in found["reason"]
    assert found["curve"]["risk"] == 1


def test_a_threshold_that_shows_no_test_row_has_no_risk_there() -> None:
    validation = two_labels(np.full(400, 0.99), np.zeros(400, bool))
    test = two_labels(np.full(40, 0.7), np.zeros(40, bool))
    found = selective_metrics(validation, test, ordered=True, config=SelectiveConfig(), interval=QUICK)["test"]
    assert found["coverage"]["value"] == 0
    assert (found["risk"]["value"], found["held"]) == (None, None)


def test_under_triage_needs_an_order_and_is_the_default_where_there_is_one() -> None:
    rows = two_labels(np.linspace(0.6, 1, 30), np.zeros(30, bool))
    wrong = SelectiveConfig(risk="under_triage")
    with pytest.raises(ConfigError, match=r"data\.labels\.ordered"):
        selective_metrics(rows, rows, ordered=False, config=wrong, interval=QUICK)
    found = selective_metrics(rows, rows, ordered=False, config=SelectiveConfig(), interval=QUICK)
    assert found["risk"] == "error"


def test_it_is_said_where_rows_share_patients() -> None:
    rows = two_labels(np.linspace(0.6, 1, 30), np.zeros(30, bool), groups=[str(row // 2) for row in range(30)])
    found = selective_metrics(rows, rows, ordered=True, config=SelectiveConfig(), interval=QUICK)
    assert found["validation"]["rows_share_groups"]
