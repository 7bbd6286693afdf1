"""Sections `cohort` and `seen_rows`: which rows were measured."""

from __future__ import annotations

from dataclasses import dataclass

from r2d.config.evaluation import SeenRowsPolicy
from r2d.evaluation.sections.estimates import NamedCount
from r2d.modeling.overlap import Overlap


@dataclass(frozen=True, kw_only=True)
class RowFlow:
    """The way of the rows from the file to the figures."""

    num_read: int
    """0 where it is not known: the rows came as a table."""
    left_out: tuple[NamedCount, ...]
    """Before any check, by reason."""
    num_added: int
    """By reviewers."""
    num_quarantined: int
    quarantined: tuple[NamedCount, ...]
    """By the check that set them aside; a row can have several."""
    num_used: int
    """In all splits."""
    not_measured: tuple[NamedCount, ...]
    """Test rows, by reason."""
    num_measured: int


@dataclass(frozen=True, kw_only=True)
class AttributeCounts:
    """The rows of each value of an attribute."""

    name: str
    values: tuple[NamedCount, ...]


@dataclass(frozen=True, kw_only=True)
class CohortSplit:
    """What one split holds."""

    split: str
    num_rows: int
    num_groups: int
    """A row without a group is one of its own."""
    num_without_group: int
    num_without_rationale: int
    words_low: float
    """Quartiles and median of the words of a note."""
    words_median: float
    words_high: float
    labels: tuple[NamedCount, ...]
    attributes: tuple[AttributeCounts, ...]


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """The rows of a run (`r2d.evaluation.cohort`)."""

    flow: RowFlow
    splits: tuple[CohortSplit, ...]


@dataclass(frozen=True, kw_only=True)
class SeenRows:
    """What is known of whether the test rows had been seen in training, and what was done about it."""

    policy: SeenRowsPolicy
    num_dropped: int
    """Test rows that were not measured, because the model or the champion had seen them."""
    model: Overlap | None
    """Over all test rows, before any was dropped; None: unknown, because the model keeps no record of its rows."""
    champion_reference: str | None = None
    champion: Overlap | None = None
    """None where there is no champion, or where it keeps no record."""

    def sentences(self) -> list[str]:
        """What a reader must know of it: of the model, of the champion, and of rows that were left out."""
        whose = [("the model", self.model)]
        if self.champion_reference is not None:
            whose.append((f"champion {self.champion_reference}", self.champion))
        sentences = [
            overlap.sentence(who)
            if overlap is not None
            else f"whether {who} had seen test rows in training is unknown: it keeps no record of its rows"
            for who, overlap in whose
        ]
        if self.num_dropped:
            sentences.append(f"{self.num_dropped:,} test rows that had been seen were left out of all figures")
        return sentences
