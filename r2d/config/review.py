"""Section `review` of `r2d serve`: what reviewers are shown, where their actions are kept, which calls come first."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from r2d.config.jobs import CallsConfig
from r2d.config.section import Fraction, Name, Section


class QueueConfig(Section):
    """Which decided calls are reviewed. Each rule takes the given share of the calls that it finds; a call that several
    rules take is reviewed once. What is drawn depends on `seed` and the ids alone."""

    handed_over: Fraction = 1.0
    """Of the calls that the model left to a person."""
    under_triage: Fraction = 1.0
    """Of the calls whose more urgent labels together reach `under_triage_probability`, where labels are ordered."""
    under_triage_probability: Fraction = 0.25
    """From which probability of all labels above its own a decision may be too low."""
    other_label: Fraction = 1.0
    """Of the calls whose rationale states another label than the one decided."""
    findings: Fraction = 1.0
    """Of the calls whose rationale names a finding that the note denies or does not mention, or denies one that it
    reports."""
    lowest_confidence: Fraction = 0.05
    """Of all calls that have a label: those with the least probable ones."""
    audit: Fraction = 0.05
    """Of all calls, by chance alone: the only sample from which rates of all calls can be estimated."""
    max_cases: Annotated[int, Field(ge=1)] | None = None
    """Most calls of one file; a draw of those found."""
    second_reading: Fraction = 0.2
    """Share of the cases that every reviewer is shown, so that their agreement can be measured; what one reviewer has
    done of the others is not shown to the next."""
    seed: int = 42
    """Of every draw, and of the order in which cases are shown, which says nothing of why they are there."""


class ReviewConfig(Section):
    """The review page of the service."""

    database: Name
    """A SQLite file, or an SQLAlchemy URL such as `postgresql://user@host/reviews`. It holds notes."""
    cases: CallsConfig | None = None
    """Calls to review, read when the service starts; those that are in the database already are left as they are.
    Null: those in the database."""
    decisions: Name | None = None
    """The Parquet file that `r2d predict-file` wrote for the calls of `cases`. Null: the served model decides them when
    the service starts."""
    blind: bool = True
    """Whether a reviewer gives a label before the model's answer is shown."""
    similar: Name | None = None
    """A labelled file (columns id, text, label) in which the page looks for similar cases, such as the training data. A
    model folder holds no notes, so without it none are shown."""
    queue: QueueConfig = QueueConfig()
