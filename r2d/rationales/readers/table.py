"""Tables of written rationales, one a row, as nurses or editors deliver them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from r2d.config.rationales import CsvSource
from r2d.data.readers.files import find_files
from r2d.data.readers.rows import csv_records
from r2d.errors import DataError
from r2d.rationales.readers.items import Item, listed_names, nearest_name, read_text, time_text
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
    records = []
    for file in find_files(source.paths, f"{key}.paths"):
        text = io.StringIO(read_text(file, key, source.encoding), newline="")
        header: list[str] = []
        for line, fields, fault in csv_records(text, source.delimiter):
            if "end of data" in fault:
                raise DataError(
                    f"{file}: the row that begins on line {line} opens a quote that never closes; close it, and "
                    'double a quote within a field ("")'
                )
            if not header:
                if not fault:
                    header = [column.strip() for column in fields]
                    places = _column_places(source, header, file, key)
                continue
            item = Item(name, file.name, line, fields)
            if fault or len(fields) != len(header):
                detail = "a quote within a field that is not quoted"
                if not fault:
                    detail = f"{len(fields)} fields, the header has {len(header)}"
                records.append(item.record(reason="malformed_record", detail=detail))
                continue
            values = {field: fields[place].strip() or None for field, place in places.items()}
            records.append(
                item.written(
                    values["example_id"],
                    values.get("label"),
                    fields[places["rationale"]],
                    no_id="no example id",
                    record_id=values.get("record_id") or "",
                    edits=values.get("edits"),
                    author=values.get("author"),
                    created_at=time_text(values.get("created_at")),
                )
            )
        if not header:
            _column_places(source, header, file, key)
    return records


def _column_places(source: CsvSource, header: Sequence[str], file: Path, key: str) -> dict[str, int]:
    """Field of the record -> place of its column."""
    columns = {config_key: getattr(source, config_key) for config_key in FIELDS}
    columns = {config_key: column.strip() for config_key, column in columns.items() if column is not None}
    absent = [
        f"  {key}.{config_key}: no column {column!r}{nearest_name(column, header)}"
        for config_key, column in columns.items()
        if column not in header
    ]
    if absent:
        found = f"  found: {listed_names(header)}; set these keys to columns of the file"
        if not any(column in header or nearest_name(column, header) for column in columns.values()):
            found = (  # the first line may be a row of texts: only its length is shown
                f"  none of the {len(header)} field(s) of the first line is like them; set these keys to columns of "
                "the file, or, where that line is data, put a header line before it"
            )
        first = f"{file}: {len(absent)} declared column(s) missing at delimiter {source.delimiter!r}"
        raise DataError("\n".join([first, *absent, found]))
    twice = [config_key for config_key, column in columns.items() if header.count(column) > 1]
    if twice:
        raise DataError(f"{file}: two columns bear the name of {', '.join(twice)}; rename one of them")
    return {FIELDS[config_key]: header.index(column) for config_key, column in columns.items()}
