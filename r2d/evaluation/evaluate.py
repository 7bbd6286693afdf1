"""Evaluation of a model folder on the test split, beside the baselines, in one pass."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from r2d.config import DataConfig, EvaluationConfig, LabelsConfig
from r2d.data.examples import SPLITS, split_of
from r2d.errors import DataError
from r2d.evaluation.alignment import alignment_metrics, no_alignment
from r2d.evaluation.baselines import baselines, option_baselines
from r2d.evaluation.label_metrics import label_metrics, option_metrics
from r2d.evaluation.rationale_metrics import rationale_metrics
from r2d.evaluation.report import ReportFacts, render_report

if TYPE_CHECKING:
    from r2d.modeling.decoding import LabelDecoding
    from r2d.modeling.predictor import Decision, Predictor

logger = logging.getLogger(__name__)

PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("predicted_label", pa.string(), nullable=False),
        pa.field("valid", pa.bool_(), nullable=False),
        pa.field("label_probabilities", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("rationale", pa.string(), nullable=False),
        pa.field("predicted_rationale", pa.string(), nullable=False),
    ]
)
"""One row a test example; joined to the examples by `id`."""


@dataclass(frozen=True)
class Evaluation:
    """What is known of a model after the test split was touched once."""

    metrics: dict[str, Any]
    """`label` (headline decoding), `other_decoding`, `baselines`, `rationale`, `alignment` and the facts of the run."""
    predictions: pa.Table
    """Table of `PREDICTIONS_SCHEMA`."""
    report: str
    """One self-contained HTML page."""
    seconds: float
    """Wall time of all of it. Not among `metrics`: those are the same each time, and are stored under their hash."""


def evaluate(examples: pa.Table, model_folder: Path, *, config: EvaluationConfig, data: DataConfig) -> Evaluation:
    """Decide and explain every test row, and measure both.

    The headline is the model's own label decoding; the other one is measured too and never mixed with it.

    Raises:
        DataError: the test split is empty.
        ModelError: the folder holds no model that can decide, or the BERTScore model cannot be had.
    """
    from r2d.modeling.predictor import Predictor

    started = time.perf_counter()
    train, test = split_of(examples, "train"), _test_rows(examples, config.max_rows)
    predictor = Predictor(model_folder)
    texts, gold, options = test["text"].to_pylist(), test["label"].to_pylist(), _options(test, data.labels)
    decisions = predictor.decide(texts, options, batch_size=config.batch_size, on_progress=_progress_lines())
    own = predictor.config.label_decoding
    other: LabelDecoding = "free" if own == "constrained" else "constrained"
    other_labels = predictor.decode_labels(texts, options, decoding=other, batch_size=config.batch_size)
    measure = partial(_label_metrics, gold, options=options, labels=data.labels)
    correct = [decision.label == label for decision, label in zip(decisions, gold, strict=True)]
    metrics = {
        "num_rows": len(test),
        "decoding": own,
        "label": measure([decision.label for decision in decisions]),
        "other_decoding": {"decoding": other, "label": measure(other_labels)},
        "baselines": option_baselines(train["label"].to_pylist(), gold, options)
        if data.labels.per_row
        else baselines(train["text"].to_pylist(), train["label"].to_pylist(), texts, gold, data.labels.names),
        "rationale": rationale_metrics(
            test["rationale"].to_pylist(), [decision.rationale for decision in decisions], correct, config
        )
        if predictor.method.explains
        else None,
        "alignment": _alignment(predictor, test, decisions, options, config),
        "method": predictor.method.name,
        "num_parameters": predictor.model.num_parameters(),
    }
    facts = _report_facts(examples, test, decisions, metrics, predictor, data)
    report = render_report(facts)
    return Evaluation(metrics, _predictions(test, decisions), report, time.perf_counter() - started)


def _options(test: pa.Table, labels: LabelsConfig) -> list[Sequence[str]]:
    """The labels that each row can have."""
    return test["options"].to_pylist() if labels.per_row else [labels.names] * len(test)


def _label_metrics(
    gold: Sequence[str], predicted: Sequence[str], *, options: Sequence[Sequence[str]], labels: LabelsConfig
) -> dict[str, Any]:
    return option_metrics(gold, predicted, options) if labels.per_row else label_metrics(gold, predicted, labels.names)


def _test_rows(examples: pa.Table, max_rows: int | None) -> pa.Table:
    test = split_of(examples, "test")
    if not len(test):
        raise DataError("the test split is empty: set data.split.test_fraction, test_ids or a split column")
    if max_rows is None or max_rows >= len(test):
        return test
    return test.take(sorted(_by_id_hash(test)[:max_rows]))


def _by_id_hash(test: pa.Table) -> list[int]:
    """Row numbers in an order that nobody picks and that stays when rows are added."""
    digests = [hashlib.sha256(id_.encode()).digest() for id_ in test["id"].to_pylist()]
    return sorted(range(len(digests)), key=digests.__getitem__)


def _alignment(
    predictor: Predictor,
    test: pa.Table,
    decisions: Sequence[Decision],
    options: Sequence[Sequence[str]],
    config: EvaluationConfig,
) -> dict[str, Any]:
    if not predictor.method.explains:
        return no_alignment()
    return alignment_metrics(
        partial(predictor.decode_labels, decoding=predictor.config.label_decoding, batch_size=config.batch_size),
        gold_labels=test["label"].to_pylist(),
        predicted_labels=[decision.label for decision in decisions],
        rationales=[decision.rationale for decision in decisions],
        gold_rationales=test["rationale"].to_pylist(),
        options=options,
    )


def _predictions(test: pa.Table, decisions: Sequence[Decision]) -> pa.Table:
    columns = {
        "predicted_label": [decision.label for decision in decisions],
        "valid": [decision.valid for decision in decisions],
        "label_probabilities": [list(decision.label_probabilities.items()) for decision in decisions],
        "predicted_rationale": [decision.rationale for decision in decisions],
    }
    taken = {name: test[name].to_pylist() for name in ("id", "split", "label", "rationale")}
    return pa.table(taken | columns, schema=PREDICTIONS_SCHEMA)


def _report_facts(
    examples: pa.Table,
    test: pa.Table,
    decisions: Sequence[Decision],
    metrics: dict[str, Any],
    predictor: Predictor,
    data: DataConfig,
) -> ReportFacts:
    counts = Counter(zip(examples["split"].to_pylist(), examples["label"].to_pylist(), strict=True))
    synthetic = data.format == "synthetic_triage"
    return ReportFacts(
        title="Reason2Decide: evaluation on the test split",
        labels=data.labels.names,
        ordered=data.labels.ordered,
        decoding=metrics["decoding"],
        label_metrics=metrics["label"],
        other_decoding=metrics["other_decoding"]["decoding"],
        other_label_metrics=metrics["other_decoding"]["label"],
        baselines=metrics["baselines"],
        rationale_metrics=metrics["rationale"],
        alignment=metrics["alignment"],
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
        samples=_samples(test, decisions),
    )


def _samples(test: pa.Table, decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """Ten wrong and ten right decisions, each the first by hash of the id, so that nobody picks them."""
    order = _by_id_hash(test)
    wrong = [row for row in order if decisions[row].label != test["label"][row].as_py()][:10]
    right = [row for row in order if decisions[row].label == test["label"][row].as_py()][: 20 - len(wrong)]
    return [
        {
            "id": test["id"][row].as_py(),
            "text": test["text"][row].as_py(),
            "options": test["options"][row].as_py(),
            "gold_label": test["label"][row].as_py(),
            "predicted_label": decisions[row].label if decisions[row].valid else None,
            "label_probability": decisions[row].label_probabilities.get(decisions[row].label),
            "gold_rationale": test["rationale"][row].as_py(),
            "predicted_rationale": decisions[row].rationale,
        }
        for row in wrong + right
    ]


def _progress_lines(seconds: float = 5.0) -> Callable[[int, int], None]:
    """A log line every few seconds while rows are decided."""
    started = last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= seconds or done == total:
            last = now
            left = (now - started) / done * (total - done)
            logger.info("evaluation: %d of %d rows decided and explained, %.0f s left", done, total, left)

    return show
