"""Whether the calls of today are still those that the model was made for: facts for a trigger, a page for people.

None of it needs a label: a change here says that the figures of the evaluation may no longer hold, not that they do
not. Whether decisions became worse, only calls with a reference label can tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from r2d.config.jobs import DriftLimits
from r2d.data.drift import (
    chi_square,
    jensen_shannon_divergence,
    kolmogorov_smirnov,
    length_profile,
    population_stability_index,
)
from r2d.drift.incoming import IncomingCalls
from r2d.drift.reference import DriftReference
from r2d.evaluation.decided_rows import FloatArray
from r2d.inference.output import DEFERRAL_REASONS
from r2d.reports.templates import render

FORMAT_VERSION = 1
NUM_MEASURES = 5
"""Of a report; each is held to the significance divided by them (Bonferroni)."""

TITLES = {
    "text_length": "Length of the calls",
    "words": "Words of the calls",
    "unfamiliar_words": "Words that training did not know",
    "predicted_label": "Labels that the model gives",
    "confidence": "How sure the model is",
}


@dataclass(frozen=True)
class DriftCheck:
    """One measure with its verdict."""

    name: str
    outcome: Literal["steady", "drifted", "not measured"]
    sentence: str
    """What was found, for people."""
    value: float | None = None
    limit: float | None = None
    measures: dict[str, float] = field(default_factory=dict)
    """Population stability index (psi), Jensen-Shannon divergence in bits, Kolmogorov-Smirnov distance, p_value."""
    buckets: list[tuple[str, float, float]] = field(default_factory=list)
    """(what, share in the reference, share in the calls), for the page."""


def drift_facts(reference: DriftReference, found: IncomingCalls, limits: DriftLimits) -> dict[str, Any]:
    """Hold the calls against the reference.

    Drift is a change that is both large (a population stability index or a divergence above its limit) and no chance
    (Kolmogorov-Smirnov test of values, Pearson's chi-square of counts, at the significance divided by the number of
    measures). Few calls are not judged at all.

    Returns:
        format_version, drifted, reasons (a sentence for each measure that drifted), num_rows, num_decided,
        num_handed_over, why_handed_over, model, reference (num_texts, num_decided), limits, checks: name -> the fields
        of `DriftCheck`, changed_words. All of it JSON.
    """
    checks = [
        _length_check(reference, found, limits),
        _word_check(reference, found, limits),
        _unfamiliar_check(reference, found, limits),
        _label_check(reference, found, limits),
        _confidence_check(reference, found, limits),
    ]
    drifted = [check for check in checks if check.outcome == "drifted"]
    return {
        "format_version": FORMAT_VERSION,
        "drifted": bool(drifted),
        "reasons": [check.sentence for check in drifted],
        "num_rows": found.num_rows,
        "num_decided": sum(found.labels.values()),
        "num_handed_over": sum(found.why_handed_over.values()),
        "why_handed_over": found.why_handed_over,
        "model": found.model,
        "reference": {"num_texts": reference.num_texts, "num_decided": reference.num_decided},
        "limits": limits.model_dump(),
        "checks": {check.name: {k: v for k, v in asdict(check).items() if k != "name"} for check in checks},
        "changed_words": found.words.changed(reference.num_texts) if found.words and reference.num_texts else [],
    }


def render_drift_report(facts: Mapping[str, Any], *, title: str = "Drift report") -> str:
    """The page as HTML text: counts, shares, labels and frequent words; no call is quoted."""
    return render("r2d.drift", "drift.html.j2", title=title, facts=facts, titles=TITLES, why=DEFERRAL_REASONS)


def _length_check(reference: DriftReference, found: IncomingCalls, limits: DriftLimits) -> DriftCheck:
    def sentence(before: FloatArray, now: FloatArray) -> str:
        old, new = np.median(before), np.median(now)
        return f"Half of the calls have more than {new:,.0f} characters; of the training texts, more than {old:,.0f}."

    return _values_check("text_length", reference.lengths, found.lengths, limits, sentence, "{:,.0f} characters")


def _unfamiliar_check(reference: DriftReference, found: IncomingCalls, limits: DriftLimits) -> DriftCheck:
    if found.words is None:
        return _without_calls("unfamiliar_words")

    def sentence(before: FloatArray, now: FloatArray) -> str:
        return f"{now.mean():.1%} of the words of a call were unknown in training; of a test text, {before.mean():.1%}."

    values = np.asarray(found.words.unfamiliar)
    return _values_check("unfamiliar_words", reference.unfamiliar, values, limits, sentence, "{:.1%} of the words")


def _confidence_check(reference: DriftReference, found: IncomingCalls, limits: DriftLimits) -> DriftCheck:
    def sentence(before: FloatArray, now: FloatArray) -> str:
        return f"The mean probability of the label is {now.mean():.3f}; on the test rows, {before.mean():.3f}."

    return _values_check("confidence", reference.confidences, found.confidences, limits, sentence, "{:.3f}")


def _label_check(reference: DriftReference, found: IncomingCalls, limits: DriftLimits) -> DriftCheck:
    if reference.labels is None:
        return DriftCheck("predicted_label", "not measured", "Each call has options of its own; there are no classes.")
    before, now = reference.labels, found.labels
    too_few = _too_few(sum(before.values()), sum(now.values()), limits)
    if too_few:
        return DriftCheck("predicted_label", "not measured", too_few)
    names = list(dict.fromkeys([*before, *now]))
    counts = [[side.get(name, 0) for name in names] for side in (before, now)]
    shares = [[count / sum(side) for count in side] for side in counts]
    buckets = list(zip(names, *shares, strict=True))
    index, test = population_stability_index(*shares), chi_square(*counts)
    most, old, new = max(buckets, key=lambda bucket: (round(abs(bucket[2] - bucket[1]), 6), bucket[2]))
    outcome = _outcome(index, limits.max_psi, test["p_value"], limits)
    often = "about as often" if outcome == "steady" else "more often" if new > old else "less often"
    return DriftCheck(
        "predicted_label",
        outcome,
        f"The model says {most!r} {often}: {new:.1%} of the calls, {old:.1%} of the test rows.",
        index,
        limits.max_psi,
        {"psi": index, "jensen_shannon": jensen_shannon_divergence(*shares), "p_value": test["p_value"]},
        buckets,
    )


def _word_check(reference: DriftReference, found: IncomingCalls, limits: DriftLimits) -> DriftCheck:
    if found.words is None:
        return _without_calls("words")
    too_few = _too_few(reference.num_texts, found.words.num_texts, limits)
    if too_few or not reference.vocabulary:
        return DriftCheck("words", "not measured", too_few or "No word of the reference is frequent enough.")
    divergence, by_chance = found.words.divergence(reference.num_texts)
    beyond = max(0.0, divergence - by_chance)
    drifted = beyond > limits.max_word_divergence
    return DriftCheck(
        "words",
        "drifted" if drifted else "steady",
        f"The calls use {'other words than' if drifted else 'the words of'} the training texts: divergence "
        f"{divergence:.3f} bits, {by_chance:.3f} of it by chance.",
        beyond,
        limits.max_word_divergence,
        {"jensen_shannon": divergence, "jensen_shannon_by_chance": by_chance},
    )


def _values_check(
    name: str,
    reference: Sequence[float],
    values: FloatArray,
    limits: DriftLimits,
    sentence: Any,
    shown: str,
) -> DriftCheck:
    """A measure of one number a call: the index over deciles of the reference, and the test of the values."""
    too_few = _too_few(len(reference), len(values), limits)
    if too_few:
        return DriftCheck(name, "not measured", too_few)
    before = length_profile(np.asarray(reference))
    now = length_profile(values, before["edges"])
    index, test = population_stability_index(before["shares"], now["shares"]), kolmogorov_smirnov(reference, values)
    edges = [shown.format(edge) for edge in before["edges"]]
    names = [*(f"up to {edge}" for edge in edges), f"more than {edges[-1]}"]
    return DriftCheck(
        name,
        _outcome(index, limits.max_psi, test["p_value"], limits),
        sentence(np.asarray(reference), values),
        index,
        limits.max_psi,
        {
            "psi": index,
            "jensen_shannon": jensen_shannon_divergence(before["shares"], now["shares"]),
            "kolmogorov_smirnov": test["statistic"],
            "p_value": test["p_value"],
        },
        list(zip(names, before["shares"], now["shares"], strict=True)),
    )


def _outcome(value: float, limit: float, p_value: float, limits: DriftLimits) -> Literal["steady", "drifted"]:
    return "drifted" if value > limit and p_value < limits.significance / NUM_MEASURES else "steady"


def _too_few(num_reference: int, num_found: int, limits: DriftLimits) -> str:
    """Why nothing is concluded; empty where there is enough."""
    if min(num_reference, num_found) >= limits.min_rows:
        return ""
    return f"{num_found:,} calls against {num_reference:,} rows of the reference; {limits.min_rows:,} each are needed."


def _without_calls(name: str) -> DriftCheck:
    return DriftCheck(name, "not measured", "The calls themselves were not given, and the predictions hold no text.")
