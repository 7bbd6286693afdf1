"""Shares of rationales that their note contradicts, or that state another label than the one shown, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.bootstrap import bootstrap_intervals, group_sums
from r2d.evaluation.metrics import ClaimCounts, ClaimMetrics
from r2d.evaluation.predictions import Predictions
from r2d.label_scores import FloatArray
from r2d.rationales.claims import VERDICTS, Claim, ClaimChecker
from r2d.rationales.labels import labels_stated
from r2d.text import match_label

NUM_FINDINGS = 10
"""Contradicted findings that are named, the most frequent first."""


def claims_of(predictions: Predictions, notes: Sequence[str], checker: ClaimChecker) -> list[list[Claim]]:
    """[rows]: the claims of each rationale of the predictions."""
    return [checker.claims(rationale, note) for rationale, note in zip(predictions.rationales, notes, strict=True)]


def claim_metrics(predictions: Predictions, claims: Sequence[Sequence[Claim]], config: IntervalsConfig) -> ClaimMetrics:
    """Counts and rates of claims, over the rationales that are not empty.

    Args:
        claims: `claims_of` the same rows.
    """
    written = np.array([bool(rationale.strip()) for rationale in predictions.rationales])
    contradicted = np.array([any(claim.verdict == "contradicted" for claim in of_row) for of_row in claims])
    columns = zip(predictions.rationales, predictions.predicted_labels, predictions.options, strict=True)
    states_other = np.array(
        [bool(labels_stated(text, options) - {match_label(label, options)}) for text, label, options in columns]
    )
    counts = [Counter(claim.verdict for claim in of_row) for of_row in claims]
    of_verdicts = np.array([[of_row[verdict] for verdict in VERDICTS] for of_row in counts], dtype=np.float64)
    rows = np.column_stack([written, contradicted & written, states_other & written, of_verdicts])
    sums = group_sums(rows, predictions.groups, predictions.num_groups)

    def rates(sums: FloatArray) -> dict[str, FloatArray]:
        with np.errstate(invalid="ignore", divide="ignore"):
            of_rationales = sums[..., 1:3] / sums[..., :1]
            of_claims = sums[..., 3:] / sums[..., 3:].sum(axis=-1, keepdims=True)
        return {
            "contradicted_rationale_rate": of_rationales[..., 0],
            "other_label_rate": of_rationales[..., 1],
            **{f"{verdict}_share": of_claims[..., at] for at, verdict in enumerate(VERDICTS)},
        }

    num_groups = len(np.unique(predictions.groups[written]))
    trials = {"contradicted_rationale_rate": num_groups, "other_label_rate": num_groups}
    named = Counter(claim.finding for of_row in claims for claim in of_row if claim.verdict == "contradicted")
    return ClaimMetrics(
        num_rationales=int(written.sum()),
        num_with_claims=sum(bool(of_row) for of_row in claims),
        num_contradicted=int((contradicted & written).sum()),
        num_stating_other_label=int((states_other & written).sum()),
        asserted=_counts(claims, denied=False),
        denied=_counts(claims, denied=True),
        contradicted_findings=dict(named.most_common(NUM_FINDINGS)),
        intervals=bootstrap_intervals(sums, rates, config, trials),
    )


def _counts(claims: Sequence[Sequence[Claim]], *, denied: bool) -> ClaimCounts:
    counts = Counter(claim.verdict for of_row in claims for claim in of_row if claim.denied == denied)
    return ClaimCounts(**{verdict: counts[verdict] for verdict in VERDICTS})
