"""Rows that a bound, an interval of calibration or a rule of the gate needs: each formula with its source.

Where patients have several rows, the rows of a formula for independent ones are multiplied by the design effect
1 + (size - 1) correlation, with the size that the patient of a row has on average, sum(n^2) / sum(n) (Kish 1965; of
clusters of unequal size, Eldridge, Ashby and Kerry 2006). A bound over patients is simulated instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from r2d.evaluation.threshold import risk_bounds
from r2d.gate.power import Decided
from r2d.label_scores import FloatArray, IntArray

MOST_ROWS = 100_000
NUM_STUDIES = 200
"""That are simulated for a bound over patients: a power of 0.8 is then known to about 0.03, the patients to 5 %."""
NUM_NODES = 60
"""Of the quadrature over a normal distribution."""


@dataclass(frozen=True)
class Clusters:
    """How rows belong to patients or callers."""

    sizes: Sequence[int]
    """Rows of each patient, of as many patients as are known or as show the mix."""
    correlation: float

    @property
    def mean(self) -> float:
        return sum(self.sizes) / len(self.sizes)

    @property
    def design_effect(self) -> float:
        """By how many times more rows are needed than if each were of another patient."""
        of_a_row = sum(size**2 for size in self.sizes) / sum(self.sizes)
        return 1 + (of_a_row - 1) * self.correlation

    def draw(self, num_groups: int, generator: np.random.Generator) -> IntArray:
        """[groups]: rows of that many patients."""
        return generator.choice(np.array(self.sizes), num_groups)


def rows_for_bound(max_rate: float, rate: float, confidence: float, power: float) -> int | None:
    """From how many rows on, each of another patient, the exact (Clopper-Pearson) upper bound of a rate is at most
    `max_rate` with that power, where the true rate is `rate`; None where that is not below the limit, or so near that
    `MOST_ROWS` are too few.
    """
    from scipy.stats import binom  # type: ignore[import-untyped]

    most = 1_000
    while rate < max_rate and most <= MOST_ROWS:
        rows = np.arange(1, most + 1)
        # As many errors keep the bound as would be seen by chance, or fewer, at `max_rate` with a probability of at
        # most 1 - confidence.
        allowed = binom.ppf(1 - confidence, rows, max_rate)
        allowed -= binom.cdf(allowed, rows, max_rate) > 1 - confidence
        too_few = np.flatnonzero(binom.cdf(allowed, rows, rate) < power)
        if not len(too_few):
            return 1
        if rows[too_few[-1]] <= most // 2:
            return int(rows[too_few[-1]]) + 1
        most *= 2
    return None


def groups_for_bound(max_rate: float, rate: float, confidence: float, power: float, clusters: Clusters) -> int | None:
    """How many patients it takes for the bound of the threshold (`risk_bounds`, over patients) to be at most `max_rate`
    with that power, in simulated studies; errors of a patient's rows are beta-binomial. Exact where each has one row;
    None as of `rows_for_bound`."""
    needed = rows_for_bound(max_rate, rate, confidence, power)
    if needed is None or max(clusters.sizes) == 1:
        return needed

    def passes(num_groups: int) -> bool:
        generator = np.random.default_rng(0)
        sizes = clusters.draw(num_groups, generator)
        shares = np.full((num_groups, NUM_STUDIES), rate)
        if clusters.correlation >= 1:
            shares = (generator.random(shares.shape) < rate).astype(np.float64)
        elif clusters.correlation > 0:
            spread = (1 - clusters.correlation) / clusters.correlation
            shares = generator.beta(rate * spread, (1 - rate) * spread, shares.shape)
        errors = generator.binomial(sizes[:, None], shares).astype(np.float64)
        shown = np.broadcast_to(sizes[:, None], errors.shape).astype(np.float64)
        return bool((risk_bounds(shown, errors, confidence) <= max_rate).mean() >= power)

    # No fewer patients than independent rows would need of them, and hardly ever more than patients of one row.
    low, high = math.ceil(needed / clusters.mean / 2), needed
    while not passes(high):
        low, high = high, 2 * high
    while high - low > max(1, high // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def rows_for_events(prevalence: float, width: float, z: float) -> int:
    """Rows for an interval of that width of observed to expected events, around 1: (1 - prevalence) / (prevalence
    SE^2), with the standard error of ln(O/E) that gives the width (Riley et al. 2021, Statistics in Medicine 40:4230,
    criterion 1; 2024, BMJ 384:e074821).

    Args:
        z: standard errors from the middle to an end of the interval.
    """
    error = math.asinh(width / 2) / z  # exp(z SE) - exp(-z SE) = width
    return math.ceil((1 - prevalence) / (prevalence * error**2))


@dataclass(frozen=True, eq=False)
class Logits:
    """Distribution of the logit of a calibrated probability, as points with their weights."""

    points: FloatArray
    weights: FloatArray

    @classmethod
    def normal(cls, mean: float, deviation: float) -> Logits:
        points, weights = np.polynomial.hermite_e.hermegauss(NUM_NODES)
        return cls(mean + deviation * points, weights / weights.sum())

    @classmethod
    def binormal(cls, prevalence: float, c_statistic: float) -> Logits:
        """Normal among the events and among the others, with one deviation s. With C = Phi(s / sqrt(2)) and means
        logit(prevalence) + s^2 / 2 and - s^2 / 2 the probabilities are calibrated, by Bayes' theorem."""
        from scipy.special import logit, ndtri  # type: ignore[import-untyped]

        deviation = math.sqrt(2) * float(ndtri(c_statistic))
        middle, half = float(logit(prevalence)), deviation**2 / 2
        parts = cls.normal(middle + half, deviation), cls.normal(middle - half, deviation)
        return cls(
            np.concatenate([part.points for part in parts]),
            np.concatenate([prevalence * parts[0].weights, (1 - prevalence) * parts[1].weights]),
        )


def rows_for_slope(logits: Logits, width: float, z: float) -> int:
    """Rows for an interval of that width of the calibration slope, where it is 1: I_a / (SE^2 (I_a I_b - I_ab^2)) with
    the elements of Fisher's information of one row (Riley et al. 2021, criterion 2; 2024, BMJ).

    Args:
        z: standard errors from the middle to an end of the interval.
    """
    from scipy.special import expit

    expected = expit(logits.points)
    information = logits.weights * expected * (1 - expected)
    of_intercept, of_both, of_slope = (float(information @ logits.points**power) for power in range(3))
    error = width / (2 * z)
    return math.ceil(of_intercept / (error**2 * (of_intercept * of_slope - of_both**2)))


def rows_for_rule(rule: Decided, truth: float, deviation: float, power: float) -> int | None:
    """Rows with which a rule of the gate passes with that power, by its normal approximation (`Decided.passes`); None
    where the truth is not on the side that passes.

    Args:
        truth: true figure; deviation: standard error of the figure times the root of the rows.
    """
    from r2d.gate.power import NORMAL

    room = rule.sign * (truth - rule.limit)
    if room <= 0:
        return None
    return max(1, math.ceil((deviation * (rule.z + NORMAL.inv_cdf(power)) / room) ** 2))
