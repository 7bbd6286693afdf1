"""The scores that a search chooses by: of validation rows alone, as the evaluation defines them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from r2d.data.examples import with_columns
from r2d.evaluation.label_metrics import label_metrics, safety_metrics
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.validation import validation_scores
from r2d.modeling.predictor import Predictor
from tests.conftest import TOY_LABELS, toy_examples


def test_test_rows_move_nothing_and_validation_rows_do(stage2_model: Path) -> None:
    examples = toy_examples(120)
    scores = validation_scores(examples, stage2_model, TOY_LABELS)
    other = dict(zip(TOY_LABELS.names, reversed(TOY_LABELS.names), strict=True))
    labels, splits = examples["label"].to_pylist(), examples["split"].to_pylist()
    for split, moves in (("test", False), ("train", False), ("validation", True)):
        turned = [other[label] if of == split else label for label, of in zip(labels, splits, strict=True)]
        changed = validation_scores(with_columns(examples, label=turned), stage2_model, TOY_LABELS)
        assert (changed != scores) == moves, split


def test_scores_are_those_of_the_evaluation(stage2_model: Path) -> None:
    examples = toy_examples(120)
    rows = examples.filter(pa.compute.equal(examples["split"], "validation"))
    decisions = Predictor(stage2_model).decide(rows["text"].to_pylist(), explain=False)
    predictions = Predictions.of_decisions(rows, decisions, TOY_LABELS)
    assert validation_scores(examples, stage2_model, TOY_LABELS) == {
        "num_rows": len(rows),
        "score": pytest.approx(label_metrics(predictions).macro_f1),
        "under_triage_rate": pytest.approx(safety_metrics(predictions).under_triage.rate),
    }
