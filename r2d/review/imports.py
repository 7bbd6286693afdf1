"""Reviews that were made elsewhere, without the model's answer: from Label Studio or another tool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from r2d.config.rationales import LabelStudioSource
from r2d.errors import DataError
from r2d.rationales.readers.items import read_items
from r2d.rationales.readers.written import label_studio_records
from r2d.review.store import Kind, ReviewStore
from r2d.review.verdicts import verdicts_of
from r2d.text import match_label

UNKNOWN_REVIEWER = "Label Studio"


class BlindReview(NamedTuple):
    """What one person said of one case without seeing the model's answer."""

    case_id: str
    reviewer: str
    label: str | None
    """None where the person declined to judge."""
    rationale: str | None = None
    at: str | None = None
    """When, ISO 8601; None for now."""


def add_blind_reviews(store: ReviewStore, reviews: Iterable[BlindReview]) -> int:
    """Add reviews, and return how many are new.

    A label becomes the reviewer's blind label and a correction that gives it, with the rationale. Left out is a review
    of an unknown case or with an unknown label, and any but the first of a reviewer and a case.
    """
    cases = {case.case_id: case for case in store.cases()}
    events = store.events()
    done = {key for key, verdict in verdicts_of(events).items() if verdict.is_done}
    last = Counter[str]()
    for event in events:
        last[event.reviewer] = max(last[event.reviewer], event.ordinal)
    num_new = 0
    for review in reviews:
        case, who = cases.get(review.case_id), review.reviewer
        label = None if case is None else match_label(review.label, case.labels)
        if case is None or (who, case.number) in done or (label is None and review.label is not None):
            continue
        value: dict[str, Any] = {"label": label} | ({"rationale": review.rationale} if review.rationale else {})
        actions: list[tuple[Kind, dict[str, Any]]] = [("label", {"label": label}), ("correct", value)]
        for kind, content in actions if label is not None else [("decline", {})]:
            last[who] = store.record(who, case, kind, content, after=last[who], at=review.at).ordinal
        done.add((who, case.number))
        num_new += 1
    return num_new


def import_label_studio(store: ReviewStore, path: Path) -> int:
    """Add the annotations of a JSON export of Label Studio, and return how many are new.

    Its tasks are those of `tasks.json` (`r2d.review.exports`). An annotator's address is kept as a hash, as for
    rationales.

    Raises:
        DataError: the file is no such export, or none of its annotations is of a case of the database.
    """
    source = LabelStudioSource(format="label_studio", paths=(str(path),))
    known = {case.case_id for case in store.cases()}
    items = read_items("label_studio", source.paths, form="list")
    records = [record for item in items for record in label_studio_records(source, item) if record.example_id in known]
    if not records:
        raise DataError(f"{path}: none of its annotations is of a case of the database; their `data.id` is the case's")
    return add_blind_reviews(
        store,
        [
            BlindReview(
                str(record.example_id), record.author or UNKNOWN_REVIEWER, record.label, record.rationale,
                record.created_at,
            )
            for record in records
            if record.label and record.reason != "cancelled"
        ],
    )  # fmt: skip
