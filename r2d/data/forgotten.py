"""People whose rows are left out: `r2d forget` writes them down as keyed hashes, and every load of data honours them.

An entry is `key:hash`, of a group or of the id of a row. No name can be read from it. Who has the entry can test a
name that they know or guess, as with the record of trained rows (docs/clinical-safety.md).
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

FORGOTTEN_KEY = b"r2d.forgotten"
HASH_BYTES = 16


def new_key() -> str:
    """A random key, in hexadecimal digits."""
    return secrets.token_hex(HASH_BYTES)


def forgotten_entry(name: str, key: str) -> str:
    """`key:hash` of a group or of the id of a row; outer spaces do not count (BLAKE2b with a key, RFC 7693)."""
    content = name.strip().encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(content, digest_size=HASH_BYTES, key=bytes.fromhex(key), person=b"forgotten")
    return f"{key}:{digest.hexdigest()}"


@dataclass(frozen=True)
class Forgotten:
    """Entries, and the rows of the data that they left out."""

    entries: frozenset[str] = frozenset()
    rows: tuple[tuple[int, str], ...] = ()
    """Row of the data, from 0, and the entry of its id."""

    @cached_property
    def keys(self) -> list[str]:
        return sorted({entry.partition(":")[0] for entry in self.entries})

    def holds(self, name: str | None) -> bool:
        """Whether a group, or the id of a row, is forgotten."""
        return name is not None and any(forgotten_entry(name, key) in self.entries for key in self.keys)

    def without(self, examples: pa.Table) -> pa.Table:
        """The rows of a table of `EXAMPLES_SCHEMA` that are of no forgotten group and have no forgotten id.

        What was left out stands in its metadata, for the rationales that belong to it (`Forgotten.of`).
        """
        import pyarrow as pa  # not at the top: `r2d check` loads this module, and must be quick

        if not self.entries:
            return examples
        columns = [examples["id"].to_pylist(), examples["group"].to_pylist()]
        lost = {name for column in columns for name in set(column) if self.holds(name)}
        is_kept = [not lost.intersection(names) for names in zip(*columns, strict=True)]
        key = self.keys[0]
        rows = [
            (row, forgotten_entry(row_id, key))
            for row, row_id, kept in zip(examples["row"].to_pylist(), columns[0], is_kept, strict=True)
            if not kept
        ]
        return replace(self, rows=tuple(rows)).attached_to(examples.filter(pa.array(is_kept, pa.bool_())))

    def attached_to(self, examples: pa.Table) -> pa.Table:
        """The table with the rows that were left out in its metadata."""
        if not self.rows:
            return examples
        metadata = {**(examples.schema.metadata or {}), FORGOTTEN_KEY: json.dumps(self.rows).encode()}
        return examples.replace_schema_metadata(metadata)

    def joined(self, other: Forgotten, offset: int) -> Forgotten:
        """Both, the rows of the other counted from `offset` on."""
        rows = tuple((row + offset, entry) for row, entry in other.rows)
        return Forgotten(self.entries | other.entries, self.rows + rows)

    @classmethod
    def of(cls, examples: pa.Table, entries: Iterable[str]) -> Forgotten:
        """Those of a run, with the ids of the rows that they left out of these examples.

        Args:
            entries: `data.forgotten`.
        """
        content = (examples.schema.metadata or {}).get(FORGOTTEN_KEY, b"[]")
        rows: Sequence[tuple[int, str]] = [(row, entry) for row, entry in json.loads(content)]
        return cls(frozenset(entries) | {entry for _, entry in rows}, tuple(rows))
