"""What was done to a file while it was read: for the screen, the report and `result.json`.

It travels in the schema metadata of the table of examples, so that every later step and command can say it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

READING_KEY = b"r2d.reading"


@dataclass
class Reading:
    """Sentences on what a reader left out, joined or translated: counts and places, never content of a cell."""

    notes: list[str] = field(default_factory=list)
    label_codes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Declared code -> label that it was read as -> rows."""

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
        content = json.dumps({"notes": self.notes, "label_codes": self.label_codes}).encode()
        return table.replace_schema_metadata({**(table.schema.metadata or {}), READING_KEY: content})

    @classmethod
    def of(cls, table: pa.Table) -> Reading:
        """The account that a table brings; an empty one where it brings none."""
        content = (table.schema.metadata or {}).get(READING_KEY)
        return cls(**json.loads(content)) if content else cls()
