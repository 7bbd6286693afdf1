"""What `r2d plan` is asked (`configs/plan.yaml`): what a model is expected to reach, and what its rows are to show."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, model_validator

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import Confidence, Rate, SelectiveConfig
from r2d.config.gate import GateConfig
from r2d.config.section import Fraction, Name, Section

Width = Annotated[float, Field(gt=0.0, le=4.0)]
CStatistic = Annotated[float, Field(gt=0.5, lt=1.0)]


class ExpectedConfig(Section):
    """What the model is expected to be; each is a guess that the rows hang on, so try several."""

    under_triage: Rate = 0.05
    """Share of all rows that get a label less urgent than theirs, by one level; without an order, of errors."""
    over_triage: Rate = 0.1
    """Share of all rows that get a more urgent label; without an order, of further errors."""
    risk_of_surest: Rate = 0.01
    """Share of errors (of the kind of `selective.risk`) among the surest fifth of the labels, where the search for a
    threshold begins."""
    c_statistic: CStatistic = 0.85
    """Area under the ROC curve of the probability of being at least as urgent, at each cut; without an order, of the
    confidence in telling right labels from wrong ones."""
    differing: Rate = 0.15
    """Share of rows on which model and champion give different labels."""
    gain: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    """By how much the model is better than a baseline, or than the champion where a rule has margin 0; in the unit of
    the figure."""


class PlanConfig(Section):
    """How many rows a study needs, before any model is trained."""

    run: Name | None = None
    """A run configuration: labels, threshold and gate are its own, and its data are read for the shares of the labels
    and the rows of each patient."""
    label_shares: dict[Name, Rate] | None = None
    """Label -> its share of the rows, most urgent first, which sum to 1; in place of those of the data of `run`."""
    ordered: bool | None = None
    """Whether the order of `label_shares` means something; by default as in `run`, else true."""
    rows_per_group: Annotated[float, Field(ge=1.0)] | None = None
    """Rows of a patient or caller, on average; by default those of the data of `run`, else 1."""
    correlation: Fraction = 0.3
    """Of the errors of two rows of a patient (intraclass correlation); 1: all right or all wrong."""
    test_rows: Annotated[int, Field(ge=1)] | None = None
    """For which the power of the gate is given; by default the test rows of the data of `run`, else the most that
    the figures need."""
    power: Confidence = 0.8
    """How often a model as expected is to pass: its bound or its rule."""
    confidence: Confidence = 0.95
    """Of the bound on under-triage (one-sided), and of all intervals (two-sided)."""
    max_under_triage: Rate = 0.08
    """What the upper bound of under-triage (of errors, without an order) must keep."""
    oe_width: Width = 0.2
    """Width of the interval of observed to expected events, around 1: 0.2 is about 0.9 to 1.1."""
    slope_width: Width = 0.2
    """Width of the interval of the calibration slope, around 1."""
    expected: ExpectedConfig = ExpectedConfig()
    selective: SelectiveConfig | None = None
    """The threshold that is to be found; by default that of `run`, else the defaults of a run."""
    gate: GateConfig | None = None
    """By default that of `run`, else the default rules."""

    @model_validator(mode="after")
    def _has_labels(self) -> PlanConfig:
        if self.label_shares is None:
            if self.run is None:
                raise ValueError(
                    "nothing to plan for: give run, a run configuration, or label_shares, such as "
                    "{emergency: 0.1, same day: 0.3, self care: 0.6}"
                )
            return self
        if len(self.label_shares) < 2:
            raise ValueError(f"label_shares needs at least two labels; found {len(self.label_shares)}")
        LabelsConfig(names=tuple(self.label_shares), ordered=True)  # distinct
        if not math.isclose(total := sum(self.label_shares.values()), 1.0, abs_tol=1e-6):
            raise ValueError(f"label_shares sum to {total:g}; they must sum to 1")
        return self
