"""Label sets hold the reference as often as stated, label by label and over groups, and are named in words."""

from __future__ import annotations

import numpy as np
import pytest

from r2d.evaluation.label_sets import LabelThresholds, label_sets, set_name
from r2d.evaluation.predictions import Predictions
from r2d.label_scores import BoolArray
from tests.evaluation.predicted import LABELS, QUICK, predictions_of


def rows_of(seed: int, num_groups: int, *, rows_per_group: int = 1) -> Predictions:
    """A model that is too bold, on rows whose difficulty their group shares; `emergency` is rare and hard."""
    draw = np.random.default_rng(seed)
    groups = np.repeat(np.arange(num_groups), rows_per_group)
    hard = draw.exponential(1.0, num_groups)[groups]
    gold = draw.choice(4, len(groups), p=(0.1, 0.3, 0.4, 0.2))
    scores = draw.normal(0.0, 1.0, (len(groups), 4)) * (1 + hard[:, None])
    scores[np.arange(len(groups)), gold] += np.where(gold == 0, 0.8, 2.0)
    shares = np.exp(2 * scores)
    shares /= shares.sum(axis=1, keepdims=True)
    return predictions_of(
        [LABELS[place] for place in gold], [LABELS[place] for place in shares.argmax(axis=1)], probabilities=shares,
        group_names=[f"p{group}" for group in groups],
    )  # fmt: skip


@pytest.mark.parametrize("rows_per_group", [1, 5])
def test_each_label_is_covered_as_often_as_stated(rows_per_group: int) -> None:
    """Simulation: 200 choices on 80 groups each; the mean coverage of new groups, one row of each, is at least 0.9 in
    each label, and with four labels of several sizes not much above it."""
    new = rows_of(1, 4_000)
    covered = []
    for seed in range(200):
        thresholds = LabelThresholds.of(rows_of(100 + seed, 80, rows_per_group=rows_per_group), 0.9, "calibration")
        inside = new.probabilities >= thresholds.lowest - 1e-12  # before what only adds coverage
        held = inside[np.arange(len(new)), new.gold]
        covered.append([held[new.gold == label].mean() for label in range(4)])
    means, errors = np.mean(covered, axis=0), np.std(covered, axis=0) / np.sqrt(len(covered))
    assert (means + 3 * errors >= 0.9).all()
    assert (means[1:] < 0.95).all()


def test_thresholds_worked_by_hand_count_groups_and_one_more() -> None:
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.1, 0.9]])
    rows = predictions_of(
        ["no", "no", "no", "yes"], ["no", "no", "no", "yes"], labels=("no", "yes"), probabilities=shares,
        group_names=["a", "a", "b", "c"],
    )  # fmt: skip
    # Two groups have `no` and one more is added: the two rows of a weigh 1/6 each, that of b 1/3.
    assert LabelThresholds.of(rows, 0.6, "calibration").lowest.tolist() == [0.7, 0.0]
    assert LabelThresholds.of(rows, 0.3, "calibration").lowest[0] == 0.8
    assert LabelThresholds.of(rows, 0.7, "calibration").lowest[0] == 0.0, "two groups are too few"
    assert LabelThresholds.of(rows, 0.5, "calibration").lowest.tolist() == [0.7, 0.9]


def test_sets_are_never_empty_and_have_no_gap_where_labels_are_ordered() -> None:
    shares = np.array([[0.45, 0.05, 0.45, 0.05], [0.26, 0.24, 0.25, 0.25]])
    rows = predictions_of(["emergency", "home"], ["emergency", "emergency"], probabilities=shares)
    thresholds = LabelThresholds(0.9, 10, 10, np.full(4, 0.4))
    assert thresholds.sets(rows, ordered=True).tolist() == [[True, True, True, False], [True, False, False, False]]
    assert thresholds.sets(rows, ordered=False).tolist()[0] == [True, False, True, False]


def test_a_result_counts_coverage_and_size() -> None:
    rows, thresholds = rows_of(4, 800), LabelThresholds.of(rows_of(3, 600), 0.9, "calibration")
    ordered, unordered = (label_sets(rows, thresholds, ordered=order, interval=QUICK) for order in (True, False))
    inside = thresholds.sets(rows, ordered=False)
    held = inside[np.arange(800), rows.gold]
    assert unordered.coverage.value == pytest.approx(held.mean())
    assert unordered.coverage_of_label["today"].value == pytest.approx(held[rows.gold == 1].mean())
    assert unordered.mean_size.value == pytest.approx(inside.sum() / 800)
    assert unordered.coverage.low is not None
    assert unordered.coverage.high is not None
    assert unordered.coverage.low < held.mean() < unordered.coverage.high
    assert (ordered.coverage.value or 0.0) >= held.mean(), "neighbours between two labels of a set only add coverage"
    assert max(sum(row.num_rows for row in result.most_frequent) for result in (ordered, unordered)) <= 800
    assert not ordered.without_threshold


@pytest.mark.parametrize(
    ("inside", "ordered", "name"),
    [
        ([1, 1, 0, 0], True, "today or sooner"),
        ([0, 0, 1, 1], True, "clinic or later"),
        ([0, 1, 1, 0], True, "today to clinic"),
        ([1, 1, 1, 1], True, "any label"),
        ([0, 0, 0, 1], True, "home"),
        ([1, 0, 1, 0], False, "emergency or clinic"),
    ],
)
def test_a_set_has_a_name_in_words(inside: list[int], ordered: bool, name: str) -> None:
    as_array: BoolArray = np.array(inside, dtype=bool)
    assert set_name(LABELS, as_array, ordered=ordered) == name
