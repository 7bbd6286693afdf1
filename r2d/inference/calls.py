"""Calls as a stream of rows from CSV, JSON Lines or Parquet: memory does not grow with the file.

A file that cannot be read as declared is a fault of the whole, as it is for training data: behind a broken quote no row
can be trusted. Rows are not judged here: one without a text goes on, and is answered for itself.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from r2d.config.jobs import CallsConfig
from r2d.data.fingerprint import files_fingerprint
from r2d.data.readers.delimited import check_delimiter, fields_of_any_size, numbered_records
from r2d.data.readers.files import existing_file, text_of
from r2d.data.readers.parquet import parquet_files
from r2d.data.readers.rows import check_columns, declared_column, list_text, scalar_text
from r2d.errors import DataError
from r2d.text import FAULTS_SHOWN

ROWS_AT_ONCE = 1024
"""Of a Parquet file, whose row groups can be far larger than a part."""
READ_BYTES = 1 << 16
"""Of a column at once. Reading ahead, as pyarrow does by default, would hold a whole row group."""


class Call(NamedTuple):
    """One row of the file, as found."""

    id: str | None
    text: str | None
    options: Sequence[str] | None = None


@dataclass(frozen=True)
class ScannedCalls:
    """What is known of the calls once the file was read from end to end."""

    num_rows: int
    fingerprint: str
    """SHA-256 over the contents; the place of the file has no part in it."""


def call_files(config: CallsConfig) -> list[Path]:
    """The file itself, or the Parquet files of a folder.

    Raises:
        DataError: there is none, or one has no content.
    """
    return parquet_files(config.path) if config.resolved_format == "parquet" else [existing_file(config.path)]


def scan_calls(config: CallsConfig) -> ScannedCalls:
    """Read everything once, so that a faulty file stops before the first decision, and the time left can be told.

    Raises:
        DataError: a file is missing, empty, no such format, wrongly encoded, lacks a declared column or holds no row.
    """
    files = call_files(config)
    num_rows = sum(1 for _ in read_calls(config))
    if not num_rows:
        raise DataError(f"{config.path}: has columns but no rows; give a file with calls")
    return ScannedCalls(num_rows, files_fingerprint(("data.path", str(file)) for file in files))


def read_calls(config: CallsConfig) -> Iterator[Call]:
    """The calls in the order of the file.

    Raises:
        DataError: as `scan_calls`; faults that are counted come at the end.
    """
    wanted = {"id": config.columns.id, "text": config.columns.text}
    if config.columns.options is not None:
        wanted["options"] = config.columns.options
    for file in call_files(config):
        if config.resolved_format == "parquet":
            yield from _parquet_calls(file, wanted)
        else:
            read = _csv_calls if config.resolved_format == "csv" else _json_calls
            yield from read(file, wanted, config)


class _Faults:
    """Counts the faults of a file, and keeps the first."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.count = 0
        self.first: list[str] = []

    def add(self, fault: str) -> None:
        self.count += 1
        if len(self.first) < FAULTS_SHOWN:
            self.first.append(fault)

    def stop_if_any(self, what: str, fix: str) -> None:
        if self.count:
            more = f"; and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
            raise DataError(f"{self.file}: {self.count} {what}: {'; '.join(self.first)}{more}; {fix}")


def _csv_calls(file: Path, wanted: dict[str, str], config: CallsConfig) -> Iterator[Call]:
    faults = _Faults(file)
    with text_of(file, config.encoding) as stream, fields_of_any_size():
        records = numbered_records(csv.reader(stream, delimiter=config.delimiter, strict=True), file)
        _, header = next(records, (0, []))
        if not header:
            raise DataError(f"{file}: is empty but for line breaks; give a file with a header line and rows")
        check_delimiter(header, config.delimiter, file)
        check_columns(wanted, header, str(file))
        id_at, text_at = header.index(wanted["id"]), header.index(wanted["text"])
        for line, record in records:
            if len(record) == len(header):
                yield Call(record[id_at], record[text_at])
            else:
                faults.add(f"line {line} has {len(record)} fields")
    faults.stop_if_any(
        f"row(s) have not the {len(header)} fields of the header", "put a field that holds the delimiter in quotes"
    )


def _json_calls(file: Path, wanted: dict[str, str], config: CallsConfig) -> Iterator[Call]:
    """A key that a line lacks is an empty value, one that no line has is a missing column."""
    faults = _Faults(file)
    found: dict[str, None] = {}
    with text_of(file, config.encoding) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            item = None
            with suppress(ValueError, RecursionError):
                item = json.loads(line)
            if not isinstance(item, dict):
                faults.add(f"line {number} is no JSON object")
                continue
            found.update(dict.fromkeys(item))
            try:
                values = {key: _json_value(key, item.get(column)) for key, column in wanted.items()}
            except (TypeError, UnicodeEncodeError) as error:
                faults.add(f"line {number} holds {_named(error)}")
            else:
                yield Call(**values)
    faults.stop_if_any(
        "line(s) hold no call",
        f"write one object a line, with a string, number or boolean in {wanted['id']!r} and {wanted['text']!r}, and a "
        "list of them in data.columns.options",
    )
    if not found:
        raise DataError(f"{file}: is empty but for line breaks; give a file with one JSON object a line")
    check_columns(wanted, list(found), str(file))


def _json_value(key: str, value: Any) -> Any:
    if key == "options":
        return None if value is None else list_text(value)
    text = scalar_text(value)
    if key == "id" and text is not None:
        text.encode()  # an id is written to the output, which holds whole characters alone
    return text


def _named(error: Exception) -> str:
    """What stands where a value is due. It never quotes the value."""
    return "half a surrogate pair in its id" if isinstance(error, UnicodeEncodeError) else f"a {error}"


def _parquet_calls(file: Path, wanted: dict[str, str]) -> Iterator[Call]:
    try:
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=READ_BYTES) as opened:
            check_columns(wanted, opened.schema_arrow.names, str(file))
            for batch in opened.iter_batches(batch_size=ROWS_AT_ONCE, columns=list(dict.fromkeys(wanted.values()))):
                table = pa.Table.from_batches([batch])
                columns = {
                    key: declared_column(key, table[column], str(file), column).to_pylist()
                    for key, column in wanted.items()
                }
                yield from map(Call, *columns.values())
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file}: is no whole Parquet file ({type(error).__name__}); write it again, or correct data.format"
        ) from None
