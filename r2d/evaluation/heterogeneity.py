"""Whether a figure differs between sites, or between periods, by more than chance: a random-effects meta-analysis.

Each part gives the logit of its rate, with half an event added to either side, and a variance that counts patients; a
pooled rate, the spread between parts (tau^2), the share of the variation that is not chance (I^2) and an interval for
the next part follow (DerSimonian and Laird 1986; Higgins and Thompson 2002; Higgins, Thompson and Spiegelhalter 2009).
The standard error of the pooled rate is Hartung and Knapp's, never below the usual one (Roever, Knapp and Friede 2015):
with few parts the usual interval is too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from r2d.evaluation.bootstrap import group_sums
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.slices import Heterogeneity, PooledFigure
from r2d.evaluation.slices import NOT_GIVEN, Slice
from r2d.label_scores import BoolArray, FloatArray

FEWEST_ROWS = 10
"""A part with fewer rows says too little of its own spread to be pooled."""


class RandomEffects(NamedTuple):
    """Effects of several parts, pooled."""

    mean: float
    error: float
    """Standard error of the mean."""
    tau_squared: float
    q: float
    """Cochran's."""

    @property
    def next_error(self) -> float:
        """Standard error of the effect of a part that is not among them."""
        return math.sqrt(self.tau_squared + self.error**2)


def pooled_effects(effects: FloatArray, variances: FloatArray) -> RandomEffects:
    """DerSimonian and Laird's: the parts weighted by 1 / (variance + tau^2), tau^2 by the method of moments; the error
    by Hartung and Knapp, to be read with t of one degree of freedom less than there are parts.

    Args:
        effects, variances: [parts], two or more.
    """
    weights = 1 / variances
    fixed = float(weights @ effects / weights.sum())
    q = float(weights @ (effects - fixed) ** 2)
    scale = weights.sum() - (weights**2).sum() / weights.sum()
    tau_squared = max(0.0, float((q - (len(effects) - 1)) / scale))
    weights = 1 / (variances + tau_squared)
    mean = float(weights @ effects / weights.sum())
    scatter = float(weights @ (effects - mean) ** 2) / (len(effects) - 1)
    return RandomEffects(mean, math.sqrt(max(1.0, scatter) / float(weights.sum())), tau_squared, q)


def heterogeneity(
    predictions: Predictions, slices: Sequence[Slice], names: Sequence[str], *, ordered: bool, confidence: float
) -> tuple[Heterogeneity, ...]:
    """Accuracy and, of ordered labels, under-triage by the values of each attribute that has some.

    Args:
        slices: all parts of the rows; names: of the attributes whose values are pooled.
    """
    figures = {"accuracy": predictions.correct}
    if ordered:
        figures["under_triage_rate"] = predictions.levels > 0
    results = []
    for name in names:
        parts = [part for part in slices if part.by == f"attributes.{name}"]
        if not parts:
            continue
        not_pooled = {}
        for part in parts:
            num_rows = int(part.where.sum())
            if part.value == NOT_GIVEN:
                not_pooled[part.value] = "no value"
            elif num_rows < FEWEST_ROWS:
                not_pooled[part.value] = "1 row" if num_rows == 1 else f"{num_rows} rows"
        pooled = [part for part in parts if part.value not in not_pooled]
        results.append(
            Heterogeneity(
                by=name,
                parts=tuple(part.value for part in pooled),
                not_pooled=not_pooled,
                figures={figure: _pooled(events, pooled, predictions, confidence) for figure, events in figures.items()}
                if len(pooled) > 1
                else {},
            )
        )
    return tuple(results)


def _pooled(events: BoolArray, parts: Sequence[Slice], predictions: Predictions, confidence: float) -> PooledFigure:
    from scipy.special import expit  # type: ignore[import-untyped]
    from scipy.stats import chi2, t  # type: ignore[import-untyped]

    rows = np.array([part.where.sum() for part in parts], dtype=np.float64)
    counts = np.array([(events & part.where).sum() for part in parts], dtype=np.float64)
    effect = _design_effect(events, predictions)
    odds = (counts + 0.5) / (rows - counts + 0.5)
    variances = effect * (1 / (counts + 0.5) + 1 / (rows - counts + 0.5))
    result, df = pooled_effects(np.log(odds), variances), len(parts) - 1

    def ends(half: float) -> tuple[float, float]:
        return float(expit(result.mean - half)), float(expit(result.mean + half))

    value = float(expit(result.mean))
    half = float(t.ppf((1 + confidence) / 2, df)) * result.error
    of_next = IntervalEstimate(value)
    if df > 1:  # t has two degrees of freedom less than there are parts
        far = float(t.ppf((1 + confidence) / 2, df - 1)) * result.next_error
        of_next = IntervalEstimate(value, *ends(far), "random effects")
    return PooledFigure(
        pooled=IntervalEstimate(value, *ends(half), "random effects"),
        next_part=of_next,
        tau_squared=result.tau_squared,
        i_squared=max(0.0, (result.q - df) / result.q) if result.q > 0 else 0.0,
        q=result.q,
        p_value=float(chi2.sf(result.q, df)),
        lowest=float((counts / rows).min()),
        highest=float((counts / rows).max()),
    )


def _design_effect(events: BoolArray, predictions: Predictions) -> float:
    """How many times wider the variance of the rate is because rows of a patient are alike; at least 1."""
    columns = np.column_stack([events, np.ones(len(events))]).astype(np.float64)
    sums = group_sums(columns, predictions.groups, predictions.num_groups)
    rate = float(events.mean())
    if not 0 < rate < 1:
        return 1.0
    robust = float(((sums[:, 0] - rate * sums[:, 1]) ** 2).sum())
    return max(1.0, robust / (len(events) * rate * (1 - rate)))
