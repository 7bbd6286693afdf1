"""Looks at a file of unknown make: how it is read, and what its columns hold, in counts and shapes.

The values of a column are shown only where they are few, short and repeated, as labels are; no other cell of a file is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from r2d.config.files import TextFileConfig, suffix_of
from r2d.data.readers.delimited import DELIMITERS, DelimitedFile
from r2d.data.readers.files import existing_file, open_bytes, open_text
from r2d.data.readers.rows import json_records, json_text
from r2d.errors import DataError
from r2d.text import LONGEST_NAME, MOST_WORDS_OF_NAME, first_of, flatten

ENCODINGS = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252")
"""Tried in this order; the last one reads any bytes but five."""
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
ROWS_BESIDE_HEADER = 200  # rows against which a header is held
MOST_LABELS = 30
"""A column with more distinct values is not taken for the label."""
HINTS = {
    "id": r"id|key|uuid|number|custom_id|row|index",
    "text": r"text|note|notes|narrative|question|complaint|report|message|input|document|body|content|description",
    "label": r"label|triage|level|disposition|acuity|urgency|priority|answer|category|class|target|decision|gold",
    "group": r"patient|subject|caller|person|mrn|case|encounter|member|user",
    "split": r"split|set|fold|partition|subset",
    "rationale": r"rationale|reason|reasoning|explanation|why|justification|comment|cot|because|extracted",
    "attribute": r"age|sex|gender|site|clinic|ward|language|ethnicity|race|region|family|channel|period|arrival",
}
"""Role of a column -> words of its name that speak for it."""


@dataclass(frozen=True)
class Column:
    """What a column of a file looks like."""

    name: str
    num_rows: int
    num_filled: int  # cells with more than spaces
    num_distinct: int  # of the filled cells, without outer spaces
    mean_words: float  # of the filled cells
    longest: int  # characters
    counts: Mapping[str, int]  # value -> rows, most first, where they are few and short; else empty

    @classmethod
    def of(cls, name: str, values: Sequence[str | None]) -> Column:
        """The column of these values; None is an empty cell."""
        filled = [text for value in values if value is not None and (text := value.strip())]
        counts = Counter(filled)
        longest = max(map(len, filled), default=0)
        is_closed = 0 < len(counts) <= MOST_LABELS and longest <= LONGEST_NAME and len(filled) >= 2 * len(counts)
        words = sum(len(text.split()) for text in filled) / len(filled) if filled else 0.0
        shown = dict(counts.most_common()) if is_closed else {}
        return cls(name, len(values), len(filled), len(counts), words, longest, shown)

    @property
    def is_unique(self) -> bool:
        return self.num_filled == self.num_rows == self.num_distinct

    @property
    def is_numeric(self) -> bool:
        """Whether the shown values are all numbers, and so perhaps codes."""
        return bool(self.counts) and all(re.fullmatch(r"[-+]?\d+(\.\d+)?", value) for value in self.counts)

    def evidence(self) -> str:
        """Counts and shapes, in words."""
        parts = [f"{self.num_filled:,} of {self.num_rows:,} filled", f"{self.num_distinct:,} different"]
        longest = f"at most {self.longest:,} character{'' if self.longest == 1 else 's'}"
        return ", ".join([*parts, f"{self.mean_words:.1f} words on average", longest])

    def speaks_for(self, role: str) -> bool:
        """Whether its name has a word of the role."""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.name).casefold()
        return re.search(rf"(?:^|[^a-z])(?:{HINTS[role]})s?(?:$|[^a-z])", words) is not None


@dataclass(frozen=True)
class Look:
    """What a look at a file tells: how it is read, and what its columns hold."""

    path: Path
    settings: Mapping[str, Any]  # keys of `data` that read it
    columns: Sequence[Column]
    cells: Mapping[str, Sequence[str | None]] = field(repr=False)  # column -> its values; they are never shown
    lists: Sequence[str] = ()  # names of the columns that hold several values in a row

    @property
    def num_rows(self) -> int:
        return self.columns[0].num_rows


def looks_at(path: Path) -> Iterator[Look]:
    """The ways in which a file can be read, the likeliest first.

    Raises:
        DataError: it is missing or empty, or can be read in none of the ways; says what the first one met
            that decodes it.
    """
    file = existing_file(str(path), "FILE")
    num_looks, faults = 0, list[str]()
    for settings in _ways(file):
        try:
            cells, lists = _read_columns(file, settings)
        except DataError as error:
            faults.append(str(error))
            continue
        num_looks += 1
        columns = [Column.of(name, values) for name, values in cells.items()]
        yield Look(path, settings, columns, cells, lists)
    if not num_looks:
        raise DataError(next((fault for fault in faults if "cannot be decoded" not in fault), faults[0]))


def _ways(file: Path) -> Iterator[dict[str, Any]]:
    """Settings of `data` that may read the file, the likeliest first."""
    suffix = suffix_of(file)
    with open_bytes(file) as stream:
        head = stream.read(20_000)
    if suffix == ".parquet" or head.startswith(b"PAR1"):
        yield {"format": "parquet"}
        return
    for encoding in ENCODINGS:
        if encoding.startswith("utf-16") and b"\0" not in head:  # each ASCII character of UTF-16 has one
            continue
        text = head.decode(encoding, "replace")
        as_encoded = {} if encoding == "utf-8" else {"encoding": encoding}
        if suffix in JSON_SUFFIXES or text.lstrip("\ufeff \r\n")[:1] in ("{", "["):
            yield {"format": "jsonl"} | as_encoded
            continue
        comment = {"comment": "#"} if text.lstrip("\ufeff").startswith("#") else {}
        for delimiter in sorted(DELIMITERS, key=text.count, reverse=True):
            for quoting in ("standard", *(("backslash", "none") if '\\"' in text else ("none", "backslash"))):
                settings = {"format": "csv", "delimiter": delimiter} | comment
                yield settings | ({} if quoting == "standard" else {"quoting": quoting}) | as_encoded


def _read_columns(file: Path, settings: Mapping[str, Any]) -> tuple[dict[str, list[str | None]], list[str]]:
    """Column -> its cells as texts, and the names of the columns that hold several values in a row.

    Raises:
        DataError: these settings do not read the file.
    """
    rows = _csv_rows(file, settings) if settings["format"] == "csv" else _json_rows(file, settings)
    cells: dict[str, list[str | None]] = {}
    lists: dict[str, None] = {}
    for number, row in enumerate(rows):
        for name, value in row.items():
            items = value if isinstance(value, list) else [value]
            if len(items) > 1:
                lists[name] = None
            texts = ["" if isinstance(item, dict | list) else json_text(item) or "" for item in items]
            cells.setdefault(name, [None] * number).append("\n".join(texts) or None)
        for column in cells.values():  # a key that only some rows have is empty in the others
            column.extend([None] * (number + 1 - len(column)))
    if not cells:
        raise DataError(f"{file}: has no rows; give a file with data")
    if len(cells) == 1:
        raise DataError(f"{file}: has one single column, but a text and a label are needed; correct its delimiter")
    return cells, list(lists)


def _csv_rows(file: Path, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    config = TextFileConfig(**{key: value for key, value in settings.items() if key != "format"})
    with open_text(file, config.encoding) as stream:
        delimited = DelimitedFile(file, stream, config, {})
        first: list[list[str]] = []
        faults: list[str] = []
        for record in delimited.records():
            if record.fault:
                faults.append(f"line {record.line} ({record.fault})")
                continue
            first += [record.value] if len(first) < ROWS_BESIDE_HEADER else []
            yield dict(zip(delimited.header, record.value, strict=True))
    if faults:
        fix = "mend them, or declare delimiter and quoting by hand (docs/data-contract.md)"
        raise DataError(f"{file}: {len(faults):,} line(s) are no row of the table: {first_of(faults)}; {fix}")
    columns = list(zip(*first, strict=True))
    is_data = any(name in column for name, column in zip(delimited.header, columns, strict=False))
    if is_data or any(len(name.split()) > MOST_WORDS_OF_NAME or not name for name in delimited.header):
        raise DataError(
            f"{file}: its first line looks like data, not like {len(delimited.header)} names of columns; put a header "
            "line before it"
        )


def _json_rows(file: Path, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of JSON Lines or Parquet, nested values by their paths."""
    if settings["format"] == "jsonl":
        with open_text(file, settings.get("encoding", "utf-8")) as stream:
            for record in json_records(stream):
                if not isinstance(record.value, dict):
                    fault = record.fault or f"a {type(record.value).__name__}"
                    raise DataError(f"{file}: line {record.line} holds {fault}; write one object a line")
                if record.repeated:
                    raise DataError(f"{file}: line {record.line}: a key stands twice with different values; keep one")
                if len(record.value) > 1 and all(isinstance(value, dict) for value in record.value.values()):
                    raise DataError(
                        f"{file}: line {record.line} holds an object of {len(record.value):,} objects, whose keys seem "
                        "to be ids; write one row an object, with its id as a value"
                    )
                yield flatten(record.value)
        return
    try:
        for batch in pq.ParquetFile(file).iter_batches():
            yield from map(flatten, batch.to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: is no whole Parquet file ({type(error).__name__}); write it again") from None
