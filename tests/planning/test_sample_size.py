"""Rows of a study by formulas: against scipy, published numbers, simulation, and the intervals of the evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import binom, norm
from sklearn.metrics import roc_auc_score

from r2d.config.evaluation import SelectiveConfig
from r2d.evaluation.bootstrap import upper_bound
from r2d.evaluation.calibration_slope import calibration_slope
from r2d.evaluation.threshold import risk_bounds
from r2d.gate.power import Decided, z_of
from r2d.planning.sample_size import (
    Clusters,
    Logits,
    groups_for_bound,
    rows_for_bound,
    rows_for_events,
    rows_for_rule,
    rows_for_slope,
)

Z = z_of(0.95)


@pytest.mark.parametrize(("max_rate", "rate", "power"), [(0.08, 0.05, 0.8), (0.1, 0.02, 0.9), (0.3, 0.2, 0.8)])
def test_a_bound_keeps_its_limit_as_often_as_asked_from_these_rows_on(
    max_rate: float, rate: float, power: float
) -> None:
    needed = rows_for_bound(max_rate, rate, 0.95, power)
    assert needed is not None
    reached = []
    for rows in range(needed - 1, needed + 12):
        kept = [errors for errors in range(round(rows * max_rate) + 1) if upper_bound(errors, rows, 0.95) <= max_rate]
        reached.append(binom.cdf(max(kept), rows, rate) >= power)
    assert reached == [False, *[True] * 12]


def test_without_errors_it_takes_as_many_rows_as_a_threshold_does() -> None:
    assert rows_for_bound(0.05, 1e-9, 0.95, 0.8) == SelectiveConfig(max_risk=0.05).least_rows() == 59
    assert rows_for_bound(0.9, 1e-9, 0.5, 0.8) == 1


@pytest.mark.parametrize("rate", [0.08, 0.2, 0.0799])
def test_no_number_of_rows_shows_a_rate_that_is_not_below_its_limit(rate: float) -> None:
    assert rows_for_bound(0.08, rate, 0.95, 0.8) is None
    assert groups_for_bound(0.08, rate, 0.95, 0.8, Clusters((1, 3), 0.3)) is None


@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.0])
def test_with_several_rows_a_patient_the_bound_of_the_threshold_keeps_its_limit_in_other_studies(
    correlation: float,
) -> None:
    clusters = Clusters((1, 2, 3), correlation)
    groups = groups_for_bound(0.1, 0.04, 0.95, 0.8, clusters)
    assert groups is not None
    draw, studies = np.random.default_rng(7), 300
    sizes = draw.choice([1, 2, 3], groups)
    own = draw.random((groups, studies, 3)) < 0.04
    shared = draw.random((groups, studies, 1)) < 0.04
    together = draw.random((groups, studies, 1)) < correlation  # errors that are copied have this correlation
    errors = (np.where(together, shared, own) & (np.arange(3) < sizes[:, None, None])).sum(axis=2).astype(float)
    shown = np.broadcast_to(sizes[:, None], errors.shape).astype(float)
    power = float((risk_bounds(shown, errors, 0.95) <= 0.1).mean())
    assert 0.8 - 0.08 < power < 0.8 + 0.1
    independent = rows_for_bound(0.1, 0.04, 0.95, 0.8)
    assert independent is not None
    assert independent / 2 < groups <= 1.3 * independent, "not fewer than rows / size, nor many more than rows"
    assert groups_for_bound(0.1, 0.04, 0.95, 0.8, Clusters((1,), correlation)) == independent


def test_observed_to_expected_is_as_wide_as_planned() -> None:
    # Riley et al. and pmvalsampsize 0.2.1: prevalence 0.018, width 1: SE 0.2456 in steps of 0.0001, 905 rows.
    assert rows_for_events(0.018, 1.0, Z) == 906
    rows = rows_for_events(0.2, 0.2, Z)
    observed = np.random.default_rng(1).binomial(rows, 0.2, 100_000) / (0.2 * rows)
    low, high = np.quantile(observed, [0.025, 0.975])
    assert high - low == pytest.approx(0.2, abs=0.006)


def test_rows_for_a_slope_are_those_of_fishers_information_and_of_the_published_program() -> None:
    logits = Logits.normal(-5.0, 2.5)

    def information(power: int) -> float:
        def at(x: float) -> float:
            return float(expit(x) * (1 - expit(x)) * x**power * norm.pdf(x, -5.0, 2.5))

        return float(quad(at, -30, 20, epsabs=1e-12)[0])

    a, ab, b = map(information, range(3))
    assert rows_for_slope(logits, 0.2, Z) == pytest.approx(a / ((0.1 / Z) ** 2 * (a * b - ab**2)), abs=1)
    # pmvalsampsize 0.2.1, which draws a million logits: 4,544.
    assert rows_for_slope(logits, 0.2, Z) == pytest.approx(4_544, rel=0.01)


def test_the_slope_of_the_evaluation_is_as_wide_as_planned() -> None:
    prevalence, c_statistic = 0.3, 0.8
    rows, draw = rows_for_slope(Logits.binormal(prevalence, c_statistic), 0.3, Z), np.random.default_rng(3)
    deviation = np.sqrt(2) * norm.ppf(c_statistic)
    middle, widths = np.log(prevalence / (1 - prevalence)), []
    for _ in range(20):
        event = draw.random(rows) < prevalence
        probability = expit(middle + np.where(event, 0.5, -0.5) * deviation**2 + deviation * draw.normal(size=rows))
        line = calibration_slope("", probability, event, np.arange(rows), confidence=0.95)
        widths.append(line.slope.high - line.slope.low)  # type: ignore[operator]
    assert np.mean(widths) == pytest.approx(0.3, rel=0.04)


def test_logits_of_two_normals_are_calibrated_and_have_the_c_statistic() -> None:
    logits = Logits.binormal(0.2, 0.85)
    assert logits.weights.sum() == pytest.approx(1)
    assert logits.weights @ expit(logits.points) == pytest.approx(0.2, abs=1e-6)
    draw = np.random.default_rng(0)
    points = draw.choice(logits.points, 200_000, p=logits.weights)
    assert roc_auc_score(draw.random(200_000) < expit(points), points) == pytest.approx(0.85, abs=0.005)


def test_a_design_effect_worked_by_hand() -> None:
    # Sizes 1 and 3: the patient of a row has (1 + 9) / 4 = 2.5 rows on average.
    assert Clusters((1, 3), 0.2).design_effect == pytest.approx(1.3)
    assert Clusters((1, 3), 0.2).mean == 2
    assert Clusters((1, 1), 1.0).design_effect == 1


@pytest.mark.parametrize(("limit", "truth", "higher"), [(-0.02, 0.0, True), (0.05, 0.03, False)])
def test_a_rule_passes_as_often_as_asked_with_its_rows(limit: float, truth: float, higher: bool) -> None:
    rule = Decided(limit, higher, Z)
    rows = rows_for_rule(rule, truth, 0.4, 0.8)
    assert rows is not None
    assert rule.passes(truth, 0.4 / rows**0.5) >= 0.8 > rule.passes(truth, 0.4 / (rows - 1) ** 0.5)
    assert rows_for_rule(rule, limit, 0.4, 0.8) is None
