"""Label metrics by hand, differences of two systems on the same rows, and agreement and ranking by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from r2d.evaluation.label_metrics import (
    LabelStatistics,
    label_differences,
    label_intervals,
    label_metrics,
    ranking_metrics,
    without_classes,
)
from r2d.evaluation.metrics import ClassMetrics, LabelMetrics
from r2d.evaluation.predictions import Predictions
from tests.evaluation.predicted import LABELS, QUICK, predictions_of, predictions_with_options, random_predictions

STATISTICS = LabelStatistics(len(LABELS), ordered=True)
GOLD = [label for label in LABELS for _ in range(10)]
TRIAGE = ("Emergency", "See a doctor", "Home care")


def measured(gold: list[str], predicted: list[str | None], labels: tuple[str, ...] = TRIAGE) -> LabelMetrics:
    return label_metrics(predictions_of(gold, predicted, labels=labels))


def values(predictions: Predictions, statistics: LabelStatistics = STATISTICS) -> dict[str, float]:
    sums = statistics.sums(predictions).sum(axis=0)
    return {name: float(value) for name, value in statistics(sums).items()}


def test_a_case_worked_by_hand_with_an_invalid_label() -> None:
    metrics = measured(
        ["Emergency", "Emergency", "See a doctor", "See a doctor", "Home care"],
        ["Emergency", "See a doctor", "See a doctor", "ambulance", "Home care"],
    )
    # Emergency: P 1/1, R 1/2, F1 2/3. See a doctor: P 1/2, R 1/2, F1 1/2. Home care: 1.
    assert metrics.confusion_matrix == ((1, 1, 0, 0), (0, 1, 0, 1), (0, 0, 1, 0))
    assert (metrics.num_rows, metrics.accuracy, metrics.invalid_label_rate) == (5, 3 / 5, 1 / 5)
    assert metrics.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert metrics.weighted_f1 == pytest.approx((2 * 2 / 3 + 2 * 1 / 2 + 1) / 5)
    emergency = ClassMetrics(precision=1.0, recall=0.5, f1=2 / 3, support=2, predicted=1)
    assert metrics.per_class["Emergency"] == emergency


def test_misspelt_labels_do_not_become_classes_of_their_own() -> None:
    gold = list(TRIAGE) * 20
    one_way = measured(gold, ["Emergency"] + ["x"] * 59)
    many_ways = measured(gold, ["Emergency"] + [f"x{row}" for row in range(59)])
    assert one_way == many_ways


def test_a_declared_label_called_invalid_is_not_taken_for_one() -> None:
    metrics = measured(["invalid", "valid"], ["invalid", "nonsense"], ("invalid", "valid"))
    assert metrics.confusion_matrix == ((1, 0, 0), (0, 0, 1))
    assert metrics.invalid_label_rate == 0.5


@pytest.mark.parametrize("seed", range(20))
def test_random_rows_equal_scikit_learn_and_the_statistics_that_are_resampled(seed: int) -> None:
    predictions = random_predictions(seed, 3 + 7 * seed, num_groups=1 + 2 * seed)
    metrics, statistics = label_metrics(predictions), values(predictions)
    matrix = reference.confusion_matrix(predictions.gold, predictions.predicted, labels=range(5))[:-1]
    assert metrics.confusion_matrix == tuple(map(tuple, matrix.tolist()))
    for name in ("accuracy", "macro_f1", "weighted_f1", "invalid_label_rate"):
        assert statistics[name] == getattr(metrics, name), name
    for index, (label, of_class) in enumerate(metrics.per_class.items()):
        assert LABELS[index] == label
        for name, denominator in (("recall", of_class.support), ("precision", of_class.predicted)):
            value = statistics[f"{name}/{index}"]
            assert value == getattr(of_class, name) if denominator else np.isnan(value)


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        (GOLD, {"accuracy": 1, "macro_f1": 1, "weighted_f1": 1, "under_triage_rate": 0, "over_triage_rate": 0}),
        (["emergency"] * 40, {"macro_f1": 0.4 / 4, "under_triage_rate": 0, "over_triage_rate": 3 / 4}),
        (["home"] * 40, {"accuracy": 1 / 4, "under_triage_rate": 3 / 4, "over_triage_rate": 0}),
        ([None] * 40, {"accuracy": 0, "macro_f1": 0, "under_triage_rate": 1, "invalid_label_rate": 1}),
    ],
    ids=["perfect", "always most urgent", "always least urgent", "silent"],
)  # fmt: skip
def test_simple_predictors_get_the_metrics_they_must(predicted: list[str | None], expected: dict[str, float]) -> None:
    found = values(predictions_of(GOLD, predicted))
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_triage_metrics_of_five_rows_counted_by_hand() -> None:
    rows = predictions_of(
        ["emergency", "emergency", "today", "clinic", "home"], ["today", "home", "emergency", "clinic", "no idea"]
    )
    costs = np.array([[0, 4, 9, 20.0], [1, 0, 2, 5], [2, 1, 0, 1], [3, 2, 1, 0]])
    found = values(rows, LabelStatistics(4, ordered=True, costs=costs))
    assert found["accuracy"] == 1 / 5
    assert found["under_triage_rate"] == 3 / 5  # one by one level, one by three, and the text that is no label
    assert found["severe_under_triage_rate"] == 1 / 5
    assert found["over_triage_rate"] == 1 / 5
    assert found["mean_cost"] == (4 + 20 + 1 + 0 + 3) / 5  # no label costs what the worst prediction on `home` costs
    assert not [name for name in values(rows, LabelStatistics(4)) if "triage" in name], "labels without order"


# --- options per row ---

OPTIONS = [["oven", "car"], ["sea", "desk", "roof"], ["oven", "shelf", "bowl", "sink"], ["yes", "no"]]
ANSWERS = ["oven", "roof", "bowl", "no"]


def test_options_of_the_row_worked_by_hand() -> None:
    # Right but for case; wrong; an option of ANOTHER row, so none of its own; nothing said.
    metrics = label_metrics(predictions_with_options(ANSWERS, [" OVEN ", "desk", "car", None], OPTIONS))
    assert (metrics.num_rows, metrics.accuracy, metrics.invalid_label_rate) == (4, 1 / 4, 2 / 4)


def test_without_classes_there_is_no_macro_f1_which_is_not_a_macro_f1_of_zero() -> None:
    predictions = predictions_with_options(ANSWERS, ANSWERS, OPTIONS)
    assert label_metrics(predictions) == without_classes([1, 1, 1, 1])
    assert label_metrics(predictions).macro_f1 is None
    intervals = label_intervals(predictions, LabelStatistics(1, has_classes=False), QUICK)
    assert (intervals.accuracy.value, intervals.accuracy.method) == (1, "exact")
    assert (intervals.macro_f1.value, intervals.per_class) == (None, {})


def test_of_options_accuracy_and_the_invalid_share_have_the_intervals_of_their_groups() -> None:
    draw = np.random.default_rng(0)
    options = [OPTIONS[row % 4] for row in range(120)]
    gold = [ANSWERS[row % 4] for row in range(120)]
    predicted = [str(draw.choice([*some, "nonsense"])) for some in options]
    groups = [f"p{row // 3}" for row in range(120)]
    of_options = predictions_with_options(gold, predicted, options, group_names=groups)
    # The same rows as two declared labels and what is none: right, wrong, invalid.
    pairs = zip(of_options.correct, of_options.valid, strict=True)
    as_labels = ["right" if correct else "wrong" if valid else None for correct, valid in pairs]
    declared = predictions_of(["right"] * 120, as_labels, labels=("right", "wrong"), group_names=groups)
    ours = label_intervals(of_options, LabelStatistics(1, has_classes=False), QUICK)
    theirs = label_intervals(declared, LabelStatistics(2), QUICK)
    assert (ours.accuracy, ours.invalid_label_rate) == (theirs.accuracy, theirs.invalid_label_rate)
    assert ours.num_groups == 40


# --- two systems on the same rows ---


def test_a_paired_difference_is_tighter_than_two_intervals_and_signed_first_minus_second() -> None:
    first = random_predictions(4, 400)
    better = [first.gold_labels[row] if row % 20 == 0 else label for row, label in enumerate(first.predicted_labels)]
    second = first.with_labels(better)
    difference = label_differences(first, second, STATISTICS, QUICK)
    alone, gap = label_intervals(first, STATISTICS, QUICK).accuracy, difference.accuracy
    assert gap.value == pytest.approx(first.correct.mean() - second.correct.mean())
    assert gap.low < gap.value < gap.high < 0
    assert gap.high - gap.low < (alone.high - alone.low) / 2
    assert difference.mcnemar.only_first_right == 0
    assert difference.mcnemar.only_second_right == (second.correct & ~first.correct).sum()


def test_a_model_beside_itself_differs_in_nothing() -> None:
    predictions = random_predictions(5, 50)
    difference = label_differences(predictions, predictions, STATISTICS, QUICK)
    assert (difference.macro_f1.value, difference.macro_f1.method) == (0, None)
    assert difference.mcnemar.p_value == 1.0


def test_two_models_on_different_rows_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same rows"):
        label_differences(predictions_of(["home"], ["home"]), predictions_of(["clinic"], ["home"]), STATISTICS, QUICK)


# --- agreement and ranking ---

ONE_HOT = np.eye(4)


@pytest.mark.parametrize("seed", range(10))
def test_ranking_of_random_rows_equals_scikit_learn(seed: int) -> None:
    rows = random_predictions(seed, 60 + 10 * seed)
    metrics = ranking_metrics(rows, ordered=True)
    kappa = reference.cohen_kappa_score(rows.gold, rows.predicted, weights="quadratic", labels=range(5))
    auroc = reference.roc_auc_score(rows.gold, rows.probabilities, multi_class="ovr", average="macro")
    assert metrics.mcc == pytest.approx(reference.matthews_corrcoef(rows.gold, rows.predicted))
    assert metrics.quadratic_weighted_kappa == pytest.approx(kappa)
    assert metrics.auroc.macro == pytest.approx(auroc)
    assert metrics.undefined == {}


def test_auroc_of_three_rows_worked_by_hand() -> None:
    # `emergency`: 0.6 against 0.5 and 0.7, so one of two pairs is in order; `home`: 0.3 against 0.2 and 0.4, likewise.
    shares = np.array([[0.6, 0.1, 0.1, 0.2], [0.5, 0.1, 0.1, 0.3], [0.7, 0, 0, 0.3]])
    gold = ["emergency", "home", "clinic"]
    metrics = ranking_metrics(predictions_of(gold, gold, probabilities=shares), ordered=True)
    assert metrics.auroc.per_class["emergency"] == 1 / 2
    assert metrics.auroc.per_class["home"] == (1 + 1 / 2) / 2  # above one, equal to the other
    assert (metrics.mcc, metrics.quadratic_weighted_kappa) == (1, 1)


def test_a_perfect_predictor_ranks_perfectly_and_a_constant_or_random_one_says_nothing() -> None:
    gold, draw = [*LABELS, *LABELS], np.random.default_rng(0)
    perfect = ranking_metrics(predictions_of(gold, gold, probabilities=np.tile(ONE_HOT, (2, 1))), ordered=True)
    assert (perfect.mcc, perfect.quadratic_weighted_kappa, perfect.auroc.macro) == (1, 1, 1)
    constant = ranking_metrics(predictions_of(gold, ["home"] * 8), ordered=True)
    assert (constant.mcc, constant.quadratic_weighted_kappa, constant.auroc.macro) == (0, 0, 0.5)
    gold, predicted = (draw.choice(LABELS, 4000).tolist() for _ in range(2))
    shares = draw.dirichlet(np.ones(4), 4000)
    chance = ranking_metrics(predictions_of(gold, predicted, probabilities=shares), ordered=True)
    assert (chance.mcc, chance.quadratic_weighted_kappa) == (pytest.approx(0, abs=0.05), pytest.approx(0, abs=0.05))
    assert chance.auroc.macro == pytest.approx(0.5, abs=0.03)


def test_a_near_miss_costs_kappa_less_than_a_far_one_and_no_label_most() -> None:
    gold = [*LABELS] * 5
    far, near, none = (
        ranking_metrics(predictions_of(gold, [first, *gold[1:]]), ordered=True).quadratic_weighted_kappa
        for first in ("home", "today", None)
    )
    assert none < far < near < 1


def test_a_label_without_a_gold_row_has_no_auroc_and_is_left_out_of_the_mean() -> None:
    rows = predictions_of(["home", "clinic"], ["home", "clinic"], probabilities=ONE_HOT[[3, 2]])
    metrics = ranking_metrics(rows, ordered=True)
    assert metrics.auroc.per_class == {"emergency": None, "today": None, "clinic": 1, "home": 1}
    assert metrics.auroc.macro == 1
    assert metrics.undefined == dict.fromkeys(("auroc emergency", "auroc today"), "no gold row has this label")


def test_what_is_undefined_says_why() -> None:
    one_label = ranking_metrics(predictions_of(["home", "home"], ["home", "clinic"]), ordered=True)
    assert (one_label.mcc, one_label.quadratic_weighted_kappa, one_label.auroc.macro) == (None, None, None)
    assert one_label.undefined["mcc"] == "all gold rows have one label"
    assert one_label.undefined["auroc home"] == "every gold row has this label"
    unordered = ranking_metrics(random_predictions(0, 50), ordered=False)
    assert unordered.quadratic_weighted_kappa is None
    assert unordered.undefined == {"quadratic_weighted_kappa": "the labels are not ordered"}
