"""Tables of written rationales, one a row, as nurses or editors deliver them."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from r2d.config.rationales import CsvSource
from r2d.data.readers.files import find_files
from r2d.errors import DataError
from r2d.rationales.readers.files import read_text
from r2d.rationales.readers.items import time_text
from r2d.rationales.readers.names import listed, nearest
from r2d.rationales.readers.written import missing
from r2d.rationales.records import Record

FIELDS = {
    "example_column": "example_id",
    "rationale_column": "rationale",
    "id_column": "record_id",
    "edits_column": "edits",
    "label_column": "label",
    "author_column": "author",
    "time_column": "created_at",
}
"""Config key of a column -> field of the record."""


def read_table(name: str, source: CsvSource) -> list[Record]:
    """One record for each row that is not blank; a row of another length than the header is malformed.

    Raises:
        DataError: a file is no text, lacks a declared column or has it twice, or a quote never closes.
    """
    key = f"rationales.sources.{name}"
    limit = csv.field_size_limit(sys.maxsize)
    try:
        return [
            record
            for file in find_files(source.paths, f"{key}.paths")
            for record in _file_records(name, source, file, key)
        ]
    finally:
        csv.field_size_limit(limit)


def _file_records(name: str, source: CsvSource, file: Path, key: str) -> Iterator[Record]:
    rows = _rows(read_text(file, key, source.encoding), source.delimiter, file)
    header = next((fields for _, fields in rows if fields), [])
    places = _places(source, [column.strip() for column in header], file, key)
    for line, fields in rows:
        common: dict[str, Any] = {"source": name, "file": file.name, "row": line}
        if fields is None:
            yield Record(**common, reason="malformed_record", detail="a quote within a field that is not quoted")
        elif len(fields) != len(header):
            detail = f"{len(fields)} fields, the header has {len(header)}"
            yield Record(**common, reason="malformed_record", detail=detail)
        else:
            yield _record({field: fields[place] for field, place in places.items()}, common)


def _record(values: dict[str, str], common: dict[str, Any]) -> Record:
    stripped = {field: values[field].strip() or None for field in values if field != "rationale"}
    rationale, example_id = values["rationale"], stripped["example_id"]
    common |= {"record_id": stripped.get("record_id") or "", "example_id": example_id, "rationale": rationale}
    common |= {field: stripped.get(field) for field in ("edits", "label", "author")}
    common["created_at"] = time_text(stripped.get("created_at"))
    if example_id is None:
        return Record(**common, reason="no_id", detail="no example id")
    return Record(**common, reason=missing(rationale, stripped.get("label")))


def _rows(text: str, delimiter: str, file: Path) -> Iterator[tuple[int, list[str] | None]]:
    """Each row that is not blank with the line it begins on; None for one that is no CSV."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        begins = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "end of data" in str(error):
                raise DataError(
                    f"{file}: the row that begins on line {begins} opens a quote that never closes; close it, and "
                    'double a quote within a field ("")'
                ) from None
            yield begins, None
        else:
            if row:
                yield begins, row


def _places(source: CsvSource, header: Sequence[str], file: Path, key: str) -> dict[str, int]:
    """Field of the record -> place of its column."""
    wanted = {config_key: getattr(source, config_key) for config_key in FIELDS}
    wanted = {config_key: column.strip() for config_key, column in wanted.items() if column is not None}
    absent = [f"  {key}.{config_key}: no column {wanted[config_key]!r}{nearest(wanted[config_key], header)}"
              for config_key in wanted if wanted[config_key] not in header]  # fmt: skip
    if absent:
        lines = [f"{file}: {len(absent)} declared column(s) missing at delimiter {source.delimiter!r}", *absent]
        raise DataError("\n".join([*lines, _found(header, wanted.values())]))
    twice = [config_key for config_key, column in wanted.items() if header.count(column) > 1]
    if twice:
        raise DataError(f"{file}: two columns bear the name of {', '.join(twice)}; rename one of them")
    return {FIELDS[config_key]: header.index(column) for config_key, column in wanted.items()}


def _found(header: Sequence[str], wanted: Iterable[str]) -> str:
    """The columns found; of a first line that is like no header, only its length: it may be a row of texts."""
    if not any(column in header or nearest(column, header) for column in wanted):
        return (
            f"  none of the {len(header)} field(s) of the first line is like them; set these keys to columns of the "
            "file, or, where that line is data, put a header line before it"
        )
    return f"  found: {listed(header)}; set these keys to columns of the file"
