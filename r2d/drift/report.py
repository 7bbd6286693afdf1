"""Drift of a batch of calls, without labels: facts for a trigger and a page for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from r2d.config.jobs import DriftConfig, DriftLimits
from r2d.data.drift import jensen_shannon_divergence, length_profile, population_stability_index
from r2d.drift.incoming import ChangedWord, IncomingCalls, incoming_calls
from r2d.errors import DataError
from r2d.files import write_json, write_text
from r2d.inference.output import InferenceModel, read_plan
from r2d.modeling.deferral import DEFERRAL_REASONS
from r2d.modeling.model_folder import read_facts_file
from r2d.modeling.reference import REFERENCE_FILE, DriftReference, FloatArray, read_reference
from r2d.reports.formatting import decimal, percent
from r2d.reports.templates import render

FORMAT_VERSION = 1
NUM_MEASURES = 5
"""Of a report: each is tested at the significance divided by this number (Bonferroni)."""

TITLES = {
    "text_length": "Length of the calls",
    "unfamiliar_words": "Words that training did not know",
    "words": "Words that training knew",
    "predicted_label": "Labels that the model gives",
    "confidence": "How sure the model is",
}
Outcome = Literal["steady", "drifted", "not measured"]


@dataclass(frozen=True)
class DriftCheck:
    """One measure with its outcome."""

    outcome: Outcome
    sentence: str
    """The result in words."""
    value: float | None = None
    limit: float | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    """Population stability index (psi), Jensen-Shannon divergence in bits, Kolmogorov-Smirnov distance, p_value."""
    buckets: Sequence[tuple[str, float, float]] = ()
    """(name, share in the reference, share in the calls), for the page."""


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """The calls compared with the reference; the fields are those of `drift.json`."""

    format_version: int = FORMAT_VERSION
    drifted: bool
    reasons: Sequence[str]
    """A sentence for each measure that drifted."""
    num_rows: int
    num_decided: int
    num_handed_over: int
    why_handed_over: Mapping[str, int]
    """Value of `why` -> calls deferred to a person for it."""
    model: InferenceModel
    reference: Mapping[str, int]
    """num_texts and num_decided of the reference."""
    limits: Mapping[str, float]
    checks: Mapping[str, DriftCheck]
    """Key of `TITLES` -> check."""
    changed_words: Sequence[ChangedWord]

    def to_json(self) -> dict[str, object]:
        """The fields, as JSON values."""
        return asdict(self) | {"changed_words": [word._asdict() for word in self.changed_words]}


def report_drift(config: DriftConfig, model_folder: Path | None) -> tuple[DriftReport, str]:
    """Compare a batch of decided calls with the reference of its model; write `drift.html` and, last, `drift.json`.

    Args:
        model_folder: where the files of `config.model` lie; not needed where `config.reference` is given.

    Returns:
        the report and its page.

    Raises:
        DataError: the predictions cannot be read, or belong to another model or to other calls.
        ModelError: the model keeps no reference.
    """
    predictions = Path(config.predictions)
    if not predictions.is_file():
        raise DataError(f"{predictions}: no such file; give the output of `r2d predict-file`")
    if config.reference is not None or model_folder is None:
        reference = read_reference(Path(config.reference or ""))
    else:
        # Another model decides differently, which would pass for drift of the calls.
        model, plan = InferenceModel.of(config.model, model_folder), read_plan(predictions)
        if plan is not None and plan.model.hash != model.hash:
            raise DataError(
                f"{predictions}: was decided by {plan.model.name}, and {config.model} is now {model.name}; name the "
                "model that decided, or let the other one decide these calls"
            )
        reference = read_reference(model_folder / REFERENCE_FILE)
        if (counts := reference.labels) is not None:  # in the order that was declared
            names = [*read_facts_file(model_folder).labels.names, *counts]
            reference = replace(reference, labels={name: counts[name] for name in names if name in counts})
    calls = incoming_calls(predictions, config.calls, reference, max_texts=config.max_texts)
    report = measure_drift(reference, calls, config.limits)
    page = render_drift_report(report)
    out = Path(config.output)
    out.mkdir(parents=True, exist_ok=True)
    (out / "drift.json").unlink(missing_ok=True)
    write_text(out / "drift.html", page + "\n")
    write_json(out / "drift.json", report.to_json())
    return report, page


def measure_drift(reference: DriftReference, calls: IncomingCalls, limits: DriftLimits) -> DriftReport:
    """Compare calls with the reference.

    Drift is a change that is both large (a population stability index or a divergence above its limit) and no chance
    (Kolmogorov-Smirnov test of values, Pearson's chi-square of counts, at the significance divided by the number of
    measures). Too few calls are not judged.
    """
    unfamiliar = None if calls.words is None else np.asarray(calls.words.unfamiliar)
    unknown_words = _check_values(
        reference.unfamiliar, unfamiliar, limits, np.mean, percent, " of the words",
        "{now} of the words of a call were unknown in training; of a test text, {before}.",
    )  # fmt: skip
    checks = {
        "text_length": _check_values(
            reference.lengths, calls.lengths, limits, np.median, "{:,.0f}".format, " characters",
            "Half of the calls have more than {now} characters; of the training texts, more than {before}.",
        ),
        "unfamiliar_words": unknown_words,
        "words": _check_words(reference, calls, limits, unknown_words),
        "predicted_label": _check_labels(reference, calls, limits),
        "confidence": _check_values(
            reference.confidences, calls.confidences, limits, np.mean, decimal, "",
            "The mean probability of the label is {now}; on the test rows, {before}.",
        ),
    }  # fmt: skip
    reasons = [check.sentence for check in checks.values() if check.outcome == "drifted"]
    return DriftReport(
        drifted=bool(reasons),
        reasons=reasons,
        num_rows=calls.num_rows,
        num_decided=sum(calls.labels.values()),
        num_handed_over=sum(calls.deferral_reasons.values()),
        why_handed_over=calls.deferral_reasons,
        model=calls.model,
        reference={"num_texts": reference.num_texts, "num_decided": reference.num_decided},
        limits=limits.model_dump(),
        checks=checks,
        changed_words=calls.words.changed(reference.num_texts) if calls.words and reference.num_texts else [],
    )


def render_drift_report(report: DriftReport) -> str:
    """The page as HTML text: counts, shares, labels and frequent words; no call is quoted."""
    values = {"title": "Drift report", "titles": TITLES, "why": DEFERRAL_REASONS}
    return render("r2d.drift", "report.html.j2", report=report, **values)


NO_CALLS = DriftCheck("not measured", "The calls themselves were not given, and the predictions hold no text.")


def _check_values(
    reference: Sequence[float],
    values: FloatArray | None,
    limits: DriftLimits,
    summary: Callable[[FloatArray], Any],
    show: Callable[[float], str],
    unit: str,
    sentence: str,
) -> DriftCheck:
    """The stability index over deciles of the reference, and the Kolmogorov-Smirnov test of the values.

    Args:
        show, unit: how a value is written, and what stands behind it in the name of a bucket.
        sentence: of `now` and `before`, the summaries of the values and of the reference.
    """
    from scipy.stats import ks_2samp  # type: ignore[import-untyped]

    if values is None:
        return NO_CALLS
    if too_few := _too_few(len(reference), len(values), limits):
        return too_few
    expected = np.asarray(reference, dtype=np.float64)
    before = length_profile(expected)
    now = length_profile(values, before["edges"])
    # Asymptotic; with ties it errs on the side of chance.
    test = ks_2samp(expected, values, method="asymp")
    edges = before["edges"]
    names = [f"up to {show(edge)}{unit}" if edge else f"none{unit}" for edge in edges]
    names.append(f"more than {show(edges[-1])}{unit}" if edges[-1] else f"some{unit}")
    sentence = sentence.format(now=show(summary(values)), before=show(summary(expected)))
    check = _judge(names, before["shares"], now["shares"], float(test.pvalue), limits, sentence)
    return replace(check, measures={"kolmogorov_smirnov": float(test.statistic), **check.measures})


def _check_labels(reference: DriftReference, calls: IncomingCalls, limits: DriftLimits) -> DriftCheck:
    """The stability index of the predicted labels, and Pearson's chi-square test of their counts."""
    from scipy.stats import chi2_contingency

    if reference.labels is None:
        return DriftCheck("not measured", "Each call has options of its own; there are no classes.")
    before, now = reference.labels, calls.labels
    if too_few := _too_few(sum(before.values()), sum(now.values()), limits):
        return too_few
    names = list(dict.fromkeys([*before, *now]))
    counts = np.array([[side.get(name, 0) for name in names] for side in (before, now)])
    old_shares, new_shares = (counts / counts.sum(axis=1, keepdims=True)).tolist()
    # The index has the distribution of the test up to a factor (Yurdakul and Naranjo 2020): so a large index of a small
    # file is told from a change. One label alone cannot change.
    filled = counts[:, counts.any(axis=0)]
    p_value = float(chi2_contingency(filled, correction=False).pvalue) if filled.shape[1] > 1 else 1.0
    buckets = zip(names, old_shares, new_shares, strict=True)
    most, old, new = max(buckets, key=lambda bucket: (round(abs(bucket[2] - bucket[1]), 6), bucket[2]))
    within = population_stability_index(old_shares, new_shares) <= limits.max_psi
    sentence = (
        f"The share of {most!r} changed most: {percent(new)} of the calls, {percent(old)} of the test rows"
        f"{', which the limit allows' if within else ''}."
    )
    return _judge(names, old_shares, new_shares, p_value, limits, sentence)


def _check_words(
    reference: DriftReference, calls: IncomingCalls, limits: DriftLimits, unknown_words: DriftCheck
) -> DriftCheck:
    """The divergence of the words that training knew, beyond that of two random halves of the calls.

    Args:
        unknown_words: the check of the others; where they are more than they were, the known ones say little.
    """
    if calls.words is None:
        return NO_CALLS
    if too_few := _too_few(reference.num_texts, calls.words.num_texts, limits):
        return too_few
    if not reference.vocabulary:
        return DriftCheck("not measured", "No word of the reference is frequent enough.")
    divergence, by_chance = calls.words.divergence(reference.num_texts)
    beyond = max(0.0, divergence - by_chance)
    drifted = beyond > limits.max_word_divergence
    if not drifted and unknown_words.outcome == "drifted":
        return DriftCheck(
            "not measured",
            f"Only the words that training knew can be compared, and these use them alike ({divergence:.3f} bits "
            "apart); more of the words than before are others.",
        )
    return DriftCheck(
        "drifted" if drifted else "steady",
        f"The calls use {'other words than' if drifted else 'the words of'} the training texts: divergence "
        f"{divergence:.3f} bits, {by_chance:.3f} of it by chance.",
        beyond,
        limits.max_word_divergence,
        {"jensen_shannon": divergence, "jensen_shannon_by_chance": by_chance},
    )


def _judge(
    names: Sequence[str],
    before: Sequence[float],
    now: Sequence[float],
    p_value: float,
    limits: DriftLimits,
    sentence: str,
) -> DriftCheck:
    """A check of shares: drifted where the change is large and no chance. A large one that may be chance tells
    nothing."""
    index = population_stability_index(before, now)
    measures = {"psi": index, "jensen_shannon": jensen_shannon_divergence(before, now), "p_value": p_value}
    outcome: Outcome = "steady"
    if index > limits.max_psi:
        outcome = "drifted" if p_value < limits.significance / NUM_MEASURES else "not measured"
    if outcome == "not measured":
        sentence = f"{sentence} That is a large change, and so few calls could show it by chance."
    buckets = list(zip(names, before, now, strict=True))
    return DriftCheck(outcome, sentence, index, limits.max_psi, measures, buckets)


def _too_few(num_reference: int, num_calls: int, limits: DriftLimits) -> DriftCheck | None:
    """A check that concludes nothing, where either side has too few rows."""
    if min(num_reference, num_calls) >= limits.min_rows:
        return None
    sizes = f"{num_calls:,} calls against {num_reference:,} rows of the reference"
    return DriftCheck("not measured", f"{sizes}; {limits.min_rows:,} each are needed.")
