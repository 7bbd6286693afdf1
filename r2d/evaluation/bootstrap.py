"""Confidence intervals by a bootstrap over groups, paired differences, McNemar's test, exact and score bounds.

Every metric that is a function of sums over rows (a rate, an F1, a mean, a difference of two) is resampled from the
sums of each group: the number of times that each group was drawn, times its sums, gives the sums of all resamples in
one matrix product. The intervals are BCa (Efron 1987); the acceleration comes from leaving out one group at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.labels import McNemarTest
from r2d.label_scores import BoolArray, FloatArray, IntArray

Statistics: TypeAlias = Callable[[FloatArray], Mapping[str, FloatArray]]
"""Sums [..., columns] -> name -> metric [...]; NaN where it is undefined, as a recall without a gold row is."""

MIN_DEFINED_SHARE = 0.95
"""Share of the resamples in which a metric must be defined to have an interval."""
DRAWS_AT_A_TIME = 2_500_000
"""Group draws held in memory at once; about 60 MB."""
FEW_GROUPS = 10
"""Where two models differ in fewer groups, the bootstrap of their difference is too narrow."""


class PairedGroups(NamedTuple):
    """Groups by what a metric counts in them, under two models."""

    more: int
    """Groups in which the first model has more (right rows, under-triage) than the second."""
    fewer: int
    total: int
    """That have a row in the denominator."""


Counts: TypeAlias = Mapping[str, int | PairedGroups]
"""Name of a metric that is a proportion -> groups that have a row in its denominator. Name of a difference of two
models -> the groups in which they differ."""


def group_sums(rows: FloatArray, groups: IntArray, num_groups: int) -> FloatArray:
    """[groups, ...]: the sums over the rows [rows, ...] of each group, which are what a bootstrap draws."""
    sums = np.zeros((num_groups, *rows.shape[1:]))
    np.add.at(sums, groups, rows)
    return sums


def bootstrap_intervals(
    sums: FloatArray, statistics: Statistics, config: IntervalsConfig, counts: Counts | None = None
) -> dict[str, IntervalEstimate]:
    """The value of each metric with its interval. What hardly occurred is no certainty: where every resample gives the
    same value, a proportion of 0 or 1 has the exact (Clopper-Pearson) interval, with groups as trials; and a difference
    of two models that differ in few groups has an interval at least as wide as that of `paired_interval`. Any other
    metric that does not vary has no interval.

    Args:
        sums: [groups, columns].
    """
    return bootstrap_blocks(sums[:, None], statistics, config, [counts or {}])[0]


def bootstrap_blocks(
    sums: FloatArray, statistics: Statistics, config: IntervalsConfig, counts: Sequence[Counts]
) -> list[dict[str, IntervalEstimate]]:
    """`bootstrap_intervals` of several blocks of sums of the same groups, all from one draw.

    Args:
        sums: [groups, blocks, columns]; counts: of each block.
    """
    total = sums.sum(axis=0)
    values, jackknife = statistics(total), statistics(total - sums)
    resampled = statistics(resampled_sums(sums, config))
    return [
        {
            name: _estimate(
                float(values[name][block]),
                resampled[name][:, block],
                jackknife[name][:, block],
                config.confidence,
                counts_of.get(name),
            )
            for name in values
        }
        for block, counts_of in enumerate(counts)
    ]


def bootstrap_differences(
    first: FloatArray,
    second: FloatArray,
    statistics: Statistics,
    config: IntervalsConfig,
    counts: Mapping[str, PairedGroups] | None = None,
) -> dict[str, IntervalEstimate]:
    """Each metric of `first` minus that of `second`, paired: both are computed on the same draw of groups.

    Args:
        first: [groups, columns] of one model; second: those of the other. Row g of both is the same group.
    """
    width = first.shape[1]

    def differences(sums: FloatArray) -> dict[str, FloatArray]:
        ours, theirs = statistics(sums[..., :width]), statistics(sums[..., width:])
        return {name: ours[name] - theirs[name] for name in ours}

    return bootstrap_intervals(np.hstack([first, second]), differences, config, counts)


def resampled_sums(sums: FloatArray, config: IntervalsConfig) -> FloatArray:
    """[resamples, ...]: in each resample as many groups as there are, drawn with replacement.

    Args:
        sums: [groups, ...].
    """
    num_groups, columns = len(sums), sums.reshape(len(sums), -1)
    generator = np.random.default_rng(config.seed)
    portions = []
    at_a_time = max(1, DRAWS_AT_A_TIME // num_groups)
    for start in range(0, config.num_resamples, at_a_time):
        num_resamples = min(at_a_time, config.num_resamples - start)
        draws = generator.integers(num_groups, size=(num_resamples, num_groups), dtype=np.int32)
        counts = np.stack([np.bincount(draw, minlength=num_groups) for draw in draws])
        portions.append(counts.astype(np.float64) @ columns)
    return np.concatenate(portions).reshape(-1, *sums.shape[1:])


def mcnemar(first_correct: BoolArray, second_correct: BoolArray, groups: IntArray) -> McNemarTest:
    """McNemar's exact test on the rows that one model has right and the other wrong: a two-sided binomial test.

    Args:
        first_correct: [rows] of one model; second_correct: of the other; groups: [rows], numbered.
    """
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    only_first = int((first_correct & ~second_correct).sum())
    only_second = int((second_correct & ~first_correct).sum())
    num_rows = only_first + only_second
    return McNemarTest(
        only_first_right=only_first,
        only_second_right=only_second,
        p_value=float(binomtest(only_first, num_rows, 0.5).pvalue) if num_rows else 1.0,
        rows_share_groups=rows_share_groups(groups),
    )


def rows_share_groups(groups: IntArray) -> bool:
    """Whether any group has more than one row; then rows are not independent."""
    return len(np.unique(groups)) < len(groups)


def upper_bound(num_events: int, num_rows: int, confidence: float) -> float:
    """One-sided exact (Clopper-Pearson) upper bound of a proportion; 1 where there is no row."""
    from scipy.stats import beta  # type: ignore[import-untyped]

    if num_events >= num_rows:
        return 1.0
    return float(beta.ppf(confidence, num_events + 1, num_rows - num_events))


def paired_interval(groups: PairedGroups, confidence: float) -> tuple[float, float]:
    """Two-sided score interval of a difference of two paired proportions (Tango 1998, Statistics in Medicine 17:891,
    eq. 6): it has a width even where the models never differ, z^2 / (groups + z^2) to each side."""
    from scipy.optimize import brentq  # type: ignore[import-untyped]
    from scipy.special import ndtri  # type: ignore[import-untyped]

    more, fewer, total = groups
    z = float(ndtri((1 + confidence) / 2))

    def excess(difference: float, sign: int) -> float:
        """Score of the observed difference under a true one, less the quantile; 0 at an end of the interval."""
        linear = (2 * total - more + fewer) * difference - more - fewer
        constant = -fewer * difference * (1 - difference)
        share = (math.sqrt(max(0.0, linear**2 - 8 * total * constant)) - linear) / (4 * total)
        variance = total * max(0.0, 2 * share + difference * (1 - difference))
        return more - fewer - total * difference - sign * z * math.sqrt(variance)

    value, step = (more - fewer) / total, 1e-9  # at the value itself nothing differs where no group does
    low = brentq(excess, step - 1, value - step, args=(1,)) if value > 2 * step - 1 else -1
    high = brentq(excess, value + step, 1 - step, args=(-1,)) if value < 1 - 2 * step else 1
    return float(low), float(high)


def _estimate(
    value: float, resampled: FloatArray, jackknife: FloatArray, confidence: float, counts: int | PairedGroups | None
) -> IntervalEstimate:
    if np.isnan(value):
        return IntervalEstimate(None)
    defined = resampled[np.isfinite(resampled)]
    paired = counts if isinstance(counts, PairedGroups) and counts.total else None
    varies = len(defined) >= MIN_DEFINED_SHARE * len(resampled) and np.ptp(defined) > 1e-12
    if paired is None and len(defined) < MIN_DEFINED_SHARE * len(resampled):
        return IntervalEstimate(value)
    if paired is None and not varies:
        if not isinstance(counts, int) or not counts or value not in (0.0, 1.0):
            return IntervalEstimate(value)
        bound = upper_bound(0, counts, (1 + confidence) / 2)
        return IntervalEstimate(value, *((0.0, bound) if value == 0.0 else (1 - bound, 1.0)), "exact")
    low, high = _bca_interval(value, defined, jackknife, confidence) if varies else (value, value)
    if paired is None or (varies and paired.more + paired.fewer >= FEW_GROUPS):
        return IntervalEstimate(value, low, high, "bca")
    score_low, score_high = paired_interval(paired, confidence)
    middle = (paired.more - paired.fewer) / paired.total
    low, high = min(low, value + score_low - middle), max(high, value + score_high - middle)
    return IntervalEstimate(value, max(low, -1.0), min(high, 1.0), "score")


def _bca_interval(value: float, defined: FloatArray, jackknife: FloatArray, confidence: float) -> tuple[float, float]:
    from scipy.special import ndtr, ndtri  # type: ignore[import-untyped]

    # The quantiles of the resamples that are the ends of the interval (Efron 1987, eq. 2.3 and 6.6).
    equal = np.isclose(defined, value, rtol=1e-12, atol=1e-12)
    below = ((defined < value) & ~equal).mean() + equal.mean() / 2  # rates are steps: half of the ties lie below
    bias = ndtri(np.clip(below, 0.5 / len(defined), 1 - 0.5 / len(defined)))
    left_out = jackknife[np.isfinite(jackknife)]
    distance = left_out.mean() - left_out if len(left_out) else np.zeros(1)
    spread = float((distance**2).sum())
    acceleration = float((distance**3).sum()) / (6 * spread**1.5) if spread > 1e-24 else 0.0
    ends = bias + ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    # The acceleration is at most 1/6 in size, so the denominator stays positive but for extreme confidences.
    low, high = np.quantile(defined, ndtr(bias + ends / np.maximum(1 - acceleration * ends, 1e-3)))
    return float(low), float(high)
