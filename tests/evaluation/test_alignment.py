"""Hand-worked metrics: the answers of the model are known, so every fraction can be counted on the fingers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sacrebleu.metrics import CHRF

from r2d.config.data import DataConfig, LabelsConfig
from r2d.config.evaluation import EvaluationConfig
from r2d.data.examples import split_of
from r2d.evaluation.alignment import (
    LabelReader,
    alignment_metrics,
    flip_test,
    mask_labels,
    masked_alignment,
    other_label,
)
from r2d.evaluation.evaluate import evaluate
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.rationales import FlipTest
from r2d.modeling.predictor import Predictor
from tests.evaluation.predicted import predictions_of, predictions_with_options

LABELS = ("Emergency", "Clinic", "Home")


class Model:
    """Knows which label each text leads to, and records what it was asked."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, texts: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
        self.asked.append(tuple(texts))
        return [self.answers[text.strip()] for text in texts]


ROWS = predictions_of(
    ["Emergency", "Emergency", "Clinic", "Home"],
    ["Emergency", "Clinic", "Clinic", "Home"],
    labels=LABELS,
    rationales=["a", "b", "c", "d"],
    gold_rationales=["ga", "gb", "", "gd"],
)
ANSWERS = {
    "a": "Emergency", "b": "Clinic", "c": "Home", "d": "Clinic", "ga": "Emergency", "gb": "Home", "gd": "Home",
}  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "changed", "expected"),
    [
        # a and b lead back to what had been predicted, only a to the gold label; ga and gd are right, gc is not there.
        ({}, {}, (0, 3, 2 / 4, 1 / 4, 2 / 3)),
        # A wrong prediction can be consistent.
        ({"c": "Clinic", "d": "Home"}, {}, (0, 3, 4 / 4, 3 / 4, 2 / 3)),
        # Case and spaces do not count, and what is no label agrees with nothing, not even with itself.
        ({"a": " emergency ", "b": "nonsense"}, {"predicted_labels": ["EMERGENCY", "nonsense", "Clinic", "Home"]},
         (0, 3, 1 / 4, 1 / 4, 2 / 3)),
        # An empty rationale agrees with nothing; without any gold one, gold robustness is not measured.
        ({}, {"rationales": ["a", "", " ", "d"], "gold_rationales": ["", "", " ", ""]}, (2, 0, 1 / 4, 1 / 4, None)),
    ],
)  # fmt: skip
def test_the_three_metrics_of_four_rows_counted_by_hand(
    answers: dict[str, str], changed: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    """Expected: rows with an empty and with a gold rationale, consistency, sufficiency, gold robustness."""
    metrics = alignment_metrics(LabelReader(Model(ANSWERS | answers)), replace(ROWS, **changed))
    assert astuple(metrics) == (4, *expected)


def test_each_text_is_read_once_for_the_same_options_long_ones_first_and_empty_ones_never() -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    def predict(texts: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
        asked.extend(zip(texts, map(tuple, options), strict=True))
        return [labels[len(text) % len(labels)] for text, labels in zip(texts, options, strict=True)]

    read_label, few, many = LabelReader(predict), ("x", "y"), ("p", "q", "r")
    assert read_label(["a", "bb", "a", " ", "bb"], [few, few, few, few, many]).tolist() == [1, 0, 1, 3, 2]
    assert asked == [("bb", many), ("bb", few), ("a", few)]
    assert read_label(["bb", "ccc", "a"], [few, few, few]).tolist() == [0, 1, 1]
    assert asked[3:] == [("ccc", few)]


def test_a_rationale_leads_to_an_option_of_its_own_row() -> None:
    metrics = alignment_metrics(
        LabelReader(lambda texts, options: [labels[0] for labels in options]),
        predictions_with_options(
            ["oven", "sea", "sea"], ["oven", "roof", "roof"], [["oven", "car"], ["sea", "roof"], ["sea", "roof"]],
            rationales=["because", "because", "because"], gold_rationales=["because", "", "why"],
        ),
    )  # fmt: skip
    # From `because`: oven in the first row, sea in the others.
    assert (metrics.consistency, metrics.sufficiency, metrics.gold_robustness) == (1 / 3, 1.0, 1.0)


def test_a_real_model_is_read_through_its_own_label_prompt(
    examples: pa.Table, stage2_model: Path, labels: LabelsConfig
) -> None:
    data = DataConfig(format="csv", path="notes.csv", labels=labels)
    evaluation = evaluate(examples, stage2_model, config=EvaluationConfig(seen_rows="allow"), data=data)
    metrics, predictor = evaluation.metrics.alignment, Predictor(stage2_model)
    gold, first, written, reference = (
        np.array(evaluation.predictions[name].to_pylist())
        for name in ("label", "predicted_label", "predicted_rationale", "rationale")
    )
    second = np.array([decision.label for decision in predictor.decide(written.tolist())])
    from_gold = np.array(predictor.decode_labels(reference.tolist(), decoding="constrained"))
    has_text, has_gold = written != "", reference != ""
    assert metrics.consistency == ((first == second) & has_text).mean()
    assert metrics.sufficiency == ((gold == second) & has_text).mean()
    assert metrics.num_with_gold_rationale == has_gold.sum() < len(gold) == metrics.num_rows
    assert metrics.gold_robustness == pytest.approx((gold == from_gold)[has_gold].mean())
    assert evaluation.seconds["total"] > evaluation.seconds["generation"] > 0


# --- masked labels ---

URGENCY = ("Emergency", "Urgent", "Home")


@pytest.mark.parametrize(
    ("text", "labels", "masked"),
    [
        ("This is an EMERGENCY.", URGENCY, "This is an [LABEL]."),
        ("Urgently seen; the urgency is high", URGENCY, "[LABEL] seen; the [LABEL] is high"),
        ("Two emergencies, one emergent.", URGENCY, "Two [LABEL], one [LABEL]."),
        ("very  urgent case", ("Urgent", "Very-urgent"), "[LABEL] case"),  # the longest of those that overlap
        ("a non-urgent case", URGENCY, "a non-[LABEL] case"),
        ("see a Doctor today", ("See a doctor today",), "[LABEL]"),
        ("See a doctor. Today?", ("See a doctor today",), "See a doctor. Today?"),  # not one label but two sentences
        ("homework, insurgent", URGENCY, "homework, insurgent"),  # a word of its own, not a part of one
        ("grade A+ or A", ("A+", "B"), "grade [LABEL] or A"),
        ("no fever", ("yes", "no"), "[LABEL] fever"),  # short labels over-fire, and the docstring says so
        ("", URGENCY, ""),
        ("chest pain", ("-", ""), "chest pain"),
    ],
)
def test_labels_and_their_close_forms_are_masked(text: str, labels: Sequence[str], masked: str) -> None:
    assert mask_labels(text, labels) == masked


def read_label(texts: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
    """The label that a text names; chest pain is an emergency, anything else is for home."""
    otherwise = ("Emergency" if "chest" in text else "Home" for text in texts)
    return [
        next((label for label in labels if label.casefold() in text.casefold()), default)
        for text, labels, default in zip(texts, options, otherwise, strict=True)
    ]


NAMING = predictions_of(
    ["Emergency", "Urgent", "Urgent", "Home"],
    ["Emergency", "Urgent", "Urgent", "Home"],
    labels=URGENCY,
    rationales=["An emergency: chest pain.", "Urgent, I say.", "Urgent!", "A mild cold."],
    gold_rationales=["Chest pain.", "Urgent.", "", ""],
)


def test_what_is_left_when_the_label_is_gone() -> None:
    assert alignment_metrics(LabelReader(read_label), NAMING).sufficiency == 4 / 4
    metrics = masked_alignment(LabelReader(read_label), NAMING)
    # The chest pain still argues, "I say" does not, and of "Urgent!" nothing is left.
    assert (metrics.sufficiency, metrics.consistency) == (2 / 4, 2 / 4)
    assert (metrics.num_masked, metrics.num_nothing_left, metrics.num_empty_rationales) == (3, 1, 1)
    assert (metrics.num_with_gold_rationale, metrics.gold_robustness) == (1, 0 / 1)  # "Chest" is not "chest"


def test_rationales_without_a_label_have_the_same_metrics() -> None:
    rows = replace(NAMING, rationales=["chest pain", "cough", "?!", ""])
    reader = LabelReader(read_label)
    unmasked, masked = alignment_metrics(reader, rows), masked_alignment(reader, rows)
    assert (masked.num_masked, masked.num_nothing_left) == (0, 0)
    assert masked.sufficiency == unmasked.sufficiency


def test_each_row_is_masked_by_its_own_options() -> None:
    options = [("aspirin", "Emergency"), ("Urgent",), ("Urgent",), ("Home",)]
    rows = replace(
        NAMING, labels=(), row_options=options, probabilities=ROWS.probabilities[:0], rationales=["aspirin"] * 4
    )
    assert masked_alignment(LabelReader(read_label), rows).num_masked == 1


# --- another label ---

ABC = ("A", "B", "C")
LEADS_TO = {"pain": "A", "cough": "B", "cold": "C", "note": "A"}
WRITTEN = {("x1", "B"): "cough", ("x2", "C"): " note ", ("x3", "A"): "cough", ("x4", "A"): ""}
TEXTS = ["x1", "x2", "x3", "x4"]
FLIPPED = predictions_of(
    ["A"] * 4,
    ["A", "A", "B", "C"],
    labels=ABC,
    rationales=["pain", "note", "cough", "cold"],
    label_probabilities=[
        {"A": 0.7, "B": 0.2, "C": 0.1},
        {"A": 0.7, "B": 0.1, "C": 0.2},
        {"A": 0.2, "B": 0.6, "C": 0.2},  # equal ones: the first
        {"A": 0.5, "B": 0.1, "C": 0.4},  # decided otherwise than by probability
    ],
)


def flipped(
    rows: Predictions = FLIPPED, texts: Sequence[str] = TEXTS, **more: Any
) -> tuple[FlipTest, list[tuple[str, str]]]:
    """The metrics, and the notes and labels that a rationale was asked for."""
    asked: list[tuple[str, str]] = []

    def explain(texts: Sequence[str], labels: Sequence[str]) -> list[str]:
        asked.extend(zip(texts, labels, strict=True))
        return [WRITTEN[row] for row in zip(texts, labels, strict=True)]

    return flip_test(explain, LabelReader(Model(LEADS_TO)), rows, texts, **more), asked


def test_the_flip_test_of_four_rows_counted_by_hand() -> None:
    metrics, asked = flipped()
    assert asked == list(WRITTEN)
    likeness = CHRF().sentence_score("cough", ["pain"]).score
    assert metrics == FlipTest(
        num_rows=4,
        identical=2 / 4,
        identical_ids=("r1", "r2"),
        argues_for_own=4 / 4,
        argues_for_other=1 / 4,  # the first
        stays_with_own=2 / 4,  # those that did not change; the empty one argues for nothing
        mean_chrf=pytest.approx((likeness + 100 + 100 + 0) / 4),
    )


def test_the_other_label_is_the_most_probable_of_the_rest() -> None:
    assert other_label(" a ", {"A": 0.9, "B": 0.0, "C": 0.1}, ABC) == "C"
    assert other_label("A", {"A": 0.9, "B": 0.05, "C": 0.05}, ABC) == "B"
    assert other_label("nonsense", {"A": 0.9, "B": 0.05, "C": 0.05}, ABC) is None
    assert other_label("A", {"A": 1.0}, ("A",)) is None


def test_rows_that_cannot_be_flipped_are_left_out_and_counted() -> None:
    rows = replace(
        FLIPPED, predicted_labels=["A", "nonsense", "B", "C"], gold_labels=["A", "A", "B", "C"], labels=(),
        row_options=[ABC, ABC, ("B",), ABC], probabilities=FLIPPED.probabilities[:0],
    )  # fmt: skip
    metrics, asked = flipped(rows)
    assert (metrics.num_rows, metrics.num_without_other_label) == (2, 2)
    assert asked == [("x1", "B"), ("x4", "A")]
    none, _ = flipped(replace(FLIPPED, predicted_labels=["nonsense"] * 4))
    assert none == FlipTest(num_without_other_label=4)


def test_a_limit_keeps_the_same_rows_whatever_their_order() -> None:
    columns = ("ids", "predicted_labels", "rationales", "label_probabilities")
    backwards = replace(FLIPPED, **{name: getattr(FLIPPED, name)[::-1] for name in columns})
    for limit in (1, 2, 3):
        metrics, asked = flipped(max_rows=limit)
        assert metrics.num_rows == limit
        assert flipped(backwards, TEXTS[::-1], max_rows=limit)[1] == asked[::-1]


def test_a_real_model_explains_any_label_and_its_own_as_it_decided(
    examples: pa.Table, stage2_model: Path, labels: LabelsConfig
) -> None:
    predictor, test = Predictor(stage2_model), split_of(examples, "test")
    texts = test["text"].to_pylist()
    decisions = predictor.decide(texts)
    assert predictor.explain(texts, [decision.label for decision in decisions]) == [
        decision.rationale for decision in decisions
    ]
    metrics = flip_test(
        predictor.explain,
        LabelReader(partial(predictor.decode_labels, decoding="constrained")),
        Predictions.of_decisions(test, decisions, labels),
        texts,
        max_rows=5,
    )
    assert metrics.num_rows == min(5, len(texts))
    assert metrics.mean_chrf is not None
