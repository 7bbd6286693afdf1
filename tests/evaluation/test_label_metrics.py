import random

import pytest
from sklearn import metrics as reference

from r2d.errors import DataError
from r2d.evaluation.label_metrics import headline_of, label_metrics, option_metrics
from r2d.text import match_label

LABELS = ["Emergency", "See a doctor", "Home care"]


def test_a_case_worked_by_hand_with_an_invalid_label():
    gold = ["Emergency", "Emergency", "See a doctor", "See a doctor", "Home care"]
    predicted = ["Emergency", "See a doctor", "See a doctor", "ambulance", "Home care"]
    found = label_metrics(gold, predicted, LABELS)
    # Emergency: P 1/1, R 1/2, F1 2/3. See a doctor: P 1/2, R 1/2, F1 1/2. Home care: 1.
    assert found["confusion_matrix"] == [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert found["weighted_f1"] == pytest.approx((2 * 2 / 3 + 2 * 1 / 2 + 1) / 5)
    assert found["invalid_label_rate"] == pytest.approx(1 / 5)
    assert found["num_rows"] == 5
    assert found["per_class"]["Emergency"] == {
        "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2, "predicted": 1,
    }  # fmt: skip


def test_a_perfect_predictor_scores_one_everywhere():
    gold = LABELS * 4
    found = label_metrics(gold, gold, LABELS)
    assert (found["accuracy"], found["macro_f1"], found["weighted_f1"], found["invalid_label_rate"]) == (1, 1, 1, 0)


def test_a_constant_predictor_gets_one_class_out_of_three():
    gold = LABELS * 10
    found = label_metrics(gold, ["Emergency"] * 30, LABELS)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["macro_f1"] == pytest.approx((2 * (1 / 3) / (1 / 3 + 1)) / 3)


def test_a_silent_predictor_is_wrong_everywhere_and_counted_invalid():
    found = label_metrics(LABELS, [None, "", "none of them"], LABELS)
    assert (found["accuracy"], found["macro_f1"], found["invalid_label_rate"]) == (0, 0, 1)
    assert [row[-1] for row in found["confusion_matrix"]] == [1, 1, 1]


@pytest.mark.parametrize("seed", range(5))
def test_random_predictions_equal_scikit_learn_over_the_labels_in_gold(seed):
    generator = random.Random(seed)
    gold = [generator.choice(LABELS[: 2 + seed % 2]) for _ in range(200)]
    predicted = [generator.choice([*LABELS, "nonsense", "else"]) for _ in range(200)]
    found = label_metrics(gold, predicted, LABELS)
    present = [label for label in LABELS if label in gold]
    for average in ("macro", "weighted"):
        expected = reference.f1_score(gold, predicted, labels=present, average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(expected)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(gold, predicted))
    assert sum(map(sum, found["confusion_matrix"])) == 200
    assert sum(row[-1] for row in found["confusion_matrix"]) / 200 == pytest.approx(found["invalid_label_rate"])


def test_misspelt_labels_do_not_become_classes_of_their_own():
    gold = LABELS * 20
    one_way = label_metrics(gold, ["Emergency"] + ["x"] * 59, LABELS)
    many_ways = label_metrics(gold, ["Emergency"] + [f"x{row}" for row in range(59)], LABELS)
    assert one_way == many_ways


def test_a_label_without_gold_rows_does_not_lower_macro_f1_but_its_wrong_use_does():
    gold = ["Emergency", "See a doctor"] * 5
    assert label_metrics(gold, gold, LABELS)["macro_f1"] == 1.0
    assert label_metrics(gold, ["Home care", *gold[1:]], LABELS)["macro_f1"] < 1.0


def test_case_and_spaces_do_not_matter():
    found = label_metrics(LABELS, ["EMERGENCY ", "see  a\nDoctor", "\thome Care"], LABELS)
    assert found["accuracy"] == 1.0
    assert match_label(" see A  doctor", LABELS) == "See a doctor"
    assert match_label("see doctor", LABELS) is None
    assert match_label(None, LABELS) is None


def test_a_declared_label_called_invalid_is_not_taken_for_one():
    found = label_metrics(["invalid", "valid"], ["invalid", "nonsense"], ["invalid", "valid"])
    assert found["confusion_matrix"] == [[1, 0, 0], [0, 0, 1]]
    assert found["invalid_label_rate"] == 0.5


def test_an_undeclared_gold_label_is_refused_with_its_row():
    with pytest.raises(DataError, match=r"'Ambulance' of row 1 is not declared; allowed: Emergency, See a doctor"):
        label_metrics(["Emergency", "Ambulance"], [None, None], LABELS)


def test_no_rows_and_uneven_rows_are_refused():
    with pytest.raises(DataError, match="no rows"):
        label_metrics([], [], LABELS)
    with pytest.raises(ValueError, match="1 gold labels and 2 predictions"):
        label_metrics(["Emergency"], [None, None], LABELS)


OPTIONS = [["oven", "car"], ["sea", "desk", "roof"], ["oven", "shelf", "bowl", "sink"], ["yes", "no"]]
ANSWERS = ["oven", "roof", "bowl", "no"]


def test_options_of_the_row_worked_by_hand():
    # Right but for case; wrong; an option of ANOTHER row, so none of its own; nothing said.
    found = option_metrics(ANSWERS, [" OVEN ", "desk", "car", None], OPTIONS)
    assert found["num_rows"] == 4
    assert found["accuracy"] == 1 / 4
    assert found["invalid_label_rate"] == 2 / 4


def test_without_classes_there_is_no_macro_f1_which_is_not_a_macro_f1_of_zero():
    found = option_metrics(ANSWERS, ANSWERS, OPTIONS)
    assert (found["accuracy"], found["macro_f1"], found["weighted_f1"]) == (1.0, None, None)
    assert (found["per_class"], found["confusion_matrix"]) == ({}, [])
    assert set(found) == set(label_metrics(LABELS, LABELS, LABELS))


def test_models_are_judged_by_macro_f1_where_there_are_classes_and_else_by_accuracy():
    assert headline_of(label_metrics(LABELS, LABELS, LABELS)) == "macro_f1"
    assert headline_of(option_metrics(ANSWERS, ANSWERS, OPTIONS)) == "accuracy"


def test_a_gold_label_that_is_no_option_of_its_row_is_refused_without_its_text():
    with pytest.raises(DataError, match="gold label of row 1 is not among its 3 options") as refused:
        option_metrics(["oven", "secret", "bowl", "no"], ANSWERS, OPTIONS)
    assert "secret" not in str(refused.value)


def test_options_of_no_rows_and_uneven_rows_are_refused():
    with pytest.raises(DataError, match="no rows"):
        option_metrics([], [], [])
    with pytest.raises(ValueError, match="4 gold labels and 1 predictions"):
        option_metrics(ANSWERS, [None], OPTIONS)
