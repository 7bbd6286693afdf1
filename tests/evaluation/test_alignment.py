"""Hand-worked figures: the answers of the model are known, so every fraction can be counted on the fingers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from r2d.config.data import DataConfig, LabelsConfig
from r2d.config.evaluation import EvaluationConfig
from r2d.data.examples import split_of
from r2d.evaluation.alignment import FIGURES, alignment_metrics, no_alignment, remembered

LABELS = ["Emergency", "Clinic", "Home"]


class Model:
    """Knows what each rationale leads to, and remembers what it was asked."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
        self.asked.append(list(texts))
        return [self.answers[text] for text in texts]


def measured(model: Model, **changed: Any) -> dict[str, Any]:
    rows: dict[str, Any] = {
        "gold_labels": ["Emergency", "Emergency", "Clinic", "Home"],
        "predicted_labels": ["Emergency", "Clinic", "Clinic", "Home"],
        "rationales": ["a", "b", "c", "d"],
        "gold_rationales": ["ga", "gb", "", "gd"],
        "options": [LABELS] * 4,
    }
    return alignment_metrics(model, **(rows | changed))


ANSWERS = {
    "a": "Emergency", "b": "Clinic", "c": "Home", "d": "Clinic", "ga": "Emergency", "gb": "Home", "gd": "Home",
}  # fmt: skip


def test_the_three_figures_of_four_rows_counted_by_hand() -> None:
    figures = measured(Model(ANSWERS))
    assert figures["consistency"] == 2 / 4  # a and b lead back to what had been predicted
    assert figures["sufficiency"] == 1 / 4  # only a leads to the gold label
    assert figures["gold_robustness"] == 2 / 3  # ga and gd, of the three rows that have a gold rationale
    assert (figures["num_rows"], figures["num_with_gold_rationale"], figures["num_empty_rationales"]) == (4, 3, 0)


def test_a_wrong_decision_can_be_consistent() -> None:
    figures = measured(Model(ANSWERS | {"c": "Clinic", "d": "Home"}))
    assert (figures["consistency"], figures["sufficiency"]) == (1.0, 3 / 4)


def test_case_and_spaces_do_not_count_and_an_unknown_label_agrees_with_nothing_not_even_itself() -> None:
    figures = measured(
        Model(ANSWERS | {"a": " emergency ", "b": "nonsense"}),
        predicted_labels=["EMERGENCY", "nonsense", "Clinic", "Home"],
    )
    assert figures["consistency"] == 1 / 4


def test_an_empty_rationale_is_not_read_and_agrees_with_nothing() -> None:
    model = Model(ANSWERS)
    figures = measured(model, rationales=["a", "", " ", "d"])
    assert figures["num_empty_rationales"] == 2
    assert (figures["consistency"], figures["sufficiency"]) == (1 / 4, 1 / 4)
    assert {"", " "}.isdisjoint(model.asked[0])


def test_each_distinct_rationale_is_decided_once() -> None:
    model = Model(ANSWERS)
    measured(model, rationales=["a", "a", "b", "b"], gold_rationales=["a", "ga", "ga", "b"])
    assert [sorted(texts) for texts in model.asked] == [["a", "b", "ga"]]


def test_a_rationale_leads_to_an_option_of_its_own_row_and_each_pair_is_decided_once() -> None:
    class Chooser:
        def __init__(self) -> None:
            self.asked: list[tuple[str, tuple[str, ...]]] = []

        def __call__(self, texts: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
            self.asked += zip(texts, map(tuple, options), strict=True)
            return [some[0] for some in options]

    chooser = Chooser()
    figures = alignment_metrics(
        chooser,
        gold_labels=["oven", "sea", "sea"],
        predicted_labels=["oven", "roof", "roof"],
        rationales=["because", "because", "because"],
        gold_rationales=["because", "", "why"],
        options=[["oven", "car"], ["sea", "roof"], ["sea", "roof"]],
    )
    assert sorted(chooser.asked) == [
        ("because", ("oven", "car")),
        ("because", ("sea", "roof")),
        ("why", ("sea", "roof")),
    ]
    # From `because`: oven in the first row, sea in the others.
    assert (figures["consistency"], figures["sufficiency"], figures["gold_robustness"]) == (1 / 3, 1.0, 1.0)


def test_without_a_gold_rationale_gold_robustness_is_not_measured() -> None:
    figures = measured(Model(ANSWERS), gold_rationales=["", "", " ", ""])
    assert figures["gold_robustness"] is None
    assert figures["num_with_gold_rationale"] == 0
    assert figures["consistency"] == 2 / 4


def test_a_method_that_writes_no_rationale_has_the_same_keys_and_no_figure() -> None:
    assert set(no_alignment()) == set(measured(Model(ANSWERS)))
    assert [no_alignment()[name] for name in FIGURES] == [None] * 3


def test_a_real_model_is_read_through_its_own_label_prompt(
    examples: pa.Table, stage2_model: Path, labels: LabelsConfig
) -> None:
    from r2d.evaluation.evaluate import evaluate
    from r2d.modeling.predictor import Predictor

    data = DataConfig(format="csv", path="notes.csv", labels=labels)
    found = evaluate(examples, stage2_model, config=EvaluationConfig(), data=data)
    figures = found.metrics["alignment"]
    test, predictor = split_of(examples, "test"), Predictor(stage2_model)
    gold, first, written, reference = (
        found.predictions[name].to_pylist() for name in ("label", "predicted_label", "predicted_rationale", "rationale")
    )
    second = [
        decision.label if text else None for text, decision in zip(written, predictor.decide(written), strict=True)
    ]
    from_gold = predictor.decode_labels(reference, decoding="constrained")
    assert figures["num_rows"] == len(test)
    assert figures["consistency"] == sum(a == b for a, b in zip(first, second, strict=True)) / len(test)
    assert figures["sufficiency"] == sum(a == b for a, b in zip(gold, second, strict=True)) / len(test)
    there = [(y, p) for y, p, text in zip(gold, from_gold, reference, strict=True) if text]
    assert figures["num_with_gold_rationale"] == len(there) < len(test)
    assert figures["gold_robustness"] == pytest.approx(sum(a == b for a, b in there) / len(there))
    assert "Do rationale and decision belong together?" in found.report
    assert found.seconds["total"] > found.seconds["generation"] > 0


def test_what_is_remembered_is_not_asked_again_unless_the_options_differ() -> None:
    asked: list[tuple[str, ...]] = []

    def predict(texts: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
        asked.append(tuple(texts))
        return [some[len(text) % len(some)] for text, some in zip(texts, options, strict=True)]

    ask = remembered(predict)
    first = ask(["a", "bb", "a"], [("x", "y")] * 3)
    assert first == predict(["a", "bb", "a"], [("x", "y")] * 3)
    assert ask(["bb", "ccc", "a"], [("x", "y"), ("x", "y"), ("p", "q", "r")]) == ["x", "y", "q"]
    assert asked == [("a", "bb"), ("a", "bb", "a"), ("ccc", "a")]
