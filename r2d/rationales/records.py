"""Records of rationale sources, one for each thing in a file, usable or not, and the reasons why one is rejected."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from r2d.data.examples import Example
from r2d.files import read_yaml

Reason = Literal[
    "malformed_record", "request_failed", "refused", "cancelled",
    "no_id", "unknown_id", "quarantined", "another_text", "repeated_record",
    "empty", "truncated", "unknown_mark", "prompt_repeated", "no_answer", "unclear_answer", "not_a_label",
    "no_rationale", "bad_json",
    "privacy", "disagrees_with_gold", "refusal", "loops", "markup", "too_short", "too_long", "copies_text", "repeated",
    "ungrounded",
    "contradicts_text", "leaks_label",
    "not_chosen", "superseded",
]  # fmt: skip
"""Why a record became no rationale, in the order in which it is checked."""

PHASES: dict[str, dict[Reason, str]] = read_yaml(Path(__file__).with_name("reasons.yaml"))
"""Where on its way a record is lost -> each reason in words."""

REASONS: dict[str, str] = {reason: words for reasons in PHASES.values() for reason, words in reasons.items()}
"""Each reason in words."""


class Record(NamedTuple):
    """One LLM output, annotation or written rationale, as its file holds it."""

    source: str
    file: str  # name of the file, without its folder
    row: int  # counted from 1: line of JSON Lines or of a CSV, place in a JSON list
    record_id: str = ""
    """Its own id, to which an edit can point: request, annotation or rationale id; empty where it has none."""
    example_id: str | None = None
    """The example it says it belongs to; None where it is joined by order, or says nothing."""
    text: str | None = None  # the text that it was written for, as its file says; None where that says nothing
    order: int | None = None  # place among the outputs of its source, from 0, where it is joined by order
    content: str | None = None  # text of an LLM, still to be parsed
    rationale: str | None = None  # a rationale that needs no parsing: written by a person, or in a separate field
    label: str | None = None  # the label stated beside `rationale`
    author: str | None = None  # model, or annotator's number or pseudonym
    prompt_hash: str | None = None
    created_at: str | None = None  # ISO 8601, as far as the file says
    stopped_at_limit: bool = False  # whether the model was cut off by its token limit
    edits: str | None = None  # `record_id` of the rationale that this one is the edited form of
    reason: Reason | None = None  # why it is unusable, where the file itself says so
    detail: str = ""  # a status or error code, or what the shape lacks; never text of the record


@dataclass(slots=True)
class Candidate:
    """One record, its example, and the results of parsing and of the checks."""

    record: Record
    example_id: str | None = None  # as the record says, or as its order says
    example: Example | None = None
    rationale: str = ""
    label: str | None = None
    """The source's own label, as declared; None where it states none, or one that is not allowed."""
    stated_label: bool = False  # whether the source states a label, allowed or not
    parser: str = ""
    edits: list[str] = field(default_factory=list)
    checks_passed: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # checks that it did not pass, whatever the policy made of them
    flags: list[str] = field(default_factory=list)
    """Faults that the policy flags, each with a detail behind a colon, if there is one."""
    reason: Reason | None = None  # why it was rejected; None where its rationale is taken
    detail: str = ""

    @property
    def accepted(self) -> bool:
        return self.reason is None

    @property
    def text(self) -> str:
        return self.example.text if self.example else ""

    @property
    def gold(self) -> str:
        return self.example.label if self.example else ""

    def details_of(self, name: str) -> str | None:
        """The details of the reason it was rejected for, or of a flag it was taken with; None where it has neither."""
        if not self.accepted:
            return self.detail if self.reason == name else None
        details = [detail.strip() for flag, _, detail in (full.partition(":") for full in self.flags) if flag == name]
        return "; ".join(filter(None, details)) if details else None

    def failed(self, check: Reason) -> bool:
        """Whether the rationale does not pass a check, whatever the policy made of that."""
        return check in self.faults or self.reason == check

    def reject(self, reason: Reason, detail: str = "") -> None:
        """Give the reason, unless there is an earlier one."""
        if self.reason is None:
            self.reason, self.detail = reason, detail
