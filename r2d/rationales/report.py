"""The ingestion report: one HTML page on the rationales taken, those rejected, and why. It quotes clinical text."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from r2d.config.validation import PrivacyConfig
from r2d.data.examples import SPLITS
from r2d.privacy.deidentify import deidentify_texts
from r2d.rationales.records import REASONS, Reason
from r2d.reports.templates import render

if TYPE_CHECKING:
    from r2d.rationales.candidates import Candidate
    from r2d.rationales.ingest import Ingestion

MAX_EXAMPLES = 10
"""Of each source and reason."""
SHOWN_CHARACTERS = 600
SHOWN_END = 180
"""Of a text that is cut, how much of its end is shown: there an answer stands, or is missing."""

PHASES: dict[str, tuple[Reason, ...]] = {
    "No usable record": ("malformed_record", "request_failed", "refused", "cancelled"),
    "No example for it": ("no_id", "unknown_id", "quarantined", "repeated_record"),
    "No rationale in it": ("empty", "truncated", "no_answer", "not_a_label", "no_rationale", "bad_json"),
    "Failed a check": (
        "privacy", "disagrees_with_gold", "too_short", "too_long", "copies_text", "repeated", "ungrounded",
        "leaks_label",
    ),
    "Another was taken": ("not_chosen", "superseded"),
}  # fmt: skip
"""Where on its way a record is lost -> the reasons, in the order in which they are looked for."""

_STAGES = {
    "stage1": "Stage 1: the label and the rationale, apart",
    "stage2": "Stage 2: the label, then the rationale for it; also evaluated against",
}


@dataclass(frozen=True)
class _Quote:
    """A record as it is shown."""

    place: str
    example_id: str
    gold: str
    stated: str
    detail: str
    kind: str
    """What `text` is: the rationale that was found, or the whole record where none was."""
    text: str


@dataclass(frozen=True)
class _Reason:
    """Why records of a source were rejected, or flagged, with some of them."""

    name: str
    words: str
    num_records: int
    quotes: Sequence[_Quote]


@dataclass(frozen=True)
class _Source:
    """What the page says of one source."""

    name: str
    counts: Mapping[str, Any]
    """As in the result of the ingestion."""
    losses: Sequence[tuple[str, int, int]]
    """(phase, records lost in it, records left after it), of the phases that lost some."""
    rejected: Sequence[_Reason]
    flagged: Sequence[_Reason]
    num_flagged: int
    """Rationales that were taken with a flag, or several."""


def render_ingestion_report(
    ingestion: Ingestion,
    *,
    stages: Mapping[str, Any],
    privacy: PrivacyConfig,
    title: str = "Ingestion report",
    synthetic: bool = False,
    notes: Sequence[str] = (),
) -> str:
    """The page as HTML text. It quotes rationales and records: treat it as the data it was made from.

    Args:
        stages: stage -> split -> rows, rows with a rationale and how many of each source (`choose.coverage`).
        privacy: what it finds in a quoted text is shown as a placeholder whatever the policy, unless that is `off`.
        synthetic: invented text, no real patients; said at the top.
    """
    counts = ingestion.result()["sources"]
    sources = [_source(name, ingestion.candidates[name], counts[name], privacy) for name in ingestion.candidates]
    return render(
        "r2d.rationales",
        "report.html.j2",
        title=title,
        sources=sources,
        stages=[(_STAGES.get(stage, stage), _names(rows), _in_order(rows)) for stage, rows in stages.items()],
        splits=SPLITS,
        reasons=REASONS,
        phases=PHASES,
        max_examples=MAX_EXAMPLES,
        privacy=privacy,
        synthetic=synthetic,
        notes=notes,
    )


def _source(name: str, candidates: Sequence[Candidate], counts: Mapping[str, Any], privacy: PrivacyConfig) -> _Source:
    rejected: dict[str, list[Candidate]] = {reason: [] for reason in counts["rejected"]}
    flagged: dict[str, list[Candidate]] = {flag: [] for flag in counts["flagged"]}
    for candidate in candidates:
        if candidate.reason is not None:
            rejected[candidate.reason].append(candidate)
        else:
            for flag in dict.fromkeys(_name_of(flag) for flag in candidate.flags):
                flagged[flag].append(candidate)
    shown = [one for several in (*rejected.values(), *flagged.values()) for one in _drawn(several)]
    hidden = _hidden((text for one in shown for text in (_text(one), _stated(one))), privacy)
    return _Source(
        name=name,
        counts=counts,
        losses=_losses(counts),
        rejected=[_reason(reason, several, hidden) for reason, several in rejected.items()],
        flagged=[_reason(flag, several, hidden) for flag, several in flagged.items()],
        num_flagged=sum(bool(candidate.flags) for candidate in candidates if candidate.accepted),
    )


def _losses(counts: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    losses, left = [], counts["num_records"]
    for phase, reasons in PHASES.items():
        lost = sum(counts["rejected"].get(reason, 0) for reason in reasons)
        left -= lost
        if lost:
            losses.append((phase, lost, left))
    return losses


def _reason(name: str, candidates: Sequence[Candidate], hidden: Mapping[str, str]) -> _Reason:
    words: Mapping[str, str] = {str(reason): text for reason, text in REASONS.items()}
    quotes = [
        _Quote(
            place=f"{one.record.file}:{one.record.row}",
            example_id=(one.target.id if one.target else one.record.example_id) or "",
            gold=one.gold,
            stated=_shortened(hidden[_stated(one)], 80, 0),
            detail="; ".join(_detail(one, name)),
            kind="Rationale" if one.rationale else "Record as delivered",
            text=_shortened(hidden[_text(one)], SHOWN_CHARACTERS, SHOWN_END),
        )
        for one in _drawn(candidates)
    ]
    return _Reason(name, words.get(name, name), len(candidates), quotes)


def _drawn(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that are shown: the first by a hash of where they stand, so that nobody picks them."""

    def draw(candidate: Candidate) -> bytes:
        record = candidate.record
        place = f"{record.source}\n{record.file}\n{record.row}\n{record.record_id}"
        return hashlib.blake2b(place.encode("utf-8", "surrogatepass"), digest_size=8).digest()

    return heapq.nsmallest(MAX_EXAMPLES, candidates, key=draw)


def _text(candidate: Candidate) -> str:
    return candidate.rationale or candidate.record.content or candidate.record.rationale or ""


def _stated(candidate: Candidate) -> str:
    """The source's own label; as it was written, where it is none of the allowed ones."""
    return candidate.label or candidate.record.label or ""


def _detail(candidate: Candidate, name: str) -> list[str]:
    """What was counted, for a rejection or for the flag of that name."""
    if candidate.reason is not None:
        return [candidate.detail] if candidate.detail else []
    return [flag.partition(":")[2].strip() for flag in candidate.flags if _name_of(flag) == name and ":" in flag]


def _name_of(flag: str) -> str:
    """A flag without the detail behind its colon."""
    return flag.partition(":")[0]


def _hidden(texts: Iterable[str], privacy: PrivacyConfig) -> dict[str, str]:
    """Text -> what the page may show of it: before anything is cut, identifying text is replaced."""
    policy = "off" if privacy.policy == "off" else "redact"
    distinct = list(dict.fromkeys(texts))
    found = deidentify_texts(distinct, privacy.model_copy(update={"policy": policy}))
    return {text: shown for text, (shown, _) in zip(distinct, found, strict=True)}


def _shortened(text: str, length: int, end: int) -> str:
    """A long text as its beginning and its end, with how much is left out between."""
    text = text.strip()
    if len(text) <= length + 40:
        return text
    return f"{text[: length - end].rstrip()} […{len(text) - length:,} characters…] {text[len(text) - end :].lstrip()}"


def _names(coverage: Mapping[str, Any]) -> list[str]:
    """The sources that a stage draws from, in the order in which they first occur."""
    return list(dict.fromkeys(name for rows in coverage.values() for name in rows["sources"]))


def _in_order(coverage: Mapping[str, Any]) -> dict[str, Any]:
    return {split: coverage[split] for split in SPLITS if split in coverage}
