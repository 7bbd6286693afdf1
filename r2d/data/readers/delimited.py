"""CSV, by the standard library's parser: it leaves every field the text it is ("None", "007") and knows its line."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from r2d.config.data import DataConfig
from r2d.data.readers.files import existing_file, text_of
from r2d.data.readers.rows import Rows, check_columns, text_array, wanted_columns
from r2d.errors import DataError
from r2d.text import first_of

DELIMITERS = {",": '","', ";": '";"', "\t": '"\\t"', "|": '"|"'}


def read_csv(config: DataConfig) -> Rows:
    """Read the declared columns of a CSV with a header; a field may hold line breaks when it is quoted.

    Raises:
        DataError: see `r2d.data.readers.read_rows`; also ragged rows and broken quotes, with their lines.
    """
    file = existing_file(config.path or "")
    wanted = wanted_columns(config.columns)
    with text_of(file, config.encoding) as stream, fields_of_any_size():
        records = numbered_records(csv.reader(stream, delimiter=config.delimiter, strict=True), file)
        _, header = next(records, (0, []))
        if not header:
            raise DataError(f"{file}: is empty but for line breaks; give a file with a header line and rows")
        check_delimiter(header, config.delimiter, file)
        check_columns(wanted, header, str(file))
        values, lines = _wanted_values(records, header, wanted, file)
    table = pa.table({key: text_array(values[key], str(file), wanted[key]) for key in wanted})
    return Rows(table, str(file), wanted, lines=lines)


def numbered_records(reader: Iterator[list[str]], file: Path) -> Iterator[tuple[int, list[str]]]:
    """Each record that is no blank line, with the line it begins on."""
    begins = 1
    try:
        for record in reader:
            if record:
                yield begins, record
            begins = reader.line_num + 1  # type: ignore[attr-defined]
    except csv.Error as error:
        raise DataError(
            f"{file}: the record that begins on line {begins} is no CSV ({error}); a field with a quote, a delimiter "
            'or a line break stands in double quotes, and a quote in it is doubled ("")'
        ) from None


def _wanted_values(
    records: Iterator[tuple[int, list[str]]], header: Sequence[str], wanted: dict[str, str], file: Path
) -> tuple[dict[str, list[str]], list[int]]:
    values: dict[str, list[str]] = {key: [] for key in wanted}
    appenders = [(values[key].append, header.index(column)) for key, column in wanted.items()]
    lines: list[int] = []
    ragged: list[str] = []
    for line, record in records:
        if len(record) != len(header):
            ragged.append(f"line {line} has {len(record)}")
            continue
        lines.append(line)
        for append, position in appenders:
            append(record[position])
    if ragged:
        raise DataError(
            f"{file}: the header has {len(header)} fields, {len(ragged)} row(s) have another number: "
            f"{first_of(ragged)}; put a field that holds the delimiter in double quotes"
        )
    return values, lines


def check_delimiter(header: Sequence[str], delimiter: str, file: Path) -> None:
    if len(header) > 1:
        return
    counts = {other: header[0].count(other) for other in DELIMITERS if other != delimiter}
    likely = max(counts, key=lambda other: counts[other])
    if counts[likely]:
        raise DataError(
            f"{file}: the header is one single field at delimiter {DELIMITERS.get(delimiter, repr(delimiter))} but "
            f"holds {counts[likely]} of {DELIMITERS[likely]}; set data.delimiter: {DELIMITERS[likely]}"
        )


@contextmanager
def fields_of_any_size() -> Iterator[None]:
    """Lift the parser's limit of 128 KiB a field, which is one for the whole process, while reading."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)
