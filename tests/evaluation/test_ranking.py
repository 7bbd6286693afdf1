"""MCC, kappa and AUROC: scikit-learn's own figures for our rows, and a reason where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from r2d.evaluation.ranking import ranking_metrics
from tests.evaluation.decided import LABELS, constant_rows, random_rows, rows_of

ONE_HOT = np.eye(4)


@pytest.mark.parametrize("seed", range(10))
def test_random_rows_equal_scikit_learn(seed: int) -> None:
    rows = random_rows(seed, 60 + 10 * seed)
    found = ranking_metrics(rows, ordered=True)
    assert found["mcc"] == pytest.approx(reference.matthews_corrcoef(rows.gold, rows.said))
    assert found["quadratic_weighted_kappa"] == pytest.approx(
        reference.cohen_kappa_score(rows.gold, rows.said, weights="quadratic", labels=range(5))
    )
    auroc = reference.roc_auc_score(rows.gold, rows.probabilities, multi_class="ovr", average="macro")
    assert found["auroc"]["macro"] == pytest.approx(auroc)
    assert found["undefined"] == {}


def test_three_rows_worked_by_hand() -> None:
    # `emergency`: 0.6 against 0.5 and 0.7, so one of two pairs is in order; `home`: 0.3 against 0.2 and 0.4, likewise.
    rows = rows_of(
        ["emergency", "home", "clinic"],
        ["emergency", "home", "clinic"],
        probabilities=np.array([[0.6, 0.1, 0.1, 0.2], [0.5, 0.1, 0.1, 0.3], [0.7, 0, 0, 0.3]]),
    )
    found = ranking_metrics(rows, ordered=True)
    assert found["auroc"]["per_class"]["emergency"] == 1 / 2
    assert found["auroc"]["per_class"]["home"] == (1 + 1 / 2) / 2  # above one, equal to the other
    assert (found["mcc"], found["quadratic_weighted_kappa"]) == (1, 1)


def test_a_perfect_predictor_scores_one_and_a_constant_one_says_nothing() -> None:
    gold = [*LABELS, *LABELS]
    perfect = ranking_metrics(rows_of(gold, gold, probabilities=np.tile(ONE_HOT, (2, 1))), ordered=True)
    assert (perfect["mcc"], perfect["quadratic_weighted_kappa"], perfect["auroc"]["macro"]) == (1, 1, 1)
    constant = ranking_metrics(constant_rows("home", gold), ordered=True)
    assert (constant["mcc"], constant["quadratic_weighted_kappa"], constant["auroc"]["macro"]) == (0, 0, 0.5)


def test_a_random_predictor_is_near_chance() -> None:
    draw = np.random.default_rng(0)
    gold, said = (draw.choice(LABELS, 4000).tolist() for _ in range(2))
    found = ranking_metrics(rows_of(gold, said, probabilities=draw.dirichlet(np.ones(4), 4000)), ordered=True)
    assert found["mcc"] == pytest.approx(0, abs=0.05)
    assert found["quadratic_weighted_kappa"] == pytest.approx(0, abs=0.05)
    assert found["auroc"]["macro"] == pytest.approx(0.5, abs=0.03)


def test_a_near_miss_costs_kappa_less_than_a_far_one_and_no_label_most() -> None:
    gold = [*LABELS] * 5
    far, near, none = (
        ranking_metrics(rows_of(gold, [said, *gold[1:]]), ordered=True)["quadratic_weighted_kappa"]
        for said in ("home", "today", None)
    )
    assert none < far < near < 1


def test_a_label_without_a_gold_row_has_no_auroc_and_is_left_out_of_the_mean() -> None:
    rows = rows_of(["home", "clinic"], ["home", "clinic"], probabilities=np.eye(4)[[3, 2]])
    found = ranking_metrics(rows, ordered=True)
    assert found["auroc"]["per_class"] == {"emergency": None, "today": None, "clinic": 1, "home": 1}
    assert found["auroc"]["macro"] == 1
    assert found["undefined"] == {
        "auroc emergency": "no gold row has this label", "auroc today": "no gold row has this label",
    }  # fmt: skip


def test_with_one_gold_label_nothing_is_defined_and_each_says_why() -> None:
    found = ranking_metrics(rows_of(["home", "home"], ["home", "clinic"]), ordered=True)
    assert (found["mcc"], found["quadratic_weighted_kappa"], found["auroc"]["macro"]) == (None, None, None)
    assert found["undefined"]["mcc"] == "all gold rows have one label"
    assert found["undefined"]["auroc home"] == "every gold row has this label"


def test_labels_without_order_have_no_weighted_kappa() -> None:
    found = ranking_metrics(random_rows(0, 50), ordered=False)
    assert found["quadratic_weighted_kappa"] is None
    assert found["undefined"] == {"quadratic_weighted_kappa": "the labels are not ordered"}
