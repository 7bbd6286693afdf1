"""The scores that training and evaluation share: by hand, by scikit-learn, and over many sets of rows at once."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from r2d.label_scores import label_counts, label_indices, label_scores

LABELS = ("Emergency", "See a doctor", "Home care")


def test_labels_are_found_among_those_of_their_row() -> None:
    options = [LABELS, LABELS, ("Oven", "car"), ("Oven", "car"), ("yes", "no", "YES")]
    texts = ["see  A\ndoctor ", "ambulance", "oven", None, "yes"]
    assert label_indices(texts, options).tolist() == [1, 3, 0, 3, 0]
    assert label_indices([], []).tolist() == []


@pytest.mark.parametrize("seed", range(50))
def test_random_rows_have_the_scores_of_scikit_learn_over_the_labels_in_gold(seed: int) -> None:
    draw = np.random.default_rng(seed)
    num_rows = int(draw.integers(1, 60))
    gold, predicted = draw.integers(3, size=num_rows), draw.integers(4, size=num_rows)
    scores = label_scores(label_counts(gold, predicted, 3)[0])
    occurring = sorted(set(gold.tolist()))
    assert scores.accuracy == pytest.approx(reference.accuracy_score(gold, predicted))
    assert scores.invalid_label_rate == pytest.approx((predicted == 3).mean())
    for average in ("macro", "weighted"):
        f1 = reference.f1_score(gold, predicted, labels=occurring, average=average, zero_division=0.0)
        assert getattr(scores, f"{average}_f1") == pytest.approx(f1)
    each = reference.precision_recall_fscore_support(gold, predicted, labels=range(3), zero_division=0.0)
    for name, values in zip(("precision", "recall", "f1"), each, strict=False):
        assert np.nan_to_num(getattr(scores, name)) == pytest.approx(values)
    assert np.isnan(scores.recall).tolist() == [label not in occurring for label in range(3)]


def test_a_label_without_gold_rows_does_not_lower_macro_f1_but_its_wrong_use_does() -> None:
    gold = np.array([0, 1] * 5)
    assert label_scores(label_counts(gold, gold, 3)[0]).macro_f1 == 1.0
    misused = np.array([2, *gold[1:]])
    assert label_scores(label_counts(gold, misused, 3)[0]).macro_f1 < 1.0


def test_counts_of_groups_add_up_and_a_group_without_rows_has_zeros() -> None:
    draw = np.random.default_rng(0)
    gold, predicted, groups = draw.integers(3, size=40), draw.integers(4, size=40), draw.integers(5, size=40)
    counts = label_counts(gold, predicted, 3, groups=groups)
    assert counts.sum(axis=0).tolist() == label_counts(gold, predicted, 3)[0].tolist()
    without = label_counts(gold, predicted, 3, groups=groups, where=groups != 2)
    assert without[2].tolist() == [0.0] * 9
    stacked = label_scores(np.stack([counts.sum(axis=0), without.sum(axis=0)]))
    assert stacked.accuracy.shape == (2,)
    assert stacked.recall.shape == (2, 3)
    assert stacked.accuracy[1] == (gold == predicted)[groups != 2].mean()
