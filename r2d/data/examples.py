"""Examples: a single one (`Example`), and many as an Arrow table of `EXAMPLES_SCHEMA`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SPLITS = ("train", "validation", "calibration", "test")
"""Their rows are learnt from, choose the weights, choose temperature and threshold, and measure; there may be no
calibration rows."""
Texts: TypeAlias = pa.Array | pa.ChunkedArray
SLICE_ROWS = 20_000  # texts processed at a time: bounds the memory
_OTHER_SPACE = r"\t-\r\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
_UNTIDY = rf"^ | $|  |[{_OTHER_SPACE}]"

EXAMPLES_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("rationale", pa.string(), nullable=False),
        pa.field("rationale_source", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("attributes", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("rationales", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("options", pa.list_(pa.string()), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("place", pa.string(), nullable=False),
    ]
)
"""One row per example. `rationale` and `rationale_source` are empty until `ingest_rationales` has chosen among
`rationales`, which maps each source to its text; `group` is null where no patient or caller is known; `options` is
empty where the labels are declared for all rows; `row` counts from 0 in the source,
and is below 0 where reviewers added it; `place` names it for messages."""


@dataclass(frozen=True, slots=True)
class Example:
    """One note with its label and, once ingested, the rationale that explains the label."""

    id: str
    text: str
    label: str
    rationale: str = ""
    rationale_source: str = ""
    group: str | None = None
    split: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    rationales: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()
    row: int = 0
    place: str = ""


class TokenCounts(NamedTuple):
    """Numbers of tokens of some texts, for a model that cuts them at a limit."""

    what: str  # `texts` or `rationales`
    counts: Sequence[int]
    limit: int


def to_table(examples: Iterable[Example]) -> pa.Table:
    """Examples as an Arrow table of `EXAMPLES_SCHEMA`, in the given order."""
    rows = [asdict(example) for example in examples]
    for row in rows:
        row["attributes"] = list(row["attributes"].items())
        row["rationales"] = list(row["rationales"].items())
    return pa.Table.from_pylist(rows, schema=EXAMPLES_SCHEMA)


def iterate_examples(table: pa.Table) -> Iterator[Example]:
    """The rows of a table of `EXAMPLES_SCHEMA`, one by one."""
    for batch in table.to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            row["attributes"] = dict(row["attributes"])
            row["rationales"] = dict(row["rationales"])
            yield Example(**row)


def split_of(table: pa.Table, split: str) -> pa.Table:
    """The rows of one split, in order."""
    return table.filter(pc.equal(table["split"], split))


def shown_splits(splits: Iterable[str]) -> list[str]:
    """The splits that a table or page lists, in their order: all, `calibration` only where it occurs in `splits`."""
    return [split for split in SPLITS if split != "calibration" or split in set(splits)]


def with_columns(table: pa.Table, **columns: Sequence[Any] | pa.Array) -> pa.Table:
    """The table with the values of some columns of `EXAMPLES_SCHEMA` replaced."""
    for name, values in columns.items():
        field = EXAMPLES_SCHEMA.field(name)
        table = table.set_column(table.column_names.index(name), field, pa.array(values, field.type))
    return table


def groups_of(examples: pa.Table) -> list[str]:
    """The group of each row; a row without one is a group of its own."""
    ids, groups = examples["id"].to_pylist(), examples["group"].to_pylist()
    return [f"row {row_id}" if group is None else f"group {group}" for row_id, group in zip(ids, groups, strict=True)]


def tidy_texts(texts: Texts) -> Iterator[pa.Array]:
    """The form in which texts are compared, slice by slice: in lower case with single spaces; null is empty.

    Only rows that need it are split into words.
    """
    for start in range(0, len(texts), SLICE_ROWS):
        rows = texts.slice(start, SLICE_ROWS)
        rows = pa.concat_arrays(rows.chunks) if isinstance(rows, pa.ChunkedArray) else rows
        lowered = pc.utf8_lower(pc.fill_null(rows.cast(pa.string()), ""))
        untidy = pc.match_substring_regex(lowered, _UNTIDY)
        words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(lowered.filter(untidy)))
        yield pc.replace_with_mask(lowered, untidy, pc.binary_join(words, " "))


def content_hash(table: pa.Table) -> str:
    """SHA-256 over column names and values: equal rows in equal order give equal hashes, however stored."""
    digest = hashlib.sha256(json.dumps([table.num_rows, *table.column_names]).encode())
    for column in table.columns:
        if pa.types.is_string(column.type):
            lengths = pc.fill_null(pc.binary_length(column), -1)
            digest.update(lengths.to_numpy().astype(np.int64).tobytes())
        for start in range(0, table.num_rows, 65_536):
            values = column.slice(start, 65_536).to_pylist()
            text = "".join(filter(None, values)) if pa.types.is_string(column.type) else json.dumps(values)
            digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
