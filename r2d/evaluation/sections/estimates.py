"""Values with their intervals, and the few types that several sections of `metrics.json` share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Literal

from pydantic import Field

ChoosingSplit = Literal["calibration", "validation"]
CHOOSING_SPLITS: tuple[ChoosingSplit, ...] = ("calibration", "validation")
"""Splits that can choose temperature and threshold: the first that has rows does."""
IF_PRESENT = Field(exclude_if=lambda value: value is None)
"""Marks a key that is absent from the JSON, not null, where it does not apply."""
NOT_IN_JSON = Field(exclude=True)
"""Marks ids of rows: the report shows them. Metrics are kept with the registry after a person was forgotten."""


@dataclass(frozen=True)
class IntervalEstimate:
    """A metric, or a difference of two, with its two-sided confidence interval."""

    value: float | None
    """None where it is undefined, as the recall of a label without a gold row is."""
    low: float | None = None
    high: float | None = None
    method: Literal["bca", "exact", "score", "seeds", "sandwich", "random effects"] | None = None
    """Bootstrap (BCa); Clopper-Pearson where nothing varies; Tango's score interval, or the bootstrap where that is
    wider, where two models differ in few groups. None where there is no interval."""

    def text(self, *, signed: bool = False) -> str:
        """`0.520 (0.500 to 0.540)`, or the value alone where there is no interval."""
        sign = "+" if signed else ""
        if self.low is None or self.high is None:
            return f"{self.value:{sign}.3f}"
        return f"{self.value:{sign}.3f} ({self.low:{sign}.3f} to {self.high:{sign}.3f})"

    def standard_error(self, confidence: float) -> float | None:
        """From the width of the interval, as of a normal distribution; None where there is no interval.

        Args:
            confidence: of the interval.
        """
        if self.low is None or self.high is None or self.low == self.high:
            return None
        return (self.high - self.low) / (2 * NormalDist().inv_cdf((1 + confidence) / 2))

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and 0 lies outside of it."""
        return self.low is not None and self.high is not None and not self.low <= 0.0 <= self.high


Intervals = Mapping[str, IntervalEstimate]
"""Name of a metric -> its estimate, all from one draw of groups."""
IntervalIfPresent = Annotated[IntervalEstimate | None, IF_PRESENT]


@dataclass(frozen=True, kw_only=True)
class NamedCount:
    """Rows of one name: a reason, a label, a value."""

    name: str
    num_rows: int
