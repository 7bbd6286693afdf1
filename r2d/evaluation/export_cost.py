"""What an exported model costs: its labels and rationales beside those of the model that it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from r2d.evaluation.label_metrics import LabelStatistics, label_intervals
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.rationale_metrics import overlap_metrics, rationale_scores
from r2d.evaluation.run import EvaluationRun
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.modeling.predictor import Predictor
from r2d.reports.progress import Progress

COST_FILE = "cost.json"
FORMAT_VERSION = 1
LABEL_FIGURES = ("accuracy", "macro_f1", "under_triage_rate")


@dataclass(frozen=True)
class ComparedMetric:
    """A metric of both models on the same rows."""

    original: float
    exported: float
    difference: IntervalEstimate
    """Exported minus original, paired; without an interval for BERTScore."""


@dataclass(frozen=True)
class ExportCost:
    """The content of `cost.json` in an exported model folder."""

    num_rows: int
    equal_labels: float
    """Share of the rows to which both give the same label."""
    equal_rationales: float | None
    """Share for which both write the same rationale; None where they write none."""
    metrics: Mapping[str, ComparedMetric]
    """accuracy, macro_f1, under_triage_rate (where labels are ordered) and bertscore_f1 (where rows have a reference
    rationale)."""
    format_version: int = FORMAT_VERSION


def measure_cost(original: Path, exported: Path, run: EvaluationRun) -> ExportCost:
    """Let both models decide and explain the test rows of a run.

    Raises:
        ModelError: a folder holds no model that can decide.
    """
    made = {
        name: _predictions(folder, name, run) for name, folder in {"original": original, "exported": exported}.items()
    }
    before, after = made["original"], made["exported"]
    differences = label_intervals(after, LabelStatistics.of(run.labels), run.config.intervals, minus=before)
    values = {name: _values(predictions, run) for name, predictions in made.items()}
    metrics = {}
    for name, value in values["original"].items():
        now = values["exported"][name]
        difference = getattr(differences, name, None) or IntervalEstimate(now - value)
        metrics[name] = ComparedMetric(value, now, difference)
    explains = any(map(str.strip, before.rationales))
    same = [a == b for a, b in zip(before.rationales, after.rationales, strict=True)]
    return ExportCost(
        num_rows=len(run.test),
        equal_labels=float((before.predicted == after.predicted).mean()),
        equal_rationales=float(np.mean(same)) if explains else None,
        metrics=metrics,
    )


def _predictions(folder: Path, name: str, run: EvaluationRun) -> Predictions:
    predictor = Predictor(folder, calibrated=False)
    with Progress(f"export: decisions of the {name} model", len(run.test)) as progress:
        decisions = predictor.decide(
            run.texts, run.options, batch_size=run.config.batch_size, on_progress=progress.after(0)
        )
    return Predictions.of_decisions(run.test, decisions, run.labels)


def _values(predictions: Predictions, run: EvaluationRun) -> dict[str, float]:
    statistics = LabelStatistics.of(run.labels)
    figures = statistics(statistics.sums(predictions).sum(axis=0))
    values = {name: float(figures[name]) for name in LABEL_FIGURES if not np.isnan(figures.get(name, np.nan))}
    has_both = any(map(str.strip, predictions.rationales)) and any(map(str.strip, predictions.gold_rationales))
    if has_both:
        scores = rationale_scores(predictions.gold_rationales, predictions.rationales, run.config)
        if (found := overlap_metrics(scores).bertscore_f1) is not None:
            values["bertscore_f1"] = found
    return values
