"""Reviews that were made elsewhere, without the model's answer: from Label Studio or another tool."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from r2d.config.rationales import LabelStudioSource
from r2d.errors import DataError
from r2d.rationales.readers.items import read_items
from r2d.rationales.readers.written import label_studio_records
from r2d.review.store import EventValue, Kind, ReviewStore, reviewer_name, spelling_among
from r2d.review.verdicts import FEWEST_CHARACTERS, is_learnable, verdicts_of
from r2d.text import first_of, match_label, normalise_label, plural, show_name

UNKNOWN_REVIEWER = "Label Studio"

logger = logging.getLogger(__name__)


class BlindReview(NamedTuple):
    """What one person said of one case without seeing the model's answer."""

    case_id: str
    reviewer: str
    label: str | None
    """None where the person declined to judge."""
    rationale: str | None = None
    at: str | None = None
    """When, ISO 8601; None for now."""
    text: str | None = None
    """What the person read; None where that is not known."""

    @property
    def holds_nul(self) -> bool:
        """Whether a text of it holds the character NUL, which no database of reviews should."""
        return "\x00" in "".join(filter(None, (self.reviewer, self.rationale)))


def add_blind_reviews(store: ReviewStore, reviews: Iterable[BlindReview]) -> int:
    """Add reviews, and return how many are new.

    A label becomes the reviewer's blind label and a correction that gives it, with the rationale. Left out is any
    review but the first of a reviewer and a case. Left out too, and named in a warning, is one of another text than the
    case with its id, or with a label that the case does not have; those of unknown cases are counted there, for the id
    may be that of a person who was erased. A rationale that no model would be trained on, as the review page has it, is
    left out, and the label taken; a warning names these too.

    Raises:
        DataError: one holds the character NUL. Nothing was added.
    """
    reviews = list(reviews)
    if num_broken := sum(review.holds_nul for review in reviews):
        raise DataError(
            f"{num_broken:,} of {len(reviews):,} reviews hold the character NUL; remove it from their rationales and "
            "names. Nothing was added"
        )
    cases = {case.case_id: case for case in store.cases()}
    events = store.events()
    done = {key for key, verdict in verdicts_of(events).items() if verdict.is_done}
    last = Counter[str]()
    for event in events:
        last[event.reviewer] = max(last[event.reviewer], event.ordinal)
    num_new, num_unknown = 0, 0
    undeclared, others, unlearnable = Counter[str](), Counter[str](), Counter[str]()
    for review in reviews:
        case, who = cases.get(review.case_id), spelling_among(set(last), reviewer_name(review.reviewer))
        if case is None:
            num_unknown += 1
            continue
        if (who, case.number) in done:
            continue
        label = match_label(review.label, case.labels)
        if label is None and review.label is not None:
            undeclared[review.case_id] += 1
            continue
        if review.text is not None and normalise_label(review.text) != normalise_label(case.text):
            others[review.case_id] += 1
            continue
        value: EventValue = {"label": label}
        if rationale := (review.rationale or "").strip():
            if is_learnable(rationale):
                value["rationale"] = rationale
            else:
                unlearnable[review.case_id] += 1
        actions: list[tuple[Kind, EventValue]] = [("label", {"label": label}), ("correct", value)]
        for kind, content in actions if label is not None else [("decline", {})]:
            last[who] = store.record(who, case, kind, content, after=last[who], at=review.at).ordinal
        done.add((who, case.number))
        num_new += 1
    if num_unknown:
        logger.warning("%s of no case of the database: left out", plural(num_unknown, "review"))
    for piece, what, ids in (
        ("review", "with a label that the case does not have: left out", undeclared),
        ("review", "of another text than the case of that id: left out", others),
        (
            "rationale",
            f"of fewer than {FEWEST_CHARACTERS} characters, or that reads as none: left out, and the label taken",
            unlearnable,
        ),
    ):
        if ids:
            logger.warning("%s %s: %s", plural(ids.total(), piece), what, first_of(list(map(show_name, ids))))
    return num_new


def import_label_studio(store: ReviewStore, path: Path) -> int:
    """Add the annotations of a JSON export of Label Studio, and return how many are new.

    Its tasks are those of `tasks.json` (`r2d.review.exports`). An annotator's address is kept as a hash, as for
    rationales.

    Raises:
        DataError: the file is no such export, an annotation has no time, or none is of a case of the database.
    """
    source = LabelStudioSource(format="label_studio", paths=(str(path),))
    known = {case.case_id for case in store.cases()}
    records = [
        record._replace(text=_text_of(item.value))
        for item in read_items("label_studio", source.paths, form="list")
        for record in label_studio_records(source, item)
    ]
    if not any(record.example_id in known for record in records):
        raise DataError(f"{path}: none of its annotations is of a case of the database; their `data.id` is the case's")
    records = [record for record in records if record.label and record.reason != "cancelled"]
    if untimed := [record for record in records if record.created_at is None and record.example_id in known]:
        places = first_of([str(record.row) for record in untimed])
        raise DataError(
            f"{path}: {len(untimed):,} of {len(records):,} annotations have no time (tasks {places}); give created_at "
            "as 2026-11-29T17:00:00Z. Nothing was added"
        )
    return add_blind_reviews(
        store,
        [
            BlindReview(
                str(record.example_id), record.author or UNKNOWN_REVIEWER, record.label, record.rationale,
                record.created_at, record.text,
            )
            for record in records
        ],
    )  # fmt: skip


def _text_of(task: Any) -> str | None:
    """The text that the annotators of a task saw; None where the export does not say it."""
    data = task.get("data", task) if isinstance(task, dict) else None
    text = data.get("text") if isinstance(data, dict) else None
    return text if isinstance(text, str) else None
