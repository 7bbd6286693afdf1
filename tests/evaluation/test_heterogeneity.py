"""Pooled figures of sites and periods: against statsmodels' numbers, by hand, and in simulated sites."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from r2d.evaluation.heterogeneity import heterogeneity, pooled_effects
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.slices import Slice
from tests.evaluation.predicted import predictions_of


def sites(rows_right: dict[str, tuple[int, int]], *, rows_per_group: int = 1) -> tuple[Predictions, list[Slice]]:
    """Sites of (rows, right ones); a wrong label is one level too low."""
    right = np.concatenate([np.arange(rows) < num_right for rows, num_right in rows_right.values()])
    names = np.repeat(list(rows_right), [rows for rows, _ in rows_right.values()])
    predictions = predictions_of(
        ["today"] * len(right),
        np.where(right, "today", "clinic").tolist(),
        group_names=[f"p{row // rows_per_group:06}" for row in range(len(right))],
    )
    return predictions, [Slice("attributes.site", name, names == name) for name in rows_right]


def pool(rows_right: dict[str, tuple[int, int]], **more: int):  # type: ignore[no-untyped-def]
    predictions, slices = sites(rows_right, **more)
    [result] = heterogeneity(predictions, slices, ("site", "period"), ordered=True, confidence=0.95)
    return result


def test_effects_are_pooled_as_statsmodels_pools_them() -> None:
    # statsmodels 0.15.0, combine_effects(effect, variance, method_re="dl").
    result = pooled_effects(np.array([-1.2, -0.7, -1.9, -1.0, -0.3]), np.array([0.04, 0.09, 0.06, 0.02, 0.12]))
    assert result.tau_squared == pytest.approx(0.1844708994708995)
    assert result.q == pytest.approx(18.527083333333337)
    assert result.mean == pytest.approx(-1.0579617000114185)
    assert result.error == pytest.approx(0.25652843743521925), "its sd_eff_w_re_hksj; sd_eff_w_re is 0.2216"
    alike = pooled_effects(np.array([1.0, 1.1]), np.ones(2))
    assert (alike.tau_squared, alike.error) == (0, pytest.approx(0.5**0.5)), "neither is ever below what chance makes"


def test_a_figure_of_two_sites_worked_by_hand() -> None:
    result = pool({"north": (100, 90), "south": (100, 60)})
    figure = result.figures["accuracy"]
    effects = np.log([90.5 / 10.5, 60.5 / 40.5])
    variances = np.array([1 / 90.5 + 1 / 10.5, 1 / 60.5 + 1 / 40.5])
    assert figure.q == pytest.approx((effects[0] - effects[1]) ** 2 / variances.sum())
    assert figure.i_squared == pytest.approx((figure.q - 1) / figure.q)
    assert figure.tau_squared == pytest.approx((effects[0] - effects[1]) ** 2 / 2 - variances.mean())
    assert (figure.lowest, figure.highest) == (0.6, 0.9)
    assert figure.next_part.low is None, "two sites say nothing of a third"
    assert result.figures["under_triage_rate"].pooled.value == pytest.approx(1 - figure.pooled.value)


def test_alike_sites_are_not_told_apart_and_a_third_may_be_anywhere() -> None:
    figure = pool({"a": (200, 160), "b": (200, 160), "c": (200, 160)}).figures["accuracy"]
    assert (figure.i_squared, figure.tau_squared, figure.p_value) == (0, 0, pytest.approx(1))
    assert figure.pooled.low < 0.8 < figure.pooled.high
    assert figure.next_part.low < figure.pooled.low, "t with one degree of freedom"


def test_a_site_with_one_row_is_said_and_not_pooled() -> None:
    result = pool({"a": (200, 160), "b": (200, 170), "tiny": (1, 1), "(not given)": (30, 20)})
    assert result.parts == ("a", "b")
    assert result.not_pooled == {"tiny": "1 row", "(not given)": "no value"}
    assert pool({"a": (200, 160), "tiny": (1, 1)}).figures == {}
    predictions, slices = sites({"a": (20, 10)})
    assert heterogeneity(predictions, slices, ("period",), ordered=True, confidence=0.95) == ()


def test_rows_of_a_patient_are_not_taken_for_patients() -> None:
    counts = {"a": (200, 160), "b": (200, 120)}
    alone, together = (pool(counts, rows_per_group=size).figures["accuracy"] for size in (1, 10))
    assert together.q < alone.q / 3, "ten alike rows of a patient are about one"


def test_the_interval_for_the_next_site_holds_it_as_often_as_it_says() -> None:
    """Simulation: ten sites whose accuracy varies; an eleventh lies within its interval in about 95 of 100 studies. So
    does the mean of all sites within that of four of them, for which the usual interval is too narrow."""
    draw, held, mean_held = np.random.default_rng(1), 0, 0
    for _ in range(200):
        rates = expit(logit(0.8) + draw.normal(0, 0.4, 11))
        counts = {f"s{n:02}": (300, int(draw.binomial(300, rate))) for n, rate in enumerate(rates[:10])}
        next_part = pool(counts).figures["accuracy"].next_part
        held += next_part.low <= rates[10] <= next_part.high
        pooled = pool(dict(list(counts.items())[:4])).figures["accuracy"].pooled
        mean_held += pooled.low <= 0.8 <= pooled.high
    assert abs(held / 200 - 0.95) < 0.05
    assert abs(mean_held / 200 - 0.95) < 0.05
