"""Rows of CSV, JSON Lines and Parquet files, one at a time: memory does not grow with the file.

`stream_rows` gives the values of declared columns and refuses a file with any faulty row: for training data and calls.
`json_records` gives every record, or its `fault`: for rationales, where a bad record stops nothing.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from r2d.config.files import TextFileConfig
from r2d.data.readers.delimited import DelimitedFile, Record, check_columns
from r2d.data.readers.files import open_text
from r2d.errors import DataError
from r2d.text import FAULTS_SHOWN, plural, show_name

Format = Literal["csv", "jsonl", "parquet"]
PARQUET_BATCH_ROWS = 1024  # decoded at once: a row group can be far larger
PARQUET_BUFFER_BYTES = 1 << 16  # of a column, read at once
MAX_CELL_CHARACTERS = 200_000
"""Of a cell; what is longer is cut, because every check, the search for names and a tokenizer read all of a text. No
model reads as much, and `validation.max_text_characters` (50,000 by default) reports such a text."""


class Row(NamedTuple):
    """The values of the declared columns of one row."""

    line: int | None  # the line it begins on; None in Parquet, which has none
    values: Sequence[Any]
    """Texts in the order of the declared columns, None where the source has null; `options` is a list of texts."""


def cells_cut(num_cut: int) -> str:
    """The note on texts that were cut at `MAX_CELL_CHARACTERS`."""
    return f"{plural(num_cut, 'cell')} longer than {MAX_CELL_CHARACTERS:,} characters cut there"


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

    def raise_if_any(self, one: str, several: str, fix: str) -> None:
        """Raise DataError with number and kind of the faults, such as `row is` and `rows are`, and the fix."""
        if self._count:
            more = f"; and {self._count - FAULTS_SHOWN} more" if self._count > FAULTS_SHOWN else ""
            raise DataError(f"{self._file}: {plural(self._count, one, several)}: {'; '.join(self._first)}{more}; {fix}")


class _Pairs:
    """Builds JSON objects, and keeps the keys that stand twice with different values."""

    def __init__(self) -> None:
        self.repeated: list[str] = []

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, object]:
        built = dict(pairs)
        if len(built) < len(pairs):
            self.repeated += [key for key, value in pairs if value != built[key]]
        return built


def json_records(stream: TextIO) -> Iterator[Record]:
    """The JSON value of each line of JSON Lines, blank lines left out. A file that is one list, or values over several
    lines, as pretty-printed, gives each value with the line it begins on; it is held in memory."""
    pairs = _Pairs()
    decoder = json.JSONDecoder(object_pairs_hook=pairs)
    is_first = True
    for line, text in enumerate(stream, 1):
        if not text.strip():
            continue
        value, fault = None, ""
        pairs.repeated = []
        try:
            value = decoder.decode(text)
        except json.JSONDecodeError as error:
            if is_first and text.lstrip()[0] in "[{" and error.pos >= len(text.rstrip()):
                yield from _json_document(text + stream.read(), line, decoder, pairs)
                return
            fault = f"no JSON ({error.msg.partition(':')[0]} at column {error.colno})"
        except (RecursionError, ValueError):
            fault = "no JSON (nested too deep or a number too long)"
        if is_first and isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            yield from _json_document(text + stream.read(), line, decoder, pairs)
            return
        is_first = False
        yield Record(line, value, fault, tuple(pairs.repeated))


def _json_document(text: str, line: int, decoder: json.JSONDecoder, pairs: _Pairs) -> Iterator[Record]:
    """The values of one list, or values one after the other, whatever the line breaks between and within them."""
    gap = re.compile(r"[\s,\[]*" if text.lstrip().startswith("[") else r"\s*")
    position = counted = 0
    while (start := gap.match(text, position).end()) < len(text):  # type: ignore[union-attr]
        line += text.count("\n", counted, start)
        counted = start
        if text[start] == "]" and not text[start + 1 :].strip():
            return
        pairs.repeated = []
        try:
            value, position = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            where = "nested too deep or a number too long"
            if isinstance(error, json.JSONDecodeError):
                where = f"{error.msg.partition(chr(58))[0]} on line {line + text.count(chr(10), start, error.pos)}"
            yield Record(line, None, f"no JSON ({where}), nor is what follows")
            return
        yield Record(line, value, "", tuple(pairs.repeated))


def refuse_rows_within(file: Path, value: Any, num_values: int) -> None:
    """Refuse a file that is one object, whose rows stand in a list within it.

    Raises:
        DataError: names the key.
    """
    lists = {key: inner for key, inner in value.items() if isinstance(inner, list)} if isinstance(value, dict) else {}
    for key, rows in lists.items():
        if num_values == len(lists) == 1 < len(rows) and all(isinstance(row, dict) for row in rows):
            raise DataError(
                f"{file}: is one JSON object, and its {len(rows):,} rows stand in a list under {show_name(key)}; write "
                "that list alone, or one row a line"
            )


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
    file: Path, columns: Mapping[str, str], format: Format, text: TextFileConfig, notes: list[str] | None = None
) -> Iterator[Row]:
    """The values of the declared columns, row by row.

    Args:
        columns: config key below `data.columns` -> name of the column, or path of a nested value. The key `options`
            takes lists of texts.
        text: how a file of text is read.
        notes: takes sentences on what was left out, once the last row is read.

    Raises:
        DataError: the file is wrongly encoded, lacks a declared column, or has faulty rows; faults that are counted
            are raised after the last row.
    """
    notes = [] if notes is None else notes
    if format == "csv":
        yield from _csv_rows(file, columns, text, notes)
    elif format == "jsonl":
        yield from _json_rows(file, columns, text.encoding, notes)
    else:
        for table in parquet_tables(file, columns, PARQUET_BATCH_ROWS):
            for values in zip(*(column.to_pylist() for column in table.columns), strict=True):
                yield Row(None, values)


def _csv_rows(file: Path, columns: Mapping[str, str], text: TextFileConfig, notes: list[str]) -> Iterator[Row]:
    ragged, broken = Faults(file), Faults(file)
    with open_text(file, text.encoding, notes=notes) as stream:
        delimited = DelimitedFile(file, stream, text, columns)
        for line, fields, fault, _ in delimited.records():
            if fields is not None:
                yield Row(line, [fields[place] for place in delimited.places.values()])
            elif fault.startswith("has "):
                ragged.add(f"line {line} {fault}")
            else:
                broken.add(f"line {line} ({fault})")
    notes += delimited.notes
    broken.raise_if_any("row is no CSV", "rows are no CSV", delimited.quoting_fix())
    ragged.raise_if_any(
        f"row has not the {len(delimited.header)} fields of the header",
        f"rows have not the {len(delimited.header)} fields of the header",
        "put a field that holds the delimiter in double quotes",
    )


def _json_rows(file: Path, columns: Mapping[str, str], encoding: str, notes: list[str]) -> Iterator[Row]:
    """A key that a line lacks is null; one that no line has is a missing column."""
    broken, nested, twice = Faults(file), Faults(file), Faults(file)
    names: dict[str, None] = {}
    found: set[str] = set()
    num_values, num_repeated, value = 0, 0, None
    declared_keys = {step for column in columns.values() for step in (column, *path_of(column))}
    with open_text(file, encoding) as stream:
        for line, value, fault, repeated in json_records(stream):
            num_values += 1
            if not isinstance(value, dict):
                broken.add(f"line {line}: {fault or f'a {type(value).__name__}, not an object'}")
                continue
            names.update(dict.fromkeys(value))
            if repeated:
                num_repeated += 1
                for key in dict.fromkeys(key for key in repeated if key in declared_keys):
                    twice.add(f"line {line}, key {key!r}")
            values: list[Any] = []
            for key, column in columns.items():
                field = field_at(value, column)
                if column not in value and field is not None:
                    found.add(column)
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
    if not num_values:
        raise DataError(f"{file}: is empty but for line breaks; give a file with one JSON object a line")
    broken.raise_if_any(
        "line holds no JSON object",
        "lines hold no JSON object",
        'write one object a line, {"id": ...}, and no list of them',
    )
    refuse_rows_within(file, value, num_values)
    check_columns(columns, [*names, *found], str(file))
    nested.raise_if_any(
        "value is no text",
        "values are no text",
        "write a string, number or boolean there, or a list of one (in data.columns.options a list of them); a value "
        "within an object is named by its path, such as a.b[0].c",
    )
    twice.raise_if_any(
        "declared key stands twice in its object, with different values",
        "declared keys stand twice in their objects, with different values",
        "keep the right one",
    )
    if num_repeated:
        notes.append(f"{plural(num_repeated, 'object has', 'objects have')} a key twice that is not declared")


@functools.lru_cache
def path_of(column: str) -> tuple[str | int, ...]:
    """The steps of a nested name: `a.b[0].c` gives `a`, `b`, 0, `c`."""
    return tuple(int(place) if place else key for place, key in re.findall(r"\[(\d+)\]|([^.\[\]]+)", column))


def column_root(column: str, names: Collection[str]) -> str:
    """The column in which a nested value stands: the name itself where it is one, else the first step of its path."""
    return column if column in names else str(path_of(column)[0])


def value_at(value: Any, path: Sequence[str | int]) -> Any:
    """The nested value at the end of a path; None where it leads nowhere."""
    for step in path:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def field_at(value: Any, name: str) -> Any:
    """The field of that name, or the nested value that it names (`response.choices[0].text`); None where there is
    none."""
    if isinstance(value, dict) and name in value:
        return value[name]
    return value_at(value, path_of(name))


def parquet_tables(file: Path, columns: Mapping[str, str], batch_rows: int | None = None) -> Iterator[pa.Table]:
    """The declared columns of a Parquet file, named by their config keys: in one table, or `batch_rows` at a time.

    Raises:
        DataError: it is no whole Parquet file, lacks a declared column, or a column has no plain text.
    """
    # Reading ahead, as pyarrow does by default, would hold a whole row group.
    options = {} if batch_rows is None else {"pre_buffer": False, "buffer_size": PARQUET_BUFFER_BYTES}
    try:
        with pq.ParquetFile(file, **options) as opened:
            schema = opened.schema_arrow
            roots = {key: column_root(column, schema.names) for key, column in columns.items()}
            check_columns(roots, schema.names, str(file))
            names = list(dict.fromkeys(roots.values()))
            classes = class_names(schema)
            if batch_rows is None:
                table = with_class_names(opened.read(columns=names), classes)
                yield declared_columns(table, columns, str(file))
                return
            for batch in opened.iter_batches(batch_rows, columns=names):
                table = with_class_names(pa.Table.from_batches([batch]), classes)
                yield declared_columns(table, columns, str(file))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file}: is no whole Parquet file ({type(error).__name__}); write it again, or correct data.format"
        ) from None


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Column -> names of its classes, where a file of `datasets` says so: only there is a number a position."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: list(feature["names"])
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError):
        return {}


def with_class_names(table: pa.Table, classes: Mapping[str, Sequence[str]]) -> pa.Table:
    """The table with the numbers of classes replaced by their names; -1, which is no class, by null."""
    for place, column in enumerate(table.column_names):
        if column in classes and pa.types.is_integer(table[column].type):
            numbers = pc.if_else(pc.greater_equal(table[column], 0), table[column], None)
            table = table.set_column(place, column, pc.take(pa.array(classes[column], pa.string()), numbers))
    return table


def column_names(file: Path, format: Format, text: TextFileConfig) -> list[str]:
    """Header of a CSV, keys of the first JSON object or schema of a Parquet file; empty where it cannot be read.

    Raises:
        DataError: a text file is wrongly encoded, or a CSV has another delimiter.
    """
    if format == "parquet":
        try:
            return list(pq.read_schema(file).names)
        except (pa.ArrowException, OSError):
            return []
    with open_text(file, text.encoding) as stream:
        if format == "csv":
            delimited = DelimitedFile(file, stream, text, {})
            next(delimited.records(), None)
            return delimited.header
        head = next(json_records(stream), Record(1, None)).value
        return list(head) if isinstance(head, dict) else []


def _leads_somewhere(kind: pa.DataType, path: Sequence[str | int]) -> bool:
    """Whether a column of this type can hold a value at the end of the path."""
    for step in path:
        if isinstance(step, str) and pa.types.is_struct(kind) and kind.get_field_index(step) >= 0:
            kind = kind.field(step).type
        elif isinstance(step, int) and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            kind = kind.value_type
        else:
            return False
    return True


def json_text(value: Any) -> str | None:
    """A JSON scalar as text, numbers and booleans as Arrow writes them, so that formats agree; a list of one is it.

    Raises:
        TypeError: it is a longer list or an object; holds the name of its type.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        if len(value) > 1:
            raise TypeError(f"list of {len(value)}")
        return json_text(value[0]) if value else None
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
        path = (name,) if name in table.column_names else path_of(name)
        column = table[str(path[0])]
        is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
        try:
            if len(path) > 1 and not _leads_somewhere(column.type, path[1:]):
                check_columns({key: name}, table.column_names, where)
            if len(path) > 1 or (is_list and key != "options"):
                values = [value_at(value, path[1:]) for value in column.to_pylist()]
                column = pa.chunked_array([pa.array(values if key == "options" else [json_text(v) for v in values])])
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            if pa.types.is_floating(column.type):
                column = pc.if_else(pc.is_nan(column), None, column)
            texts[key] = column.cast(pa.list_(pa.string()) if key == "options" else pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, TypeError):
            fix = "data.columns.options is a list" if key == "options" else "which is no text; store it as a string"
            kind = str(column.type).partition("<")[0]  # the fields of a struct may be named after people
            raise DataError(f"{where}: column {name!r} holds {kind}, {fix}") from None
    return pa.table(texts)
