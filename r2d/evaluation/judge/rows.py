"""What is judged: rationales beside their notes, after the privacy policy, and why some are not sent."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa

from r2d.config.validation import PrivacyConfig
from r2d.data.deidentify import deidentify_examples
from r2d.data.examples import Example, iterate_examples, to_table
from r2d.errors import DataError

WhyNotSent = Literal["empty_rationale", "privacy"]


@dataclass(frozen=True, slots=True, repr=False)
class JudgedRow:
    """One rationale of a model. It holds a note: its repr never shows it."""

    id: str
    note: str
    decision: str
    """The label that the rationale explains: the model's own, right or wrong."""
    rationale: str
    reference: str = ""
    """The reference rationale; empty where there is none."""
    group: str | None = None
    """Patient or caller; a row without one is a group of its own."""


def rows_of(predictions: pa.Table, examples: pa.Table) -> list[JudgedRow]:
    """The predictions of an evaluation beside the notes of their examples, in the order of the predictions.

    Args:
        predictions: id, predicted_label, predicted_rationale, rationale (the reference); others are not read.
        examples: table of `EXAMPLES_SCHEMA` with each of the ids.

    Raises:
        DataError: a prediction's example is not there.
    """
    notes = {row["id"]: row for row in examples.select(["id", "text", "group"]).to_pylist()}
    columns = ["id", "predicted_label", "predicted_rationale", "rationale"]
    rows = []
    for row in predictions.select(columns).to_pylist():
        example = notes.get(row["id"])
        if example is None:
            raise DataError(
                f"prediction {row['id']!r} has no example of that id among {len(notes)}; give the examples that the "
                "model was evaluated on"
            )
        rows.append(
            JudgedRow(
                id=row["id"],
                note=example["text"],
                decision=row["predicted_label"],
                rationale=row["predicted_rationale"],
                reference=row["rationale"],
                group=example["group"],
            )
        )
    return rows


def chosen_rows(rows: Sequence[JudgedRow], max_rows: int | None) -> list[JudgedRow]:
    """All rows, or the first `max_rows` by hash of the id, in the given order: nobody picks them.

    Raises:
        DataError: an id occurs twice; scores are joined by it.
    """
    twice = [id_ for id_, count in Counter(row.id for row in rows).items() if count > 1]
    if twice:
        raise DataError(
            f"row id {twice[0]!r} occurs more than once ({len(twice)} such ids); a score is joined by its id: make ids "
            "unique"
        )
    if max_rows is None or max_rows >= len(rows):
        return list(rows)
    by_hash = sorted(range(len(rows)), key=lambda place: hashlib.sha256(rows[place].id.encode()).digest())
    return [rows[place] for place in sorted(by_hash[:max_rows])]


def shielded_rows(rows: Sequence[JudgedRow], privacy: PrivacyConfig) -> tuple[list[JudgedRow], dict[str, WhyNotSent]]:
    """What may be sent, under the policy that the examples had, and id -> why not of the rest.

    With `redact`, equal values have equal placeholders in the note and in everything beside it, so that the judge can
    still compare them. A row in which `quarantine` finds something is not sent.
    """
    names = ("decision", "rationale", "reference")
    table = to_table(
        Example(row.id, row.note, label="", rationales={name: getattr(row, name) for name in names}) for row in rows
    )
    deidentified = deidentify_examples(table, privacy)
    sent: list[JudgedRow] = []
    not_sent: dict[str, WhyNotSent] = {}
    cleaned = iterate_examples(deidentified.examples)
    for row, example, num_findings in zip(rows, cleaned, deidentified.num_findings, strict=True):
        if not row.rationale.strip():
            not_sent[row.id] = "empty_rationale"
        elif num_findings and privacy.policy == "quarantine":
            not_sent[row.id] = "privacy"
        else:
            sent.append(replace(row, note=example.text, **example.rationales))
    return sent, not_sent
