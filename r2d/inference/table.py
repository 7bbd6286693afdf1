"""The decisions of a batch inference as a table for people, CSV or Excel, in the order of the calls.

The Parquet file stays beside it: `r2d drift` reads that, and the table can be made again from it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path

import pyarrow.parquet as pq

from r2d.config.jobs import CallsConfig
from r2d.errors import DataError
from r2d.files import partial_file
from r2d.inference.calls import read_calls
from r2d.modeling.deferral import DEFERRAL_REASONS
from r2d.text import no_formula

COLUMNS = ("id", "label", "probability", "other_labels", "rationale", "remarks", "handed_over", "why", "model")
"""Of the table; `text` follows where it is asked for. `why` and `remarks` are sentences."""
EXCEL_ROWS = 1_048_576
EXCEL_CELL_CHARACTERS = 32_767

Cell = str | float | None


def write_table(decisions: Path, table: Path, calls: CallsConfig | None = None) -> None:
    """Write the table of an output of a batch inference; an earlier one of that name is replaced.

    Args:
        decisions: the Parquet file.
        table: its ending says the kind: .csv (UTF-8 with a byte order mark, which Excel needs) or .xlsx.
        calls: the calls that were decided; given, the table repeats their texts.

    Raises:
        DataError: there are more rows than a sheet holds, or the calls have changed since.
    """
    write = _write_excel if table.suffix.lower() == ".xlsx" else _write_csv
    with pq.ParquetFile(decisions) as file, partial_file(table) as aside:
        write(aside, [*COLUMNS, *(["text"] if calls else [])], _rows(file, calls), table)


def _rows(file: pq.ParquetFile, calls: CallsConfig | None) -> Iterator[list[Cell]]:
    decided = (row for batch in file.iter_batches() for row in batch.to_pylist())
    texts = repeat(None) if calls is None else (call.text for call in read_calls(calls))
    num_rows = 0
    for row, text in zip(decided, texts, strict=False):
        others = [f"{name} {value:.3f}" for name, value in row["label_probabilities"] if name != row["label"]]
        cells: list[Cell] = [
            row["id"],
            row["label"],
            row["label_probability"],
            "; ".join(others),
            row["rationale"],
            "; ".join(row["remarks"]),
            "yes" if row["handed_over"] else "no",
            DEFERRAL_REASONS.get(row["why"], ""),
            row["model"],
        ]
        yield cells if calls is None else [*cells, text]
        num_rows += 1
    if num_rows < file.metadata.num_rows:
        raise DataError("the calls have fewer rows than were decided: they have changed since; decide them anew")


def _write_csv(path: Path, header: list[str], rows: Iterable[list[Cell]], _: Path) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows([no_formula(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)


def _write_excel(path: Path, header: list[str], rows: Iterable[list[Cell]], table: Path) -> None:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = Workbook(write_only=True)
    sheet = book.create_sheet("decisions")
    sheet.freeze_panes = "B2"
    sheet.append(header)

    def as_text(cell: Cell) -> WriteOnlyCell | Cell:
        if not isinstance(cell, str):
            return cell
        written = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", cell))
        written.data_type = "s"  # never a formula
        return written

    for number, row in enumerate(rows, 2):
        if number > EXCEL_ROWS:
            raise DataError(
                f"{table}: a sheet holds {EXCEL_ROWS - 1:,} rows and there are more; write .csv or .parquet"
            )
        if any(isinstance(cell, str) and len(cell) > EXCEL_CELL_CHARACTERS for cell in row):
            raise DataError(
                f"{table}: a cell of row {number} has more than {EXCEL_CELL_CHARACTERS:,} characters, too many for "
                "Excel; write .csv or .parquet"
            )
        sheet.append([as_text(cell) for cell in row])
    book.save(path)
