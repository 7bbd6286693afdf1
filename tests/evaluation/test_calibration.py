"""Calibration by hand and against scikit-learn, and temperatures that a simulation knows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from r2d.evaluation.calibration import (
    MIN_TEMPERATURE,
    calibration_metrics,
    fit_temperature,
)
from r2d.evaluation.predictions import scale_probabilities
from r2d.label_scores import FloatArray, IntArray


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
