"""A workbook is read as the CSV of its values, and what a CSV of it would have changed in silence is refused."""

from __future__ import annotations

import re
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.styles import Font

from r2d.config.data import DataConfig
from r2d.config.jobs import CallsConfig
from r2d.data.load import load_examples
from r2d.data.look import looks_at
from r2d.data.reading import Reading
from r2d.errors import DataError
from r2d.inference.calls import read_calls

HEADER = ["id", "text", "label"]
ROWS: list[list[Any]] = [
    [7, 'cough, "dry"\nfor 2 days', "soon"],
    ["008", 45.0, "soon"],
    [True, datetime(2026, 3, 1), "now"],
    [1e15, 0.5, "now"],
]
TEXTS = [
    ("7", 'cough, "dry"\nfor 2 days', "soon"),
    ("008", "45", "soon"),
    ("true", "2026-03-01", "now"),
    ("1000000000000000", "0.5", "now"),
]


def workbook(path: Path, *sheets: list[list[Any]], before: list[list[Any]] | None = None) -> Path:
    book = Workbook()
    book.remove(book["Sheet"])
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"private name {number}")
        for row in [*(before or []), HEADER, *rows]:
            sheet.append(row)
        sheet["J40"].number_format = "0.00"  # a formatted cell without a value, far from the table
    book.save(path)
    return path


def loaded(path: Path, **values: Any) -> list[tuple[str, str, str]]:
    data = {"path": str(path), "format": "csv", "labels": {"names": ["now", "soon"]}} | values
    table = load_examples(DataConfig.model_validate(data), divide=False)
    return list(zip(*(table[name].to_pylist() for name in HEADER), strict=True))


def test_notes_are_the_values_of_the_sheet(tmp_path: Path) -> None:
    assert loaded(workbook(tmp_path / "notes.xlsx", ROWS)) == TEXTS


@pytest.mark.parametrize("before", [[["Emergency calls 2026"]], [["Emergency calls"], [], ["2026"]]])
def test_titles_before_the_header_are_passed_over_as_in_a_csv(before: list[list[Any]], tmp_path: Path) -> None:
    path = workbook(tmp_path / "notes.xlsx", ROWS, before=before)
    assert loaded(path, skip_lines=len(before)) == TEXTS
    assert next(iter(looks_at(path))).settings["skip_lines"] == len(before)


def test_a_workbook_with_the_ending_of_a_csv_is_read_too(tmp_path: Path) -> None:
    assert loaded(workbook(tmp_path / "notes.xlsx", ROWS).rename(tmp_path / "notes.csv")) == TEXTS


def test_a_workbook_with_the_delimiter_of_a_csv_is_told_that_it_has_none(tmp_path: Path) -> None:
    path = workbook(tmp_path / "notes.xlsx", ROWS)
    with pytest.raises(DataError, match=r"is an Excel workbook, which has no delimiter; leave data\.delimiter out"):
        loaded(path, delimiter=";")


def test_calls_and_init_read_it_too(tmp_path: Path) -> None:
    path = workbook(tmp_path / "calls.xlsx", ROWS)
    assert [call.text for call in read_calls(CallsConfig(path=str(path)))] == [text for _, text, _ in TEXTS]
    look = next(iter(looks_at(str(path))))
    assert look.settings["format"] == "csv"
    assert [column.name for column in look.columns] == HEADER


@pytest.mark.parametrize("value", ["=1+1", "#REF!"])
def test_a_cell_without_a_sure_value_is_refused_by_its_place(value: str, tmp_path: Path) -> None:
    path = workbook(tmp_path / "notes.xlsx", [["1", value, "now"]])
    with pytest.raises(DataError, match=r"1 cell holds (an error|a formula without a value): B2"):
        loaded(path)


def test_what_excel_hides_or_merges_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "notes.xlsx"
    book = load_workbook(workbook(path, ROWS))
    sheet = book.worksheets[0]
    sheet.row_dimensions[3].hidden = sheet.row_dimensions[4].hidden = True
    sheet.column_dimensions["C"].hidden = True
    sheet.merge_cells("F10:G11")
    book.create_sheet("hidden").sheet_state = "hidden"
    book.save(path)
    config = DataConfig.model_validate({"path": str(path), "format": "csv", "labels": {"names": ["now", "soon"]}})
    assert Reading.of(load_examples(config, divide=False)).notes[:4] == [
        "2 hidden rows are read",
        "1 range of hidden columns is read",
        "1 hidden sheet is not read",
        "1 range of merged cells: the value stands in the first cell",
    ]
    assert loaded(path) == TEXTS, "they are rows and columns like the others"


def test_cells_that_are_struck_out_are_counted(tmp_path: Path) -> None:
    """A clerk strikes a label out; its text alone does not tell."""
    path = tmp_path / "notes.xlsx"
    book = load_workbook(workbook(path, ROWS))
    sheet = book.worksheets[0]
    for place in ("B3", "C3"):
        sheet[place].font = Font(strike=True)
    sheet["H9"].font = Font(strike=True)  # an empty cell
    book.save(path)
    config = DataConfig.model_validate({"path": str(path), "format": "csv", "labels": {"names": ["now", "soon"]}})
    assert Reading.of(load_examples(config, divide=False)).notes[0] == "2 struck-out cells are read (B3; C3)"


def test_rows_beyond_the_size_that_a_sheet_states_are_read(tmp_path: Path) -> None:
    """Some programs write a size of one cell."""
    path = workbook(tmp_path / "notes.xlsx", ROWS)
    content = {}
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    content[sheet] = re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1:B2"', content[sheet])
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    assert loaded(path) == TEXTS


def test_a_declared_encoding_changes_no_letter_of_a_workbook(tmp_path: Path) -> None:
    path = workbook(tmp_path / "notes.xlsx", [["1", "fièvre", "now"], ["2", "toux", "soon"]])
    assert loaded(path, encoding="cp1252")[0][1] == "fièvre"


def test_several_sheets_are_refused_without_their_names(tmp_path: Path) -> None:
    path = workbook(tmp_path / "notes.xlsx", ROWS, ROWS)
    with pytest.raises(DataError, match="2 visible sheets") as refused:
        loaded(path)
    assert "private" not in str(refused.value)


def test_a_damaged_workbook_is_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path / "notes.xlsx", ROWS)
    content = path.read_bytes()
    at = content.index(b"xl/worksheets")
    path.write_bytes(content[: at + 40] + bytes(60) + content[at + 100 :])
    with pytest.raises(DataError, match=r"is no whole (Excel workbook|zip file)"):
        loaded(path)
