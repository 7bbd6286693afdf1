"""Operating points by hand, net benefit as another library computes it, and labels by declared costs."""

from __future__ import annotations

import numpy as np
import pytest

from r2d.config.evaluation import OperatingPointsConfig
from r2d.evaluation.label_metrics import LabelStatistics
from r2d.evaluation.operating_points import labels_of_least_cost, operating_points
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.operating_points import OperatingPoints
from tests.evaluation.predicted import LABELS, QUICK, predictions_of, random_predictions

ORDERED = LabelStatistics(len(LABELS), ordered=True)
THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
DCURVES = (0.382694, 0.363930, 0.332889, 0.287000, 0.273571, 0.336333)
DCURVES_ALL = (0.382653, 0.363158, 0.327778, 0.243750, 0.135714, -0.210000)
DCURVES_AT_PREVALENCE = {0.1: 0.007603, 0.3: -0.080638}
"""Net benefit of `random_predictions(4, 3000, num_groups=1500)`, at least as urgent as `today`, by dcurves 1.1.7, which
needs an older pandas than this project; the last at a prevalence of 0.1."""


def measured(rows: Predictions, statistics: LabelStatistics = ORDERED, **config: object) -> OperatingPoints:
    return operating_points(rows, statistics, OperatingPointsConfig.model_validate(config), QUICK)


def test_six_rows_counted_by_hand_with_an_invalid_label() -> None:
    rows = predictions_of(
        ["emergency", "emergency", "today", "clinic", "home", "home"],
        ["emergency", "clinic", "today", "emergency", "home", None],
    )
    emergency, today, clinic = measured(rows, threshold_probabilities=(0.2,)).cuts
    values = {name: estimate.value for name, estimate in today.as_decided.items()}
    # At least as urgent as today: 3 of 6 rows; flagged 3, of them 2 rightly.
    assert (today.num_positive, today.prevalence) == (3, 0.5)
    assert values == pytest.approx(
        {"sensitivity": 2 / 3, "specificity": 2 / 3, "ppv": 2 / 3, "npv": 2 / 3, "flagged": 3 / 6, "found": 2 / 6,
         "false_alarms": 1 / 6, "missed": 1 / 6}
    )  # fmt: skip
    (point,) = today.points
    assert point.treat_all == pytest.approx(0.5 - 0.5 / 4)
    assert point.as_decided["net_benefit"].value == pytest.approx(2 / 6 - 1 / 6 / 4)
    assert point.as_decided["net_benefit_gain"].value == pytest.approx(2 / 6 - 1 / 6 / 4 - (0.5 - 0.5 / 4))
    assert emergency.as_decided["sensitivity"].value == 0.5
    assert clinic.as_decided["flagged"].value == pytest.approx(4 / 6), "no label is no flag"


def test_net_benefit_is_that_of_another_library() -> None:
    cut = measured(random_predictions(4, 3000, num_groups=1500)).cuts[1]
    assert [point.threshold_probability for point in cut.points] == list(THRESHOLDS)
    assert [point.by_probability["net_benefit"].value for point in cut.points] == pytest.approx(DCURVES, abs=1e-6)
    assert [point.treat_all for point in cut.points] == pytest.approx(DCURVES_ALL, abs=1e-6)
    for point in cut.points:
        found = point.by_probability["net_benefit"]
        assert found.low is not None
        assert found.high is not None
        assert found.low < (found.value or 0.0) < found.high


def test_a_declared_mix_of_labels_moves_what_depends_on_it_and_nothing_else() -> None:
    rows = random_predictions(4, 3000, num_groups=1500)
    shares = {"emergency": 0.02, "today": 0.08, "clinic": 0.4, "home": 0.5}
    own, declared = measured(rows).cuts[1], measured(rows, label_shares=shares).cuts[1]
    assert declared.prevalence == pytest.approx(0.1)
    for name in ("sensitivity", "specificity"):
        assert declared.as_decided[name] == own.as_decided[name]
    sensitivity, specificity = (own.as_decided[name].value or 0.0 for name in ("sensitivity", "specificity"))
    bayes = sensitivity * 0.1 / (sensitivity * 0.1 + (1 - specificity) * 0.9)
    assert declared.as_decided["ppv"].value == pytest.approx(bayes)
    for threshold, benefit in DCURVES_AT_PREVALENCE.items():
        point = declared.point(threshold)
        assert point is not None
        assert point.by_probability["net_benefit"].value == pytest.approx(benefit, abs=1e-6)


def test_rows_of_a_group_widen_the_intervals() -> None:
    alone = random_predictions(7, 400)
    doubled = predictions_of(
        [*alone.gold_labels, *alone.gold_labels], [*alone.predicted_labels, *alone.predicted_labels],
        probabilities=np.vstack([alone.probabilities] * 2), group_names=[f"p{row % 400}" for row in range(800)],
    )  # fmt: skip
    (first, *_), (second, *_) = measured(alone).cuts, measured(doubled).cuts
    assert second.as_decided["sensitivity"].value == first.as_decided["sensitivity"].value
    assert second.as_decided["found"].low == pytest.approx(first.as_decided["found"].low, abs=0.002)


def test_the_label_of_least_cost_is_not_the_most_probable_one_where_an_error_is_dear() -> None:
    costs = np.array([[0.0, 10.0], [1.0, 0.0]])
    assert labels_of_least_cost(np.array([[0.2, 0.8], [0.05, 0.95], [1 / 11, 10 / 11]]), costs).tolist() == [0, 1, 0]


def test_labels_by_costs_cost_less_where_probabilities_are_true() -> None:
    draw = np.random.default_rng(3)
    shares = draw.dirichlet(np.ones(4), 2000)
    gold = [LABELS[draw.choice(4, p=row)] for row in shares]
    rows = predictions_of(gold, [LABELS[place] for place in shares.argmax(axis=1)], probabilities=shares)
    costs = np.maximum(5.0 * np.subtract.outer(-np.arange(4), -np.arange(4)), np.subtract.outer(range(4), range(4)))
    by_costs = measured(rows, LabelStatistics(4, ordered=True, costs=costs)).by_costs
    assert by_costs is not None
    difference = by_costs.differences["mean_cost"]
    assert difference.high is not None
    assert difference.high < 0
    assert (by_costs.differences["under_triage_rate"].value or 0.0) < 0


@pytest.mark.parametrize(
    ("shares", "fault"),
    [
        ({"emergency": 0.5, "today": 0.2, "clinic": 0.2}, "missing: 'home'"),
        ({"emergency": 0.5, "today": 0.2, "clinic": 0.2, "home": 0.2}, "they sum to 1.1 and not to 1"),
        ({"emergency": 0.5, "today": 0.2, "clinic": 0.2, "hom": 0.1}, "not declared: 'hom'"),
    ],
)
def test_shares_that_do_not_fit_the_labels_are_refused(shares: dict[str, float], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        OperatingPointsConfig(label_shares=shares).shares(LABELS)
