"""The ingestion report: one HTML page on the rationales taken, those rejected, and why. It quotes clinical text."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r2d.config.validation import PrivacyConfig
from r2d.data.examples import SPLITS
from r2d.privacy.deidentify import deidentify_texts
from r2d.rationales.ingest import Ingestion, SourceCounts
from r2d.rationales.records import PHASES, REASONS, Candidate
from r2d.reports.templates import render

MAX_EXAMPLES = 10
"""Of each source and reason."""
SHOWN_CHARACTERS = 600
SHOWN_END = 180
"""Of a text that is cut, how much of its end is shown: there an answer stands, or is missing."""

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
    """The source's own label; as it was written, where it is none of the allowed ones."""
    detail: str
    kind: str
    """What `text` is: the rationale, or the whole record where it holds none."""
    text: str


@dataclass(frozen=True)
class _Reason:
    """Why records of a source were rejected, or flagged, with a sample of them."""

    name: str
    words: str
    num_records: int
    quotes: Sequence[_Quote]


@dataclass(frozen=True)
class _Source:
    """One source on the page."""

    name: str
    counts: SourceCounts
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
        stages: stage -> split -> rows, rows with a rationale and how many of each source (`ingest.coverage`).
        privacy: what it finds in a quoted text is shown as a placeholder whatever the policy, unless that is `off`.
        synthetic: invented text, no real patients; stated at the top.
    """
    counts = ingestion.counts()
    shown_stages = []
    for stage, by_split in stages.items():
        names = list(dict.fromkeys(name for rows in by_split.values() for name in rows["sources"]))
        in_order = {split: by_split[split] for split in SPLITS if split in by_split}
        shown_stages.append((_STAGES.get(stage, stage), names, in_order))
    return render(
        "r2d.rationales",
        "report.html.j2",
        title=title,
        sources=[_source(name, ingestion.candidates[name], counts[name], privacy) for name in ingestion.candidates],
        stages=shown_stages,
        splits=SPLITS,
        reasons=REASONS,
        phases=PHASES,
        max_examples=MAX_EXAMPLES,
        privacy=privacy,
        synthetic=synthetic,
        notes=notes,
    )


def _source(name: str, candidates: Sequence[Candidate], counts: SourceCounts, privacy: PrivacyConfig) -> _Source:
    rejected: dict[str, list[Candidate]] = {reason: [] for reason in counts.rejected}
    flagged: dict[str, list[Candidate]] = {flag: [] for flag in counts.flagged}
    for candidate in candidates:
        if candidate.reason is not None:
            rejected[candidate.reason].append(candidate)
        else:
            for flag in dict.fromkeys(flag.partition(":")[0] for flag in candidate.flags):
                flagged[flag].append(candidate)
    losses, left = [], len(candidates)
    for phase, reasons in PHASES.items():
        lost = sum(len(rejected.get(reason, ())) for reason in reasons)
        left -= lost
        if lost:
            losses.append((phase, lost, left))
    return _Source(
        name=name,
        counts=counts,
        losses=losses,
        rejected=[_reason(reason, several, privacy) for reason, several in rejected.items()],
        flagged=[_reason(flag, several, privacy) for flag, several in flagged.items()],
        num_flagged=sum(bool(candidate.flags) for candidate in candidates if candidate.accepted),
    )


def _reason(name: str, candidates: Sequence[Candidate], privacy: PrivacyConfig) -> _Reason:
    """A reason with the first records by a hash of their place, so that nobody picks them."""

    def draw(candidate: Candidate) -> bytes:
        record = candidate.record
        place = f"{record.source}\n{record.file}\n{record.row}\n{record.record_id}"
        return hashlib.blake2b(place.encode("utf-8", "surrogatepass"), digest_size=8).digest()

    sample = heapq.nsmallest(MAX_EXAMPLES, candidates, key=draw)
    texts = [one.rationale or one.record.content or one.record.rationale or "" for one in sample]
    stated_labels = [one.label or one.record.label or "" for one in sample]
    # Identifying text is replaced before a text is cut: half a number would not be found.
    policy = privacy.model_copy(update={"policy": "off" if privacy.policy == "off" else "redact"})
    safe_texts, safe_labels = ([text for text, _ in deidentify_texts(some, policy)] for some in (texts, stated_labels))
    quotes = []
    for candidate, text, stated in zip(sample, safe_texts, safe_labels, strict=True):
        flags = [flag.partition(":") for flag in candidate.flags]
        details = [detail.strip() for flag, colon, detail in flags if flag == name and colon]
        quotes.append(
            _Quote(
                place=f"{candidate.record.file}:{candidate.record.row}",
                example_id=(candidate.example.id if candidate.example else candidate.record.example_id) or "",
                gold=candidate.gold,
                stated=_shortened(stated, 80, 0),
                detail="; ".join(details) if candidate.accepted else candidate.detail,
                kind="Rationale" if candidate.rationale else "Record as delivered",
                text=_shortened(text, SHOWN_CHARACTERS, SHOWN_END),
            )
        )
    words = next((words for reason, words in REASONS.items() if reason == name), name)
    return _Reason(name, words, len(candidates), quotes)


def _shortened(text: str, length: int, end: int) -> str:
    """A long text as its beginning and its end, with how much is left out between."""
    text = text.strip()
    if len(text) <= length + 40:
        return text
    return f"{text[: length - end].rstrip()} […{len(text) - length:,} characters…] {text[len(text) - end :].lstrip()}"
