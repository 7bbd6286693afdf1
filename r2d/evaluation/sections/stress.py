"""Section `stress`: what edits of notes do to the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from r2d.evaluation.sections.estimates import Intervals

Expectation = Literal["same label", "not less urgent", "not more urgent", "more urgent"]
"""What an edit of a note may do to the label."""


@dataclass(frozen=True, kw_only=True)
class StressEdit:
    """One edit of notes (`r2d.evaluation.stress`), over the test rows that it applies to."""

    name: str
    group: str
    expects: Expectation
    num_rows: int
    num_broken: int
    """Rows whose label moved as the expectation forbids; `num_changed`: at all."""
    num_changed: int
    num_about_finding: int
    """Rows in which a finding was edited and a rationale written; `num_named` of them claim the edited finding."""
    num_named: int
    intervals: Intervals
    """broken_share and changed_share of `num_rows`; named_share of `num_about_finding`, and named_if_changed_share of
    those whose label changed."""


@dataclass(frozen=True, kw_only=True)
class SentenceDeletion:
    """The probability of the model's label without sentences of the note: `r2d.evaluation.stress.sentence_deletion`."""

    num_rows: int
    num_left_out: int
    """Rows whose rationale is about no sentence, or about all."""
    intervals: Intervals
    """Means of comprehensiveness, sufficiency and other_sentences."""


@dataclass(frozen=True, kw_only=True)
class StressResult:
    """What edits of notes do to the model's labels."""

    file: str
    num_rows: int
    """Test rows that were looked at."""
    num_decisions: int
    """Notes that were decided; equal ones cost one decision."""
    edits: tuple[StressEdit, ...]
    broken_by_group: Intervals
    """Group of edits -> share broken, over all of its edited notes."""
    sentences: SentenceDeletion | None
    """None for a method that writes no rationales."""
