"""Label metrics and safety by hand, two systems on the same rows, agreement and ranking by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn import metrics as reference

from r2d.config.evaluation import SafetyConfig
from r2d.evaluation.label_metrics import (
    LabelStatistics,
    label_intervals,
    label_metrics,
    ranking_metrics,
    safety_metrics,
    without_classes,
)
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.labels import Auroc, ClassMetrics, LabelMetrics, TriageErrors, TriageRates, WorstCase
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


def test_misspelt_labels_do_not_become_classes_of_their_own_nor_a_label_called_invalid_an_invalid_one() -> None:
    gold = list(TRIAGE) * 20
    one_way = measured(gold, ["Emergency"] + ["x"] * 59)
    assert one_way == measured(gold, ["Emergency"] + [f"x{row}" for row in range(59)])
    metrics = measured(["invalid", "valid"], ["invalid", "nonsense"], ("invalid", "valid"))
    assert (metrics.confusion_matrix, metrics.invalid_label_rate) == (((1, 0, 0), (0, 0, 1)), 0.5)


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


# --- safety ---

COSTS = {
    "emergency": {"today": 10.0, "clinic": 50.0, "home": 100.0},
    "today": {"emergency": 1.0, "clinic": 5.0, "home": 20.0},
    "clinic": {"emergency": 2.0, "today": 1.0, "home": 2.0},
    "home": {"emergency": 3.0, "today": 2.0, "clinic": 1.0},
}


@pytest.mark.parametrize(
    ("predicted", "accuracy", "macro_f1", "under", "over"),
    [(GOLD, 1, 1, 0, 0), (["emergency"] * 40, 1 / 4, 0.4 / 4, 0, 3 / 4), (["home"] * 40, 1 / 4, 0.4 / 4, 3 / 4, 0),
     (["today"] * 40, 1 / 4, 0.4 / 4, 1 / 4, 2 / 4), ([None] * 40, 0, 0, 1, 0)],
    ids=["perfect", "always most urgent", "always least urgent", "always between", "silent"],
)  # fmt: skip
def test_simple_predictors_get_the_metrics_they_must(
    predicted: list[str | None], accuracy: float, macro_f1: float, under: float, over: float
) -> None:
    rows = predictions_of(GOLD, predicted)
    metrics, safety = values(rows), safety_metrics(rows, costs=np.ones((4, 4)) - np.eye(4))
    assert [metrics["accuracy"], metrics["macro_f1"]] == pytest.approx([accuracy, macro_f1])
    assert (safety.under_triage.rate, safety.over_triage.rate) == (under, over)
    assert safety.mean_cost == 1 - accuracy
    assert bool(safety.worst_cases) is (under > 0)
    if predicted[0] is None:
        assert safety.num_invalid == 40
        assert safety.under_triage.by_levels == dict.fromkeys((1, 2, 3, 4), 10), "further the more urgent the reference"


def test_six_rows_counted_by_hand() -> None:
    costs = np.array(SafetyConfig(costs=COSTS).cost_matrix(LABELS))
    rows = predictions_of(
        ["emergency", "emergency", "today", "clinic", "home", "home"],
        ["emergency", "clinic", "clinic", "emergency", "today", None],
    )
    metrics = safety_metrics(rows, costs=costs)
    assert (metrics.num_rows, metrics.num_invalid) == (6, 1)
    assert metrics.under_triage == TriageErrors(num_rows=3, rate=3 / 6, by_levels={1: 2, 2: 1})
    assert metrics.over_triage == TriageErrors(num_rows=2, rate=2 / 6, by_levels={2: 2})
    assert metrics.severe_under_triage == TriageErrors(num_rows=1, rate=1 / 6, min_levels=2)
    rates = metrics.by_gold_label
    assert rates["emergency"] == TriageRates(num_rows=2, under_triage_rate=1 / 2, over_triage_rate=0)
    assert rates["home"] == TriageRates(num_rows=2, under_triage_rate=1 / 2, over_triage_rate=1 / 2)
    assert metrics.mean_cost == (0 + 50 + 5 + 2 + 2 + 3) / 6  # no label for `home`: its worst cost, 3
    resampled = values(rows, LabelStatistics(4, ordered=True, costs=costs))
    for name in ("under_triage", "over_triage", "severe_under_triage"):
        assert resampled[f"{name}_rate"] == getattr(metrics, name).rate
    assert resampled["mean_cost"] == pytest.approx(metrics.mean_cost)
    assert not [name for name in values(rows, LabelStatistics(4)) if "triage" in name], "labels without order"


@pytest.mark.parametrize("seed", range(5))
def test_errors_add_up_and_a_level_without_a_row_has_no_rate(seed: int) -> None:
    predictions = random_predictions(seed, 200)
    metrics = safety_metrics(predictions)
    assert metrics.under_triage.num_rows + metrics.over_triage.num_rows == (~predictions.correct).sum()
    for side in ("under_triage", "over_triage"):
        errors = getattr(metrics, side)
        assert sum(errors.by_levels.values()) == errors.num_rows
        by_label = sum(rates.num_rows * getattr(rates, f"{side}_rate") for rates in metrics.by_gold_label.values())
        assert by_label == pytest.approx(errors.num_rows)
    assert metrics.mean_cost is None
    without = safety_metrics(predictions_of(["home"], ["home"])).by_gold_label["clinic"]
    assert without == TriageRates(num_rows=0, under_triage_rate=None, over_triage_rate=None)


def test_worst_cases_come_by_levels_then_confidence_then_id_and_hold_no_text() -> None:
    sure, unsure = [0.1, 0.7, 0.1, 0.1], [0.2, 0.4, 0.2, 0.2]
    predictions = predictions_of(
        ["emergency", "emergency", "today", "emergency", "emergency", "home"],
        ["today", "today", None, "today", "home", "emergency"],
        probabilities=np.array([unsure, sure, sure, sure, unsure, unsure]),
    )
    cases = safety_metrics(predictions, num_worst_cases=10).worst_cases
    assert [case.id for case in cases] == ["r4", "r2", "r1", "r3", "r0"]
    assert cases[0] == WorstCase(id="r4", gold_label="emergency", predicted_label="home", levels=3, confidence=0.2)
    assert (cases[1].predicted_label, cases[1].confidence) == (None, 0)
    assert safety_metrics(predictions, num_worst_cases=2).worst_cases == cases[:2]


def test_a_cost_matrix_follows_the_order_of_the_labels_and_a_right_decision_is_free() -> None:
    shuffled = {gold.upper(): dict(reversed(row.items())) for gold, row in reversed(COSTS.items())}
    matrix = SafetyConfig(costs=shuffled).cost_matrix(LABELS)
    assert matrix is not None
    assert matrix[0] == (0, 10, 50, 100)
    assert [row[place] for place, row in enumerate(matrix)] == [0, 0, 0, 0]
    assert SafetyConfig().cost_matrix(LABELS) is None


def test_every_fault_of_a_cost_matrix_is_named_at_once() -> None:
    wrong = {**COSTS, "clinic": {"clinic": 1.0, "emergency": 2.0, "home": 2.0}, "ambulance": {"home": 1.0}}
    with pytest.raises(ValueError, match="costs: ") as caught:
        SafetyConfig(costs=wrong).cost_matrix(LABELS)
    message = str(caught.value)
    assert "'ambulance' is not declared" in message
    assert "'clinic' for 'clinic' is right and must cost 0, found 1" in message
    assert "'today' for 'clinic' is missing" in message
    assert message.endswith("allowed labels: emergency, today, clinic, home")


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf")])
def test_a_cost_is_a_number_of_at_least_0(cost: float) -> None:
    with pytest.raises(ValidationError):
        SafetyConfig(costs={"home": {"clinic": cost}})


# --- options per row ---

OPTIONS = [["oven", "car"], ["sea", "desk", "roof"], ["oven", "shelf", "bowl", "sink"], ["yes", "no"]]
ANSWERS = ["oven", "roof", "bowl", "no"]


def test_options_of_the_row_by_hand_have_no_classes_and_no_macro_f1_which_is_not_a_macro_f1_of_zero() -> None:
    # Right but for case; wrong; an option of ANOTHER row, so none of its own; nothing said.
    metrics = label_metrics(predictions_with_options(ANSWERS, [" OVEN ", "desk", "car", None], OPTIONS))
    assert (metrics.num_rows, metrics.accuracy, metrics.invalid_label_rate) == (4, 1 / 4, 2 / 4)
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
    predicted = [str(draw.choice([*row_options, "nonsense"])) for row_options in options]
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
    difference = label_intervals(first, STATISTICS, QUICK, minus=second)
    alone, gap = label_intervals(first, STATISTICS, QUICK).accuracy, difference.accuracy
    assert gap.value == pytest.approx(first.correct.mean() - second.correct.mean())
    assert gap.low < gap.value < gap.high < 0
    assert gap.high - gap.low < (alone.high - alone.low) / 2
    assert difference.mcnemar.only_first_right == 0
    assert difference.mcnemar.only_second_right == (second.correct & ~first.correct).sum()


def test_a_model_beside_itself_differs_in_nothing() -> None:
    predictions = random_predictions(5, 50)
    difference = label_intervals(predictions, STATISTICS, QUICK, minus=predictions)
    estimate, bound = difference.macro_f1, pytest.approx(3.8415 / (difference.num_groups + 3.8415), abs=1e-4)
    assert (estimate.value, -estimate.low, estimate.high, estimate.method) == (0, bound, bound, "score")
    assert difference.mcnemar.p_value == 1.0


# --- agreement and ranking ---


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


def test_a_constant_predictor_says_nothing() -> None:
    metrics = ranking_metrics(predictions_of([*LABELS, *LABELS], ["home"] * 8), ordered=True)
    assert (metrics.mcc, metrics.quadratic_weighted_kappa, metrics.auroc.macro) == (0, 0, 0.5)


def test_auroc_of_three_rows_worked_by_hand() -> None:
    # `emergency`: 0.6 against 0.5 and 0.7, so one of two pairs is in order; `home`: 0.3 against 0.2 and 0.4, likewise.
    shares = np.array([[0.6, 0.1, 0.1, 0.2], [0.5, 0.1, 0.1, 0.3], [0.7, 0, 0, 0.3]])
    gold = ["emergency", "home", "clinic"]
    metrics = ranking_metrics(predictions_of(gold, gold, probabilities=shares), ordered=True)
    assert metrics.auroc.per_class["emergency"] == 1 / 2
    assert metrics.auroc.per_class["home"] == (1 + 1 / 2) / 2  # above one, equal to the other
    assert (metrics.mcc, metrics.quadratic_weighted_kappa) == (1, 1)


def test_what_is_undefined_is_left_out_of_the_mean_and_says_why() -> None:
    rows = predictions_of(["home", "clinic"], ["home", "clinic"], probabilities=np.eye(4)[[3, 2]])
    metrics = ranking_metrics(rows, ordered=True)
    assert metrics.auroc == Auroc(macro=1, per_class={"emergency": None, "today": None, "clinic": 1, "home": 1})
    assert metrics.undefined == dict.fromkeys(("auroc emergency", "auroc today"), "no gold row has this label")
    one_label = ranking_metrics(predictions_of(["home", "home"], ["home", "clinic"]), ordered=True)
    assert (one_label.mcc, one_label.quadratic_weighted_kappa, one_label.auroc.macro) == (None, None, None)
    assert one_label.undefined["mcc"] == "all gold rows have one label"
    assert one_label.undefined["auroc home"] == "every gold row has this label"
    unordered = ranking_metrics(random_predictions(0, 50), ordered=False)
    assert unordered.quadratic_weighted_kappa is None
    assert unordered.undefined == {"quadratic_weighted_kappa": "the labels are not ordered"}
