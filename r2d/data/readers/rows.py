"""Rows of CSV, JSON Lines and Parquet files, one at a time: memory does not grow with the file.

`stream_rows` gives the values of declared columns and refuses a file with any faulty row: for training data and calls.
`csv_records` and `json_records` give every record, or its `fault`: for rationales, where a bad record stops nothing.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from r2d.data.readers.files import open_text
from r2d.errors import DataError
from r2d.text import FAULTS_SHOWN, did_you_mean, shown_names

Format = Literal["csv", "jsonl", "parquet"]
DELIMITERS = {",": '","', ";": '";"', "\t": '"\\t"', "|": '"|"'}
PARQUET_BATCH_ROWS = 1024  # decoded at once: a row group can be far larger
PARQUET_BUFFER_BYTES = 1 << 16  # of a column, read at once


class Record(NamedTuple):
    """One record of a file, whether it can be read or not."""

    line: int  # the line it begins on, counted from 1
    value: Any  # the fields of a CSV record, or any JSON value; None where there is a fault
    fault: str = ""  # why it cannot be read. It quotes nothing


class Row(NamedTuple):
    """The values of the declared columns of one row."""

    line: int | None  # the line it begins on; None in Parquet, which has none
    values: Sequence[Any]
    """Texts in the order of the declared columns, None where the source has null; `options` is a list of texts."""


class Faults:
    """The number of faults of a file, and the first of them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._count = 0
        self._first: list[str] = []

    def add(self, fault: str) -> None:
        self._count += 1
        if len(self._first) < FAULTS_SHOWN:
            self._first.append(fault)

    def raise_if_any(self, what: str, fix: str) -> None:
        """Raise DataError with number and kind of the faults, the first ones and the fix."""
        if self._count:
            more = f"; and {self._count - FAULTS_SHOWN} more" if self._count > FAULTS_SHOWN else ""
            raise DataError(f"{self._file}: {self._count} {what}: {'; '.join(self._first)}{more}; {fix}")


def csv_records(stream: TextIO, delimiter: str = ",") -> Iterator[Record]:
    """The records of a CSV, blank lines left out. The field size is unlimited while the generator runs."""
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    limit = csv.field_size_limit(sys.maxsize)
    try:
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Record(line, None, str(error))
            else:
                if fields:
                    yield Record(line, fields)
    finally:
        csv.field_size_limit(limit)


def json_records(stream: TextIO) -> Iterator[Record]:
    """The JSON value of each line of JSON Lines, blank lines left out."""
    for line, text in enumerate(stream, 1):
        if not text.strip():
            continue
        try:
            yield Record(line, json.loads(text))
        except json.JSONDecodeError as error:
            yield Record(line, None, f"no JSON ({error.msg.partition(':')[0]} at column {error.colno})")
        except (RecursionError, ValueError):
            yield Record(line, None, "no JSON (nested too deep or a number too long)")


def read_json(file: Path, fix: str) -> Any:
    """The value of a whole JSON document.

    Raises:
        DataError: the file is no text (see `open_text`), or no JSON, with the `fix` in the message.
    """
    with open_text(file) as stream:
        try:
            return json.load(stream)
        except (ValueError, RecursionError) as error:
            if isinstance(error, UnicodeError):
                raise
            line = f" on line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise DataError(f"{file}: is no JSON{line}; {fix}") from None


def stream_rows(
    file: Path, columns: Mapping[str, str], format: Format, *, delimiter: str = ",", encoding: str = "utf-8"
) -> Iterator[Row]:
    """The values of the declared columns, row by row.

    Args:
        columns: config key below `data.columns` -> name of the column. The key `options` takes lists of texts.

    Raises:
        DataError: the file is wrongly encoded, lacks a declared column, or has faulty rows; faults that are counted
            are raised after the last row.
    """
    if format == "csv":
        yield from _csv_rows(file, columns, delimiter, encoding)
    elif format == "jsonl":
        yield from _json_rows(file, columns, encoding)
    else:
        for table in parquet_tables(file, columns, PARQUET_BATCH_ROWS):
            for values in zip(*(column.to_pylist() for column in table.columns), strict=True):
                yield Row(None, values)


def _csv_rows(file: Path, columns: Mapping[str, str], delimiter: str, encoding: str) -> Iterator[Row]:
    ragged = Faults(file)
    header: list[str] = []
    with open_text(file, encoding) as stream:
        for line, fields, fault in csv_records(stream, delimiter):
            if fault:  # behind a broken quote no row can be trusted
                raise DataError(
                    f"{file}: the record that begins on line {line} is no CSV ({fault}); a field with a quote, a "
                    'delimiter or a line break stands in double quotes, and a quote in it is doubled ("")'
                )
            if not header:
                header = fields
                counts = {other: header[0].count(other) for other in DELIMITERS if other != delimiter}
                likely = max(counts, key=counts.__getitem__)
                if len(header) == 1 and counts[likely]:
                    raise DataError(
                        f"{file}: the header is one single field at delimiter "
                        f"{DELIMITERS.get(delimiter, repr(delimiter))} but holds {counts[likely]} of "
                        f"{DELIMITERS[likely]}; set data.delimiter: {DELIMITERS[likely]}"
                    )
                check_columns(columns, header, str(file))
                positions = [header.index(column) for column in columns.values()]
            elif len(fields) == len(header):
                yield Row(line, [fields[position] for position in positions])
            else:
                ragged.add(f"line {line} has {len(fields)}")
    if not header:
        raise DataError(f"{file}: is empty but for line breaks; give a file with a header line and rows")
    ragged.raise_if_any(
        f"row(s) have not the {len(header)} fields of the header",
        "put a field that holds the delimiter in double quotes",
    )


def _json_rows(file: Path, columns: Mapping[str, str], encoding: str) -> Iterator[Row]:
    """A key that a line lacks is null; one that no line has is a missing column."""
    broken, nested = Faults(file), Faults(file)
    names: dict[str, None] = {}
    is_empty = True
    with open_text(file, encoding) as stream:
        for line, value, fault in json_records(stream):
            is_empty = False
            if not isinstance(value, dict):
                broken.add(f"line {line}: {fault or f'a {type(value).__name__}, not an object'}")
                continue
            names.update(dict.fromkeys(value))
            values: list[Any] = []
            for key, column in columns.items():
                field = value.get(column)
                try:
                    if key != "options" or field is None:
                        values.append(json_text(field))
                    elif isinstance(field, list) and None not in field:
                        values.append([json_text(item) or "" for item in field])
                    else:
                        raise TypeError("list with null" if isinstance(field, list) else type(field).__name__)
                except TypeError as error:
                    nested.add(f"line {line}, column {column!r} (data.columns.{key}) holds a {error}")
            if len(values) == len(columns):
                yield Row(line, values)
    if is_empty:
        raise DataError(f"{file}: is empty but for line breaks; give a file with one JSON object a line")
    broken.raise_if_any("line(s) hold no JSON object", 'write one object a line, {"id": ...}, and no list of them')
    check_columns(columns, list(names), str(file))
    nested.raise_if_any(
        "value(s) are no text", "write a string, number or boolean there (in data.columns.options a list of them)"
    )


def parquet_tables(file: Path, columns: Mapping[str, str], batch_rows: int | None = None) -> Iterator[pa.Table]:
    """The declared columns of a Parquet file, named by their config keys: in one table, or `batch_rows` at a time.

    Raises:
        DataError: it is no whole Parquet file, lacks a declared column, or a column has no plain text.
    """
    # Reading ahead, as pyarrow does by default, would hold a whole row group.
    options = {} if batch_rows is None else {"pre_buffer": False, "buffer_size": PARQUET_BUFFER_BYTES}
    try:
        with pq.ParquetFile(file, **options) as opened:
            check_columns(columns, opened.schema_arrow.names, str(file))
            names = list(dict.fromkeys(columns.values()))
            if batch_rows is None:
                yield declared_columns(opened.read(columns=names), columns, str(file))
                return
            for batch in opened.iter_batches(batch_rows, columns=names):
                yield declared_columns(pa.Table.from_batches([batch]), columns, str(file))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file}: is no whole Parquet file ({type(error).__name__}); write it again, or correct data.format"
        ) from None


def column_names(file: Path, format: Format) -> list[str]:
    """Header of a CSV, keys of the first JSON object or schema of a Parquet file; empty where it cannot be read.

    Raises:
        DataError: a text file is wrongly encoded.
    """
    if format == "parquet":
        try:
            return list(pq.read_schema(file).names)
        except (pa.ArrowException, OSError):
            return []
    with open_text(file) as stream:
        head = next(csv_records(stream) if format == "csv" else json_records(stream), Record(1, None)).value
        return list(head) if isinstance(head, list if format == "csv" else dict) else []


def check_columns(
    columns: Mapping[str, str], names: Sequence[str], where: str, *, section: str = "data.columns."
) -> None:
    """Refuse a source that lacks a declared column, or has two of that name.

    Args:
        columns: config key, without the `section` in front of it -> declared name.
        names: those of the source.

    Raises:
        DataError: names each absent column with its config key, and those found as `shown_names` allows.
    """
    absent = [(key, column) for key, column in columns.items() if column not in names]
    if absent:
        plain = shown_names(names, columns.values())
        shown = f"  found: {', '.join(map(repr, plain[:50]))}; set these keys to columns of the file"
        if not plain:
            lengths = f", of {min(map(len, names))} to {max(map(len, names))} characters" if names else ""
            shown = (
                f"  found: {len(names)} name(s){lengths}, which may be data and are not shown. If the file has column "
                "names, set these keys to them; if its first line is data, add a header line"
            )
        lines = [f"  {section}{key}: no column {column!r}{did_you_mean(column, plain)}" for key, column in absent]
        raise DataError("\n".join([f"{where}: {len(absent)} declared column(s) missing", *lines, shown]))
    twice = [f"{section}{key} {column!r}" for key, column in columns.items() if list(names).count(column) > 1]
    if twice:
        raise DataError(f"{where}: two columns bear the same name ({', '.join(twice)}); rename one of them")


def json_text(value: Any) -> str | None:
    """A JSON scalar as text, numbers and booleans as Arrow writes them, so that formats agree.

    Raises:
        TypeError: it is a list or an object; holds the name of its type.
    """
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, bool | int | float):
        raise TypeError(type(value).__name__)
    if isinstance(value, float):
        return None if value != value else str(pa.scalar(value).cast(pa.string()))
    return str(value).lower()


def declared_columns(table: pa.Table, columns: Mapping[str, str], where: str) -> pa.Table:
    """The declared columns of a typed table, named by their config keys: `options` as lists of texts, others as text.

    7 becomes "7", a whole float 45.0 becomes "45", NaN becomes null.

    Raises:
        DataError: a column's type has no plain text (a list, a struct, bytes that are no UTF-8).
    """
    texts = {}
    for key, name in columns.items():
        column = table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)
        try:
            texts[key] = column.cast(pa.list_(pa.string()) if key == "options" else pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            fix = "data.columns.options is a list" if key == "options" else "which is no text; store it as a string"
            kind = str(column.type).partition("<")[0]  # the fields of a struct may be named after people
            raise DataError(f"{where}: column {name!r} holds {kind}, {fix}") from None
    return pa.table(texts)
