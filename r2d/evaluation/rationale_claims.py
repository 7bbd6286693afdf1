"""Shares of rationales that their note contradicts, or that state another label than the one shown, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.bootstrap import PairedGroups, bootstrap_differences, bootstrap_intervals, group_sums
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.rationales import ClaimCounts, ClaimMetrics
from r2d.label_scores import FloatArray
from r2d.rationales.claims import VERDICTS, Claim, ClaimChecker
from r2d.rationales.labels import labels_stated
from r2d.text import match_label

RATES = ("contradicted_rationale_rate", "other_label_rate")
"""Of rationales; in the order of their columns among the sums."""
NUM_FINDINGS = 10
"""Contradicted findings that are named, the most frequent first."""
OF_NO_LEXICON = "findings in words of no lexicon"
"""In their place in the metrics, which hold no words of a text."""


def claims_of(predictions: Predictions, notes: Sequence[str], checker: ClaimChecker) -> list[list[Claim]]:
    """[rows]: the claims of each rationale of the predictions."""
    return [checker.claims(rationale, note) for rationale, note in zip(predictions.rationales, notes, strict=True)]


def claim_metrics(predictions: Predictions, claims: Sequence[Sequence[Claim]], config: IntervalsConfig) -> ClaimMetrics:
    """Counts and rates of claims, over the rationales that are not empty. Where no finding was read in any of them,
    the rate of contradictions is not measured.

    Args:
        claims: `claims_of` the same rows.
    """
    sums = _claim_sums(predictions, claims)
    totals = sums.sum(axis=0)
    num_groups = int((sums[:, 0] > 0).sum())
    every = [claim for of_row in claims for claim in of_row]
    named = Counter(
        claim.finding if claim.listed else OF_NO_LEXICON for claim in every if claim.verdict == "contradicted"
    )
    intervals = bootstrap_intervals(sums, _rates, config, dict.fromkeys(RATES, num_groups))
    if not every:  # not looked at is not 0
        intervals |= {"contradicted_rationale_rate": IntervalEstimate(None)}
    return ClaimMetrics(
        num_rationales=int(totals[0]),
        num_with_claims=sum(bool(of_row) for of_row in claims),
        num_contradicted=int(totals[1]),
        num_stating_other_label=int(totals[2]),
        asserted=_counts(claims, denied=False),
        denied=_counts(claims, denied=True),
        contradicted_findings=dict(named.most_common(NUM_FINDINGS)),
        findings_read=dict(Counter(claim.finding for claim in every if claim.listed).most_common()),
        intervals=intervals,
    )


def claim_differences(
    predictions: Predictions,
    claims: Sequence[Sequence[Claim]],
    other: Predictions,
    claims_of_other: Sequence[Sequence[Claim]],
    config: IntervalsConfig,
) -> dict[str, IntervalEstimate]:
    """`RATES` of the predictions minus those of another model for the same rows, paired."""
    first, second = _claim_sums(predictions, claims), _claim_sums(other, claims_of_other)
    total = int(((first[:, 0] > 0) & (second[:, 0] > 0)).sum())
    differing = {
        name: PairedGroups(int((ours > theirs).sum()), int((ours < theirs).sum()), total)
        for name, ours, theirs in zip(RATES, first[:, 1:3].T, second[:, 1:3].T, strict=True)
    }
    estimates = bootstrap_differences(first, second, _rates, config, differing)
    return {name: estimates[name] for name in RATES}


def _claim_sums(predictions: Predictions, claims: Sequence[Sequence[Claim]]) -> FloatArray:
    """[groups, columns]: rationales that are not empty, of these those that are contradicted and those that state
    another label, and claims by `VERDICTS`."""
    written = np.array([bool(rationale.strip()) for rationale in predictions.rationales])
    contradicted = np.array([any(claim.verdict == "contradicted" for claim in of_row) for of_row in claims])
    columns = zip(predictions.rationales, predictions.predicted_labels, predictions.options, strict=True)
    states_other = np.array(
        [bool(labels_stated(text, options) - {match_label(label, options)}) for text, label, options in columns]
    )
    counts = [Counter(claim.verdict for claim in of_row) for of_row in claims]
    of_verdicts = np.array([[of_row[verdict] for verdict in VERDICTS] for of_row in counts], dtype=np.float64)
    rows = np.column_stack([written, contradicted & written, states_other & written, of_verdicts])
    return group_sums(rows, predictions.groups, predictions.num_groups)


def _rates(sums: FloatArray) -> dict[str, FloatArray]:
    """`_claim_sums` [..., columns] -> name -> rate [...]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        of_rationales = sums[..., 1:3] / sums[..., :1]
        of_claims = sums[..., 3:] / sums[..., 3:].sum(axis=-1, keepdims=True)
    return {name: of_rationales[..., at] for at, name in enumerate(RATES)} | {
        f"{verdict}_share": of_claims[..., at] for at, verdict in enumerate(VERDICTS)
    }


def _counts(claims: Sequence[Sequence[Claim]], *, denied: bool) -> ClaimCounts:
    counts = Counter(claim.verdict for of_row in claims for claim in of_row if claim.denied == denied)
    return ClaimCounts(**{verdict: counts[verdict] for verdict in VERDICTS})
