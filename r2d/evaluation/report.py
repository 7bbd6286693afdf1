"""The report of an evaluation: one HTML page that needs no network, for clinicians first and engineers second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from r2d.config.data import DataConfig
from r2d.data.examples import shown_splits, split_of
from r2d.evaluation.metrics import (
    RARE_LABEL_ROWS,
    WHY_NO_CLASSES,
    Comparator,
    CurvePoint,
    IntervalEstimate,
    LabelIntervals,
    LabelMetrics,
    Metrics,
    SafetyMetrics,
    SelectiveMetrics,
)  # fmt: skip
from r2d.evaluation.plots import reliability_diagram, risk_coverage_curve
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.run import EvaluationRun
from r2d.files import order_by_hash
from r2d.rationales.claims import ClaimChecker, Verdict
from r2d.reports.formatting import Unit, plural
from r2d.reports.templates import render

MAX_SAMPLES = 20
MAX_WRONG_SAMPLES = 10
MAX_MATRIX_LABELS = 30
"""A confusion matrix of more labels cannot be read in a table and is left out."""


Tone = Literal["bad", "plain", "aside"]
"""How a flag looks."""

FLAGS: Mapping[str, tuple[str, Tone]] = {
    "empty": ("nothing written", "bad"),
    "contradicts_note": ("contradicts the note", "bad"),
    "cut": ("cut at the limit of tokens", "bad"),
    "ungrounded_numbers": ("a number that is not in the note", "bad"),
    "ungrounded_findings": ("a finding that is not in the note", "bad"),
    "names_other_label": ("names another label", "bad"),
    "copies_text": ("copied from the note", "bad"),
    "same_as_another": ("word for word as for another note", "bad"),
    "repeats_itself": ("repeats itself", "bad"),
    "names_own_label": ("names its own label", "plain"),
    "deferred": ("confidence too low to show: goes to a person", "aside"),
}
"""Key -> its words and tone. All but the last are faults of a rationale."""


class Caption(NamedTuple):
    """How a metric of labels is shown."""

    key: str
    name: str
    unit: Unit
    difference_unit: Unit
    better: int
    """Sign of a difference that is an improvement."""


UNDER_TRIAGE = Caption("under_triage_rate", "Under-triage", "share", "points", -1)
ACCURACY = Caption("accuracy", "Accuracy", "share", "points", 1)
MACRO_F1 = Caption("macro_f1", "Macro-F1", "decimal", "signed", 1)
OVER_TRIAGE = Caption("over_triage_rate", "Over-triage", "share", "points", -1)

RATIONALE_CAPTIONS: Mapping[str, tuple[str, str, Unit]] = {
    "bleu": ("sacreBLEU", "0 to 100", "score"),
    "paper_bleu": ("Paper BLEU", "0 to 1", "decimal"),
    "rouge_l": ("ROUGE-L", "0 to 1", "decimal"),
    "chrf": ("chrF, all rows at once", "0 to 100", "score"),
    "sentence_chrf": ("chrF, mean of the rows", "0 to 100", "score"),
    "bertscore_f1": ("BERTScore F1", "", "decimal"),
    "bertscore_precision": ("BERTScore precision", "", "decimal"),
    "bertscore_recall": ("BERTScore recall", "", "decimal"),
}
"""Metric of rationales -> name, scale and unit."""

VERDICT_CAPTIONS: Mapping[Verdict, str] = {
    "supported": "the note says so too",
    "contradicted": "the note says the opposite",
    "unclear": "the note leaves it open",
    "absent": "the note does not mention it",
}
"""What a note says of a claim -> in words."""

READER_CAPTIONS: Mapping[str, tuple[str, str]] = {
    "consistency": (
        "Reads the model’s own label",
        "From the rationale alone, another reader comes to the label that the model gave.",
    ),
    "sufficiency": (
        "Reads the reference label",
        "From the rationale alone, another reader comes to the reference label.",
    ),
    "ceiling": (
        "Its ceiling: reads reference rationales",
        "How often it comes from the reference rationale to the reference label. More than that it cannot read.",
    ),
}
"""Figure of the outside reader -> name, and what it says."""


def choose_samples(
    test: pa.Table, predictions: Predictions, table: pa.Table, checker: ClaimChecker, *, ordered: bool
) -> list[dict[str, Any]]:
    """At most ten wrong decisions, then right ones up to twenty rows: each the first by hash of the id, so that nobody
    picks them.

    Returns:
        the columns of `PREDICTIONS_SCHEMA`, of `flags` the keys of `FLAGS`; and text, options (where they are the row's
        own; else empty), correct, verdict (how far off a wrong decision is, and in which direction, where labels are
        ordered), label_probability (of the predicted label; None where it is no label), and remarks: in sentences, what
        the note and the label say otherwise than the rationale.
    """
    correct, levels = predictions.correct, predictions.levels.tolist()
    order = order_by_hash(predictions.ids)
    rows = [row for row in order if not correct[row]][:MAX_WRONG_SAMPLES]
    rows += [row for row in order if correct[row]][: MAX_SAMPLES - len(rows)]
    samples = []
    for row in rows:
        (example,), (published,) = test.slice(row, 1).to_pylist(), table.slice(row, 1).to_pylist()
        verdict = "Right decision" if correct[row] else "Wrong decision"
        if not published["valid"]:
            verdict += ": no valid label"
        elif ordered and levels[row]:
            verdict += f": {plural(abs(levels[row]), 'level')} {'less' if levels[row] > 0 else 'more'} urgent"
        check = checker.check(
            published["predicted_rationale"], example["text"], published["predicted_label"], predictions.options[row]
        )
        added = {
            "text": example["text"],
            "remarks": check.remarks(),
            "options": () if predictions.labels else example["options"],
            "correct": bool(correct[row]),
            "verdict": verdict,
            "label_probability": dict(published["label_probabilities"]).get(published["predicted_label"]),
            "flags": [*published["flags"], *(["deferred"] if published["handed_over"] else [])],
        }
        samples.append(published | added)
    return samples


def render_report(
    run: EvaluationRun, metrics: Metrics, samples: Sequence[Mapping[str, Any]], data: DataConfig, start_model: str
) -> str:
    """The page as HTML text, with style and charts inside; every text is escaped. It quotes notes, as the data do.

    Args:
        samples: `choose_samples`, in the order of the page.
        start_model: name of the model that training started from.
    """
    names, examples = data.labels.names, run.examples
    counts = Counter(zip(examples["split"].to_pylist(), examples["label"].to_pylist(), strict=True))
    splits = shown_splits(examples["split"].to_pylist())
    sources = sorted(set(run.test["rationale_source"].to_pylist()) - {""})
    is_synthetic = data.format == "synthetic_triage"
    compared = compared_systems(metrics)
    return render(
        "r2d.evaluation",
        "report.html.j2",
        title="Reason2Decide: evaluation on the test split",
        metrics=metrics,
        test_set=run.test_set and run.test_set.measured(metrics).sentence(),
        labels=names,
        ordered=data.labels.ordered,
        per_row=data.labels.per_row,
        synthetic=is_synthetic,
        samples=samples,
        model={"method": metrics.method, "start model": start_model, "parameters": f"{metrics.num_parameters:,}"},
        data={
            "source": data.format if is_synthetic else f"{data.format}: {data.path}",
            **({} if data.test is None else {"test notes": f"{data.format}: {data.test.path}"}),
            "rationales": ", ".join(sources) or "none",
        },
        split_rows={split: len(split_of(examples, split)) for split in splits},
        label_counts={split: {name: counts[split, name] for name in names} for split in splits} if names else {},
        confidence=f"{100 * metrics.intervals.confidence:g} %" if metrics.intervals else None,
        why_no_classes=WHY_NO_CLASSES,
        max_matrix_labels=MAX_MATRIX_LABELS,
        rare_label_rows=RARE_LABEL_ROWS,
        flags=FLAGS,
        rationale_captions=RATIONALE_CAPTIONS,
        reader_captions=READER_CAPTIONS,
        verdict_captions=VERDICT_CAPTIONS,
        slice_captions=(UNDER_TRIAGE, ACCURACY, MACRO_F1, OVER_TRIAGE),
        slice_groups=[
            (by.removeprefix("attributes."), list(rows))
            for by, rows in groupby(metrics.slices.slices if metrics.slices else (), lambda row: row.by)
        ],
        slices_to_champion={(row.by, row.value): row.difference for row in metrics.champion_slices or ()},
        systems=systems(metrics),
        tested=[(name, difference.mcnemar) for name, difference in compared if difference.mcnemar is not None],
        differences=differences(compared),
        levels_apart=levels_apart,
        curve_points=curve_points,
        verdict_of=verdict_of,
        judged=judged,
        reliability_diagram=reliability_diagram,
        risk_coverage_curve=risk_coverage_curve,
    )


def verdict_of(difference: IntervalEstimate, better: int) -> str:
    """`better` or `worse`; `not told apart` where the interval holds 0, `no interval` where there is none."""
    if difference.value is None or difference.low is None:
        return "no interval"
    if not difference.excludes_zero:
        return "not told apart"
    return "better" if difference.value * better > 0 else "worse"


def levels_apart(safety: SafetyMetrics) -> list[tuple[int, int, int]]:
    """(levels, rows that many levels too low, rows that many too high), up to the largest error."""
    under, over = safety.under_triage.by_levels or {}, safety.over_triage.by_levels or {}
    return [(step, under.get(step, 0), over.get(step, 0)) for step in range(1, max([0, *under, *over]) + 1)]


class System(NamedTuple):
    """A model or baseline on the test rows."""

    name: str
    label: LabelMetrics
    is_model: bool = False

    @property
    def under_triage_rate(self) -> float:
        """Share right of the diagonal of the confusion matrix, answers that are no label included."""
        under = sum(sum(row[gold + 1 :]) for gold, row in enumerate(self.label.confusion_matrix))
        return under / self.label.num_rows


def systems(metrics: Metrics) -> list[System]:
    """The model under both decodings, the champion where it was compared, and the baselines."""
    rows = [System(f"This model, {metrics.decoding} decoding", metrics.label, is_model=True)]
    if other := metrics.other_decoding:
        rows.append(System(f"This model, {other.decoding} decoding", other.label, is_model=True))
    if metrics.champion is not None and metrics.champion.label is not None:
        rows.append(System(f"Champion {metrics.champion.reference}", metrics.champion.label))
    return rows + [System(baseline.value, label) for baseline, label in metrics.baselines.items()]


def compared_systems(metrics: Metrics) -> list[tuple[str, LabelIntervals]]:
    """(name, difference of this model to it) of each other system, the champion first."""
    rows = [(other.value, row) for other, row in metrics.differences.items() if other != Comparator.CHAMPION]
    champion = metrics.differences.get(Comparator.CHAMPION)
    if champion is None or metrics.champion is None:
        return rows
    return [(f"champion {metrics.champion.reference}", champion), *rows]


def differences(
    compared: Sequence[tuple[str, LabelIntervals]],
) -> list[tuple[Caption, float, list[tuple[str, IntervalEstimate]]]]:
    """(metric, largest distance from 0 for the axis, difference to each other system), metric by metric."""
    groups = []
    for caption in (UNDER_TRIAGE, MACRO_F1, ACCURACY):
        estimates = [(name, getattr(difference, caption.key)) for name, difference in compared]
        rows = [(name, estimate) for name, estimate in estimates if estimate and estimate.value is not None]
        if rows:
            ends = [abs(end or 0.0) for _, row in rows for end in (row.value, row.low, row.high)]
            groups.append((caption, max(*ends, 0.01), rows))
    return groups


def curve_points(selective: SelectiveMetrics) -> list[CurvePoint]:
    """The points of the risk-coverage curve nearest to a quarter, half, three quarters, nine tenths and all."""
    points = selective.curve.points
    nearest = (min(points, key=lambda point: abs(point.coverage - share)) for share in (0.25, 0.5, 0.75, 0.9, 1.0))
    return list({point.coverage: point for point in nearest}.values())


def judged(values: Mapping[str, float | None] | None) -> IntervalEstimate:
    """A score of the judge with its interval; the judge's part of the metrics is plain JSON."""
    values = values or {}
    return IntervalEstimate(values.get("value"), values.get("low"), values.get("high"))
