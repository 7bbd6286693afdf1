"""What a reader of a rationale source gives: one record for each thing in a file, usable or not; none is dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reason = Literal[
    # of the record
    "malformed_record", "request_failed", "refused", "cancelled", "no_id", "unknown_id", "quarantined",
    # of its text
    "empty", "truncated", "no_answer", "not_a_label", "no_rationale", "bad_json",
    # of the rationale beside its text
    "disagrees_with_gold", "leaks_label", "too_short", "too_long", "copies_text", "repeated", "ungrounded", "privacy",
    # of its place among others
    "repeated_record", "not_chosen", "superseded",
]  # fmt: skip
"""Why a record became no rationale."""

REASONS: dict[Reason, str] = {
    "malformed_record": "the record does not have the shape of its format",
    "request_failed": "the request failed, expired or was never answered",
    "refused": "the model refused to answer",
    "cancelled": "the annotation was cancelled, discarded or is a draft",
    "no_id": "the record names no example",
    "unknown_id": "no example has this id",
    "quarantined": "the validation set its example aside",
    "empty": "nothing is left once spaces and reasoning are removed",
    "truncated": "the output ends before an answer, at its token limit",
    "no_answer": "no answer is stated in a configured style",
    "not_a_label": "the stated answer is none of the labels",
    "no_rationale": "there is an answer but no rationale",
    "bad_json": "the output is not the JSON object that was asked for",
    "disagrees_with_gold": "the source's own label is another than the gold one",
    "leaks_label": "the gold label stands verbatim in the rationale",
    "too_short": "shorter than the configured minimum",
    "too_long": "longer than the configured maximum",
    "copies_text": "mostly copied from the text",
    "repeated": "word for word the rationale of too many different texts",
    "ungrounded": "names a number or a finding that stands nowhere in the text",
    "privacy": "identifies a person",
    "repeated_record": "the same record once more",
    "not_chosen": "another rationale of this source was taken for the example",
    "superseded": "a later, edited form of it was taken",
}


@dataclass(frozen=True, slots=True)
class Record:
    """One LLM output, annotation or written rationale, as it stands in its file."""

    source: str
    file: str
    """Name of the file, without its folder."""
    row: int
    """Counted from 1: line of JSON Lines or of a CSV, place in a JSON list."""
    record_id: str = ""
    """Its own id, to which an edit can point: request, annotation or rationale id; empty where it has none."""
    example_id: str | None = None
    """The example it says it belongs to; None where it is joined by order, or says nothing."""
    order: int | None = None
    """Place among the outputs of its source, from 0, where it is joined by order."""
    content: str | None = None
    """Text of an LLM, still to be parsed."""
    rationale: str | None = None
    """A rationale that stands for itself: written by a person, or in a field of its own."""
    label: str | None = None
    """The label stated beside `rationale`."""
    author: str | None = None
    """Model, or annotator's number or pseudonym."""
    prompt_hash: str | None = None
    created_at: str | None = None
    """ISO 8601, as far as the file says."""
    stopped_at_limit: bool = False
    """Whether the model was cut off by its token limit."""
    edits: str | None = None
    """`record_id` of the rationale that this one is the edited form of."""
    reason: Reason | None = None
    """Why it is unusable, where the file itself says so."""
    detail: str = ""
    """A status or error code, or what the shape lacks; never text of the record."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What was found in the text of one record."""

    rationale: str = ""
    label: str | None = None
    """One of the labels that were allowed; None where none is stated."""
    parser: str = ""
    """Which pattern or structure matched: `answer_patterns[0]`, `json`, `as written`."""
    edits: tuple[str, ...] = ()
    """What was done to the text: `reasoning removed`, `run-on cut`, `repaired label`."""
    reason: Reason | None = None
    detail: str = ""
