"""What a finding is: where an identifier stands and how sure we are, never the identifier itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from r2d.config.validation import Recogniser

FINDINGS_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("recogniser", pa.string(), nullable=False),
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ]
)
"""One row a finding, ordered by `row`, then `start`. Offsets count characters, as Python does, not bytes. No text."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`text[start:end]` identifies someone; `score` is higher where a checksum passed or a telling word stands near."""

    recogniser: Recogniser
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Detector:
    """One way of looking: a cheap hint for whole columns, then a careful look at the rows that it leaves."""

    hint: str
    """RE2 pattern that matches wherever `detect` finds something (a test holds it to that)."""
    detect: Callable[[str], Iterator[Finding]]
    """Findings in a text. They may overlap."""


def without_overlaps(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that win where several claim the same characters (higher score, then longer), by position."""
    kept: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (-f.score, f.start - f.end, f.start, f.recogniser)):
        if all(finding.end <= other.start or other.end <= finding.start for other in kept):
            kept.append(finding)
    return sorted(kept, key=lambda f: f.start)


def to_table(by_row: Mapping[int, Iterable[Finding]]) -> pa.Table:
    """Findings as an Arrow table of `FINDINGS_SCHEMA`."""
    rows = [(row, f.recogniser, f.start, f.end, f.score) for row in sorted(by_row) for f in by_row[row]]
    columns = zip(*rows, strict=True) if rows else [()] * len(FINDINGS_SCHEMA)
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, FINDINGS_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=FINDINGS_SCHEMA)


def findings_by_row(table: pa.Table) -> dict[int, list[Finding]]:
    """Row -> its findings by position, from a table of `FINDINGS_SCHEMA`; rows without findings are absent."""
    by_row: dict[int, list[Finding]] = {}
    columns = (table[field.name].to_pylist() for field in FINDINGS_SCHEMA)
    for row, recogniser, start, end, score in zip(*columns, strict=True):
        by_row.setdefault(row, []).append(Finding(recogniser, start, end, score))
    return by_row
