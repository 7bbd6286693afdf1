"""How sharp a rule is with the rows of a run: what it would find, and how often it passes a model that is as good.

Normal approximation: the figure of another model with the same rows would lie around its true value with the standard
error of this run, which is the width of its bootstrap interval over 2 z. A rule by interval holds the worse bound
against its limit, one by value the figure itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

NORMAL = NormalDist()
SHARE = 0.8
Z_SHARE = NORMAL.inv_cdf(SHARE)
"""The usual power of a test: what is found in 80 of 100 runs."""


@dataclass(frozen=True, kw_only=True)
class Power:
    """What a rule can tell with these rows."""

    equal_passes: float | None = None
    """Share of models passed that are truly as good as what they are compared with; None for a limit of its own."""
    champion_passes: float | None = None
    """Share of models passed that are truly as good as the champion; None where its figure is not known."""
    passes_from: float | None = None
    """True difference (of a limit: true value) from which 80 % pass."""
    refused_from: float
    """True difference (value) from which 80 % are refused; of slices, in the one that is measured best."""
    sentence: str


@dataclass(frozen=True)
class Decided:
    """How a rule decides."""

    limit: float
    higher_is_better: bool
    z: float
    """Standard errors between the figure and the bound that is held against the limit; 0 by value."""

    @property
    def sign(self) -> int:
        return 1 if self.higher_is_better else -1

    def passes(self, truth: float, error: float) -> float:
        """Share of models passed whose true figure is that."""
        return NORMAL.cdf(self.sign * (truth - self.limit) / error - self.z)


def z_of(confidence: float) -> float:
    """Standard errors from the middle of a two-sided interval to its ends."""
    return NORMAL.inv_cdf((1 + confidence) / 2)


def power_of_difference(rule: Decided, error: float, num_rows: int, champion: float | None) -> Power:
    """Of a rule on a difference to another system.

    Args:
        error: standard error of the paired difference.
        champion: the difference of the champion to that system, 0 where the champion is the system.
    """
    room = -rule.sign * rule.limit  # how far a model as good lies above the limit
    equal = rule.passes(0.0, error)
    gain, loss = (rule.z + Z_SHARE) * error - room, (rule.z - Z_SHARE) * error - room
    sentence = (
        f"with {num_rows:,} rows like these, by this rule alone, a model that is as good passes in {100 * equal:.0f} %"
        f", one that is {_apart(gain)} in 80 %; one that is {_apart(loss)} is refused in 80 %"
    )
    if room > 0 and equal < SHARE:
        needed = num_rows * ((rule.z + Z_SHARE) * error / room) ** 2
        digits = 10 ** max(0, len(str(int(needed))) - 2)
        sentence += f"; with {math.ceil(needed / digits) * digits:,} rows one that is as good passes in 80 %"
    return Power(
        equal_passes=equal,
        champion_passes=None if champion is None else rule.passes(champion, error),
        passes_from=rule.sign * gain,
        refused_from=rule.sign * loss,
        sentence=sentence,
    )


def _apart(difference: float) -> str:
    return f"better by {difference:.3f}" if difference > 0 else f"worse by {-difference:.3f}"


def power_of_limit(rule: Decided, value: float, error: float, num_rows: int, champion: float | None) -> Power:
    """Of a rule on a limit of its own.

    Args:
        value: the figure of this run, and `error` its standard error. That of a share falls towards 0 and 1, so it is
            taken at the limit.
        champion: the figure of the champion.
    """
    if 0.0 < value < 1.0 and 0.0 < rule.limit < 1.0:
        error *= math.sqrt(rule.limit * (1 - rule.limit) / (value * (1 - value)))
    passes = rule.limit + rule.sign * (rule.z + Z_SHARE) * error
    refused = rule.limit + rule.sign * (rule.z - Z_SHARE) * error
    sentence = (
        f"with {num_rows:,} rows like these, by this rule alone, a model that is truly at {passes:.3f} passes in 80 %"
    )
    if passes < 0.0 or (rule.higher_is_better and passes > 1.0 > rule.limit):
        sentence = f"{num_rows:,} rows like these are too few: no model passes in 80 %"
    return Power(
        champion_passes=None if champion is None else rule.passes(champion, error),
        passes_from=passes,
        refused_from=refused,
        sentence=f"{sentence}, one just at the limit in {100 * NORMAL.cdf(-rule.z):.3g} %; one at "
        f"{max(0.0, refused):.3f} is refused in 80 %",
    )


def power_of_slices(rule: Decided, errors: Sequence[float]) -> Power:
    """Of a rule that fails where one of several slices is worse than the limit; slices are taken as independent.

    Args:
        rule: its `z` is that of the corrected intervals, and a slice fails where even its better bound is worse.
        errors: standard error of the difference in each slice.
    """
    room = -rule.sign * rule.limit
    equal = math.prod(NORMAL.cdf(room / error + rule.z) for error in errors)
    best, worst = (room + (rule.z + Z_SHARE) * error for error in (min(errors), max(errors)))
    return Power(
        equal_passes=equal,
        champion_passes=equal,
        refused_from=-rule.sign * best,
        sentence=f"with slices like these a model that is as good everywhere passes in {100 * equal:.0f} %; a loss of "
        f"{best:.3f} is found in 80 % in the slice that is measured best, one of {worst:.3f} in that measured worst",
    )
