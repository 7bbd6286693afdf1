"""Intervals and tests of significance, against hand-worked cases, scipy, and truths that a simulation knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.decided_rows import DecidedRows, FloatArray, decided_rows
from r2d.evaluation.label_figures import LabelFigures, label_intervals
from r2d.evaluation.statistics import intervals, mcnemar, mean_interval, resampled_sums, upper_bound
from tests.evaluation.decided import LABELS, QUICK, random_rows, rows_of

FIGURES = LabelFigures(len(LABELS), ordered=True)
GOLD = [label for label in LABELS for _ in range(10)]


def said(rows: DecidedRows) -> list[str | None]:
    return [[*rows.labels, None][place] for place in rows.said]


# --- the resamples ---


def test_groups_are_drawn_whole_and_as_many_as_there_are() -> None:
    rows = rows_of(["home"] * 6, ["home"] * 3 + ["clinic"] * 3, groups=["a", "a", "a", "b", "b", "b"])
    drawn = resampled_sums(FIGURES.sums(rows), QUICK)
    right, gold, said_sums = np.split(drawn[:, :12], 3, axis=1)
    assert set(gold.sum(axis=1)) == set(said_sums.sum(axis=1)) == {6.0}
    assert set(right.sum(axis=1)) == {0.0, 3.0, 6.0}, "never a part of a patient"
    assert (right.sum(axis=1) == 3).mean() == pytest.approx(0.5, abs=0.06)


def test_a_row_without_a_group_is_a_group_of_its_own() -> None:
    rows = rows_of(["home"] * 4, ["home"] * 4, groups=["r1", None, None, "r1"])
    assert rows.num_groups == 3
    assert rows.groups[0] == rows.groups[3]


def test_the_same_seed_gives_the_same_interval_and_another_seed_nearly_the_same() -> None:
    rows = random_rows(1, 300)
    first, again, other = (
        label_intervals(rows, FIGURES, IntervalsConfig(num_resamples=2_000, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other
    for end in ("low", "high"):
        assert first["macro_f1"][end] == pytest.approx(other["macro_f1"][end], abs=0.01)


def test_the_order_of_rows_changes_nothing() -> None:
    rows = random_rows(2, 60, num_groups=20)
    order = np.random.default_rng(0).permutation(60)
    turned = decided_rows(
        ids=[rows.ids[row] for row in order],
        gold=[LABELS[rows.gold[row]] for row in order],
        predicted=[said(rows)[row] for row in order],
        probabilities=rows.probabilities[order],
        labels=LABELS,
        groups=[str(rows.groups[row]) for row in order],
    )
    same_names = decided_rows(
        ids=rows.ids,
        gold=[LABELS[place] for place in rows.gold],
        predicted=said(rows),
        probabilities=rows.probabilities,
        labels=LABELS,
        groups=[str(group) for group in rows.groups],
    )
    assert label_intervals(turned, FIGURES, QUICK) == label_intervals(same_names, FIGURES, QUICK)


def test_small_portions_of_draws_give_the_same_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = FIGURES.sums(random_rows(3, 50))
    whole = resampled_sums(sums, QUICK)
    monkeypatch.setattr("r2d.evaluation.statistics.DRAWS_AT_A_TIME", 50 * 7)
    assert np.array_equal(resampled_sums(sums, QUICK), whole)


# --- the intervals ---


@pytest.mark.parametrize("seed", range(3))
def test_a_bca_interval_is_that_of_scipy(seed: int) -> None:
    sample = np.random.default_rng(seed).exponential(size=40)
    ours = mean_interval(sample.tolist(), np.arange(40), IntervalsConfig(num_resamples=20_000, confidence=0.9))
    theirs = stats.bootstrap(
        (sample,), np.mean, n_resamples=20_000, confidence_level=0.9, method="BCa", rng=np.random.default_rng(7)
    ).confidence_interval
    assert (ours["value"], ours["method"]) == (pytest.approx(sample.mean()), "bca")
    assert (ours["low"], ours["high"]) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_a_small_rate_has_the_interval_of_scipy_and_ends_higher_than_percentiles() -> None:
    events = np.array([1.0] * 3 + [0.0] * 57)
    ours = mean_interval(events.tolist(), np.arange(60), IntervalsConfig(num_resamples=20_000))
    theirs = stats.bootstrap(
        (events,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(7)
    ).confidence_interval
    assert (ours["low"], ours["high"]) == pytest.approx((theirs.low, theirs.high), abs=1 / 60 + 1e-9)
    assert ours["high"] > np.quantile(np.random.default_rng(0).binomial(60, 3 / 60, 20_000) / 60, 0.975)


def test_as_many_errors_as_right_rows_have_an_interval_that_is_even_on_both_sides() -> None:
    found = mean_interval([0.0] * 5 + [1.0] * 5, np.arange(10), IntervalsConfig(num_resamples=20_000))
    assert found["low"] + found["high"] == pytest.approx(1)


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Patients with one to three notes, of whom a third are hard: 3 % of notes are under-triaged."""
    covered, above = 0, 0
    truth = 1 / 3 * 0.07 + 2 / 3 * 0.01
    for seed in range(300):
        draw = np.random.default_rng(seed)
        patients = np.repeat(np.arange(150), draw.integers(1, 4, 150))
        hard = (draw.random(150) < 1 / 3)[patients]
        under = draw.random(len(patients)) < np.where(hard, 0.07, 0.01)
        found = mean_interval(under.astype(float).tolist(), patients, IntervalsConfig(num_resamples=1_000, seed=seed))
        covered += found["low"] <= truth <= found["high"]
        above += truth > found["high"]
    assert 0.91 <= covered / 300 <= 0.985
    assert above / 300 <= 0.05, "the side on which a model looks safer than it is"


def test_rows_of_one_patient_make_an_interval_wider_than_as_many_patients() -> None:
    gold, predicted = ["home"] * 200, (["home"] * 10 + ["clinic"] * 10) * 10
    single = label_intervals(rows_of(gold, predicted), FIGURES, QUICK)["accuracy"]
    in_tens = label_intervals(rows_of(gold, predicted, groups=[str(row // 10) for row in range(200)]), FIGURES, QUICK)
    width = single["high"] - single["low"]
    assert in_tens["accuracy"]["high"] - in_tens["accuracy"]["low"] > 2.5 * width


def test_no_error_among_few_patients_is_not_taken_for_certainty() -> None:
    found = label_intervals(rows_of(GOLD, GOLD), FIGURES, QUICK)
    exact = stats.binomtest(40, 40).proportion_ci(0.95, method="exact")
    assert found["accuracy"] == {"value": 1, "low": pytest.approx(exact.low), "high": 1, "method": "exact"}
    assert found["under_triage_rate"]["high"] == pytest.approx(1 - exact.low)
    of_ten = stats.binomtest(10, 10).proportion_ci(0.95, method="exact")
    assert found["per_class"]["emergency"]["recall"]["low"] == pytest.approx(of_ten.low)
    assert found["macro_f1"] == {"value": 1, "low": None, "high": None, "method": None}


def test_the_trials_of_precision_are_the_groups_that_were_given_the_label() -> None:
    predicted = [*GOLD[:9], "home", *GOLD[10:]]
    found = label_intervals(rows_of(GOLD, predicted), FIGURES, QUICK)["per_class"]
    exact = stats.binomtest(9, 9).proportion_ci(0.95, method="exact")
    assert found["emergency"]["precision"] == {
        "value": 1, "low": pytest.approx(exact.low), "high": 1, "method": "exact",
    }  # fmt: skip


def test_the_trials_of_an_exact_interval_are_patients_not_notes() -> None:
    notes = rows_of(GOLD, GOLD, groups=[str(row // 10) for row in range(40)])
    assert label_intervals(notes, FIGURES, QUICK)["accuracy"]["low"] == pytest.approx(0.025 ** (1 / 4))


def test_a_figure_that_is_undefined_or_seldom_defined_has_no_interval() -> None:
    gold = ["emergency"] * 2 + ["home"] * 18
    found = label_intervals(rows_of(gold, ["emergency", "home"] + ["home"] * 18), FIGURES, QUICK)["per_class"]
    assert found["clinic"]["recall"] == {"value": None, "low": None, "high": None, "method": None}
    assert found["emergency"]["recall"] == {"value": 0.5, "low": None, "high": None, "method": None}


def test_one_row_has_figures_and_an_interval_that_says_how_little_that_is() -> None:
    found = label_intervals(rows_of(["home"], ["home"]), FIGURES, QUICK)
    assert found["accuracy"] == {"value": 1, "low": pytest.approx(0.025), "high": 1, "method": "exact"}


def test_a_constant_mean_has_no_interval() -> None:
    assert mean_interval([0.3] * 10, np.arange(10), QUICK)["method"] is None


# --- two models ---


def right(pattern: str) -> Any:
    return np.array([sign == "1" for sign in pattern])


def test_mcnemar_worked_by_hand() -> None:
    # Six rows tell them apart, five for the first: p = 2 * (C(6,5) + C(6,6)) / 2^6 = 14 / 64.
    found = mcnemar(right("1111100110"), right("0000010110"), np.arange(10))
    assert found == {"only_first_right": 5, "only_second_right": 1, "p_value": 14 / 64, "rows_share_groups": False}


@pytest.mark.parametrize("seed", range(10))
def test_mcnemar_is_the_sign_test_on_discordant_rows_and_symmetric(seed: int) -> None:
    draw = np.random.default_rng(seed)
    first, second = draw.random((2, 30 * (seed + 1))) < 0.6
    found = mcnemar(first, second, np.zeros(len(first), dtype=np.int64))
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    tail = stats.binom.cdf(min(only_first, only_second), only_first + only_second, 0.5)
    assert found["p_value"] == pytest.approx(min(1.0, 2 * tail))
    assert found["p_value"] == pytest.approx(mcnemar(second, first, np.arange(len(first)))["p_value"])
    assert found["rows_share_groups"]


@pytest.mark.parametrize(("num_events", "num_rows"), [(0, 59), (3, 100), (20, 20), (0, 0)])
def test_the_upper_bound_is_that_of_clopper_and_pearson(num_events: int, num_rows: int) -> None:
    expected = (
        stats.binomtest(num_events, num_rows, alternative="less").proportion_ci(0.95, method="exact").high
        if num_rows
        else 1.0
    )
    assert upper_bound(num_events, num_rows, 0.95) == pytest.approx(expected)


def test_any_function_of_sums_can_be_resampled() -> None:
    def ratio(sums: FloatArray) -> dict[str, FloatArray]:
        return {"ratio": sums[..., 0] / sums[..., 1]}

    sums = np.column_stack([np.arange(1.0, 51), np.full(50, 2.0)])
    found = intervals(sums, ratio, QUICK)["ratio"]
    assert found["value"] == 25.5 / 2
    assert found["low"] < 25.5 / 2 < found["high"]
