"""Calibration by hand and against scikit-learn, temperatures that a simulation knows, and thresholds that hold on rows
which did not choose them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from r2d.config.evaluation import SelectiveConfig
from r2d.errors import ConfigError
from r2d.evaluation.calibration import (
    MIN_TEMPERATURE,
    calibration_metrics,
    evaluate_threshold,
    fit_temperature,
    risk_coverage_curve,
    scale_probabilities,
    select_threshold,
)
from r2d.evaluation.metrics import SelectiveMetrics, ThresholdChoice
from r2d.evaluation.predictions import Predictions
from r2d.label_scores import BoolArray, FloatArray, IntArray
from tests.evaluation.predicted import QUICK, predictions_of


def drawn(seed: int, num_rows: int, num_labels: int = 4, *, temperature: float = 1.0) -> tuple[FloatArray, IntArray]:
    """Labels drawn from true probabilities, and the probabilities that a model with that temperature would say."""
    draw = np.random.default_rng(seed)
    true = draw.dirichlet(np.full(num_labels, 0.7), num_rows)
    gold = np.array([draw.choice(num_labels, p=row) for row in true])
    scaled = np.maximum(true, 1e-12) ** temperature
    return scaled / scaled.sum(axis=1, keepdims=True), gold


def test_four_rows_worked_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    metrics = calibration_metrics(probabilities, np.array([0, 1, 1, 1]), num_bins=2)
    # Equal width: all four lie in (0.5, 1]: confidence 0.8, accuracy 3/4.
    assert metrics.ece_equal_width == pytest.approx(0.05)
    # Equal mass: the median is 0.85: {0.6, 0.8} are right twice, {0.9, 0.9} once.
    assert metrics.ece_equal_mass == pytest.approx((2 * abs(0.7 - 1) + 2 * abs(0.9 - 0.5)) / 4)
    assert metrics.brier == pytest.approx((2 * 0.01 + 2 * 0.81 + 2 * 0.16 + 2 * 0.04) / 4)
    assert metrics.nll == pytest.approx(-np.log([0.9, 0.1, 0.6, 0.8]).mean())
    assert (metrics.accuracy, metrics.mean_confidence) == (3 / 4, pytest.approx(0.8))
    assert [(bin_.lower, bin_.upper, bin_.num_rows) for bin_ in metrics.reliability["equal_mass"]] == [
        (0.0, pytest.approx(0.85), 2), (pytest.approx(0.85), 1.0, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_scores_and_reliability_equal_scikit_learn(seed: int) -> None:
    num_labels = 2 + seed % 4
    probabilities, gold = drawn(seed, 200, num_labels, temperature=1.5)
    metrics = calibration_metrics(probabilities, gold, num_bins=10)
    labels = list(range(num_labels))
    assert metrics.nll == pytest.approx(reference.log_loss(gold, probabilities, labels=labels))
    assert metrics.brier == pytest.approx(((probabilities - np.eye(num_labels)[gold]) ** 2).sum(axis=1).mean())
    right = probabilities.argmax(axis=1) == gold
    for ours, theirs in (("equal_width", "uniform"), ("equal_mass", "quantile")):
        accuracy, confidence = calibration_curve(right, probabilities.max(axis=1), n_bins=10, strategy=theirs)
        bins = metrics.reliability[ours]
        assert [bin_.confidence for bin_ in bins] == pytest.approx(confidence.tolist())
        assert [bin_.accuracy for bin_ in bins] == pytest.approx(accuracy.tolist())
        assert sum(bin_.num_rows for bin_ in bins) == 200


def test_a_label_that_no_row_has_changes_nothing() -> None:
    probabilities, gold = drawn(1, 50, 3)
    wider = np.column_stack([probabilities, np.zeros(50)])
    assert calibration_metrics(wider, gold) == calibration_metrics(probabilities, gold)


def test_a_sure_and_right_model_has_no_error_and_a_sure_and_wrong_one_all_of_it() -> None:
    gold = np.array([0, 1, 2, 0])
    best, worst = calibration_metrics(np.eye(3)[gold], gold), calibration_metrics(np.eye(3)[(gold + 1) % 3], gold)
    assert (best.ece_equal_width, best.ece_equal_mass, best.brier, best.nll) == (0, 0, 0, 0)
    assert (worst.ece_equal_width, worst.ece_equal_mass, worst.brier) == (1, 1, 2)
    assert 60 < worst.nll < 100, "a probability of 0 is bounded, but not made harmless"


def test_equal_confidences_share_a_bin_whatever_the_order_of_rows_and_a_bin_holds_its_upper_edge() -> None:
    probabilities, gold = np.array([[0.7, 0.3], [0.6, 0.4]] * 5), np.array([0, 1, 0, 1, 0, 0, 0, 0, 1, 0])
    metrics = calibration_metrics(probabilities, gold, num_bins=5)
    turned = calibration_metrics(probabilities[::-1], gold[::-1], num_bins=5)
    assert metrics.ece_equal_mass == pytest.approx(turned.ece_equal_mass)
    assert [bin_.num_rows for bin_ in metrics.reliability["equal_mass"]] == [5, 5]
    table = calibration_metrics(np.array([[0.75, 0.25], [0.5, 0.5]]), np.array([0, 0]), num_bins=4).reliability
    assert [(bin_.lower, bin_.upper) for bin_ in table["equal_width"]] == [(0.25, 0.5), (0.5, 0.75)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_of_a_simulation_is_found_again(temperature: float) -> None:
    probabilities, gold = drawn(4, 4_000, temperature=temperature)
    metrics = fit_temperature(probabilities, gold)
    assert metrics.value == pytest.approx(temperature, rel=0.08)
    assert metrics.nll_after <= metrics.nll_before
    assert (metrics.num_rows, metrics.at_limit) == (4_000, False)


def test_scaling_helps_on_other_rows_and_changes_no_decision() -> None:
    fitted = fit_temperature(*drawn(5, 2_000, temperature=2.0))
    probabilities, gold = drawn(6, 2_000, temperature=2.0)
    scaled = scale_probabilities(probabilities, fitted.value)
    assert np.array_equal(scaled.argmax(axis=1), probabilities.argmax(axis=1))
    assert scaled.sum(axis=1) == pytest.approx(np.ones(2_000))
    before, after = calibration_metrics(probabilities, gold), calibration_metrics(scaled, gold)
    for name in ("nll", "brier", "ece_equal_width", "ece_equal_mass"):
        assert getattr(after, name) < getattr(before, name)


def test_rows_without_error_give_the_limit_and_say_so_and_a_bold_error_keeps_a_temperature_finite() -> None:
    fit = fit_temperature(np.array([[0.7, 0.3], [0.4, 0.6]]), np.array([0, 1]))
    assert (fit.at_limit, fit.value) == (True, pytest.approx(MIN_TEMPERATURE, rel=0.01))
    bold = fit_temperature(np.array([[1.0, 0.0]] * 10), np.array([0] * 9 + [1]))
    assert bold.value > 1
    assert np.isfinite(bold.nll_after)


# --- the risk-coverage curve ---

BARE = SelectiveConfig(risk="error", bound_confidence=None)


def lost(pattern: str) -> BoolArray:
    return np.array([sign == "x" for sign in pattern])


def two_labels(confidence: FloatArray, harm: BoolArray, **more: Any) -> Predictions:
    """Every row is `urgent`; a harmed one was called `later`, with that confidence."""
    predicted, shares = np.where(harm, "later", "urgent").tolist(), np.column_stack([confidence, 1 - confidence])
    shares[harm] = shares[harm, ::-1]
    return predictions_of(["urgent"] * len(harm), predicted, labels=("urgent", "later"), probabilities=shares, **more)


def simulated(seed: int, num_rows: int) -> tuple[FloatArray, BoolArray]:
    """Confidences that are true: a row with confidence c is wrong with probability 1 - c."""
    draw = np.random.default_rng(seed)
    confidence = draw.uniform(0.6, 1.0, num_rows)
    return confidence, draw.random(num_rows) > confidence


def test_a_curve_of_four_rows_worked_by_hand() -> None:
    metrics = risk_coverage_curve(np.array([0.9, 0.8, 0.7, 0.6]), lost(".x.x"))
    assert [(point.coverage, point.risk) for point in metrics.points] == [
        (1 / 4, 0), (2 / 4, 1 / 2), (3 / 4, pytest.approx(1 / 3)), (1, 2 / 4),
    ]  # fmt: skip
    assert metrics.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert metrics.aurc_of_perfect_order == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert metrics.risk == 2 / 4


def test_rows_of_equal_confidence_are_shown_together_whatever_their_order() -> None:
    first, other = (risk_coverage_curve(np.array([0.9, 0.5, 0.5, 0.5]), lost(pattern)) for pattern in (".xx.", "..xx"))
    assert first == other
    assert [point.coverage for point in first.points] == [1 / 4, 1]
    equal = risk_coverage_curve(np.full(4, 0.5), lost("x..."))
    assert (equal.num_rows, equal.risk, equal.aurc, equal.aurc_of_perfect_order) == (4, 1 / 4, 1 / 4, 1 / 16)


def test_a_perfect_order_reaches_the_least_area_a_reversed_one_the_most_and_a_long_curve_is_thinned() -> None:
    confidence, errors = np.linspace(1, 0.5, 10), lost(".......xxx")
    best, worst = risk_coverage_curve(confidence, errors), risk_coverage_curve(confidence, errors[::-1])
    assert best.aurc == pytest.approx(best.aurc_of_perfect_order)
    assert worst.aurc > worst.risk > best.aurc
    points = risk_coverage_curve(*simulated(0, 5_000)).points
    assert (len(points), points[0].coverage, points[-1].coverage) == (100, 1 / 5_000, 1), "the ends are kept"


# --- the threshold ---


def chosen(confidence: FloatArray, is_error: BoolArray, config: SelectiveConfig = BARE) -> ThresholdChoice:
    return select_threshold(two_labels(confidence, is_error), ordered=True, config=config)


def test_the_bare_threshold_shows_as_much_as_the_share_allows() -> None:
    confidence = np.arange(20, 0, -1) / 20
    choice = chosen(confidence, lost("." * 10 + "x" * 10), BARE.model_copy(update={"max_risk": 0.2}))
    assert (choice.threshold, choice.reason) == (pytest.approx(0.45), None)
    on_validation = choice.validation
    assert (on_validation.coverage, on_validation.risk, on_validation.upper_bound) == (12 / 20, 2 / 12, None)


def test_a_bound_needs_rows_and_is_clopper_pearson_held_for_all_coverages_at_once() -> None:
    confidence, config = 1 - np.arange(1_000) / 2_000, SelectiveConfig(risk="error", max_risk=0.05)
    choice = chosen(confidence, np.arange(1_000) >= 700, config)
    assert choice.threshold is not None
    shown = round(1_000 * choice.validation.coverage)
    expected = stats.binomtest(shown - 700, shown, alternative="less").proportion_ci(1 - 0.05 / 20, method="exact").high
    assert choice.validation.upper_bound == pytest.approx(expected)
    assert choice.validation.upper_bound <= 0.05
    assert chosen(confidence[:50], np.zeros(50, bool), SelectiveConfig(risk="error")).threshold is None


def test_no_threshold_is_a_result_with_a_reason() -> None:
    choice = chosen(np.linspace(0.5, 1, 100), np.ones(100, bool))
    assert (choice.threshold, choice.validation.coverage, choice.validation.risk) == (None, 0, None)
    bounded = chosen(np.linspace(0.5, 1, 100), lost("." * 99 + "x"), SelectiveConfig(risk="error", max_risk=0.001))
    nothing = select_threshold(predictions_of(["home"] * 10, [None] * 10), ordered=True, config=BARE)
    for reason, words in (
        (choice.reason, "the lowest share among 20 coverages is 1.0000, max_risk is 0.05"),
        (bounded.reason, "the lowest upper bound"),
        (nothing.reason, "no validation row has a declared label"),
    ):
        assert words in str(reason)


def test_without_errors_everything_is_shown_but_never_what_is_no_label() -> None:
    predictions = two_labels(np.array([0.9, 0.9, *np.linspace(0.5, 1, 98)]), np.zeros(100, bool))
    predictions = replace(predictions, predicted_labels=[None, None, *predictions.predicted_labels[2:]])
    choice = select_threshold(predictions, ordered=True, config=BARE)
    assert (choice.threshold, choice.validation.coverage, choice.validation.risk) == (0.5, 98 / 100, 0)


def test_a_bound_holds_on_the_population_as_often_as_it_says_and_the_bare_share_does_not() -> None:
    """True risk above confidence t is (1 - t) / 2 here, so each chosen threshold can be judged without test rows."""
    broken = {"bound": 0, "bare": 0}
    for seed in range(200):
        rows = two_labels(*simulated(seed, 400))
        for name, confidence in (("bound", 0.95), ("bare", None)):
            config = SelectiveConfig(risk="error", max_risk=0.1, bound_confidence=confidence)
            value = select_threshold(rows, ordered=True, config=config).threshold
            broken[name] += value is not None and (1 - value) / 2 > 0.1
    assert broken["bound"] / 200 <= 0.05 < 0.2 < broken["bare"] / 200


# --- validation and test together ---


def selected(
    validation: Predictions, test: Predictions, config: SelectiveConfig = SelectiveConfig(), *, ordered: bool = True
) -> SelectiveMetrics:
    return evaluate_threshold(test, select_threshold(validation, ordered=ordered, config=config), QUICK)


def test_the_threshold_is_validations_and_the_metrics_are_the_tests() -> None:
    confidence = np.tile(np.linspace(1, 0.55, 20), 20)
    validation = two_labels(confidence, confidence < 0.7)
    harm = confidence < 0.7
    harm[0] = True  # one confident error that validation had not
    metrics = selected(validation, two_labels(confidence, harm), SelectiveConfig(max_risk=0.05))
    assert (metrics.risk, metrics.max_risk, metrics.reason) == ("under_triage", 0.05, None)
    assert metrics.threshold is not None
    shown = confidence >= metrics.threshold
    assert metrics.test is not None
    assert metrics.validation.coverage == metrics.test.coverage.value == shown.mean()
    risk = metrics.test.risk
    assert risk.value == pytest.approx((shown & harm).sum() / shown.sum())
    assert risk.low < risk.value < risk.high
    assert metrics.test.held is (risk.value <= 0.05)
    assert metrics.curve.num_rows == 400


def test_without_a_threshold_or_a_test_row_that_it_shows_there_is_no_risk_but_a_curve() -> None:
    bad = two_labels(np.linspace(0.6, 1, 50), np.ones(50, bool))
    metrics = selected(bad, bad)
    assert (metrics.threshold, metrics.test, metrics.curve.risk) == (None, None, 1)
    validation = two_labels(np.full(400, 0.99), np.zeros(400, bool))
    test = selected(validation, two_labels(np.full(40, 0.7), np.zeros(40, bool))).test
    assert test is not None
    assert (test.coverage.value, test.risk.value, test.held) == (0, None, None)


def test_under_triage_needs_an_order_and_is_the_default_where_there_is_one() -> None:
    names = [str(row // 2) for row in range(30)]
    rows = two_labels(np.linspace(0.6, 1, 30), np.zeros(30, bool), group_names=names)
    with pytest.raises(ConfigError, match=r"data\.labels\.ordered"):
        selected(rows, rows, SelectiveConfig(risk="under_triage"), ordered=False)
    assert selected(rows, rows, ordered=False).risk == "error"
    ordered = selected(rows, rows)
    assert (ordered.risk, ordered.validation.rows_share_groups) == ("under_triage", True)
