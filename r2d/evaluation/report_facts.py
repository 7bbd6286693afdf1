"""From an evaluation to what its report is made of."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from r2d.config.data import DataConfig
from r2d.data.examples import SPLITS, split_of
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.report import ReportFacts
from r2d.files import order_by_hash

if TYPE_CHECKING:
    from r2d.modeling.predictor import Predictor


def report_facts(
    examples: pa.Table,
    test: pa.Table,
    predictions: pa.Table,
    metrics: dict[str, Any],
    predictor: Predictor,
    data: DataConfig,
) -> ReportFacts:
    """Facts of model and data beside the figures, and twenty rows to read."""
    counts = Counter(zip(examples["split"].to_pylist(), examples["label"].to_pylist(), strict=True))
    synthetic = data.format == "synthetic_triage"
    return ReportFacts(
        title="Reason2Decide: evaluation on the test split",
        labels=data.labels.names,
        ordered=data.labels.ordered,
        metrics=metrics,
        model={
            "method": predictor.method.name,
            "start model": predictor.config.name,
            "parameters": f"{metrics['num_parameters']:,}",
        },
        data={
            "source": data.format if synthetic else f"{data.format}: {data.path}",
            "rationales": ", ".join(sorted(set(test["rationale_source"].to_pylist()) - {""})) or "none",
        },
        split_rows={split: len(split_of(examples, split)) for split in SPLITS},
        label_counts={split: {label: counts[split, label] for label in data.labels.names} for split in SPLITS}
        if data.labels.names
        else {},
        synthetic=synthetic,
        samples=_samples(test, predictions, data),
    )


def _samples(test: pa.Table, predictions: pa.Table, data: DataConfig) -> list[dict[str, Any]]:
    """Ten wrong and ten right decisions, each the first by hash of the id, so that nobody picks them."""
    order = order_by_hash(test["id"].to_pylist())
    right = Predictions.from_table(predictions, data.labels).correct
    wrong_ones = [row for row in order if not right[row]][:10]
    right_ones = [row for row in order if right[row]][: 20 - len(wrong_ones)]
    return [_sample(test.slice(row, 1), predictions.slice(row, 1)) for row in wrong_ones + right_ones]


def _sample(test: pa.Table, prediction: pa.Table) -> dict[str, Any]:
    (example,), (said,) = test.to_pylist(), prediction.to_pylist()
    return {
        "id": example["id"],
        "text": example["text"],
        "options": example["options"],
        "gold_label": example["label"],
        "predicted_label": said["predicted_label"] if said["valid"] else None,
        "label_probability": dict(said["label_probabilities"]).get(said["predicted_label"]),
        "gold_rationale": example["rationale"],
        "predicted_rationale": said["predicted_rationale"],
        "flags": [*said["flags"], *(["handed_over"] if said["handed_over"] else [])],
    }
