"""What was done to a file while it was read: for the screen, the report and `result.json`.

It travels in the schema metadata of the table of examples, so that every later step and command can say it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import pyarrow as pa

from r2d.text import plural

READING_KEY, SET_ASIDE_KEY = b"r2d.reading", b"r2d.set_aside"


def with_set_aside(table: pa.Table, rows: Sequence[tuple[int, str]]) -> pa.Table:
    """The table with row (from 0) and id of rows that were left out in its metadata: rationales still come for them."""
    return table.replace_schema_metadata({**(table.schema.metadata or {}), SET_ASIDE_KEY: json.dumps(rows).encode()})


def set_aside_rows(table: pa.Table) -> list[tuple[int, str]]:
    """What `with_set_aside` wrote; none where it was not used."""
    return [(row, row_id) for row, row_id in json.loads((table.schema.metadata or {}).get(SET_ASIDE_KEY, b"[]"))]


@dataclass
class Reading:
    """Sentences on what a reader left out, joined or translated: counts and places, never content of a cell."""

    notes: list[str] = field(default_factory=list)
    label_codes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Declared code -> label that it was read as -> rows."""
    num_read: int = 0
    """Rows of the file, blank ones aside."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Why rows were left out before they were judged -> rows."""
    num_added: int = 0
    """Rows that reviewers added."""
    num_quarantined: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    """Check of the data contract -> rows that were set aside by it; a row can have several."""

    def add_codes(self, translated: Mapping[tuple[str, str], int]) -> None:
        """Say which codes were read as which labels."""
        for (code, label), count in sorted(translated.items()):
            self.label_codes.setdefault(code, {})[label] = count
        if translated:
            pairs = ", ".join(
                f"{code!r} as {label!r} in {count:,}" for (code, label), count in sorted(translated.items())
            )
            self.notes.append(f"labels read by data.labels.codes (rows): {pairs}")

    def attached_to(self, table: pa.Table) -> pa.Table:
        """The table with this account in its metadata."""
        content = json.dumps(asdict(self)).encode()
        return table.replace_schema_metadata({**(table.schema.metadata or {}), READING_KEY: content})

    def leave_out(self, why: str, num_rows: int) -> None:
        """Count rows that were left out, and say so."""
        if num_rows:
            self.left_out[why] = self.left_out.get(why, 0) + num_rows
            self.notes.append(f"{plural(num_rows, 'row')} {why} left out")

    @classmethod
    def of(cls, table: pa.Table) -> Reading:
        """The account that a table brings; an empty one where it brings none."""
        content = (table.schema.metadata or {}).get(READING_KEY)
        return cls(**json.loads(content)) if content else cls()
