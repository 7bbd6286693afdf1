"""The report of an evaluation: one HTML page that needs no network, for clinicians first and engineers second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from r2d.config.data import DataConfig
from r2d.data.examples import SPLITS, split_of
from r2d.evaluation import report_sections
from r2d.evaluation.metrics import WHY_NO_CLASSES, Metrics
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.run import EvaluationRun
from r2d.files import order_by_hash
from r2d.reports.formatting import plural
from r2d.reports.templates import render

MAX_SAMPLES = 20
MAX_WRONG_SAMPLES = 10
MAX_MATRIX_LABELS = 30
"""A confusion matrix of more labels cannot be read in a table and is left out."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A test row to read."""

    id: str
    text: str
    options: Sequence[str]
    """Where they are the row's own; else empty."""
    gold_label: str
    predicted_label: str | None
    """None for an answer that is no label."""
    correct: bool
    levels: int
    """Levels by which the predicted label is less urgent than the gold label; 0 where labels are not ordered."""
    label_probability: float | None
    """Of the predicted label, scaled by the temperature where there is one."""
    gold_rationale: str
    predicted_rationale: str
    flags: Sequence[str] = ()
    """Keys of `report_sections.FLAGS`."""

    @property
    def verdict(self) -> str:
        """Whether the decision is right; of a wrong one, how far off and in which direction."""
        if self.correct:
            return "Right decision"
        if self.predicted_label is None:
            return "Wrong decision: no valid label"
        if not self.levels:
            return "Wrong decision"
        return f"Wrong decision: {plural(abs(self.levels), 'level')} {'less' if self.levels > 0 else 'more'} urgent"


@dataclass(frozen=True, kw_only=True)
class ReportFacts:
    """The content of a report. It quotes notes: treat the page as the data it was made from."""

    title: str = "Reason2Decide: evaluation on the test split"
    labels: Sequence[str]
    """In the order of the confusion matrix, most urgent first where `ordered`; empty where each row has its own."""
    ordered: bool
    """Whether the labels are levels of urgency."""
    metrics: Metrics
    """For a section that was not measured the page says why."""
    model: Mapping[str, object] = field(default_factory=dict)
    """Facts to list, e.g. `{"start model": "google/flan-t5-base", "parameters": "247,577,856"}`."""
    data: Mapping[str, object] = field(default_factory=dict)
    """Facts to list."""
    split_rows: Mapping[str, int] = field(default_factory=dict)
    label_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Split -> label -> rows."""
    synthetic: bool = False
    """Whether the texts are invented, of no real patients; the page says so at its top."""
    samples: Sequence[Sample] = ()
    """In the order of the page."""
    notes: Sequence[str] = ()


def report_facts(
    run: EvaluationRun, metrics: Metrics, predictions: Predictions, table: pa.Table, data: DataConfig, start_model: str
) -> ReportFacts:
    """The content of the report of a run.

    Args:
        predictions: of the test rows; `table`: the table of `PREDICTIONS_SCHEMA` that is published of them.
        start_model: name of the model that training started from.
    """
    examples, names = run.examples, data.labels.names
    counts = Counter(zip(examples["split"].to_pylist(), examples["label"].to_pylist(), strict=True))
    synthetic = data.format == "synthetic_triage"
    sources = sorted(set(run.test["rationale_source"].to_pylist()) - {""})
    return ReportFacts(
        labels=names,
        ordered=data.labels.ordered,
        metrics=metrics,
        model={"method": metrics.method, "start model": start_model, "parameters": f"{metrics.num_parameters:,}"},
        data={
            "source": data.format if synthetic else f"{data.format}: {data.path}",
            "rationales": ", ".join(sources) or "none",
        },
        split_rows={split: len(split_of(examples, split)) for split in SPLITS},
        label_counts={split: {name: counts[split, name] for name in names} for split in SPLITS} if names else {},
        synthetic=synthetic,
        samples=choose_samples(run.test, predictions, table, ordered=data.labels.ordered),
    )


def choose_samples(test: pa.Table, predictions: Predictions, table: pa.Table, *, ordered: bool) -> list[Sample]:
    """At most ten wrong decisions, then right ones up to twenty rows: each the first by hash of the id, so that nobody
    picks them."""
    correct, levels = predictions.correct, predictions.levels
    order = order_by_hash(predictions.ids)
    rows = [row for row in order if not correct[row]][:MAX_WRONG_SAMPLES]
    rows += [row for row in order if correct[row]][: MAX_SAMPLES - len(rows)]
    samples = []
    for row in rows:
        (example,), (published,) = test.slice(row, 1).to_pylist(), table.slice(row, 1).to_pylist()
        label = published["predicted_label"]
        samples.append(
            Sample(
                id=example["id"],
                text=example["text"],
                options=() if predictions.labels else example["options"],
                gold_label=example["label"],
                predicted_label=label if published["valid"] else None,
                correct=bool(correct[row]),
                levels=int(levels[row]) if ordered else 0,
                label_probability=dict(published["label_probabilities"]).get(label),
                gold_rationale=example["rationale"],
                predicted_rationale=published["predicted_rationale"],
                flags=[*published["flags"], *(["deferred"] if published["handed_over"] else [])],
            )
        )
    return samples


def render_report(facts: ReportFacts) -> str:
    """The page as HTML text, with style and charts inside; every text of `facts` is escaped."""
    metrics, per_row = facts.metrics, not facts.labels
    intervals = metrics.intervals
    return render(
        "r2d.evaluation",
        "report.html.j2",
        title=facts.title,
        facts=facts,
        metrics=metrics,
        per_row=per_row,
        confidence=f"{100 * intervals.confidence:g} %" if intervals else None,
        why_no_classes=WHY_NO_CLASSES,
        max_matrix_labels=MAX_MATRIX_LABELS,
        missing=report_sections.why_missing(metrics, per_row=per_row, ordered=facts.ordered),
        sections=report_sections,
    )
