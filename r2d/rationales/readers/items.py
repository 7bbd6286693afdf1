"""Files of a rationale source as items with their rows: a JSON list, or JSON Lines with its broken lines."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from r2d.data.readers.files import existing_file, find_files, open_text
from r2d.data.readers.rows import json_records
from r2d.errors import DataError
from r2d.rationales.records import Record


@dataclass(frozen=True, slots=True)
class Item:
    """One value of a file."""

    source: str
    file: str
    row: int  # counted from 1: the line, or the place in the list
    value: Any
    is_json: bool = True  # False for a line that is no JSON; its value is None

    def record(self, **values: Any) -> Record:
        """A record with these values, at the place of this item."""
        return Record(source=self.source, file=self.file, row=self.row, **values)

    def malformed(self, expected: str, **values: Any) -> Record:
        """A record that names the type of the value in place of the expected one."""
        fault = f"a {type(self.value).__name__}, not {expected}" if self.is_json else "no JSON"
        return self.record(reason="malformed_record", detail=fault, **values)

    def written(
        self,
        example_id: str | None,
        label: str | None,
        rationale: str | None,
        *,
        no_id: str,
        cancelled: str = "",
        **values: Any,
    ) -> Record:
        """A record of a rationale that a person wrote, with the reason where it is unusable.

        Args:
            no_id: detail of a record without an example.
            cancelled: why it was not submitted; empty where it was.
        """
        values["example_id"] = example_id
        if cancelled:
            return self.record(reason="cancelled", detail=cancelled, **values)
        values |= {"label": label, "rationale": rationale}
        if example_id is None:
            return self.record(reason="no_id", detail=no_id, **values)
        if rationale and rationale.strip():
            return self.record(**values)
        return self.record(reason="no_rationale" if label else "empty", **values)


def read_items(
    source: str,
    paths: Sequence[str],
    *,
    key: str = "paths",
    encoding: str | None = None,
    form: Literal["list", "lines", "either"] = "either",
    may_be_empty: bool = False,
) -> list[Item]:
    """The values of files that are JSON lists or JSON Lines, blank lines left out.

    Args:
        key: below `rationales.sources.<source>`, where the paths are declared.
        form: what a file has to be; `either`: a list where it begins as one.

    Raises:
        DataError: a file is no text (see `read_text`), is no list, or has several lines and none of them is JSON.
    """
    section = f"rationales.sources.{source}"
    items: list[Item] = []
    for file in find_files(paths, f"{section}.{key}"):
        text = read_text(file, section, encoding, may_be_empty=may_be_empty)
        if form == "list" or (form == "either" and text.lstrip().startswith("[")):
            try:
                content = json.loads(text)
            except (ValueError, RecursionError) as error:
                line = f" on line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
                raise DataError(
                    f"{file}: is no whole JSON list, broken{line}; export or download it again, or correct "
                    f"{section}.{key}"
                ) from None
            if not isinstance(content, list):
                raise DataError(
                    f"{file}: holds one JSON {type(content).__name__}, but a list is wanted here; put the records into "
                    f"a list, or correct {section}.format"
                )
            items += [Item(source, file.name, row, value) for row, value in enumerate(content, 1)]
            continue
        lines = io.StringIO(text, newline="\n")  # only a line feed ends a line
        of_file = [Item(source, file.name, line, value, not fault) for line, value, fault, _ in json_records(lines)]
        if len(of_file) > 1 and not any(item.is_json for item in of_file):
            raise DataError(
                f"{file}: none of its {len(of_file)} lines is JSON, but one JSON value a line is wanted here; correct "
                f"{section}.{key}, or write the records as JSON Lines"
            )
        items += of_file
    return items


def read_text(file: Path, section: str, encoding: str | None = None, *, may_be_empty: bool = False) -> str:
    """The text of a file, line ends untouched and without a byte order mark.

    Args:
        section: config section of the source, for messages.
        encoding: None where the format has no key for it: UTF-8.
    """
    if not (may_be_empty and file.is_file() and file.stat().st_size == 0):
        existing_file(str(file), f"{section}.paths")
    with open_text(file, encoding or "utf-8", key=section, fixed_encoding=encoding is None) as stream:
        text = stream.read()
    if "\0" in text[:4096]:
        raise DataError(
            f"{file}: holds NUL characters: it is binary, or UTF-16 without its byte order mark; save it as UTF-8"
        )
    if not text.strip() and not may_be_empty:
        raise DataError(f"{file}: is empty but for spaces and line breaks; give a file with data")
    return text


def id_text(value: Any) -> str | None:
    """An id as text without outer spaces: 7 and 7.0 become "7". None where there is none, or it is no plain value."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    try:
        return str(value).strip() or None
    except ValueError:  # a number of more than 4,300 digits
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


def excluded_by(only: Mapping[str, str | Sequence[str]], found: Mapping[str, str | None]) -> str:
    """Why a record does not count: the declared field whose value is none of those that do; empty where it counts.

    Args:
        only: field -> the value or values that count.
        found: field -> the record's value.
    """
    for name, allowed in only.items():
        values = (allowed,) if isinstance(allowed, str) else allowed
        if (found[name] or "").strip().casefold() not in {value.strip().casefold() for value in values}:
            return f"another value of {name}"
    return ""
