"""Calls as a stream of rows from CSV, JSON Lines or Parquet: memory does not grow with the file.

A file that cannot be read as declared is refused as a whole; `decide.Answerer` answers a row without a text.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from r2d.config.jobs import CallsConfig
from r2d.data.fingerprint import files_fingerprint
from r2d.data.readers.files import existing_file, parquet_files
from r2d.data.readers.rows import MAX_CELL_CHARACTERS, Faults, cells_cut, stream_rows
from r2d.data.readers.shapes import RowShape
from r2d.errors import DataError

logger = logging.getLogger(__name__)


class Call(NamedTuple):
    """One row of the file, as it stands there."""

    id: str | None
    text: str | None
    options: Sequence[str] | None = None
    attributes: Mapping[str, str] | None = None
    """Attribute -> value, of those that are declared and not empty."""


@dataclass(frozen=True)
class CallsSummary:
    """What is known of the calls after reading them once."""

    num_rows: int
    fingerprint: str
    """SHA-256 over the contents of the files, wherever they lie."""
    num_without_text: int = 0
    num_repeated_ids: int = 0  # calls whose id an earlier call has


def call_files(config: CallsConfig) -> list[Path]:
    """The file itself, or the Parquet files of a folder; a DataError where there is none or one has no content."""
    return parquet_files(config.path) if config.resolved_format == "parquet" else [existing_file(config.path)]


def scan_calls(config: CallsConfig, known: CallsSummary | None = None) -> CallsSummary:
    """Read all calls once: a faulty file stops before the first decision, and the number of rows becomes known.

    Args:
        known: what an earlier scan found; returned, without another one, where the files are still the same bytes.

    Raises:
        DataError: a file is missing, empty, not of the format, wrongly encoded, lacks a declared column or has no row.
    """
    files, notes = call_files(config), list[str]()
    fingerprint = files_fingerprint(("data.path", str(file)) for file in files)
    if known is not None and known.fingerprint == fingerprint:
        return known
    num_rows = num_without_text = 0
    id_hashes = array("q")  # 8 bytes a call
    for call in read_calls(config, notes):
        num_rows += 1
        num_without_text += not (call.text and call.text.strip())
        if call.id:
            id_hashes.append(hash(call.id))
    if not num_rows:
        raise DataError(f"{config.path}: has columns but no rows; give a file with calls")
    num_repeated = len(id_hashes) - len(np.unique(np.frombuffer(id_hashes, np.int64))) if id_hashes else 0
    if num_without_text:
        notes.append(f"{num_without_text:,} of {num_rows:,} calls have no text: each is deferred to a person")
    if num_repeated:
        notes.append(f"{num_repeated:,} of {num_rows:,} calls have the id of an earlier one")
    for note in notes:
        logger.info("%s: %s", config.path, note)
    return CallsSummary(num_rows, fingerprint, num_without_text, num_repeated)


def read_calls(config: CallsConfig, notes: list[str] | None = None) -> Iterator[Call]:
    """The calls in the order of the file, each text cut at `MAX_CELL_CHARACTERS`. Raises what `scan_calls` raises;
    faults that are counted come at the end.

    Args:
        notes: takes sentences on what was left out or cut, once the last call is read.
    """
    shape, attributes = RowShape(config.columns), config.columns.attributes
    sources = shape.sources | {f"attributes.{name}": column for name, column in attributes.items()}
    is_plain = shape.is_plain and config.columns.text_template is None
    row_number = num_cut = 0
    for file in call_files(config):
        broken_ids = Faults(file)
        rows = stream_rows(file, sources, config.resolved_format, config, notes)
        for number, row in enumerate(rows, 1):
            row_number += 1
            values = dict(zip(sources, row.values, strict=True))
            cells = {name: (values.pop(f"attributes.{name}") or "").strip() for name in attributes}
            call = Call(**(values if is_plain else shape.fields_of(values, row_number)))
            if attributes:
                call = call._replace(attributes={name: cell for name, cell in cells.items() if cell})
            try:
                (call.id or "").encode()  # the id is written to the output, which holds whole characters only
            except UnicodeEncodeError:
                broken_ids.add(f"row {number}" if row.line is None else f"line {row.line}")
            else:
                if call.text and len(call.text) > MAX_CELL_CHARACTERS:
                    call, num_cut = call._replace(text=call.text[:MAX_CELL_CHARACTERS]), num_cut + 1
                yield call
        broken_ids.raise_if_any(
            f"row has half a surrogate pair in its id (column {config.columns.id!r})",
            f"rows have half a surrogate pair in their id (column {config.columns.id!r})",
            "write the whole character or remove it",
        )
    if notes is not None:
        notes += shape.template_notes()
        if num_cut:
            notes.append(cells_cut(num_cut))
