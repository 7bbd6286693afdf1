"""An Excel workbook of one sheet, read as the CSV of its values: comma, double quotes, UTF-8.

So everything that holds for a CSV holds for it: header, blank rows, codes, a template over columns. Rows are read one
at a time; only the table of strings that cells share is held in memory.
"""

from __future__ import annotations

import csv
import io
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, time
from itertools import repeat
from pathlib import Path
from typing import Any

from r2d.errors import DataError
from r2d.text import first_of, plural

MARK = "xl/workbook.xml"
"""Member of a zip file that tells a workbook."""
PIECE_BYTES = 1 << 20  # of a sheet, searched at a time
_TAG = re.compile(
    rb"<(?:\w+:)?(?:(?P<formula>f)[\s/>]|(?P<merged>mergeCell)\s"
    rb"|(?P<rows>row)\s[^<>]*?\bhidden=.(?:1|true)|(?P<columns>col)\s[^<>]*?\bhidden=.(?:1|true))"
)
"""What a sheet says of cells beside their values; within a text `<` is written `&lt;`."""


def is_workbook(file: Path) -> bool:
    """Whether a file is an Excel workbook, whatever its name."""
    try:
        with zipfile.ZipFile(file) as archive:
            return MARK in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def csv_chunks(file: Path, notes: list[str] | None = None) -> Iterator[bytes]:
    """The CSV, row by row.

    Args:
        notes: takes sentences on what Excel shows otherwise: hidden rows, columns and sheets, merged cells, and at
            the end cells that are struck out.

    Raises:
        DataError: it is no whole workbook, has no or several visible sheets, or cells hold an error or a formula that
            nobody has computed; the last is raised behind the last row.
    """
    from openpyxl import load_workbook

    buffer, width = io.StringIO(), 0
    writer = csv.writer(buffer)
    struck: list[str] = []
    faults: dict[str, list[str]] = {"an error": [], "a formula without a value": []}
    opened = ExitStack()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on styles and extensions, which hold no values
            # openpyxl refuses a path by its ending, and an open file by its content alone.
            streams = [opened.enter_context(file.open("rb")) for _ in range(2)]
            values = load_workbook(streams[0], read_only=True, data_only=True)
            visible = [place for place, sheet in enumerate(values.worksheets) if sheet.sheet_state == "visible"]
            if len(visible) != 1:
                raise DataError(
                    f"{file}: is a workbook of {len(visible)} visible sheets; give one with the sheet alone"
                )
            marks = _marks(file, values.worksheets[visible[0]]._worksheet_path)
            # Values alone do not tell the formulas that were never computed.
            books = (values, load_workbook(streams[1], read_only=True)) if marks["formula"] else (values,)
        with zipfile.ZipFile(file) as archive:
            has_struck_fonts = "xl/styles.xml" in archive.namelist() and b"strike" in archive.read("xl/styles.xml")
        sheets = [book.worksheets[visible[0]] for book in books]
        for sheet in sheets:
            sheet.reset_dimensions()  # the size that a sheet states may be wrong, and rows beyond it would be lost
        if notes is not None:
            first_cell = "of merged cells: the value stands in the first cell"
            num_of = {
                ("hidden row is read", "hidden rows are read"): marks["rows"],
                ("range of hidden columns is read", "ranges of hidden columns are read"): marks["columns"],
                ("hidden sheet is not read", "hidden sheets are not read"): len(values.sheetnames) - 1,
                (f"range {first_cell}", f"ranges {first_cell} of each"): marks["merged"],
            }
            notes += [plural(count, *words) for words, count in num_of.items() if count]
        formulas = sheets[1].iter_rows() if len(sheets) > 1 else repeat(())
        for row, written in zip(sheets[0].iter_rows(), formulas, strict=False):
            for cell, formula in zip(row, written, strict=False):
                if cell.value is None and formula.data_type == "f":
                    faults["a formula without a value"].append(formula.coordinate)
            if has_struck_fonts:
                struck += [cell.coordinate for cell in row if cell.value is not None and cell.font.strike]
            faults["an error"] += [cell.coordinate for cell in row if cell.data_type == "e"]
            texts = [_text(cell.value) for cell in row]
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
    finally:
        opened.close()
    if found := [
        f"{plural(len(cells), 'cell holds', 'cells hold')} {what}: {first_of(cells)}"
        for what, cells in faults.items()
        if cells
    ]:
        raise DataError(f"{file}: {'; '.join(found)}; open it, mend the cells, and save the values")
    if struck and notes is not None:
        notes.append(f"{plural(len(struck), 'struck-out cell is', 'struck-out cells are')} read ({first_of(struck)})")


def _marks(file: Path, sheet: str) -> Counter[str]:
    """How many formulas, ranges of merged cells, hidden rows and hidden columns the XML of a sheet has."""
    marks, rest = Counter[str](), b""
    with zipfile.ZipFile(file) as archive, archive.open(sheet.lstrip("/")) as stream:
        while piece := stream.read(PIECE_BYTES):
            whole, opening, rest = (rest + piece).rpartition(b"<")
            marks.update(match.lastgroup or "" for match in _TAG.finditer(whole))
            rest = opening + rest
    return marks


def _text(value: Any) -> str:
    """The value of a cell as the text that a CSV would hold."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, datetime):
        return str(value.date() if value.time() == time() else value)
    return str(value)
