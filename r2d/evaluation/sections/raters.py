"""Section `raters`: labels of several people, and the model beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from r2d.evaluation.sections.estimates import Intervals


@dataclass(frozen=True, kw_only=True)
class RatersTogether:
    """Agreement of all raters over the rows that two or more labelled."""

    fewest: int
    """Raters of a row."""
    most: int
    figures: Intervals
    """alpha_nominal; alpha_ordinal of ordered labels; fleiss_kappa where each row has equally many raters."""


@dataclass(frozen=True, kw_only=True)
class RaterPair:
    """Two raters over the rows that both labelled."""

    first: str
    second: str
    num_rows: int
    figures: Intervals
    """same (share of equal labels), kappa and, of ordered labels, weighted_kappa (quadratic); empty without rows."""


@dataclass(frozen=True, kw_only=True)
class AgreedNotes:
    """The model against the reference on notes on which the raters agree, or do not."""

    num_rows: int
    figures: Intervals
    """accuracy and, of ordered labels, under_triage_rate and over_triage_rate."""


@dataclass(frozen=True, kw_only=True)
class RaterVersusOthers:
    """A rater, and the model, against the label that most of the other raters gave; ties are left out."""

    rater: str | None
    """None: all raters, each against the others."""
    num_labels: int
    by_rater: Intervals
    """accuracy and, of ordered labels, under_triage_rate and over_triage_rate; `difference`: model minus rater."""
    by_model: Intervals
    difference: Intervals


@dataclass(frozen=True, kw_only=True)
class RatersResult:
    """Labels of several raters (`r2d.evaluation.raters`)."""

    file: str
    num_raters: int
    num_rated: int
    """Test rows with labels of two raters or more."""
    num_other_rows: int
    """Rows of the file that are not measured."""
    together: RatersTogether
    pairs: tuple[RaterPair, ...]
    notes: Mapping[str, AgreedNotes]
    """`agreed` and `disputed`, those that there are."""
    ceiling: tuple[RaterVersusOthers, ...]
    """Each rater, and all of them last."""
