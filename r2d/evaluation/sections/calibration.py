"""Section `calibration`: label probabilities against what came true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from r2d.evaluation.sections.estimates import IntervalEstimate

Binning = Literal["equal_width", "equal_mass"]


@dataclass(frozen=True, kw_only=True)
class TemperatureFit:
    """The temperature that probabilities are scaled by, and the rows on which it was fitted, those of the threshold."""

    value: float
    num_rows: int
    nll_before: float
    nll_after: float
    at_limit: bool
    """Whether it lies at a limit of the search: those rows are all right, or say nothing."""


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Rows whose confidence lies above `lower` and at most at `upper`, with the means of confidence and accuracy."""

    lower: Annotated[float, Field(alias="from")]
    upper: Annotated[float, Field(alias="to")]
    num_rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class CalibrationPoint:
    """Share of right labels at a confidence."""

    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class CalibrationSlope:
    """Logistic regression of an event on the logit of its probability: 1 and 0 where it is calibrated."""

    of: str
    """`all rows`, a slice (`site = north`), or a cut of the order (`at least as urgent as LABEL`)."""
    num_rows: int
    num_events: int
    slope: IntervalEstimate
    """Below 1: too extreme."""
    intercept: IntervalEstimate
    """At slope 1; above 0: too low."""
    not_estimated: str | None
    """Why both are undefined."""


@dataclass(frozen=True, kw_only=True)
class CalibrationMetrics:
    """Label probabilities against what came true; accuracy and confidence are of the most probable label."""

    num_rows: int
    num_bins: int
    accuracy: float
    mean_confidence: float
    ece_equal_width: float
    ece_equal_mass: float
    brier: float
    """0 is perfect, 2 the worst."""
    nll: float
    reliability: Mapping[Binning, tuple[ReliabilityBin, ...]]
    """The bins that have rows."""
    ece_if_calibrated: Mapping[Binning, IntervalEstimate] = field(default_factory=dict)
    """The error that a calibrated model would show with these rows: its mean and 95 % band. An error within the band is
    no sign of miscalibration."""
    curve: tuple[CalibrationPoint, ...] = ()
    """A smooth curve through the rows; empty where too few are right or wrong."""

    @property
    def beyond_chance(self) -> bool:
        """Whether the error in bins of equal mass lies above the band of a calibrated model."""
        band = self.ece_if_calibrated.get("equal_mass")
        return band is not None and band.high is not None and self.ece_equal_mass > band.high

    @property
    def chance_sentence(self) -> str:
        """What the error means beside that of a calibrated model; empty where there is no band."""
        if not self.ece_if_calibrated:
            return ""
        if self.beyond_chance:
            return (
                "That is more than a calibrated model would show with these rows: its probabilities are not to be "
                "taken at their word."
            )
        return (
            "A calibrated model would show as much with these rows by chance, so that this is no sign that the "
            "probabilities are wrong."
        )


@dataclass(frozen=True, kw_only=True)
class CalibrationResult:
    """Calibration of the test rows before and after temperature scaling."""

    temperature: TemperatureFit
    before: CalibrationMetrics
    after: CalibrationMetrics
    slopes: tuple[CalibrationSlope, ...] = ()
    """After scaling."""
