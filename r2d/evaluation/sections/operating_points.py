"""Sections `operating_points` and `label_sets`: what ordered labels and their probabilities are good for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from r2d.evaluation.sections.estimates import ChoosingSplit, IntervalEstimate, Intervals, NamedCount


@dataclass(frozen=True, kw_only=True)
class DecisionPoint:
    """Net benefit at one threshold probability: true positives minus false ones, these weighted by its odds, a call."""

    threshold_probability: float
    treat_all: float
    """Net benefit of taking every note for one at least as urgent; that of taking none is 0."""
    as_decided: Intervals
    """net_benefit of the predicted labels, and net_benefit_gain over the better of treating all and none."""
    by_probability: Intervals
    """The same where a note counts from this probability on; sensitivity, specificity, ppv and flagged besides."""


@dataclass(frozen=True, kw_only=True)
class UrgencyCut:
    """The question whether a note is at least as urgent as `label`."""

    label: str
    num_positive: int
    """Test rows that are."""
    prevalence: float
    """Their share, or the declared one."""
    as_decided: Intervals
    """Of the predicted labels: sensitivity, specificity, ppv, npv; and as shares of all notes: flagged (predicted at
    least as urgent), found, false_alarms, missed."""
    points: tuple[DecisionPoint, ...]

    def point(self, threshold_probability: float) -> DecisionPoint | None:
        near = [row for row in self.points if abs(row.threshold_probability - threshold_probability) < 1e-9]
        return near[0] if near else None


@dataclass(frozen=True, kw_only=True)
class CostDecision:
    """The labels of least expected cost, beside the predicted ones."""

    figures: Intervals
    """mean_cost, under_triage_rate, over_triage_rate, accuracy, macro_f1."""
    differences: Intervals
    """The same minus those of the predicted labels, paired."""


@dataclass(frozen=True, kw_only=True)
class OperatingPoints:
    """What ordered labels and their probabilities are good for."""

    shares_declared: bool
    """Whether the shares of the labels are those of `evaluation.operating_points.label_shares`."""
    cuts: tuple[UrgencyCut, ...]
    """All but the least urgent label, which every note is at least as urgent as."""
    by_costs: CostDecision | None
    """None without `evaluation.safety.costs`."""


@dataclass(frozen=True, kw_only=True)
class LabelSetsResult:
    """Sets of labels (`r2d.evaluation.label_sets`) of the test rows, chosen on rows of `split`."""

    target: float
    """Coverage that the reference of each label was to have."""
    split: ChoosingSplit
    num_rows: int
    num_groups: int
    lowest_probability: Mapping[str, float]
    """Label -> probability from which on it belongs to a set; 0 where too few groups had it: then to every set."""
    coverage: IntervalEstimate
    """Share of the rows whose set holds the reference; likewise of the rows of each label."""
    coverage_of_label: Intervals
    mean_size: IntervalEstimate
    """Labels in a set."""
    single_share: IntervalEstimate
    """Share of the sets of one label."""
    most_frequent: tuple[NamedCount, ...]

    @property
    def without_threshold(self) -> list[str]:
        return [label for label, lowest in self.lowest_probability.items() if not lowest]
