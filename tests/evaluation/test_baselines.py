import random

import pytest

from r2d.errors import DataError
from r2d.evaluation.baselines import (
    FREQUENT_OPTION,
    RANDOM_OPTION,
    frequent_option_chances,
    linear_baseline,
    majority_baseline,
    option_baselines,
    random_option_chances,
)
from r2d.evaluation.label_metrics import label_metrics

WORDS = {"Emergency": ["crushing", "chest", "pain"], "Clinic": ["ankle", "swollen", "sprain"], "Home": ["mild", "cold"]}


def notes(num_rows: int, seed: int) -> tuple[list[str], list[str]]:
    """Notes whose words give the label away among fillers; Emergency is rare."""
    generator = random.Random(seed)
    labels = generator.choices(list(WORDS), weights=[1, 3, 6], k=num_rows)
    fillers = ["patient", "calls", "today", "since", "morning", "asks", "advice", "with"]
    texts = [" ".join(generator.sample([*WORDS[label], *generator.sample(fillers, 5)], 6)) for label in labels]
    return texts, labels


def test_the_majority_baseline_says_the_most_frequent_label_and_breaks_ties_by_name():
    assert majority_baseline(["b", "a", "b"], 3) == ["b", "b", "b"]
    assert majority_baseline(["b", "a"], 1) == ["a"]
    with pytest.raises(DataError, match="without training rows"):
        majority_baseline([], 1)


def test_the_linear_baseline_beats_the_majority_on_separable_notes():
    train_texts, train_labels = notes(300, seed=1)
    test_texts, gold = notes(100, seed=2)
    linear = label_metrics(gold, linear_baseline(train_texts, train_labels, test_texts), list(WORDS))
    majority = label_metrics(gold, majority_baseline(train_labels, 100), list(WORDS))
    assert linear["macro_f1"] > 0.9
    assert majority["macro_f1"] < 0.35


def test_the_linear_baseline_is_the_same_for_the_same_seed():
    train, labels = notes(120, seed=3)
    test, _ = notes(50, seed=4)
    assert linear_baseline(train, labels, test, seed=7) == linear_baseline(train, labels, test, seed=7)


def test_the_linear_baseline_uses_word_pairs():
    """`pain no fever` and `no pain fever` have the same words."""
    train = ["pain no fever here", "no pain fever here"] * 20
    assert linear_baseline(train, ["a", "b"] * 20, ["pain no fever", "no pain fever"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["red spots", "blue lips"], ["rash", "cyanosis"]),  # too few rows to cross-validate, no word twice
        (["red spots"] * 9 + ["blue lips"], ["rash"] * 9 + ["cyanosis"]),  # a class of one row
    ],
)
def test_the_linear_baseline_copes_with_hardly_any_rows(texts, labels):
    assert linear_baseline(texts, labels, ["blue lips", "red spots"]) == ["cyanosis", "rash"]


def test_with_one_label_to_learn_from_the_linear_baseline_says_it():
    assert linear_baseline(["a b", "c d"], ["only", "only"], ["e", "f", "g"]) == ["only"] * 3


def test_an_option_at_random_is_right_once_in_as_many_as_differ():
    assert random_option_chances([["a", "b"], ["a", "b", "c", "d"], ["bridge", "Bridge", "beach"]]) == [
        1 / 2,
        1 / 4,
        1 / 2,
    ]


def test_the_option_most_often_right_in_training_worked_by_hand():
    train = ["car", "Car", "oven", "sea", "sea"]
    gold = ["car", "oven", "sea", "roof", "desk"]
    options = [["car", "oven"], ["car", "oven"], ["sea", "car"], ["roof", "desk"], ["desk", "oven"]]
    # car is the most frequent; so it is, wrongly; sea and car tie; training knows neither; oven is known, desk is not.
    assert frequent_option_chances(train, gold, options) == [1.0, 0.0, 1 / 2, 1 / 2, 0.0]


def test_the_baselines_of_options_are_expected_accuracies_and_have_no_macro_f1():
    found = option_baselines(["a"], ["a", "b"], [["a", "b"], ["a", "b", "c", "d"]])
    assert found[RANDOM_OPTION]["accuracy"] == (1 / 2 + 1 / 4) / 2
    assert found[FREQUENT_OPTION]["accuracy"] == 1 / 2
    assert {metrics["macro_f1"] for metrics in found.values()} == {None}
