"""Provenance of rationales: kept with the examples, and with the model that was trained on them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import TypedDict

import pyarrow as pa

from r2d.rationales.records import Candidate

PROVENANCE_SCHEMA = pa.schema(
    {
        **dict.fromkeys(("example_id", "split", "source", "rationale_sha256", "file"), pa.string()),
        "row": pa.int64(),
        **dict.fromkeys(("record_id", "author", "prompt_hash", "created_at", "parser", "label"), pa.string()),
        "edited_from": pa.string(),
        **dict.fromkeys(("edits", "checks_passed", "flags"), pa.list_(pa.string())),
    }
)
"""One row for each rationale that was taken: its origin and what was done to it. It holds no clinical text."""

REJECTED_SCHEMA = pa.schema(
    {
        **dict.fromkeys(("source", "reason", "detail", "file"), pa.string()),
        "row": pa.int64(),
        **dict.fromkeys(("record_id", "example_id", "label", "gold_label", "rationale", "content"), pa.string()),
    }
)
"""One row for each record that became no rationale. It holds what the record says, redacted as the
rationales that were taken: treat it as clinical data."""


def provenance_row(source: str, candidate: Candidate, edited_from: str | None) -> dict[str, object]:
    """The row of a rationale that was taken; `edited_from` names source and id of the record that it edits."""
    record, example = candidate.record, candidate.example
    return {
        "example_id": candidate.example_id,
        "split": example.split if example else None,
        "source": source,
        "rationale_sha256": hashlib.sha256(candidate.rationale.encode("utf-8", "surrogatepass")).hexdigest(),
        "edited_from": edited_from,
        **{name: getattr(record, name) for name in ("file", "row", "record_id", "author", "prompt_hash", "created_at")},
        **{name: getattr(candidate, name) for name in ("parser", "label", "edits", "checks_passed", "flags")},
    }


def rejected_row(source: str, candidate: Candidate) -> dict[str, object]:
    """The row of a record that became no rationale."""
    return {
        "source": source,
        "gold_label": candidate.gold or None,
        **{name: getattr(candidate.record, name) for name in ("file", "row", "record_id", "content")},
        **{name: getattr(candidate, name) for name in ("reason", "detail", "example_id", "label", "rationale")},
    }


def with_stages(provenance: pa.Table, stage_examples: Mapping[str, pa.Table]) -> pa.Table:
    """The provenance with the column `stages`: which of them took the rationale, for training or for evaluation.

    Args:
        stage_examples: stage -> its examples, `rationale_source` set.
    """
    stages: dict[tuple[str, str], list[str]] = {}
    for name, table in stage_examples.items():
        for key in zip(table["id"].to_pylist(), table["rationale_source"].to_pylist(), strict=True):
            stages.setdefault(key, []).append(name)
    keys = zip(provenance["example_id"].to_pylist(), provenance["source"].to_pylist(), strict=True)
    used = pa.array([stages.get(key, []) for key in keys], pa.list_(pa.string()))
    return provenance.append_column("stages", used)


class RationaleUse(TypedDict):
    """Rationales that one stage was trained on; a tag of the registered version as JSON."""

    stage: str
    source: str
    author: str | None
    prompt_hash: str | None
    num_rationales: int


def trained_on(provenance: pa.Table) -> list[RationaleUse]:
    """How many rationales of which source, author and prompt each stage was trained on, most first."""
    columns = [provenance[name].to_pylist() for name in ("split", "source", "author", "prompt_hash", "stages")]
    counts = Counter(
        (stage, source, author, prompt)
        for split, source, author, prompt, stages in zip(*columns, strict=True)
        if split == "train"
        for stage in stages
    )
    return [
        {"stage": stage, "source": source, "author": author, "prompt_hash": prompt, "num_rationales": count}
        for (stage, source, author, prompt), count in counts.most_common(50)
    ]
