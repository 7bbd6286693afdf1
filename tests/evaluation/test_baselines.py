import random

import pytest

from r2d.data.examples import Example, to_table
from r2d.evaluation.baselines import evaluate_baselines, frequent_option_chances, linear_baseline, majority_baseline
from r2d.evaluation.sections.labels import Comparator
from tests.evaluation.predicted import predictions_of, predictions_with_options

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


def test_the_linear_baseline_beats_the_majority_on_separable_notes():
    train, test = (
        to_table(
            Example(id=f"{row}", text=text, label=label) for row, (text, label) in enumerate(zip(*rows, strict=True))
        )
        for rows in (notes(300, seed=1), notes(100, seed=2))
    )
    model = predictions_of(test["label"].to_pylist(), ["Home"] * 100, labels=tuple(WORDS))
    metrics, predictions, _ = evaluate_baselines(train, test, model)
    assert list(metrics) == list(predictions) == [Comparator.MAJORITY_CLASS, Comparator.LINEAR_MODEL]
    assert metrics[Comparator.LINEAR_MODEL].macro_f1 > 0.9
    assert metrics[Comparator.MAJORITY_CLASS].macro_f1 < 0.35
    assert predictions[Comparator.LINEAR_MODEL].correct.mean() == metrics[Comparator.LINEAR_MODEL].accuracy
    assert evaluate_baselines(train.slice(0, 0), test, model) == ({}, {}, {}), "nothing to learn from"


def test_the_linear_baseline_is_the_same_for_the_same_seed():
    train, labels = notes(120, seed=3)
    test, _ = notes(50, seed=4)
    assert linear_baseline(train, labels, test, seed=7) == linear_baseline(train, labels, test, seed=7)


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["red spots", "blue lips"], ["rash", "cyanosis"]),  # too few rows to cross-validate, no word twice
        (["red spots"] * 9 + ["blue lips"], ["rash"] * 9 + ["cyanosis"]),  # a class of one row
        (["pain no fever here", "no pain fever here"] * 20, ["a", "b"] * 20),  # only word pairs tell them apart
        (["a b", "c d"], ["only", "only"]),  # one label to learn from
    ],
)
def test_the_linear_baseline_learns_word_pairs_and_copes_with_hardly_any_rows(texts, labels):
    assert linear_baseline(texts, labels, texts) == labels


def test_the_option_most_often_right_in_training_worked_by_hand():
    train = ["car", "Car", "oven", "sea", "sea"]
    gold = ["car", "oven", "sea", "roof", "desk"]
    options = [["car", "oven"], ["car", "oven"], ["sea", "car"], ["roof", "desk"], ["desk", "oven"]]
    # car is the most frequent; so it is, wrongly; sea and car tie; training knows neither; oven is known, desk is not.
    assert frequent_option_chances(train, gold, options) == [1.0, 0.0, 1 / 2, 1 / 2, 0.0]


def test_the_baselines_of_options_are_expected_accuracies_and_have_no_macro_f1():
    train = to_table([Example(id="t", text="note", label="a")])
    model = predictions_with_options(["a", "b"], ["a", "a"], [["a", "b", "B"], ["a", "b", "c", "d"]])
    metrics, predictions, _ = evaluate_baselines(train, train, model)
    assert metrics[Comparator.RANDOM_OPTION].accuracy == (1 / 2 + 1 / 4) / 2
    assert metrics[Comparator.FREQUENT_OPTION].accuracy == 1 / 2
    assert {of_one.macro_f1 for of_one in metrics.values()} == {None}
    assert predictions == {}
