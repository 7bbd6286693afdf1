"""The chart: its threshold, its exact run lengths against slow computations, and its false alarms in simulation."""

from __future__ import annotations

import numpy as np
import pytest

from r2d.monitoring.cusum import Cusum


def simulated_run_lengths(chart: Cusum, rate: float, num_runs: int, seed: int) -> np.ndarray:
    """Calls until the first alarm of each of many charts, each call an error with this probability."""
    draw = np.random.default_rng(seed)
    sums, lengths, call = np.zeros(num_runs, dtype=int), np.zeros(num_runs, dtype=int), 0
    while not lengths.all():
        call += 1
        running = lengths == 0
        errors = draw.random(num_runs) < rate
        sums = np.maximum(0, sums + np.where(errors, chart.up, -chart.down))
        lengths[running & (sums >= chart.threshold)] = call
    return lengths


def test_run_lengths_are_those_worked_out_by_hand() -> None:
    """With threshold 1 the first error alarms. With up 2, down 1 and threshold 3 an error leads from 0 to 2; from there
    an error alarms and a right call leads to 1, from where an error alarms and a right call leads to 0."""
    assert Cusum(0.1, 0.2, 1, 1, 1).run_length(0.25) == pytest.approx(4.0)
    p, q = 0.3, 0.7
    # E0 = 1 + p E2 + q E0, E1 = 1 + q E0, E2 = 1 + q E1
    e0 = (1 + p * (1 + q)) / (1 - q - p * q * q)
    assert Cusum(0.1, 0.2, 2, 1, 3).run_length(p) == pytest.approx(e0)


@pytest.mark.parametrize(("acceptable", "unacceptable"), [(0.05, 0.1), (0.002, 0.01), (0.3, 0.36), (0.1, 0.5)])
def test_the_threshold_is_the_lowest_that_keeps_false_alarms_apart(acceptable: float, unacceptable: float) -> None:
    chart = Cusum.of(acceptable, unacceptable, 2_000)
    assert chart.run_length(acceptable) >= 2_000
    lower = Cusum(acceptable, unacceptable, chart.up, chart.down, chart.threshold - 1)
    assert lower.run_length(acceptable) < 2_000
    assert chart.run_length(unacceptable) < 0.5 * chart.run_length(acceptable)
    assert acceptable < chart.down / (chart.up + chart.down) < unacceptable


def test_the_chart_rises_with_errors_alarms_and_begins_again() -> None:
    chart = Cusum(0.1, 0.3, up=4, down=1, threshold=7)
    followed = chart.follow([False, True, False, True, True, False, True])
    assert followed.sums == [0, 4, 3, 7, 4, 3, 7]
    assert followed.alarms == [3, 6]


def test_run_lengths_are_those_of_a_simulation() -> None:
    chart = Cusum.of(0.1, 0.2, 150)
    for rate in (0.1, 0.2):
        lengths = simulated_run_lengths(chart, rate, num_runs=4_000, seed=7)
        error = lengths.std() / np.sqrt(len(lengths))
        assert abs(lengths.mean() - chart.run_length(rate)) < 4 * error


@pytest.mark.simulation
@pytest.mark.parametrize(("acceptable", "unacceptable"), [(0.02, 0.04), (0.05, 0.1), (0.1, 0.182), (0.2, 0.3)])
def test_the_false_alarms_of_the_default_are_ten_thousand_calls_apart(acceptable: float, unacceptable: float) -> None:
    """The table of docs/serving.md; and calls of one patient that go wrong together alarm more often."""
    chart = Cusum.of(acceptable, unacceptable, 10_000)
    mean, spread = {}, {}
    for rate in (acceptable, unacceptable):
        lengths = simulated_run_lengths(chart, rate, num_runs=2_000, seed=11)
        mean[rate], spread[rate] = lengths.mean(), lengths.std() / np.sqrt(len(lengths))
        assert abs(mean[rate] - chart.run_length(rate)) < 4 * spread[rate]
    together = clustered_run_lengths(chart, acceptable, num_runs=500, seed=13)
    print(
        f"| {acceptable:.1%} | {unacceptable:.1%} | {chart.run_length(acceptable):,.0f} | {mean[acceptable]:,.0f} ± "
        f"{2 * spread[acceptable]:,.0f} | {chart.run_length(unacceptable):,.0f} | {mean[unacceptable]:,.0f} ± "
        f"{2 * spread[unacceptable]:,.0f} | {together.mean():,.0f} |"
    )
    assert together.mean() < mean[acceptable]


def clustered_run_lengths(chart: Cusum, rate: float, num_runs: int, seed: int) -> np.ndarray:
    """The same where each patient has three calls in a row, whose errors correlate by 0.2."""
    draw = np.random.default_rng(seed)
    sums, lengths, call = np.zeros(num_runs, dtype=int), np.zeros(num_runs, dtype=int), 0
    own = np.zeros(num_runs)
    while not lengths.all():
        if call % 3 == 0:  # beta distribution with this mean, and intraclass correlation 1 / (a + b + 1)
            own = draw.beta(4 * rate, 4 * (1 - rate), num_runs)
        call += 1
        running = lengths == 0
        sums = np.maximum(0, sums + np.where(draw.random(num_runs) < own, chart.up, -chart.down))
        lengths[running & (sums >= chart.threshold)] = call
    return lengths
