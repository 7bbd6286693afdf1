"""The report of an evaluation: one HTML page that needs no network, for clinicians first and engineers second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from r2d.data.labels import normalise_label
from r2d.evaluation.label_metrics import HEADLINES, WHY_NO_CLASSES, headline_of
from r2d.pages import render

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SAMPLES = 20
MAX_MATRIX_LABELS = 30
"""Above this a confusion matrix is no longer read, and is left out."""

_POPULATION_NAMES = {
    "all": "all decisions",
    "correct_only": "correct decisions only",
    "zero_if_wrong": "all, wrong decisions count 0",
}


_ALIGNMENT = {
    "consistency": (
        "Consistency",
        "Given only its own rationale, the model comes to the label it gave before: the rationale fits the decision.",
    ),
    "sufficiency": (
        "Sufficiency",
        "Given only its own rationale, the model comes to the reference label: what it wrote suffices.",
    ),
    "gold_robustness": (
        "Gold robustness",
        "Given only the reference rationale, the model comes to the reference label: it can follow rationales that it "
        "did not write.",
    ),
}
"""Figure -> its name and what it says, for somebody who decides about patients."""


@dataclass(frozen=True)
class ReportFacts:
    """What a report is made of. Pictures and texts may quote notes: treat the page as the data it was made from."""

    title: str
    labels: Sequence[str]
    """In the order of the confusion matrix; most urgent first when `ordered`. Empty where each row has its own."""
    label_metrics: Mapping[str, Any]
    """`label_metrics` of the model under the headline `decoding`, or `option_metrics` without `labels`."""
    rationale_metrics: Mapping[str, Any] | None = None
    """`rationale_metrics` of the model; None for a method that writes none."""
    alignment: Mapping[str, Any] | None = None
    """`alignment_metrics` of the model; figures that are None have no section."""
    decoding: str = "constrained"
    other_decoding: str = "free"
    other_label_metrics: Mapping[str, Any] | None = None
    """`label_metrics` of the same model under `other_decoding`."""
    baselines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Name -> `label_metrics`, on the same rows."""
    ordered: bool = False
    """Whether the labels are levels of urgency; then under-triage is shown."""
    model: Mapping[str, object] = field(default_factory=dict)
    """Facts to list, e.g. `{"base model": "google/flan-t5-base", "parameters": 247_577_856}`."""
    data: Mapping[str, object] = field(default_factory=dict)
    split_rows: Mapping[str, int] = field(default_factory=dict)
    label_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Split -> label -> rows."""
    synthetic: bool = False
    """Invented text, no real patients; said at the top."""
    samples: Sequence[Mapping[str, Any]] = ()
    """Rows with id, text, options (shown where they are the row's own), gold_label, predicted_label (None: no label),
    label_probability (or None), gold_rationale, predicted_rationale. The first `MAX_SAMPLES` are shown, wrong decisions
    before right ones."""
    pictures: Mapping[str, Image] = field(default_factory=dict)
    """Caption -> picture."""
    notes: Sequence[str] = ()


def render_report(facts: ReportFacts) -> str:
    """The page as HTML text, with style and pictures inside; every text of `facts` is escaped."""
    metrics, headline = facts.label_metrics, headline_of(facts.label_metrics)
    return render(
        "r2d.evaluation",
        "report.html.j2",
        title=facts.title,
        facts=facts,
        metrics=metrics,
        headline=headline,
        headline_name=HEADLINES[headline],
        why_no_classes=None if facts.labels else WHY_NO_CLASSES,
        systems=_systems(facts),
        matrix=_matrix(metrics) if len(facts.labels) <= MAX_MATRIX_LABELS else None,
        max_matrix_labels=MAX_MATRIX_LABELS,
        triage=_triage_errors(metrics) if facts.ordered else None,
        populations=_populations(facts.rationale_metrics),
        alignment=_alignment(facts.alignment),
        samples=_shown_samples(facts),
    )


def _systems(facts: ReportFacts) -> list[tuple[str, Mapping[str, Any], bool]]:
    """(name, label metrics, is the model): what stands side by side in the headline."""
    systems = [(f"Model, {facts.decoding} decoding", facts.label_metrics, True)]
    if facts.other_label_metrics is not None:
        systems.append((f"Model, {facts.other_decoding} decoding", facts.other_label_metrics, True))
    return systems + [(name, metrics, False) for name, metrics in facts.baselines.items()]


def _matrix(metrics: Mapping[str, Any]) -> list[list[tuple[int, float]]]:
    """(rows, share of the gold label's rows) for each cell."""
    return [[(cell, cell / max(1, sum(row))) for cell in row] for row in metrics["confusion_matrix"]]


def _triage_errors(metrics: Mapping[str, Any]) -> dict[str, int]:
    """Wrong decisions by direction, for labels in order of urgency. Under-triage is the error that harms."""
    counts = metrics["confusion_matrix"]
    cells = [(gold, said, rows) for gold, row in enumerate(counts) for said, rows in enumerate(row[:-1])]
    return {
        "under": sum(rows for gold, said, rows in cells if said > gold),
        "over": sum(rows for gold, said, rows in cells if said < gold),
    }


def _populations(metrics: Mapping[str, Any] | None) -> list[tuple[str, Mapping[str, Any]]]:
    return [] if metrics is None else [(name, metrics["populations"][key]) for key, name in _POPULATION_NAMES.items()]


def _alignment(metrics: Mapping[str, Any] | None) -> list[tuple[str, float | None, int, str]]:
    """(name, share of rows, rows, what it says); nothing where nothing was measured."""
    if metrics is None or not metrics["num_rows"]:
        return []
    rows = {"gold_robustness": metrics["num_with_gold_rationale"]}
    return [
        (name, metrics[key], rows.get(key, metrics["num_rows"]), meaning) for key, (name, meaning) in _ALIGNMENT.items()
    ]


def _shown_samples(facts: ReportFacts) -> list[dict[str, Any]]:
    judged = [
        {
            **row,
            "options": () if facts.labels else row["options"],
            "correct": row["predicted_label"] is not None
            and normalise_label(row["predicted_label"]) == normalise_label(row["gold_label"]),
        }
        for row in facts.samples
    ]
    return sorted(judged, key=lambda row: bool(row["correct"]))[:MAX_SAMPLES]
