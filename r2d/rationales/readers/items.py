"""Files of a rationale source as items with their rows: a JSON list, or JSON Lines with its broken lines."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from r2d.data.readers.files import existing_file, open_text
from r2d.data.readers.rows import json_records
from r2d.errors import DataError
from r2d.rationales.records import Record
from r2d.text import did_you_mean

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")


@dataclass(frozen=True, slots=True)
class Broken:
    """The value of a line that is no JSON."""


@dataclass(frozen=True, slots=True)
class Item:
    """One value of a file."""

    source: str
    file: str
    row: int
    """Counted from 1: the line, or the place in the list."""
    value: Any

    def record(self, **values: Any) -> Record:
        """A record with these values, at the place of this item."""
        return Record(source=self.source, file=self.file, row=self.row, **values)

    def malformed(self, expected: str) -> Record:
        """A record that says which other thing than the expected one stands here."""
        fault = "no JSON" if isinstance(self.value, Broken) else f"a {type(self.value).__name__}, not {expected}"
        return self.record(reason="malformed_record", detail=fault)

    def written(
        self, example_id: str | None, label: str | None, rationale: str | None, *, no_id: str, **values: Any
    ) -> Record:
        """A record of a rationale that a person wrote, with the reason where its example or its text is missing.

        Args:
            no_id: detail of a record without an example.
        """
        values |= {"example_id": example_id, "label": label, "rationale": rationale}
        if example_id is None:
            return self.record(reason="no_id", detail=no_id, **values)
        if rationale and rationale.strip():
            return self.record(**values)
        return self.record(reason="no_rationale" if label else "empty", **values)


def read_items(
    source: str,
    file: Path,
    key: str,
    encoding: str | None = None,
    *,
    form: Literal["list", "lines", "either"] = "either",
    may_be_empty: bool = False,
) -> list[Item]:
    """The values of a JSON list or of JSON Lines; a line that is no JSON is `Broken`, a blank one is left out.

    Args:
        source: name of the source; key: its config key, for messages.
        form: what the file has to be; `either`: a list where it begins as one.

    Raises:
        DataError: the file is no text (see `read_text`), is no list, or has several lines and none of them is JSON.
    """
    text = read_text(file, key, encoding, may_be_empty=may_be_empty)
    if form == "list" or (form == "either" and text.lstrip().startswith("[")):
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
        return [Item(source, file.name, row, value) for row, value in enumerate(content, 1)]
    # Only a line feed ends a line.
    records = json_records(io.StringIO(text, newline="\n"))
    items = [Item(source, file.name, line, Broken() if fault else value) for line, value, fault in records]
    if len(items) > 1 and all(isinstance(item.value, Broken) for item in items):
        raise DataError(
            f"{file}: none of its {len(items)} lines is JSON, but one JSON value a line is wanted here; correct "
            f"{key}.paths, or write the records as JSON Lines"
        )
    return items


def read_text(file: Path, key: str, encoding: str | None = None, *, may_be_empty: bool = False) -> str:
    """The text of a file, line ends untouched and without a byte order mark.

    Args:
        key: config key of the source, for messages.
        encoding: None where the format has no key for it: UTF-8.

    Raises:
        DataError: it is missing, a folder, empty, a Git-LFS pointer or no text, or its encoding is another.
    """
    if not (may_be_empty and file.is_file() and file.stat().st_size == 0):
        existing_file(str(file), f"{key}.paths")
    with open_text(file, encoding or "utf-8", key=key, fixed_encoding=encoding is None) as stream:
        text = stream.read()
    if "\0" in text[:4096]:
        raise DataError(
            f"{file}: holds NUL characters: it is binary, or UTF-16 without its byte order mark; save it as UTF-8"
        )
    if not text.strip() and not may_be_empty:
        raise DataError(f"{file}: is empty but for spaces and line breaks; give a file with data")
    return text


def only_unicode(records: Iterable[Record]) -> list[Record]:
    """The records, without the texts of those that hold half a surrogate pair, which no file can hold."""
    result = []
    for record in records:
        texts = (
            record.record_id, record.example_id, record.content, record.rationale, record.label, record.author,
            record.prompt_hash, record.created_at, record.edits,
        )  # fmt: skip
        try:
            "".join(text or "" for text in texts).encode()
        except UnicodeEncodeError:
            item = Item(record.source, record.file, record.row, None)
            record = item.record(order=record.order, reason="malformed_record", detail="half a surrogate pair")
        result.append(record)
    return result


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


def nearest_name(wanted: str, names: Sequence[str]) -> str:
    """A hint at the name that was probably meant. Where a line break is lost, a longer one may end in a text."""
    return did_you_mean(wanted, [name for name in names if abs(len(name) - len(wanted)) < 4])


def listed_names(names: Sequence[str]) -> str:
    """The names of columns or fields; of what is no plain name, and may be a text, only the length."""
    shown = [repr(name) if _NAME.fullmatch(name) else f"({len(name)} characters)" for name in names[:30]]
    return ", ".join([*shown, *(["..."] if len(names) > 30 else [])]) or "(none)"
