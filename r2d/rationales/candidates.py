"""A record on its way to become a rationale: the example it belongs to, what was found in it, what became of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from r2d.config.data import LabelsConfig
from r2d.config.rationales import ParseConfig
from r2d.errors import DataError
from r2d.rationales.parsing import parse
from r2d.rationales.records import Reason, Record
from r2d.text import match_label


@dataclass(frozen=True, slots=True)
class Target:
    """What an example brings to the joining and judging of its rationales."""

    id: str
    text: str
    label: str
    options: Sequence[str]
    split: str


@dataclass(slots=True)
class Candidate:
    """One record, its example and everything that was decided about it."""

    record: Record
    example_id: str | None = None
    """As the record says, or as its order says."""
    target: Target | None = None
    rationale: str = ""
    label: str | None = None
    """The source's own label, as declared; None where it states none, or one that is not allowed."""
    stated_label: bool = False
    parser: str = ""
    edits: list[str] = field(default_factory=list)
    checks_passed: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Checks that it did not pass, whatever the policy made of them."""
    flags: list[str] = field(default_factory=list)
    reason: Reason | None = None
    detail: str = ""

    @property
    def accepted(self) -> bool:
        return self.reason is None

    @property
    def text(self) -> str:
        return self.target.text if self.target else ""

    @property
    def gold(self) -> str:
        return self.target.label if self.target else ""

    def reject(self, reason: Reason, detail: str = "") -> None:
        """Give the reason, unless there is an earlier one."""
        if self.reason is None:
            self.reason, self.detail = reason, detail


def join(
    source: str,
    records: Sequence[Record],
    targets: Mapping[str, Target],
    ids_by_row: Sequence[str],
    quarantined: Collection[str],
) -> list[Candidate]:
    """A candidate for each record, with its example where it names one that is there.

    Args:
        targets: example id -> example.
        ids_by_row: id of every row of the data as delivered, quarantined ones too: what the order refers to.
        quarantined: ids of the rows that the validation set aside.

    Raises:
        DataError: records are joined by order and their number is not that of the rows.
    """
    ordered = [record for record in records if record.order is not None]
    if ordered and len(ordered) != len(ids_by_row):
        raise DataError(
            f"rationales.sources.{source}: {len(ordered):,} outputs are joined by order to {len(ids_by_row):,} "
            "examples; the counts must be equal. Name all files of the source, in the order of the data, or join by id"
        )
    seen: set[tuple[str, ...]] = set()
    candidates = []
    for record in records:
        example_id = record.example_id if record.order is None else ids_by_row[record.order]
        candidate = Candidate(record, example_id, targets.get(example_id or ""))
        identity = (
            record.record_id,
            example_id or "",
            record.content or "",
            record.rationale or "",
            record.label or "",
        )
        if record.reason is not None:
            candidate.reject(record.reason, record.detail)
        elif not example_id:
            candidate.reject("no_id")
        elif candidate.target is None:
            candidate.reject("quarantined" if example_id in quarantined else "unknown_id")
        elif record.order is None and identity in seen:
            candidate.reject("repeated_record")
        seen.add(identity)
        candidates.append(candidate)
    return candidates


def read_answer(candidate: Candidate, config: ParseConfig | None, labels: LabelsConfig) -> None:
    """Find the rationale and the label of a candidate: in the text of an LLM by the parser, else as written."""
    record, target = candidate.record, candidate.target
    if not candidate.accepted or target is None:
        return
    options = target.options if labels.per_row else labels.names
    if record.content is None:
        candidate.rationale = (record.rationale or "").strip()
        candidate.label = match_label(record.label, options)
        candidate.stated_label = bool(record.label and record.label.strip())
        candidate.parser = "as written"
        if not candidate.rationale:
            candidate.reject("no_rationale" if candidate.stated_label else "empty")
        return
    parsed = parse(record.content, options, config or ParseConfig(), stopped_at_limit=record.stopped_at_limit)
    candidate.rationale, candidate.label = parsed.rationale, parsed.label
    candidate.stated_label = parsed.label is not None
    candidate.parser, candidate.edits = parsed.parser, list(parsed.edits)
    if parsed.reason is not None:
        candidate.reject(parsed.reason, parsed.detail)


def choose_one(candidates: Sequence[Candidate], rule: str) -> None:
    """Leave each example with one rationale of a source: edited forms win over what they edit, then `rule` decides."""
    by_id = {candidate.record.record_id: candidate for candidate in candidates if candidate.record.record_id}
    for candidate in candidates:
        original = by_id.get(candidate.record.edits or "")
        if original is not None and original is not candidate and candidate.accepted:
            original.reject("superseded")
    rivals: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        if candidate.accepted and candidate.target is not None:
            rivals.setdefault(candidate.target.id, []).append(candidate)
    for several in rivals.values():
        taken = {"first": several[0], "last": several[-1]}.get(rule) or max(several, key=lambda one: len(one.rationale))
        for candidate in several:
            if candidate is not taken:
                candidate.reject("not_chosen")
