"""Provenance of rationales: kept with the examples, and with the model that was trained on them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from r2d.rationales.records import Candidate

PROVENANCE_SCHEMA = pa.schema(
    [
        ("example_id", pa.string()),
        ("split", pa.string()),
        ("source", pa.string()),
        ("rationale_sha256", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("record_id", pa.string()),
        ("author", pa.string()),
        ("prompt_hash", pa.string()),
        ("created_at", pa.string()),
        ("parser", pa.string()),
        ("label", pa.string()),
        ("edited_from", pa.string()),
        ("edits", pa.list_(pa.string())),
        ("checks_passed", pa.list_(pa.string())),
        ("flags", pa.list_(pa.string())),
    ]
)
"""One row for each rationale that was taken: its origin and what was done to it. It holds no clinical text."""


def provenance_table(candidates: Mapping[str, Sequence[Candidate]], origins: Mapping[str, str]) -> pa.Table:
    """Table of `PROVENANCE_SCHEMA`.

    Args:
        candidates: source -> its records.
        origins: id of a record -> its source, for edited forms.
    """
    rows = []
    for name, of_source in candidates.items():
        for candidate in of_source:
            record, target = candidate.record, candidate.target
            if not candidate.accepted or target is None:
                continue
            text = candidate.rationale.encode("utf-8", "surrogatepass")
            rows.append(
                {
                    "example_id": target.id,
                    "split": target.split,
                    "source": name,
                    "rationale_sha256": hashlib.sha256(text).hexdigest(),
                    "file": record.file,
                    "row": record.row,
                    "record_id": record.record_id,
                    "author": record.author,
                    "prompt_hash": record.prompt_hash,
                    "created_at": record.created_at,
                    "parser": candidate.parser,
                    "label": candidate.label,
                    "edited_from": f"{origins.get(record.edits, 'unknown')}: {record.edits}" if record.edits else None,
                    "edits": candidate.edits,
                    "checks_passed": candidate.checks_passed,
                    "flags": candidate.flags,
                }
            )
    return pa.Table.from_pylist(rows, schema=PROVENANCE_SCHEMA)


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


def trained_on(provenance: pa.Table) -> list[dict[str, Any]]:
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
