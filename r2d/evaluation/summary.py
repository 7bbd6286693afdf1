"""What an evaluation says in a few words: the same on its report, on the page of the gate and on the last screen."""

from __future__ import annotations

from typing import NamedTuple

from r2d.evaluation.metrics import Metrics
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.labels import Comparator
from r2d.reports.formatting import Unit, in_unit, interval, percent, with_interval
from r2d.text import plural


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

TOO_OFTEN = {"under_triage": "not urgent enough", "error": "wrong"}
"""Risk of a threshold -> what a label shown must not be too often."""


def verdict_of(difference: IntervalEstimate, better: int) -> str:
    """`better` or `worse`; `not told apart` where the interval holds 0, `no interval` where there is none."""
    if difference.value is None or difference.low is None:
        return "no interval"
    if not difference.excludes_zero:
        return "not told apart"
    return "better" if difference.value * better > 0 else "worse"


def champion_sentence(metrics: Metrics) -> str:
    """How the model does beside the champion, on page and last screen alike; empty where it was not compared."""
    beside = metrics.differences.get(Comparator.CHAMPION)
    if beside is None or metrics.champion is None:
        return ""
    parts = []
    for caption in (UNDER_TRIAGE, MACRO_F1 if metrics.label.headline == "macro_f1" else ACCURACY):
        difference = getattr(beside, caption.key)
        if difference is not None and difference.value is not None:
            unit = " points" if caption.difference_unit == "points" else ""
            gap = f"{in_unit(difference.value, caption.difference_unit)}{unit}"
            ends = f" ({interval(difference, caption.difference_unit)})" if difference.low is not None else ""
            parts.append(f"{verdict_of(difference, caption.better)} in {caption.name}, {gap}{ends}")
    return f"Beside champion {metrics.champion.reference} on the same notes, this model is {'; '.join(parts)}"


def missed_share(metrics: Metrics) -> IntervalEstimate | None:
    """The share of the most urgent label that was not found; None where labels have no order."""
    if metrics.safety is None or metrics.intervals is None:
        return None
    found = metrics.intervals.per_class[next(iter(metrics.safety.by_gold_label))]["recall"]
    value, high, low = (None if end is None else 1 - end for end in (found.value, found.low, found.high))
    return IntervalEstimate(value, low, high, found.method)


def no_label_shown(metrics: Metrics) -> list[str]:
    """That no label would be shown, why, and what to do next, for clinicians; empty where some would be."""
    selective = metrics.selective
    if selective is None or selective.test is not None:
        return []
    notes, limit = plural(selective.validation.num_rows, "note"), percent(selective.max_risk)
    return [
        "the model would show no label, and a person would decide every note: on the "
        f"{notes} it was tried on for this, it was not shown that at most {limit} of its labels would be "
        f"{TOO_OFTEN[selective.risk]}. Next: collect more notes with a known label, of other patients, and train again "
        "(`r2d check` says how many this takes at least, and data.split.calibration_fraction sets them aside)"
    ]


def safety_facts(metrics: Metrics) -> dict[str, str]:
    """Name -> text of what a clinician asks first; what was not measured is absent."""
    facts = {}
    if metrics.safety is not None and metrics.intervals is not None:
        urgent, (found, *others) = next(iter(metrics.safety.by_gold_label)), metrics.label.confusion_matrix[0]
        estimate = metrics.intervals.under_triage_rate or IntervalEstimate(metrics.safety.under_triage.rate)
        facts["under-triage"] = with_interval(estimate, "share")
        share = missed_share(metrics)
        of_all = "" if share is None or share.value is None else f", {with_interval(share, 'share')}"
        facts[f"“{urgent}” missed"] = f"{sum(others):,} of {found + sum(others):,} notes{of_all}"
    if metrics.claims is not None and (claims := metrics.claims["model"]).num_rationales:
        contradicted = claims.intervals["contradicted_rationale_rate"]
        read = f"findings were read in {claims.num_with_claims:,} of {claims.num_rationales:,}"
        facts["rationales that their note contradicts"] = f"{with_interval(contradicted, 'share')}; {read}"
    if metrics.selective is not None:
        test = metrics.selective.test
        shown = "none, no threshold keeps the risk low enough" if test is None else percent(test.coverage.value)
        facts["labels shown"] = f"{shown}; the other notes go to people" if test else f"{shown}: all notes go to people"
    return facts
