"""How uncertain a figure is: bootstrap intervals over groups, paired differences, McNemar's test.

A patient's rows are alike, so groups are drawn, not rows. Whatever is a function of sums over rows (a rate, an F1, a
mean, a difference of two of them) needs only each group's sums: how often each group was drawn, times those sums, gives
the sums of all resamples in one matrix product.

The intervals are BCa (Efron 1987, bias-corrected and accelerated), not plain percentiles: the figures that matter most
are small rates, such as under-triage, for which percentiles end too low. The acceleration comes from leaving out one
group at a time, which with sums costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.decided_rows import BoolArray, FloatArray, IntArray

Figures: TypeAlias = Callable[[FloatArray], Mapping[str, FloatArray]]
"""Sums [..., columns] -> name -> figure [...]; NaN where it is undefined, as a recall without a gold row is."""

MIN_DEFINED_SHARE = 0.95
"""Of the resamples in which a figure must be defined to have an interval."""
DRAWS_AT_A_TIME = 2_500_000
"""Group draws held in memory at once; about 60 MB."""


def intervals(
    sums: FloatArray, figures: Figures, config: IntervalsConfig, trials: Mapping[str, int] | None = None
) -> dict[str, dict[str, Any]]:
    """The value of each figure and its two-sided confidence interval.

    Where every resample gives the same value, the bootstrap knows no uncertainty: no error among ten patients does not
    mean that there is none. A proportion of 0 or 1 then has the exact (Clopper-Pearson) interval, with groups for
    trials; any other figure has none.

    Args:
        sums: [groups, columns].
        trials: names of the figures that are proportions -> groups that have a row in the denominator.

    Returns:
        name -> value (None where undefined), low, high, method: `bca`, `exact`, or None where there is no interval.
    """
    total = sums.sum(axis=0)
    value, drawn, without_one = figures(total), figures(resampled_sums(sums, config)), figures(total - sums)
    trials = trials or {}
    return {
        name: _interval(float(value[name]), drawn[name], without_one[name], config.confidence, trials.get(name))
        for name in value
    }


def difference_intervals(
    first: FloatArray, second: FloatArray, figures: Figures, config: IntervalsConfig
) -> dict[str, dict[str, Any]]:
    """`first` minus `second` for each figure, paired: both are computed on the same draw of groups.

    Where one side has no error at all it does not vary, and the interval is somewhat too narrow; McNemar's test has no
    such fault.

    Args:
        first: [groups, columns] of one model, or of a part of the rows; `second` [groups, columns] of the other. Row
            g of both is the same group.
    """
    width = first.shape[1]

    def differences(sums: FloatArray) -> dict[str, FloatArray]:
        one, other = figures(sums[..., :width]), figures(sums[..., width:])
        return {name: one[name] - other[name] for name in one}

    return intervals(np.hstack([first, second]), differences, config)


def mean_interval(values: Sequence[float], groups: IntArray, config: IntervalsConfig) -> dict[str, Any]:
    """The mean of a figure that each row has, such as BERTScore, with its interval. `groups` [rows], from 0."""
    sums = np.column_stack([np.bincount(groups, weights=values), np.bincount(groups)])
    return intervals(sums.astype(np.float64), lambda some: {"mean": some[..., 0] / some[..., 1]}, config)["mean"]


def mcnemar(first_right: BoolArray, second_right: BoolArray, groups: IntArray) -> dict[str, Any]:
    """McNemar's exact test: do two models err equally often on the same rows? Two-sided binomial, any number of rows.

    Only rows on which one is right and the other wrong say anything. The test takes rows as independent; where several
    rows share a group the p-value is too small, `rows_share_groups` says so, and the interval of the difference is
    what to read.

    Returns:
        only_first_right, only_second_right (rows), p_value, rows_share_groups.
    """
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    num_rows = only_first + only_second
    return {
        "only_first_right": only_first,
        "only_second_right": only_second,
        "p_value": float(binomtest(only_first, num_rows, 0.5).pvalue) if num_rows else 1.0,
        "rows_share_groups": rows_share_groups(groups),
    }


def rows_share_groups(groups: IntArray) -> bool:
    """Whether any group has more than one row; then rows are not independent."""
    return len(np.unique(groups)) < len(groups)


def upper_bound(num_events: int, num_rows: int, confidence: float) -> float:
    """One-sided exact (Clopper-Pearson) upper bound of a proportion; 1 where there is no row."""
    from scipy.stats import beta  # type: ignore[import-untyped]

    if num_events >= num_rows:
        return 1.0
    return float(beta.ppf(confidence, num_events + 1, num_rows - num_events))


def resampled_sums(sums: FloatArray, config: IntervalsConfig) -> FloatArray:
    """[resamples, columns]: in each, as many groups as there are, drawn with replacement."""
    num_groups = len(sums)
    generator = np.random.default_rng(config.seed)
    resampled = np.empty((config.num_resamples, sums.shape[1]))
    at_a_time = max(1, DRAWS_AT_A_TIME // num_groups)
    for start in range(0, config.num_resamples, at_a_time):
        end = min(start + at_a_time, config.num_resamples)
        drawn = generator.integers(num_groups, size=(end - start, num_groups), dtype=np.int32)
        counts = np.stack([np.bincount(row, minlength=num_groups) for row in drawn])
        resampled[start:end] = counts.astype(np.float64) @ sums
    return resampled


def _interval(
    value: float, drawn: FloatArray, without_one: FloatArray, confidence: float, trials: int | None
) -> dict[str, Any]:
    if np.isnan(value):
        return {"value": None, "low": None, "high": None, "method": None}
    defined = drawn[np.isfinite(drawn)]
    if len(defined) < MIN_DEFINED_SHARE * len(drawn):
        return {"value": value, "low": None, "high": None, "method": None}
    if np.ptp(defined) > 1e-12:
        low, high = np.quantile(defined, _bca_levels(value, defined, without_one, confidence))
        return {"value": value, "low": float(low), "high": float(high), "method": "bca"}
    if trials and value in (0.0, 1.0):
        room = upper_bound(0, trials, (1 + confidence) / 2)
        low, high = (0.0, room) if value == 0.0 else (1 - room, 1.0)
        return {"value": value, "low": low, "high": high, "method": "exact"}
    return {"value": value, "low": None, "high": None, "method": None}


def _bca_levels(value: float, drawn: FloatArray, without_one: FloatArray, confidence: float) -> FloatArray:
    """Which quantiles of the resamples are the ends of the interval (Efron 1987, eq. 2.3 and 6.6)."""
    from scipy.special import ndtr, ndtri  # type: ignore[import-untyped]

    equal = np.isclose(drawn, value, rtol=1e-12, atol=1e-12)
    below = ((drawn < value) & ~equal).mean() + equal.mean() / 2  # rates are steps: half of the ties lie below
    bias = ndtri(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn)))
    jackknife = without_one[np.isfinite(without_one)]
    distance = jackknife.mean() - jackknife if len(jackknife) else np.zeros(1)
    spread = float((distance**2).sum())
    acceleration = float((distance**3).sum()) / (6 * spread**1.5) if spread > 1e-24 else 0.0
    wanted = bias + ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    # The acceleration is at most 1/6 in size, so the denominator stays positive but for extreme confidences.
    levels: FloatArray = ndtr(bias + wanted / np.maximum(1 - acceleration * wanted, 1e-3))
    return levels
