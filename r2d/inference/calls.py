"""Calls as a stream of rows from CSV, JSON Lines or Parquet: memory does not grow with the file.

A file that cannot be read as declared is refused as a whole; a row without a text is answered by `decide_calls`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from r2d.config.jobs import CallsConfig
from r2d.data.fingerprint import files_fingerprint
from r2d.data.readers.files import existing_file, parquet_files
from r2d.data.readers.rows import Faults, stream_rows
from r2d.errors import DataError


class Call(NamedTuple):
    """One row of the file, as it stands there."""

    id: str | None
    text: str | None
    options: Sequence[str] | None = None


@dataclass(frozen=True)
class CallsSummary:
    """What is known of the calls after reading them once."""

    num_rows: int
    fingerprint: str
    """SHA-256 over the contents of the files, wherever they lie."""


def call_files(config: CallsConfig) -> list[Path]:
    """The file itself, or the Parquet files of a folder; a DataError where there is none or one has no content."""
    return parquet_files(config.path) if config.resolved_format == "parquet" else [existing_file(config.path)]


def scan_calls(config: CallsConfig) -> CallsSummary:
    """Read all calls once: a faulty file stops before the first decision, and the number of rows becomes known.

    Raises:
        DataError: a file is missing, empty, not of the format, wrongly encoded, lacks a declared column or has no row.
    """
    files = call_files(config)
    num_rows = sum(1 for _ in read_calls(config))
    if not num_rows:
        raise DataError(f"{config.path}: has columns but no rows; give a file with calls")
    return CallsSummary(num_rows, files_fingerprint(("data.path", str(file)) for file in files))


def read_calls(config: CallsConfig) -> Iterator[Call]:
    """The calls in the order of the file. Raises what `scan_calls` raises; faults that are counted come at the end."""
    columns = {"id": config.columns.id, "text": config.columns.text}
    if config.columns.options is not None:
        columns["options"] = config.columns.options
    for file in call_files(config):
        broken_ids = Faults(file)
        rows = stream_rows(file, columns, config.resolved_format, delimiter=config.delimiter, encoding=config.encoding)
        for number, row in enumerate(rows, 1):
            call = Call(*row.values)
            try:
                (call.id or "").encode()  # the id is written to the output, which holds whole characters only
            except UnicodeEncodeError:
                broken_ids.add(f"row {number}" if row.line is None else f"line {row.line}")
            else:
                yield call
        broken_ids.raise_if_any(
            f"row(s) have half a surrogate pair in their id (column {columns['id']!r})",
            "write the whole character or remove it",
        )
