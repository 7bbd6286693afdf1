"""Section `slices`: figures of parts of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from r2d.evaluation.sections.estimates import IF_PRESENT, IntervalEstimate, Intervals
from r2d.text import plural


@dataclass(frozen=True, kw_only=True)
class SlicePart:
    """The rows with one value of `by`: `label`, `length`, `rationale_source` or `attributes.{name}`."""

    by: str
    value: str
    num_rows: int
    small: bool
    """Fewer rows than `min_rows`."""
    rare_labels: Mapping[str, int] = field(default_factory=dict)
    """Label with fewer gold rows in it than `RARE_LABEL_ROWS` -> those rows."""

    @property
    def hangs_on(self) -> str:
        """What its macro-F1 hangs on, such as `hangs on 3 rows of self care`; empty where no label is rare."""
        if not self.rare_labels:
            return ""
        name, rows = min(self.rare_labels.items(), key=lambda row: row[1])
        return f"hangs on {plural(rows, 'row')} of {name}"


@dataclass(frozen=True, kw_only=True)
class SliceMetrics(SlicePart):
    """Its metrics beside those of all rows."""

    num_groups: int
    figures: Intervals
    """accuracy, macro_f1 and, of ordered labels, under_triage_rate and over_triage_rate."""
    gaps: Intervals
    """The same minus the whole; without interval where the slice's own has none by bootstrap."""
    q_values: Annotated[Mapping[str, float], Field(exclude_if=lambda value: not value)] = field(default_factory=dict)
    """Of the gaps that `MultipleLooks` counts: the share of false findings among all gaps that stand out as much or
    more (Benjamini and Hochberg 1995)."""


@dataclass(frozen=True, kw_only=True)
class MultipleLooks:
    """Gaps that have an interval, those whose interval excludes 0, and how many would by chance; not of labels."""

    num_gaps: int
    num_without_zero: int
    expected_by_chance: float


@dataclass(frozen=True, kw_only=True)
class WorstSlice:
    """The slice whose rate may be the highest, by bounds that hold for all slices at once."""

    figure: Literal["under_triage_rate", "error_rate"]
    by: str
    value: str
    num_rows: int
    num_groups: int
    rate: float
    bound: float
    """Upper bound of the rate in every slice that was compared, one-sided, at the confidence of the intervals."""
    num_slices: int
    """Compared: those of `min_rows` rows or more, but for labels."""


@dataclass(frozen=True, kw_only=True)
class PooledFigure:
    """One rate over the values of an attribute, such as sites (`r2d.evaluation.heterogeneity`)."""

    pooled: IntervalEstimate
    next_part: IntervalEstimate
    """Where the rate of a value that is not among them may lie; without ends where two are pooled."""
    tau_squared: float
    """Variance between them, of the logit of the rate."""
    i_squared: float
    """Share of the variation between them that is not chance."""
    q: float
    p_value: float
    """Of Cochran's Q: they all have one rate."""
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Heterogeneity:
    """Whether the rates of the values of an attribute differ by more than chance."""

    by: str
    parts: tuple[str, ...]
    """Values that are pooled."""
    not_pooled: Mapping[str, str]
    """The others -> why."""
    figures: Mapping[str, PooledFigure]
    """accuracy and, of ordered labels, under_triage_rate; empty where fewer than two values can be pooled."""


@dataclass(frozen=True, kw_only=True)
class SlicesResult:
    """All slices beside the whole."""

    confidence: float
    min_rows: int
    whole: Intervals
    slices: tuple[SliceMetrics, ...]
    multiple_looks: MultipleLooks
    left_out: Mapping[str, str]
    """Attribute that rows are not divided by -> why."""
    worst: Annotated[WorstSlice | None, IF_PRESENT] = None
    """None where no slice has enough rows."""
    heterogeneity: Annotated[tuple[Heterogeneity, ...], Field(exclude_if=lambda value: not value)] = ()
    """Of the attributes of `evaluation.slices.pooled` that the rows have."""


@dataclass(frozen=True, kw_only=True)
class SliceDifference(SlicePart):
    """This model minus the champion in it."""

    difference: Intervals
