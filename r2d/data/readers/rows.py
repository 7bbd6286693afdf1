"""What every reader gives: the declared columns as text, and where each row stands for a message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from r2d.config.data import ColumnsConfig
from r2d.errors import DataError
from r2d.text import LONGEST_NAME, did_you_mean, first_of, show_name


@dataclass(frozen=True)
class Rows:
    """Rows as they were read, nothing judged yet."""

    table: pa.Table
    """Nullable string columns, named by config key: `id`, `text`, `label`, `group`, `split`, `rationales.<source>`,
    `attributes.<name>`; the undeclared ones are absent. `options` alone is a column of lists of strings."""
    source: str
    """The file, folder or data set, for messages."""
    columns: Mapping[str, str]
    """Config key -> how the source calls that column."""
    lines: Sequence[int] | None = None
    """Line on which each row begins, where the source has lines."""
    parts: Sequence[tuple[str, int]] = ()
    """Name and number of rows of each file or split, in order, where the source has several."""
    own_split: bool = False
    """Whether `split` holds the source's own division and not a column of the user's."""

    def place(self, index: int) -> str:
        """Where row `index` stands, counted from 1 without any header: `calls.csv row 3 (line 4)`."""
        row, part = index, ""
        for name, num_rows in self.parts:
            if row < num_rows:
                part = f"{name}: "
                break
            row -= num_rows
        line = f" (line {self.lines[index]})" if self.lines is not None else ""
        return f"{part}row {row + 1}{line}"


def wanted_columns(columns: ColumnsConfig) -> dict[str, str]:
    """Config key -> column, of every declared column."""
    wanted = {"id": columns.id, "text": columns.text, "label": columns.label}
    if columns.options is not None:
        wanted["options"] = columns.options
    if columns.group is not None:
        wanted["group"] = columns.group
    if columns.split is not None:
        wanted["split"] = columns.split
    wanted |= {f"rationales.{source}": column for source, column in columns.rationales.items()}
    return wanted | {f"attributes.{name}": column for name, column in columns.attributes.items()}


def check_columns(wanted: Mapping[str, str], found: Sequence[str], where: str) -> None:
    """Refuse a source without a declared column, or with two of that name.

    Raises:
        DataError: names each absent column with its config key, the nearest name and the columns found.
    """
    absent = [(key, column) for key, column in wanted.items() if column not in found]
    if absent:
        lines = [f"  data.columns.{key}: no column {column!r}{did_you_mean(column, found)}" for key, column in absent]
        raise DataError("\n".join([f"{where}: {len(absent)} declared column(s) missing", *lines, _found(found)]))
    twice = [f"data.columns.{key} {column!r}" for key, column in wanted.items() if list(found).count(column) > 1]
    if twice:
        raise DataError(f"{where}: two columns bear the same name ({', '.join(twice)}); rename one of them")


def _found(found: Sequence[str]) -> str:
    """The columns found. A long one is no name but a note, in a file whose header is missing: it is not shown."""
    if any(len(name) > LONGEST_NAME and " " in name for name in found):
        return "  the first line looks like data, not like column names; add a header line to the file"
    names = ", ".join(show_name(name) for name in found[:50])
    return f"  found: {names or '(none)'}; set these keys to columns of the file"


def text_array(values: Iterable[str | None], where: str, column: str) -> pa.ChunkedArray:
    """Texts as a nullable string column.

    Raises:
        DataError: a text holds half a surrogate pair and is no Unicode.
    """
    values = list(values)
    try:
        array = pa.array(values, pa.string())
    except UnicodeEncodeError:
        broken = [f"row {row}" for row, value in enumerate(values, 1) if value is not None and not _is_unicode(value)]
        raise DataError(
            f"{where}: column {column!r} holds half a surrogate pair (\\ud800 to \\udfff alone) in {len(broken)} "
            f"row(s): {first_of(broken)}; write the whole character or remove it"
        ) from None
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def list_text(value: Any) -> list[str]:
    """The options of a row, a list of JSON scalars, as texts.

    Raises:
        TypeError: it is no list, or holds a list, an object or null.
    """
    if not isinstance(value, list) or any(item is None for item in value):
        raise TypeError("list with null" if isinstance(value, list) else type(value).__name__)
    return [scalar_text(item) or "" for item in value]


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def scalar_text(value: Any) -> str | None:
    """A JSON number or boolean as text, written as Arrow writes it, so that formats agree.

    Raises:
        TypeError: it is a list or an object.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return None if value != value else str(pa.scalar(value).cast(pa.string()))
    raise TypeError(type(value).__name__)


def declared_column(key: str, column: pa.ChunkedArray, where: str, name: str) -> pa.ChunkedArray:
    """A typed Arrow column as its config key wants it: `options` as lists of texts, everything else as text.

    Raises:
        DataError: its type has no such form.
    """
    if key != "options":
        return text_column(column, where, name)
    try:
        return column.cast(pa.list_(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(f"{where}: column {name!r} holds {column.type}; data.columns.options is a list") from None


def text_column(column: pa.ChunkedArray, where: str, name: str) -> pa.ChunkedArray:
    """A typed Arrow column as text: 7 becomes "7", a whole float 45.0 becomes "45", NaN becomes null.

    Raises:
        DataError: its type has no plain text (a list, a struct, bytes that are no UTF-8).
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(
            f"{where}: column {name!r} holds {column.type}, which is no text; store it as a string"
        ) from None
