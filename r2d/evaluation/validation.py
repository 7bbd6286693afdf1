"""Scores of a model on the validation rows, for a search that must not look at the test rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.data.examples import split_of
from r2d.evaluation.label_metrics import label_metrics
from r2d.evaluation.predictions import Predictions
from r2d.modeling.predictor import Predictor


def validation_scores(examples: pa.Table, model_folder: Path, labels: LabelsConfig) -> dict[str, float]:
    """`num_rows`, `score` (macro-F1, or accuracy where each row has options of its own) and, where labels are ordered,
    `under_triage_rate`: the share of the rows with a label less urgent than theirs. No other row is read.

    Args:
        examples: a table of `EXAMPLES_SCHEMA`.

    Raises:
        DataError: there is no validation row.
    """
    rows = split_of(examples, "validation")
    predictor = Predictor(model_folder)
    options = rows["options"].to_pylist() if labels.per_row else None
    predicted = predictor.decode_labels(rows["text"].to_pylist(), options, decoding=predictor.config.label_decoding)
    predictions = Predictions(
        ids=rows["id"].to_pylist(),
        gold_labels=rows["label"].to_pylist(),
        predicted_labels=predicted,
        labels=labels.names,
        row_options=options or (),
    )
    metrics = label_metrics(predictions)
    score = metrics.accuracy if metrics.macro_f1 is None else metrics.macro_f1
    scores = {"num_rows": float(len(rows)), "score": float(score)}
    if labels.ordered:
        scores["under_triage_rate"] = float((predictions.levels > 0).mean())
    return scores
