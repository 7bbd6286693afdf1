"""The report of an evaluation: one HTML page that needs no network, for clinicians first and engineers second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from r2d.evaluation import report_sections as sections
from r2d.evaluation.metrics import WHY_NO_CLASSES
from r2d.evaluation.report_words import why_missing
from r2d.reports.templates import render

MAX_MATRIX_LABELS = 30
"""Above this a confusion matrix is no longer read, and is left out."""


@dataclass(frozen=True)
class ReportFacts:
    """What a report is made of. It quotes notes: treat the page as the data it was made from."""

    title: str
    labels: Sequence[str]
    """In the order of the confusion matrix; most urgent first when `ordered`. Empty where each row has its own."""
    ordered: bool
    """Whether the labels are levels of urgency; then safety is shown."""
    metrics: Mapping[str, Any]
    """`metrics` of `r2d.evaluation.evaluate`, all of it; a section that was not measured is None, and the page says
    why."""
    model: Mapping[str, object] = field(default_factory=dict)
    """Facts to list, e.g. `{"start model": "google/flan-t5-base", "parameters": 247_577_856}`."""
    data: Mapping[str, object] = field(default_factory=dict)
    split_rows: Mapping[str, int] = field(default_factory=dict)
    label_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Split -> label -> rows."""
    synthetic: bool = False
    """Invented text, no real patients; said at the top."""
    samples: Sequence[Mapping[str, Any]] = ()
    """Rows with id, text, options (shown where they are the row's own), gold_label, predicted_label (None: no label),
    label_probability (scaled, or None), gold_rationale, predicted_rationale, and flags: keys of
    `report_words.FLAGS`. The first `report_sections.MAX_SAMPLES` are shown, wrong decisions before right ones."""
    notes: Sequence[str] = ()


def render_report(facts: ReportFacts) -> str:
    """The page as HTML text, with style and charts inside; every text of `facts` is escaped.

    Raises:
        KeyError: a sample has a flag that `report_words.FLAGS` does not know.
    """
    metrics, per_row = facts.metrics, not facts.labels
    return render(
        "r2d.evaluation",
        "report.html.j2",
        title=facts.title,
        facts=facts,
        metrics=metrics,
        per_row=per_row,
        why_no_classes=WHY_NO_CLASSES,
        verdict=sections.verdict,
        confidence=sections.confidence_name(metrics),
        missing=why_missing(metrics, per_row=per_row, ordered=facts.ordered),
        systems=sections.systems(metrics, ordered=facts.ordered),
        others=sections.others(metrics),
        differences=sections.differences(metrics),
        matrix=sections.matrix(metrics["label"]) if 0 < len(facts.labels) <= MAX_MATRIX_LABELS else None,
        max_matrix_labels=MAX_MATRIX_LABELS,
        levels=sections.levels(metrics["safety"]),
        charts=sections.charts(metrics),
        curve=sections.curve_table(metrics["selective"]),
        slices=sections.slices(metrics),
        rationale_rows=sections.rationale_rows(metrics),
        quality_rows=sections.quality_rows(metrics["written_quality"]),
        alignment_rows=sections.alignment_rows(metrics),
        agreement=sections.agreement_by_criterion(metrics["judge"]),
        samples=sections.samples(facts.samples, facts.labels, ordered=facts.ordered),
    )
