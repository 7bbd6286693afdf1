"""Slopes and intercepts against truths that a simulation knows, and a calibration error beside that of chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from r2d.evaluation.calibration import calibration_metrics
from r2d.evaluation.calibration_slope import calibration_curve, calibration_slope, calibration_slopes
from r2d.evaluation.slices import Slice
from r2d.label_scores import BoolArray, FloatArray, IntArray
from tests.evaluation.predicted import LABELS, random_predictions


def drawn(
    seed: int, num_groups: int, notes: int = 1, *, slope: float = 1.0, dependence: float = 0.3
) -> tuple[FloatArray, BoolArray, IntArray]:
    """Probabilities, events and groups; the true slope, an intercept of 0, and events that depend within a group."""
    draw = np.random.default_rng(seed)
    num_rows, groups = num_groups * notes, np.repeat(np.arange(num_groups), notes)
    probability = draw.uniform(0.3, 0.95, num_rows)
    luck = np.where(draw.random(num_rows) < np.sqrt(dependence), draw.random(num_groups)[groups], draw.random(num_rows))
    return probability, luck < expit(slope * logit(probability)), groups


def test_the_slope_is_that_of_an_unpenalised_logistic_regression() -> None:
    probability, event, groups = drawn(1, 400, slope=0.5)
    fit = LogisticRegression(C=1e9, tol=1e-9).fit(logit(probability)[:, None], event)
    line = calibration_slope("all rows", probability, event, groups, confidence=0.95)
    assert line.slope.value == pytest.approx(fit.coef_[0, 0], rel=1e-3)
    assert (line.num_rows, line.num_events, line.not_estimated) == (400, event.sum(), None)
    assert line.slope.high < 1, "too extreme"


@pytest.mark.parametrize("notes", [1, 5, 20])
def test_the_intervals_of_slope_and_intercept_hold_the_truth_as_often_as_they_say(notes: int) -> None:
    num_runs, hits = 300, np.zeros(2)
    for seed in range(num_runs):
        line = calibration_slope("", *drawn(seed, 100, notes), confidence=0.95)
        ends = ((line.slope, 1.0), (line.intercept, 0.0))
        hits += [estimate.low <= truth <= estimate.high for estimate, truth in ends]
    assert (abs(hits / num_runs - 0.95) < 0.01 + 3 * (0.05 * 0.95 / num_runs) ** 0.5).all(), hits / num_runs


def test_what_separates_the_events_or_has_few_of_them_has_no_slope_and_says_why() -> None:
    probability = np.linspace(0.1, 0.9, 100)
    apart = calibration_slope("", probability, probability > 0.5, np.arange(100), confidence=0.95)
    assert (apart.slope.value, apart.intercept.value) == (None, None)
    assert "separate the events" in str(apart.not_estimated)
    few = calibration_slope("", probability, np.arange(100) < 9, np.arange(100), confidence=0.95)
    assert few.not_estimated == "9 events in 100 rows; 10 with and 10 without are needed"


def test_ordered_labels_have_a_slope_for_each_cut_and_slices_one_each() -> None:
    rows = random_predictions(3, 300)
    north = Slice("attributes.site", "north", np.arange(300) % 2 == 0)
    lines = calibration_slopes(rows, [north, Slice("label", "home", rows.gold == 0)], ordered=True, confidence=0.95)
    cuts = [f"at least as urgent as {label}" for label in LABELS[:-1]]
    assert [line.of for line in lines] == ["all rows", *cuts, "attributes.site = north"]
    assert [line.num_events for line in lines[1:-1]] == [(rows.gold < cut).sum() for cut in range(1, len(LABELS))]
    assert len(calibration_slopes(rows, [], ordered=False, confidence=0.95)) == 1


def test_the_error_of_a_calibrated_model_lies_within_its_band_and_a_bold_one_beyond_it() -> None:
    """Also where notes of a patient are right together: rows taken as independent would be called miscalibrated."""
    num_runs = 20
    for notes, dependence in ((1, 0.0), (20, 0.5)):
        beyond = 0
        for seed in range(num_runs):
            probability, event, groups = drawn(seed, 600 // notes, notes, dependence=dependence)
            confident = np.maximum(probability, 1 - probability)
            right = np.where(probability > 0.5, event, ~event)
            shares = np.column_stack([confident, 1 - confident])
            beyond += calibration_metrics(shares, np.where(right, 0, 1), groups=groups).beyond_chance
        assert beyond / num_runs <= 0.05 + 3 * (0.05 * 0.95 / num_runs) ** 0.5, (notes, beyond)
    bold, event, _ = drawn(1, 600, slope=0.2)
    metrics = calibration_metrics(np.column_stack([bold, 1 - bold]), np.where(event, 0, 1))
    assert metrics.beyond_chance
    assert metrics.ece_if_calibrated["equal_mass"].low > 0, "noise alone makes an error"


def test_the_curve_follows_the_truth_and_is_empty_without_errors() -> None:
    probability, event, _ = drawn(2, 5_000, slope=0.5, dependence=0.0)
    curve = calibration_curve(probability, event)
    assert max(abs(point.accuracy - expit(0.5 * logit(point.confidence))) for point in curve) < 0.08
    assert calibration_curve(probability, np.ones(5_000, bool)) == ()
