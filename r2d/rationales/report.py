"""The ingestion report: one HTML page on the rationales taken, those rejected, and why. It quotes clinical text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from r2d.config.privacy import PrivacyConfig
from r2d.data.examples import SPLITS
from r2d.files import order_by_hash
from r2d.privacy.deidentify import deidentify_texts
from r2d.rationales.ingest import Coverage, Ingestion
from r2d.rationales.records import PHASES, REASONS, Candidate
from r2d.reports.templates import render

MAX_EXAMPLES = 10  # of each source and reason
SHOWN_CHARACTERS = 600
SHOWN_END = 180  # of a text that is cut, how much of its end is shown: there an answer stands, or is missing


class Quote(NamedTuple):
    """A record as it is shown."""

    candidate: Candidate
    stated: str  # the source's own label; as it was written, where it is none of the allowed ones
    detail: str
    text: str  # the rationale, or the whole record where it holds none


def render_ingestion_report(
    ingestion: Ingestion, *, stages: Mapping[str, Coverage], privacy: PrivacyConfig, synthetic: bool = False
) -> str:
    """The page as HTML text. It quotes rationales and records: treat it as the data it was made from.

    Args:
        stages: stage -> split -> rows, rows with a rationale and how many of each source.
        privacy: what it finds in a quoted text is shown as a placeholder whatever the policy, unless that is `off`.
        synthetic: invented text, no real patients; stated at the top.
    """
    return render(
        "r2d.rationales",
        "report.html.j2",
        title="Ingestion report",
        sources=ingestion.counts(),
        candidates=ingestion.candidates,
        quotes=partial(_quotes, privacy=privacy),
        stages=stages,
        splits=SPLITS,
        reasons=REASONS,
        phases=PHASES,
        privacy=privacy,
        synthetic=synthetic,
    )


def _quotes(candidates: Sequence[Candidate], name: str, *, taken: bool, privacy: PrivacyConfig) -> list[Quote]:
    """A sample of the records that were taken with a flag, or rejected for a reason, by a hash of their place in the
    files."""
    candidates = [item for item in candidates if item.accepted == taken and item.details_of(name) is not None]
    records = [candidate.record for candidate in candidates]
    places = [f"{record.source}\n{record.file}\n{record.row}\n{record.record_id}" for record in records]
    sample = [candidates[place] for place in order_by_hash(places)[:MAX_EXAMPLES]]
    texts = [item.rationale or item.record.content or item.record.rationale or "" for item in sample]
    labels = [item.label or item.record.label or "" for item in sample]
    # Identifying text is replaced before a text is cut: half a number would not be found.
    policy = privacy.model_copy(update={"policy": "off" if privacy.policy == "off" else "redact"})
    safe_texts, safe_labels = ([text for text, _ in deidentify_texts(values, policy)] for values in (texts, labels))
    return [
        Quote(
            candidate,
            stated=_shortened(label, 80, 0),
            detail=candidate.details_of(name) or "",
            text=_shortened(text, SHOWN_CHARACTERS, SHOWN_END),
        )
        for candidate, text, label in zip(sample, safe_texts, safe_labels, strict=True)
    ]


def _shortened(text: str, length: int, end: int) -> str:
    """A long text as its beginning and its end, with how much is left out between."""
    text = text.strip()
    if len(text) <= length + 40:
        return text
    return f"{text[: length - end].rstrip()} […{len(text) - length:,} characters…] {text[len(text) - end :].lstrip()}"
