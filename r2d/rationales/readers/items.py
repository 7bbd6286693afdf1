"""JSON files as items with their rows: a list, or JSON Lines. A line that is no JSON is an item too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from r2d.errors import DataError
from r2d.rationales.readers.files import read_text


@dataclass(frozen=True, slots=True)
class Broken:
    """What stands in the place of a line that is no JSON."""

    fault: str


@dataclass(frozen=True, slots=True)
class Item:
    """One value of a file."""

    file: str
    row: int
    """Counted from 1: the line, or the place in the list."""
    value: Any


def read_lines(file: Path, key: str, encoding: str = "utf-8", *, may_be_empty: bool = False) -> list[Item]:
    """The value of every line that is not blank, or a `Broken`. Only a line feed ends a line: JSON may hold U+2028.

    Raises:
        DataError: the file is no text (see `read_text`), or several lines and none of them JSON.
    """
    items = list(_lines(file, read_text(file, key, encoding, may_be_empty=may_be_empty)))
    if len(items) > 1 and all(isinstance(item.value, Broken) for item in items):
        raise DataError(
            f"{file}: none of its {len(items)} lines is JSON, but one JSON value a line is wanted here; correct "
            f"{key}.paths, or write the records as JSON Lines"
        )
    return items


def read_list(file: Path, key: str, encoding: str = "utf-8") -> list[Item]:
    """The values of a JSON list.

    Raises:
        DataError: the file is no text, no JSON, or no list.
    """
    return _list(file, read_text(file, key, encoding), key)


def read_list_or_lines(file: Path, key: str, encoding: str = "utf-8") -> list[Item]:
    """The values of a JSON list where the file begins as one, else of JSON Lines.

    Raises:
        DataError: see `read_list` and `read_lines`.
    """
    text = read_text(file, key, encoding)
    return _list(file, text, key) if text.lstrip().startswith("[") else read_lines(file, key, encoding)


def _list(file: Path, text: str, key: str) -> list[Item]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = f" on line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(
            f"{file}: is no whole JSON list, broken{line}; export or download it again, or correct {key}.paths"
        ) from None
    if not isinstance(content, list):
        raise DataError(
            f"{file}: holds one JSON {type(content).__name__}, but a list is wanted here; put the records into a "
            f"list, or correct {key}.format"
        )
    return [Item(file.name, row, value) for row, value in enumerate(content, 1)]


def _lines(file: Path, text: str) -> Iterator[Item]:
    for row, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = Broken("no JSON")
        yield Item(file.name, row, value)


def id_text(value: Any) -> str | None:
    """An id as text without outer spaces: 7 and 7.0 become "7". None where there is none, or it is no plain value."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    try:
        return str(value).strip() or None
    except ValueError:
        return None


def joined_text(value: Any, separator: str = "\n") -> str | None:
    """A text, or a list of texts as one; a number as text; None for anything else."""
    if isinstance(value, list) and value:
        parts = [joined_text(part, separator) for part in value]
        return None if None in parts else separator.join(part for part in parts if part is not None)
    return value if isinstance(value, str) else id_text(value)


def time_text(value: Any) -> str | None:
    """A time as ISO 8601: seconds since 1970, or a text that already is one."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC).isoformat()
        if isinstance(value, str):
            datetime.fromisoformat(value.strip())
            return value.strip()
    except (ValueError, OverflowError, OSError):
        pass
    return None
