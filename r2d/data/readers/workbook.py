"""An Excel workbook of one sheet, read as the CSV of its values: comma, double quotes, UTF-8.

So everything that holds for a CSV holds for it: header, blank rows, codes, a template over columns. Rows are read one
at a time; only the table of strings that cells share is held in memory.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterator
from datetime import datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2d.errors import DataError

if TYPE_CHECKING:
    from openpyxl.cell import Cell

MARK = "xl/workbook.xml"
"""Member of a zip file that tells a workbook."""


def csv_chunks(file: Path) -> Iterator[bytes]:
    """The CSV, row by row.

    Raises:
        DataError: it is no whole workbook, has no or several visible sheets, or a cell holds an error or a formula that
            nobody has computed. Raised on the way, too.
    """
    from openpyxl import load_workbook

    buffer, width = io.StringIO(), 0
    writer = csv.writer(buffer)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on styles and extensions, which hold no values
            values = load_workbook(file, read_only=True, data_only=True)
            formulas = load_workbook(file, read_only=True)
        sheets = [place for place, sheet in enumerate(values.worksheets) if sheet.sheet_state == "visible"]
        if len(sheets) != 1:
            raise DataError(f"{file}: is a workbook of {len(sheets)} visible sheets; give one with the sheet alone")
        pair = (book.worksheets[sheets[0]].iter_rows() for book in (values, formulas))
        for row, written in zip(*pair, strict=True):
            texts = [_text(file, cell, at) for cell, at in zip(row, written, strict=True)]
            while len(texts) > width and not texts[-1]:
                texts.pop()  # a sheet is as wide as its widest format, its table as its widest row until here
            width = max(width, len(texts))
            writer.writerow(texts + [""] * (width - len(texts)))
            yield buffer.getvalue().encode("utf-8", "replace")
            buffer.seek(0)
            buffer.truncate()
    except DataError:
        raise
    except Exception as error:  # a damaged part may raise anything
        raise DataError(f"{file}: is no whole Excel workbook ({type(error).__name__}); save it again") from None


def _text(file: Path, cell: Cell, written: Cell) -> str:
    """The value of a cell; `written` is the same with its formula."""
    value: Any = cell.value
    if cell.data_type == "e" or (value is None and written.data_type == "f"):
        what = "an error" if cell.data_type == "e" else "a formula without a value"
        raise DataError(f"{file}: cell {written.coordinate} holds {what}; open it, mend the cell, and save the values")
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, datetime):
        return str(value.date() if value.time() == time() else value)
    return str(value)
