"""JSON Lines: one object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from r2d.config.data import DataConfig
from r2d.data.readers.files import existing_file, text_of
from r2d.data.readers.rows import Rows, check_columns, list_text, scalar_text, text_array, wanted_columns
from r2d.errors import DataError
from r2d.text import first_of


def read_jsonl(config: DataConfig) -> Rows:
    """Read the declared keys of each line's object; blank lines are skipped, an absent key is an empty value.

    Raises:
        DataError: see `r2d.data.readers.read_rows`; also lines that are no JSON object, and lists where text is due.
    """
    file = existing_file(config.path or "")
    wanted = wanted_columns(config.columns)
    with text_of(file, config.encoding) as stream:
        objects, lines, found = _objects(stream, file)
    check_columns(wanted, list(found), str(file))
    values: dict[str, list[Any]] = {key: [] for key in wanted}
    nested: list[str] = []
    for line, item in zip(lines, objects, strict=True):
        for key, column in wanted.items():
            try:
                values[key].append(list_text(item.get(column)) if key == "options" else scalar_text(item.get(column)))
            except TypeError as error:
                nested.append(f"line {line}, column {column!r} (data.columns.{key}) holds a {error}")
    if nested:
        raise DataError(
            f"{file}: {len(nested)} value(s) are no text: {first_of(nested)}; write a string, number or boolean there "
            "(in data.columns.options a list of them)"
        )
    table = pa.table({key: _column(key, values[key], str(file), wanted[key]) for key in wanted})
    return Rows(table, str(file), wanted, lines=lines)


def _column(key: str, values: list[Any], where: str, column: str) -> pa.Array | pa.ChunkedArray:
    return pa.array(values, pa.list_(pa.string())) if key == "options" else text_array(values, where, column)


def _objects(stream: TextIO, file: Path) -> tuple[list[dict[str, Any]], list[int], dict[str, None]]:
    """The objects, the line of each, and every key met, in order."""
    objects: list[dict[str, Any]] = []
    lines: list[int] = []
    found: dict[str, None] = {}
    broken: list[str] = []
    first = ""
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        first = first or line.lstrip()[0]
        try:
            item = json.loads(line)
        except json.JSONDecodeError as error:
            broken.append(f"line {number}, column {error.colno}: {error.msg}")
            continue
        except (RecursionError, ValueError):
            broken.append(f"line {number}: nested too deep or a number too long")
            continue
        if not isinstance(item, dict):
            broken.append(f"line {number}: a {type(item).__name__}, not an object")
            continue
        objects.append(item)
        lines.append(number)
        found.update(dict.fromkeys(item))
    if broken:
        hint = "write the list as one object a line" if first == "[" else 'write one whole object {"id": ...} a line'
        raise DataError(f"{file}: {len(broken)} line(s) hold no JSON object: {first_of(broken)}; {hint}")
    if not objects:
        raise DataError(f"{file}: is empty but for line breaks; give a file with one JSON object a line")
    return objects, lines, found
