"""A cumulative sum of errors that rises when their rate does (Bernoulli CUSUM), with the rate of its false alarms.

Source: Reynolds and Stoumbos (1999), "A CUSUM chart for monitoring a proportion when inspecting continuously"; the run
lengths by the Markov chain of Brook and Evans (1972), which is exact here, because the chart moves in whole steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np

SMALLEST_DENOMINATOR = 40
"""Of the step in which an error and a right call are counted; more steps make the threshold finer."""
LARGEST_ROUNDING = 0.1
"""Of that step, as a share of the distance between the two rates."""


class Chart(NamedTuple):
    """The sum behind each call, and the calls at which it reached the threshold, counted from 0; it restarts there."""

    sums: list[int]
    alarms: list[int]


@dataclass(frozen=True)
class Cusum:
    """A chart that tells an unacceptable rate of errors from an acceptable one."""

    acceptable: float
    unacceptable: float
    up: int
    """Added by an error."""
    down: int
    """Taken away by a right call; the sum never falls below 0."""
    threshold: int
    """The sum at which it alarms."""

    @classmethod
    def of(cls, acceptable: float, unacceptable: float, calls_between_false_alarms: float) -> Cusum:
        """The most sensitive chart whose false alarms are that many calls apart, on average, at the acceptable rate.

        Args:
            acceptable: 0 < acceptable < unacceptable < 1.
        """
        right = math.log((1 - acceptable) / (1 - unacceptable))
        step = right / (right + math.log(unacceptable / acceptable))  # between the two rates
        denominator = max(SMALLEST_DENOMINATOR, math.ceil(1 / step))
        while abs((rounded := Fraction(step).limit_denominator(denominator)) - step) > LARGEST_ROUNDING * (
            unacceptable - acceptable
        ):
            denominator *= 2
        up, down = rounded.denominator - rounded.numerator, rounded.numerator

        def is_rare(threshold: int) -> bool:
            chart = cls(acceptable, unacceptable, up, down, threshold)
            return chart.run_length(acceptable) >= calls_between_false_alarms

        enough = 1
        while not is_rare(enough):
            enough *= 2
        too_low = enough // 2
        while enough - too_low > 1:
            middle = (enough + too_low) // 2
            too_low, enough = (too_low, middle) if is_rare(middle) else (middle, enough)
        return cls(acceptable, unacceptable, up, down, enough)

    def run_length(self, rate: float) -> float:
        """Mean number of calls from a sum of 0 to an alarm, where each call is an error with this probability."""
        from scipy.sparse import csc_array, eye_array  # type: ignore[import-untyped]
        from scipy.sparse.linalg import spsolve  # type: ignore[import-untyped]

        sums = np.arange(self.threshold)
        goes_on = sums + self.up < self.threshold
        rows = np.concatenate([sums[goes_on], sums])
        columns = np.concatenate([sums[goes_on] + self.up, np.maximum(sums - self.down, 0)])
        shares = np.concatenate([np.full(goes_on.sum(), rate), np.full(len(sums), 1 - rate)])
        moves = csc_array((shares, (rows, columns)), shape=(len(sums), len(sums)))
        lengths = spsolve(csc_array(eye_array(len(sums)) - moves), np.ones(len(sums)))
        return float(np.atleast_1d(lengths)[0])

    def follow(self, errors: Sequence[bool]) -> Chart:
        """The chart of calls in their order."""
        chart, total = Chart([], []), 0
        for number, is_error in enumerate(errors):
            total = max(0, total + (self.up if is_error else -self.down))
            chart.sums.append(total)
            if total >= self.threshold:
                chart.alarms.append(number)
                total = 0
        return chart
