"""Intervals and tests of significance, against hand-worked cases, scipy, and truths that a simulation knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.bootstrap import bootstrap_intervals, mcnemar, resampled_sums, upper_bound
from r2d.evaluation.label_metrics import LabelStatistics, label_intervals
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.labels import LabelIntervals, McNemarTest
from r2d.label_scores import FloatArray, IntArray
from tests.evaluation.predicted import LABELS, QUICK, predictions_of, random_predictions

STATISTICS = LabelStatistics(len(LABELS), ordered=True)
GOLD = [label for label in LABELS for _ in range(10)]
NO_INTERVAL = (None, None, None)


def mean_interval(values: Sequence[float], groups: IntArray, config: IntervalsConfig) -> IntervalEstimate:
    """The mean over rows, of which each has a value."""
    sums = np.column_stack([np.bincount(groups, weights=values), np.bincount(groups)]).astype(np.float64)
    return bootstrap_intervals(sums, lambda sums: {"mean": sums[..., 0] / sums[..., 1]}, config)["mean"]


def intervals_of(predictions: Predictions) -> LabelIntervals:
    return label_intervals(predictions, STATISTICS, QUICK)


def ends(estimate: IntervalEstimate) -> tuple[Any, ...]:
    return estimate.low, estimate.high, estimate.method


# --- the resamples ---


def test_groups_are_drawn_whole_and_as_many_as_there_are() -> None:
    rows = predictions_of(["home"] * 6, ["home"] * 3 + ["clinic"] * 3, group_names=["a", "a", "a", "b", "b", "b"])
    correct, gold, predicted = np.split(resampled_sums(STATISTICS.sums(rows), QUICK)[:, :12], 3, axis=1)
    assert set(gold.sum(axis=1)) == set(predicted.sum(axis=1)) == {6.0}
    assert set(correct.sum(axis=1)) == {0.0, 3.0, 6.0}, "never a part of a patient"
    assert (correct.sum(axis=1) == 3).mean() == pytest.approx(0.5, abs=0.06)


def test_the_same_seed_gives_the_same_interval_and_another_seed_nearly_the_same() -> None:
    rows = random_predictions(1, 300)
    first, again, other = (
        label_intervals(rows, STATISTICS, IntervalsConfig(num_resamples=2_000, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert ends(first.macro_f1)[:2] == pytest.approx(ends(other.macro_f1)[:2], abs=0.01)


def test_the_order_of_rows_changes_nothing() -> None:
    rows = random_predictions(2, 60, num_groups=20)

    def in_order(order: Sequence[int]) -> LabelIntervals:
        columns = (rows.gold_labels, rows.predicted_labels, rows.group_names)
        gold, predicted, groups = ([column[row] for row in order] for column in columns)
        return intervals_of(predictions_of(gold, predicted, group_names=groups))

    assert in_order(np.random.default_rng(0).permutation(60).tolist()) == in_order(range(60))


def test_small_portions_of_draws_give_the_same_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = STATISTICS.sums(random_predictions(3, 50))
    whole = resampled_sums(sums, QUICK)
    monkeypatch.setattr("r2d.evaluation.bootstrap.DRAWS_AT_A_TIME", 50 * 7)
    assert np.array_equal(resampled_sums(sums, QUICK), whole)


# --- the intervals ---


SMALL_RATE = np.array([1.0] * 3 + [0.0] * 57)
MEANS = [np.random.default_rng(seed).exponential(size=40) for seed in range(3)]


@pytest.mark.parametrize(
    ("sample", "confidence", "tolerance"),
    [*((mean, 0.9, 0.02) for mean in MEANS), (SMALL_RATE, 0.95, 1 / 60 + 1e-9)],
)
def test_a_bca_interval_of_a_mean_is_that_of_scipy(sample: FloatArray, confidence: float, tolerance: float) -> None:
    config = IntervalsConfig(num_resamples=20_000, confidence=confidence)
    ours = mean_interval(sample.tolist(), np.arange(len(sample)), config)
    theirs = stats.bootstrap(
        (sample,), np.mean, n_resamples=20_000, confidence_level=confidence, method="BCa", rng=np.random.default_rng(7)
    ).confidence_interval
    assert (ours.value, ours.method) == (pytest.approx(sample.mean()), "bca")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=tolerance)
    if sample is SMALL_RATE:  # percentiles end lower
        assert ours.high > np.quantile(np.random.default_rng(0).binomial(60, 3 / 60, 20_000) / 60, 0.975)


def test_as_many_errors_as_right_rows_have_an_interval_that_is_even_on_both_sides() -> None:
    estimate = mean_interval([0.0] * 5 + [1.0] * 5, np.arange(10), IntervalsConfig(num_resamples=20_000))
    assert estimate.low + estimate.high == pytest.approx(1)


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Patients with one to three notes, of whom a third are hard: 3 % of notes are under-triaged."""
    covered, above = 0, 0
    truth = 1 / 3 * 0.07 + 2 / 3 * 0.01
    for seed in range(300):
        draw = np.random.default_rng(seed)
        patients = np.repeat(np.arange(150), draw.integers(1, 4, 150))
        hard = (draw.random(150) < 1 / 3)[patients]
        under = draw.random(len(patients)) < np.where(hard, 0.07, 0.01)
        config = IntervalsConfig(num_resamples=1_000, seed=seed)
        estimate = mean_interval(under.astype(float).tolist(), patients, config)
        covered += estimate.low <= truth <= estimate.high
        above += truth > estimate.high
    assert 0.91 <= covered / 300 <= 0.985
    assert above / 300 <= 0.05, "the side on which a model looks safer than it is"


def test_no_error_among_few_patients_is_not_taken_for_certainty() -> None:
    intervals = intervals_of(predictions_of(GOLD, GOLD))
    exact = stats.binomtest(40, 40).proportion_ci(0.95, method="exact")
    assert intervals.accuracy == IntervalEstimate(1, pytest.approx(exact.low), 1, "exact")
    assert intervals.under_triage_rate.high == pytest.approx(1 - exact.low)
    of_ten = stats.binomtest(10, 10).proportion_ci(0.95, method="exact")
    assert intervals.per_class["emergency"]["recall"].low == pytest.approx(of_ten.low)
    assert intervals.macro_f1 == intervals.accuracy, "an F1 of 1 says just that: no error among 40 groups"


def test_the_trials_of_an_exact_interval_are_the_patients_in_its_denominator() -> None:
    notes = predictions_of(GOLD, GOLD, group_names=[str(row // 10) for row in range(40)])
    assert intervals_of(notes).accuracy.low == pytest.approx(0.025 ** (1 / 4)), "patients, not notes"
    of_class = intervals_of(predictions_of(GOLD, [*GOLD[:9], "home", *GOLD[10:]])).per_class["emergency"]
    exact = stats.binomtest(9, 9).proportion_ci(0.95, method="exact")
    assert of_class["precision"] == IntervalEstimate(1, pytest.approx(exact.low), 1, "exact"), "those given the label"


def test_a_metric_that_is_undefined_or_seldom_defined_has_no_interval() -> None:
    gold = ["emergency"] * 2 + ["home"] * 18
    of_class = intervals_of(predictions_of(gold, ["emergency", "home"] + ["home"] * 18)).per_class
    assert of_class["clinic"]["recall"] == IntervalEstimate(None)
    assert of_class["emergency"]["recall"] == IntervalEstimate(0.5)


def test_one_row_has_an_interval_that_says_how_little_that_is_and_a_constant_mean_has_none() -> None:
    estimate = intervals_of(predictions_of(["home"], ["home"])).accuracy
    assert estimate == IntervalEstimate(1, pytest.approx(0.025), 1, "exact")
    assert ends(mean_interval([0.3] * 10, np.arange(10), QUICK)) == NO_INTERVAL


# --- two models ---


def correct(pattern: str) -> Any:
    return np.array([sign == "1" for sign in pattern])


def test_mcnemar_worked_by_hand() -> None:
    # Six rows tell them apart, five for the first: p = 2 * (C(6,5) + C(6,6)) / 2^6 = 14 / 64.
    test = mcnemar(correct("1111100110"), correct("0000010110"), np.arange(10))
    assert test == McNemarTest(only_first_right=5, only_second_right=1, p_value=14 / 64, rows_share_groups=False)


@pytest.mark.parametrize("seed", range(10))
def test_mcnemar_is_the_sign_test_on_discordant_rows_and_symmetric(seed: int) -> None:
    draw = np.random.default_rng(seed)
    first, second = draw.random((2, 30 * (seed + 1))) < 0.6
    test = mcnemar(first, second, np.zeros(len(first), dtype=np.int64))
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    tail = stats.binom.cdf(min(only_first, only_second), only_first + only_second, 0.5)
    assert test.p_value == pytest.approx(min(1.0, 2 * tail))
    assert test.p_value == pytest.approx(mcnemar(second, first, np.arange(len(first))).p_value)
    assert test.rows_share_groups


@pytest.mark.parametrize(("num_events", "num_rows"), [(0, 59), (3, 100), (20, 20)])
def test_the_upper_bound_is_that_of_clopper_and_pearson(num_events: int, num_rows: int) -> None:
    expected = stats.binomtest(num_events, num_rows, alternative="less").proportion_ci(0.95, method="exact").high
    assert upper_bound(num_events, num_rows, 0.95) == pytest.approx(expected)
    assert upper_bound(0, 0, 0.95) == 1.0
