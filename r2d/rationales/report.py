"""The ingestion report: one HTML page on the rationales taken, those rejected, and why. It quotes clinical text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from r2d.config.validation import PrivacyConfig
from r2d.data.examples import SPLITS
from r2d.files import order_by_hash
from r2d.privacy.deidentify import deidentify_texts
from r2d.rationales.ingest import Coverage, Ingestion, SourceCounts
from r2d.rationales.records import PHASES, REASONS, Candidate
from r2d.reports.templates import render

MAX_EXAMPLES = 10
"""Of each source and reason."""
SHOWN_CHARACTERS = 600
SHOWN_END = 180
"""Of a text that is cut, how much of its end is shown: there an answer stands, or is missing."""
STAGES = {
    "stage1": "Stage 1: the label and the rationale, apart",
    "stage2": "Stage 2: the label, then the rationale for it; also evaluated against",
}


class Quote(NamedTuple):
    """A record as it is shown."""

    candidate: Candidate
    stated: str
    """The source's own label; as it was written, where it is none of the allowed ones."""
    detail: str
    text: str
    """The rationale, or the whole record where it holds none."""


class QuotedReason(NamedTuple):
    """Why records of a source were rejected, or flagged, with a sample of them."""

    name: str
    words: str
    num_records: int
    quotes: Sequence[Quote]


class ShownSource(NamedTuple):
    """One source on the page."""

    name: str
    counts: SourceCounts
    losses: Sequence[tuple[str, int, int]]
    """(phase, records lost in it, records left after it), of the phases that lost some."""
    rejected: Sequence[QuotedReason]
    flagged: Sequence[QuotedReason]
    num_flagged: int
    """Rationales that were taken with a flag, or several."""


def render_ingestion_report(
    ingestion: Ingestion,
    *,
    stages: Mapping[str, Coverage],
    privacy: PrivacyConfig,
    title: str = "Ingestion report",
    synthetic: bool = False,
    notes: Sequence[str] = (),
) -> str:
    """The page as HTML text. It quotes rationales and records: treat it as the data it was made from.

    Args:
        stages: stage -> split -> rows, rows with a rationale and how many of each source.
        privacy: what it finds in a quoted text is shown as a placeholder whatever the policy, unless that is `off`.
        synthetic: invented text, no real patients; stated at the top.
    """
    shown_stages = [
        (
            STAGES.get(stage, stage),
            list(dict.fromkeys(name for rows in by_split.values() for name in rows["sources"])),
            {split: by_split[split] for split in SPLITS if split in by_split},
        )
        for stage, by_split in stages.items()
    ]
    sources = []
    for name, candidates in ingestion.candidates.items():
        counts = SourceCounts.of(candidates)
        losses, left = [], counts.num_records
        for phase, reasons in PHASES.items():
            lost = sum(counts.rejected.get(reason, 0) for reason in reasons)
            left -= lost
            if lost:
                losses.append((phase, lost, left))
        rejected = [
            _quoted_reason(reason, [candidate for candidate in candidates if candidate.reason == reason], privacy)
            for reason in counts.rejected
        ]
        taken = [candidate for candidate in candidates if candidate.accepted]
        flagged = [
            _quoted_reason(flag, [candidate for candidate in taken if candidate.details_of(flag) is not None], privacy)
            for flag in counts.flagged
        ]
        num_flagged = sum(bool(candidate.flags) for candidate in taken)
        sources.append(ShownSource(name, counts, losses, rejected, flagged, num_flagged))
    return render(
        "r2d.rationales",
        "report.html.j2",
        title=title,
        sources=sources,
        stages=shown_stages,
        splits=SPLITS,
        reasons=REASONS,
        phases=PHASES,
        privacy=privacy,
        synthetic=synthetic,
        notes=notes,
    )


def _quoted_reason(name: str, candidates: Sequence[Candidate], privacy: PrivacyConfig) -> QuotedReason:
    """A reason or flag with a sample of its records, drawn by a hash of their place in the files."""
    records = [candidate.record for candidate in candidates]
    places = [f"{record.source}\n{record.file}\n{record.row}\n{record.record_id}" for record in records]
    sample = [candidates[place] for place in order_by_hash(places)[:MAX_EXAMPLES]]
    texts = [item.rationale or item.record.content or item.record.rationale or "" for item in sample]
    labels = [item.label or item.record.label or "" for item in sample]
    # Identifying text is replaced before a text is cut: half a number would not be found.
    policy = privacy.model_copy(update={"policy": "off" if privacy.policy == "off" else "redact"})
    safe_texts, safe_labels = ([text for text, _ in deidentify_texts(values, policy)] for values in (texts, labels))
    quotes = [
        Quote(
            candidate,
            stated=_shortened(label, 80, 0),
            detail=(candidate.details_of(name) or "") if candidate.accepted else candidate.detail,
            text=_shortened(text, SHOWN_CHARACTERS, SHOWN_END),
        )
        for candidate, text, label in zip(sample, safe_texts, safe_labels, strict=True)
    ]
    return QuotedReason(name, REASONS.get(name, name), len(candidates), quotes)


def _shortened(text: str, length: int, end: int) -> str:
    """A long text as its beginning and its end, with how much is left out between."""
    text = text.strip()
    if len(text) <= length + 40:
        return text
    return f"{text[: length - end].rstrip()} […{len(text) - length:,} characters…] {text[len(text) - end :].lstrip()}"
