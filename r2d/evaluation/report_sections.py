"""The rows, drawings and words of the report's sections; the templates call these functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

from markupsafe import Markup

from r2d.evaluation.metrics import (
    CalibrationMetrics,
    Comparator,
    CurvePoint,
    FaultCount,
    IntervalEstimate,
    Intervals,
    LabelIntervals,
    LabelMetrics,
    Metrics,
    SafetyMetrics,
    SelectiveMetrics,
    SliceMetrics,
)  # fmt: skip
from r2d.evaluation.plots import reliability_diagram, risk_coverage_curve
from r2d.reports.formatting import Unit

Tone = Literal["bad", "plain", "aside"]
"""How a flag looks."""

FLAGS: Mapping[str, tuple[str, Tone]] = {
    "empty": ("nothing written", "bad"),
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

ALIGNMENT_CAPTIONS = {
    "consistency": (
        "Consistency",
        "From its own rationale alone, the model comes to the label it gave before: the rationale fits the decision.",
    ),
    "sufficiency": (
        "Sufficiency",
        "From its own rationale alone, the model comes to the reference label: what it wrote suffices.",
    ),
    "gold_robustness": (
        "Gold robustness",
        "From the reference rationale alone, the model comes to the reference label: it can follow rationales that it "
        "did not write.",
    ),
}
"""Metric of alignment -> name, and what it says to somebody who decides about patients."""


def why_missing(metrics: Metrics, *, per_row: bool, ordered: bool) -> dict[str, str]:
    """Section -> why it was not measured, as a sentence; sections that were measured are left out."""
    reasons = {}
    if per_row:
        reasons = dict.fromkeys(
            ("safety", "differences", "decisions", "calibration", "selective", "slices"),
            "Not measured: each row has options of its own, so that there is no set of labels to count by.",
        )
    elif not ordered:
        reasons["safety"] = (
            "Not measured: the labels have no declared order of urgency (data.labels.ordered), so that no error is "
            "more harmful than another as far as this page knows."
        )
    if metrics.calibration is None and not per_row:
        reasons["calibration"] = reasons["selective"] = (
            "Not measured: temperature and threshold are chosen on validation notes, and there are none."
        )
    if metrics.rationale is None:
        reasons |= dict.fromkeys(
            ("rationale", "alignment", "flip"), f"Not measured: the method {metrics.method} writes no rationale."
        )
    elif not metrics.flip_test.num_rows:
        reasons["flip"] = (
            f"Not measured: no decision of the {metrics.flip_test.num_without_other_label} has another label to be "
            "flipped to."
            if metrics.flip_test.num_without_other_label
            else f"Not measured: the method {metrics.method} does not write its rationale for a label."
        )
    return reasons


def verdict(difference: IntervalEstimate, better: int) -> str:
    """`better` or `worse`; `not told apart` where the interval holds 0, `no interval` where there is none."""
    if difference.value is None or difference.low is None:
        return "no interval"
    if not difference.excludes_zero:
        return "not told apart"
    return "better" if difference.value * better > 0 else "worse"


# --- safety, champion and baselines ---


def levels(safety: SafetyMetrics) -> list[tuple[int, int, int]]:
    """(levels, rows that many levels too low, rows that many too high), up to the largest error."""
    under, over = safety.under_triage.by_levels or {}, safety.over_triage.by_levels or {}
    return [(step, under.get(step, 0), over.get(step, 0)) for step in range(1, max([0, *under, *over]) + 1)]


class System(NamedTuple):
    """A model or baseline on the test rows."""

    name: str
    label: LabelMetrics
    is_model: bool = False

    @property
    def under_triage_rate(self) -> float | None:
        """Share right of the diagonal of the confusion matrix, answers that are no label included."""
        under = sum(rows for gold, row in enumerate(self.label.confusion_matrix) for rows in row[gold + 1 :])
        return under / self.label.num_rows if self.label.confusion_matrix else None


def systems(metrics: Metrics) -> list[System]:
    """The model under both decodings, the champion where it was compared, and the baselines."""
    rows = [System(f"This model, {metrics.decoding} decoding", metrics.label, is_model=True)]
    if other := metrics.other_decoding:
        rows.append(System(f"This model, {other.decoding} decoding", other.label, is_model=True))
    if metrics.champion is not None and metrics.champion.label is not None:
        rows.append(System(f"Champion {metrics.champion.reference}", metrics.champion.label))
    return rows + [System(baseline.caption, label) for baseline, label in metrics.baselines.items()]


def compared(metrics: Metrics) -> list[tuple[str, LabelIntervals]]:
    """(name, difference of this model to it) of each other system, the champion first."""
    rows = [(other.caption, difference) for other, difference in metrics.differences.items()]
    champion = metrics.differences.get(Comparator.CHAMPION)
    if champion is None or metrics.champion is None:
        return rows
    others = [row for row in rows if row[0] != Comparator.CHAMPION.caption]
    return [(f"champion {metrics.champion.reference}", champion), *others]


class DifferenceGroup(NamedTuple):
    """One metric of this model minus that of each other system."""

    caption: Caption
    limit: float
    """The largest distance from 0, for the axis."""
    rows: Sequence[tuple[str, IntervalEstimate]]


def differences(metrics: Metrics) -> list[DifferenceGroup]:
    """The differences to the other systems, metric by metric."""
    groups = []
    for caption in (UNDER_TRIAGE, MACRO_F1, ACCURACY):
        estimates = [(name, getattr(difference, caption.key)) for name, difference in compared(metrics)]
        rows = [(name, estimate) for name, estimate in estimates if estimate and estimate.value is not None]
        if rows:
            ends = [abs(end or 0.0) for _, row in rows for end in (row.value, row.low, row.high)]
            groups.append(DifferenceGroup(caption, max(*ends, 0.01), rows))
    return groups


# --- confidence ---


def reliability(metrics: CalibrationMetrics, name: str) -> Markup:
    """The reliability diagram over bins of about equally many rows; `name` is `before` or `after`."""
    bins = metrics.reliability["equal_mass"]
    return reliability_diagram(bins, f"reliability-{name}", f"Reliability {name} temperature scaling")


def risk_coverage(selective: SelectiveMetrics) -> Markup:
    """The risk-coverage curve on the test notes."""
    return risk_coverage_curve(selective, risk_name(selective), "risk-coverage", "Risk and coverage on test notes")


def risk_name(selective: SelectiveMetrics) -> str:
    """The errors that must stay rare among the labels that are shown."""
    return "under-triage" if selective.risk == "under_triage" else "wrong labels"


def curve_points(selective: SelectiveMetrics) -> list[CurvePoint]:
    """The points of the risk-coverage curve nearest to a quarter, half, three quarters, nine tenths and all."""
    points = selective.curve.points
    nearest = (min(points, key=lambda point: abs(point.coverage - share)) for share in (0.25, 0.5, 0.75, 0.9, 1.0))
    return list({point.coverage: point for point in nearest}.values())


# --- slices ---


class SliceTable(NamedTuple):
    """The slices as the page shows them."""

    captions: Sequence[Caption]
    groups: Sequence[tuple[str, Sequence[SliceMetrics]]]
    """(name of the division, its slices)."""
    versus_champion: Mapping[tuple[str, str], Intervals]
    """(by, value) of a slice -> metric -> this model minus the champion; empty without champion."""


def slice_table(metrics: Metrics) -> SliceTable | None:
    """The slices by division; None where there are none."""
    slices = metrics.slices
    if slices is None:
        return None
    return SliceTable(
        [caption for caption in (UNDER_TRIAGE, ACCURACY, MACRO_F1, OVER_TRIAGE) if caption.key in slices.whole],
        [(by.removeprefix("attributes."), list(rows)) for by, rows in groupby(slices.slices, lambda row: row.by)],
        {(row.by, row.value): row.difference for row in metrics.champion_slices or ()},
    )


# --- rationales ---


class RationaleRow(NamedTuple):
    """A metric of rationales."""

    name: str
    scale: str
    unit: Unit
    cells: Sequence[tuple[float | None, IntervalEstimate | None]]
    """Value and interval of each population: all, correct_only, zero_if_wrong."""
    champion: float | None


def rationale_rows(metrics: Metrics) -> list[RationaleRow]:
    """Each metric of `RATIONALE_CAPTIONS`."""
    rationale, champion = metrics.rationale, metrics.champion
    if rationale is None:
        return []
    rows = []
    for key, (name, scale, unit) in RATIONALE_CAPTIONS.items():
        cells = [
            (getattr(getattr(rationale.populations, population), key), rationale.intervals.get(population, {}).get(key))
            for population in ("all", "correct_only", "zero_if_wrong")
        ]
        of_champion = getattr(champion.rationale, key) if champion and champion.rationale else None
        rows.append(RationaleRow(name, scale, unit, cells, of_champion))
    return rows


def quality_rows(metrics: Metrics) -> list[tuple[str, Tone, FaultCount, FaultCount]]:
    """(fault, tone, the model's rationales with it, the reference rationales with it)."""
    if metrics.written_quality is None:
        return []
    model, reference = metrics.written_quality["model"].faults, metrics.written_quality["reference"].faults
    return [(words, tone, model[key], reference[key]) for key, (words, tone) in FLAGS.items() if key in model]


class AlignmentRow(NamedTuple):
    """A metric of alignment."""

    name: str
    value: float | None
    masked: float | None
    champion: float | None
    num_rows: int
    meaning: str


def alignment_rows(metrics: Metrics) -> list[AlignmentRow]:
    """Each metric of `ALIGNMENT_CAPTIONS`; nothing where alignment was not measured."""
    alignment = metrics.alignment
    if not alignment.num_rows:
        return []
    champion = metrics.champion.alignment if metrics.champion else None
    counts = {"gold_robustness": alignment.num_with_gold_rationale}
    return [
        AlignmentRow(
            name,
            getattr(alignment, key),
            getattr(metrics.masked_alignment, key),
            getattr(champion, key) if champion else None,
            counts.get(key, alignment.num_rows),
            meaning,
        )
        for key, (name, meaning) in ALIGNMENT_CAPTIONS.items()
    ]


def estimate(values: Mapping[str, Any] | None) -> IntervalEstimate:
    """A score of the judge with its interval; the judge's part of the metrics is plain JSON."""
    values = values or {}
    return IntervalEstimate(values.get("value"), values.get("low"), values.get("high"))
