"""The report of an evaluation: one HTML page that needs no network, for clinicians first and engineers second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple, TypedDict

import numpy as np
import pyarrow as pa

from r2d.config.data import NO_ORDER, DataConfig
from r2d.data.examples import split_of
from r2d.evaluation.metrics import Metrics
from r2d.evaluation.plots import decision_curve, reliability_diagram, risk_coverage_curve
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.run import EvaluationRun
from r2d.evaluation.sections.estimates import CHOOSING_SPLITS, IntervalEstimate
from r2d.evaluation.sections.labels import (
    RARE_LABEL_ROWS,
    WHY_NO_CLASSES,
    Comparator,
    LabelIntervals,
    LabelMetrics,
    SafetyMetrics,
)
from r2d.evaluation.sections.selective import CurvePoint, SelectiveMetrics
from r2d.evaluation.summary import (
    ACCURACY,
    MACRO_F1,
    OVER_TRIAGE,
    UNDER_TRIAGE,
    Caption,
    champion_sentence,
    missed_share,
    verdict_of,
)
from r2d.files import order_by_hash
from r2d.modeling.deferral import DEFERRAL_REASONS, why_deferred
from r2d.modeling.model_folder import Calibration
from r2d.rationales.claims import ClaimChecker, Verdict
from r2d.reports.formatting import Unit, percent
from r2d.reports.templates import render
from r2d.text import plural

MAX_SAMPLES = 20
MAX_WRONG_SAMPLES = 10
MAX_CASES = 5
"""Missed rows that are open to read; further ones stand behind a fold."""
MAX_GAPS = 6
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
}
"""Fault of a rationale -> its words and tone."""


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


class QuotedRow(TypedDict):
    """A test row as the page shows it: columns of `PREDICTIONS_SCHEMA`, and what is said of them."""

    id: str
    label: str
    predicted_label: str
    valid: bool
    handed_over: bool | None
    rationale: str
    predicted_rationale: str
    flags: Sequence[str]
    """Keys of `FLAGS`."""
    text: str
    options: Sequence[str]
    """Where they are the row's own; else empty."""
    correct: bool
    verdict: str
    """How far off a wrong decision is, and in which direction, where labels are ordered."""
    label_probability: float | None
    """Of the predicted label; None where it is no label."""
    why: str | None
    """The label goes to a person, a key of `DEFERRAL_REASONS`; None where it is shown or nothing was calibrated."""
    remarks: Sequence[str]
    """In sentences, what the note and the label say otherwise than the rationale."""


@dataclass(frozen=True)
class QuotedRows:
    """Test rows that the page shows one by one."""

    missed: Sequence[QuotedRow] = ()
    """Of the most urgent label, decided less urgent: those whose label would be shown first, then the farthest off,
    then the most confident."""
    num_missed: int = 0
    num_missed_shown: int = 0
    """Of `num_missed`: their label would be shown, and not handed to a person."""
    examples: Sequence[QuotedRow] = ()
    """At most ten wrong decisions, then right ones up to twenty: each the first by hash of the id, so that nobody picks
    them."""


def choose_rows(
    test: pa.Table,
    predictions: Predictions,
    table: pa.Table,
    checker: ClaimChecker,
    *,
    calibration: Calibration | None = None,
    ordered: bool,
    max_missed: int,
) -> QuotedRows:
    """The rows to show, of all test rows and their predictions.

    Args:
        table: the predictions as they are published, of `PREDICTIONS_SCHEMA`, under this calibration.
        max_missed: of the most urgent label.
    """
    correct, levels, confidence = predictions.correct, predictions.levels, predictions.confidence

    def shown(row: int) -> QuotedRow:
        (example,), (published,) = test.slice(row, 1).to_pylist(), table.slice(row, 1).to_pylist()
        verdict = "Right decision" if correct[row] else "Wrong decision"
        if not published["valid"]:
            verdict += ": no valid label"
        elif ordered and levels[row]:
            distance = int(levels[row])
            verdict += f": {plural(abs(distance), 'level')} {'less' if distance > 0 else 'more'} urgent"
        check = checker.check(
            published["predicted_rationale"], example["text"], published["predicted_label"], predictions.options[row]
        )
        label, attributes = published["predicted_label"], dict(example["attributes"])
        probability = dict(published["label_probabilities"]).get(label)
        why = None
        if calibration is not None:
            why = why_deferred(calibration, probability or 0.0, label, attributes, valid=published["valid"])
        return published | {
            "text": example["text"],
            "remarks": check.remarks(),
            "options": () if predictions.labels else example["options"],
            "correct": bool(correct[row]),
            "verdict": verdict,
            "label_probability": probability,
            "why": why,
        }

    order = order_by_hash(predictions.ids)
    wrong = [row for row in order if not correct[row]][:MAX_WRONG_SAMPLES]
    right = [row for row in order if correct[row]][: MAX_SAMPLES - len(wrong)]
    missed: list[int] = []
    deferred = table["handed_over"].to_pylist()
    if ordered:
        missed = np.flatnonzero((predictions.gold == 0) & (levels > 0)).tolist()
        missed.sort(key=lambda row: (deferred[row], -levels[row], -confidence[row], predictions.ids[row]))
    return QuotedRows(
        missed=[shown(row) for row in missed[:max_missed]],
        num_missed=len(missed),
        num_missed_shown=sum(not deferred[row] for row in missed),
        examples=[shown(row) for row in [*wrong, *right]],
    )


def render_report(run: EvaluationRun, metrics: Metrics, rows: QuotedRows, data: DataConfig, start_model: str) -> str:
    """The page as HTML text, with style and charts inside; every text is escaped. It quotes notes, as the data do,
    unless `evaluation.quote_notes` forbids it.

    Args:
        start_model: name of the model that training started from.
    """
    names = data.labels.names
    sources = sorted(set(run.test["rationale_source"].to_pylist()) - {""})
    is_synthetic = data.format == "synthetic_triage"
    compared = compared_systems(metrics)
    return render(
        "r2d.evaluation",
        "report.html.j2",
        title="External validation" if metrics.external else "Evaluation report",
        metrics=metrics,
        test_set=run.test_set and run.test_set.measured(metrics).sentence(),
        labels=names,
        ordered=data.labels.ordered,
        why_no_order=NO_ORDER,
        per_row=data.labels.per_row,
        synthetic=is_synthetic,
        rows=rows,
        quotes=run.config.quote_notes,
        champion_sentence=champion_sentence(metrics),
        missed_share=missed_share(metrics),
        gaps=worse_served(metrics),
        max_cases=MAX_CASES,
        max_gaps=MAX_GAPS,
        model={
            "method": metrics.method,
            "start model": start_model,
            "parameters": f"{metrics.num_parameters:,}",
            **({"measured as exported": metrics.engine} if metrics.engine else {}),
        },
        data={
            "source": data.format if is_synthetic else f"{data.format}: {data.path}",
            **({} if data.test is None else {"test notes": f"{data.format}: {data.test.path}"}),
            "rationales": ", ".join(sources) or "none",
        },
        table_one=table_one(metrics),
        chosen_here=next((split for split in CHOOSING_SPLITS if len(split_of(run.examples, split))), None),
        confidence=f"{100 * metrics.intervals.confidence:g} %" if metrics.intervals else None,
        why_no_classes=WHY_NO_CLASSES,
        max_matrix_labels=MAX_MATRIX_LABELS,
        rare_label_rows=RARE_LABEL_ROWS,
        flags=FLAGS,
        deferral_reasons=DEFERRAL_REASONS,
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
        decision_curve=decision_curve,
        cost_captions=(UNDER_TRIAGE, OVER_TRIAGE, ACCURACY, MACRO_F1),
    )


class TableRow(NamedTuple):
    """A row of Table 1: a value for each split."""

    name: str
    cells: Sequence[str]
    is_value: bool = False
    """Of a label or an attribute, whose name stands above."""


def table_one(metrics: Metrics) -> list[TableRow]:
    """What each split holds: rows, patients, words, what is missing, labels, attributes."""
    splits = () if metrics.cohort is None else metrics.cohort.splits
    if not splits:
        return []

    def shares(counts: Sequence[int]) -> list[str]:
        return [f"{count:,} ({percent(count / split.num_rows)})" for count, split in zip(counts, splits, strict=True)]

    rows = [
        TableRow("Notes", [f"{split.num_rows:,}" for split in splits]),
        TableRow("Patients or callers", [f"{split.num_groups:,}" for split in splits]),
        TableRow(
            "Words of a note: median (quartiles)",
            [f"{split.words_median:g} ({split.words_low:g} to {split.words_high:g})" for split in splits],
        ),
        TableRow("No patient or caller given", shares([split.num_without_group for split in splits])),
        TableRow("No rationale", shares([split.num_without_rationale for split in splits])),
    ]
    groups = [("Label", [split.labels for split in splits])] + [
        (of_first.name, [split.attributes[place].values for split in splits])
        for place, of_first in enumerate(splits[0].attributes)
    ]
    for name, counts in groups:
        if counts[0]:
            rows.append(TableRow(name.replace("_", " "), [""] * len(splits)))
            rows += [
                TableRow(each[0].name, shares([count.num_rows for count in each]), is_value=True)
                for each in zip(*counts, strict=True)
            ]
    return rows


class Gap(NamedTuple):
    """A part of the notes in which the model does worse than in all of them, and chance is no likely reason."""

    part: str
    num_rows: int
    caption: Caption
    value: IntervalEstimate
    difference: IntervalEstimate


def worse_served(metrics: Metrics) -> list[Gap]:
    """The parts that are served worse, the widest gap first: by under-triage where labels are ordered, else by
    accuracy. Parts by label are left out, which differ by nature."""
    caption = ACCURACY if metrics.safety is None else UNDER_TRIAGE
    gaps = [
        Gap(
            f"{row.by.removeprefix('attributes.').replace('_', ' ')}: {row.value}", row.num_rows, caption,
            row.figures[caption.key], row.gaps[caption.key],
        )
        for row in (metrics.slices.slices if metrics.slices else ())
        if row.by != "label" and verdict_of(row.gaps[caption.key], caption.better) == "worse"
    ]  # fmt: skip
    return sorted(gaps, key=lambda gap: -abs(gap.difference.value or 0.0))


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

    @property
    def over_triage_rate(self) -> float:
        """Share left of the diagonal."""
        over = sum(sum(row[:gold]) for gold, row in enumerate(self.label.confusion_matrix))
        return over / self.label.num_rows

    def only_label(self, names: Sequence[str]) -> str | None:
        """The label that it gives to every note; None where it gives several."""
        given = [sum(column) for column in zip(*self.label.confusion_matrix, strict=True)]
        places = [place for place, num_rows in enumerate(given) if num_rows]
        return names[places[0]] if len(places) == 1 and places[0] < len(names) else None


def systems(metrics: Metrics) -> list[System]:
    """The model under both decodings, the champion where it was compared, and the baselines."""
    rows = [System(f"This model, {metrics.decoding} decoding", metrics.label, is_model=True)]
    if other := metrics.other_decoding:
        rows.append(System(f"This model, {other.decoding} decoding", other.label, is_model=True))
    if metrics.champion is not None and metrics.champion.label is not None:
        rows.append(System(f"Champion {metrics.champion.reference}", metrics.champion.label))
    encoder = metrics.encoder_baseline
    names = {} if encoder is None else {Comparator.ENCODER: f"{Comparator.ENCODER.value}: {encoder.model}"}
    return rows + [System(names.get(other, other.value), label) for other, label in metrics.baselines.items()]


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
