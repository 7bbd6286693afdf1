"""Section `selective`: the confidence from which on labels are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from r2d.evaluation.sections.estimates import IF_PRESENT, ChoosingSplit, IntervalEstimate


@dataclass(frozen=True, kw_only=True)
class ThresholdOnValidation:
    """A threshold on the rows that chose it; coverage 0 and no risk where there is none."""

    split: ChoosingSplit = "validation"
    """`validation` where there are no calibration rows: they chose the weights too, and look better than new rows."""
    num_rows: int
    num_groups: int | None = None
    """None in a model folder of an older version."""
    coverage: float = 0.0
    risk: float | None = None
    upper_bound: float | None = None
    """Of the risk, one-sided, with groups as what was sampled; None where `bound_confidence` is null."""
    rows_share_groups: bool


@dataclass(frozen=True, kw_only=True)
class PartThreshold:
    """The confidence from which on labels are shown where they are of one name, or of rows with one value."""

    threshold: float | None
    """None: a person decides."""
    reason: str | None
    """Why it has none of its own."""
    is_common: bool
    """Whether that of all rows stands for it, because it has too few."""
    validation: ThresholdOnValidation


@dataclass(frozen=True, kw_only=True)
class ThresholdChoice:
    """The confidence from which on labels are shown."""

    risk: Literal["under_triage", "error"]
    """What must stay rare among the labels shown."""
    max_risk: float
    bound_confidence: float | None
    threshold: float | None
    """None where no threshold keeps the risk low enough: then every note goes to a person; and where `parts` have
    thresholds of their own, so that there is no one."""
    reason: str | None
    """Why there is none."""
    validation: ThresholdOnValidation
    per: Annotated[str | None, IF_PRESENT] = None
    """`evaluation.selective.per`: `label` or an attribute."""
    parts: Annotated[Mapping[str, PartThreshold], Field(exclude_if=lambda value: not value)] = field(
        default_factory=dict
    )
    """Label, or value of the attribute -> its threshold. Their bounds hold at once, at `bound_confidence`."""
    otherwise: Annotated[float | None, IF_PRESENT] = None
    """Of notes that belong to no part; None: a person decides."""

    @property
    def shows_labels(self) -> bool:
        """Whether there is a threshold at all."""
        thresholds = (self.threshold, self.otherwise, *(part.threshold for part in self.parts.values()))
        return any(threshold is not None for threshold in thresholds)


@dataclass(frozen=True, kw_only=True)
class ThresholdOnTest:
    """A threshold on the test rows, which had no say in it."""

    num_rows: int
    coverage: IntervalEstimate
    risk: IntervalEstimate
    held: bool | None
    """True where the whole interval of the risk is at most `max_risk`, False where it is above; None where it holds
    `max_risk`, so that these rows do not tell, and where no label is shown."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Coverage and risk where labels of at least this confidence are shown."""

    threshold: float
    coverage: float
    risk: float


@dataclass(frozen=True, kw_only=True)
class RiskCoverageCurve:
    """Risk at every coverage; `risk` is that of all rows, `points` are in order of coverage."""

    num_rows: int
    risk: float
    aurc: float
    """Area under the curve; 0 is best. In the perfect order the same errors have the lowest confidence."""
    aurc_of_perfect_order: float
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, kw_only=True)
class SelectiveMetrics(ThresholdChoice):
    """Selective prediction on the test rows; `test` is None without threshold."""

    test: ThresholdOnTest | None
    test_of_parts: Annotated[Mapping[str, ThresholdOnTest], Field(exclude_if=lambda value: not value)] = field(
        default_factory=dict
    )
    """The same of the test rows of each of `parts` that has a threshold."""
    curve: RiskCoverageCurve
