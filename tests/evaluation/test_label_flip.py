"""The flip test by hand: the model's rationales and what it makes of them are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sacrebleu.metrics import CHRF

from r2d.evaluation.label_flip import FIGURES, first_by_hash, flip_test, no_flip_test, other_label

LABELS = ("A", "B", "C")
ANSWERS = {"pain": "A", "cough": "B", "cold": "C", "note": "A"}


class Explainer:
    """Writes for (note, label) what it was told to, and remembers what it was asked."""

    def __init__(self, written: dict[tuple[str, str], str]) -> None:
        self.written = written
        self.asked: list[tuple[str, str]] = []

    def __call__(self, texts: Sequence[str], labels: Sequence[str]) -> list[str]:
        self.asked += list(zip(texts, labels, strict=True))
        return [self.written[row] for row in zip(texts, labels, strict=True)]


def decide(texts: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
    return [ANSWERS[text.strip()] for text in texts]


ROWS: dict[str, Any] = {
    "ids": ["1", "2", "3", "4"],
    "texts": ["x1", "x2", "x3", "x4"],
    "predicted_labels": ["A", "A", "B", "C"],
    "label_probabilities": [
        {"A": 0.7, "B": 0.2, "C": 0.1},
        {"A": 0.7, "B": 0.1, "C": 0.2},
        {"A": 0.2, "B": 0.6, "C": 0.2},  # equal ones: the first
        {"A": 0.5, "B": 0.1, "C": 0.4},  # decided otherwise than by probability
    ],
    "rationales": ["pain", "note", "cough", "cold"],
    "options": [LABELS] * 4,
}
WRITTEN = {("x1", "B"): "cough", ("x2", "C"): " note ", ("x3", "A"): "cough", ("x4", "A"): ""}


def test_the_figures_of_four_rows_counted_by_hand() -> None:
    explainer = Explainer(WRITTEN)
    figures = flip_test(explainer, decide, **ROWS)
    assert explainer.asked == list(WRITTEN)
    assert (figures["num_rows"], figures["num_without_other_label"]) == (4, 0)
    assert (figures["identical"], figures["identical_ids"]) == (2 / 4, ["2", "3"])
    assert figures["argues_for_own"] == 4 / 4
    assert figures["argues_for_other"] == 1 / 4  # the first
    assert figures["stays_with_own"] == 2 / 4  # those that did not change; the empty one argues for nothing
    likeness = CHRF().sentence_score("cough", ["pain"]).score
    assert figures["mean_chrf"] == pytest.approx((likeness + 100 + 100 + 0) / 4)
    json.dumps(figures, allow_nan=False)


def test_the_other_label_is_the_most_probable_of_the_rest() -> None:
    assert other_label(" a ", {"A": 0.9, "B": 0.0, "C": 0.1}, LABELS) == "C"
    assert other_label("A", {"A": 0.9, "B": 0.05, "C": 0.05}, LABELS) == "B"
    assert other_label("nonsense", {"A": 0.9, "B": 0.05, "C": 0.05}, LABELS) is None
    assert other_label("A", {"A": 1.0}, ("A",)) is None


def test_rows_that_cannot_be_flipped_are_left_out_and_counted() -> None:
    rows = ROWS | {"predicted_labels": ["A", "nonsense", "B", "C"], "options": [LABELS, LABELS, ("B",), LABELS]}
    explainer = Explainer(WRITTEN)
    figures = flip_test(explainer, decide, **rows)
    assert (figures["num_rows"], figures["num_without_other_label"]) == (2, 2)
    assert explainer.asked == [("x1", "B"), ("x4", "A")]


def test_a_limit_keeps_the_same_rows_whatever_their_order() -> None:
    ids = [f"row {number}" for number in range(50)]
    chosen = {ids[row] for row in first_by_hash(ids, range(50), 10)}
    backwards = ids[::-1]
    assert {backwards[row] for row in first_by_hash(backwards, range(50), 10)} == chosen
    assert len(chosen) == 10
    assert first_by_hash(ids, [3, 1], 5) == [3, 1]
    limited = flip_test(Explainer(WRITTEN), decide, **ROWS, max_rows=1)
    assert limited["num_rows"] == 1


def test_without_rows_there_are_the_same_keys_and_no_figure() -> None:
    nothing = flip_test(Explainer({}), decide, **{name: [] for name in ROWS})
    assert nothing == no_flip_test()
    assert set(nothing) == set(flip_test(Explainer(WRITTEN), decide, **ROWS))
    assert [nothing[name] for name in FIGURES] == [None] * len(FIGURES)


def test_a_real_model_explains_any_label_and_its_own_as_it_decided(examples: pa.Table, stage2_model: Path) -> None:
    from r2d.data.examples import split_of
    from r2d.modeling.predictor import Predictor

    predictor = Predictor(stage2_model)
    test = split_of(examples, "test")
    texts, declared = test["text"].to_pylist(), predictor.labels.declared
    assert declared is not None
    decisions = predictor.decide(texts)
    own = predictor.explain(texts, [decision.label for decision in decisions])
    assert own == [decision.rationale for decision in decisions]
    figures = flip_test(
        predictor.explain,
        lambda some, options: predictor.decode_labels(some, options, decoding="constrained"),
        ids=test["id"].to_pylist(),
        texts=texts,
        predicted_labels=[decision.label for decision in decisions],
        label_probabilities=[decision.label_probabilities for decision in decisions],
        rationales=own,
        options=[declared.names] * len(texts),
        max_rows=5,
    )
    assert figures["num_rows"] == min(5, len(texts))
    json.dumps(figures, allow_nan=False)
