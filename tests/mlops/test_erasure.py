"""A person is found in the files of others, however these write a name."""

from __future__ import annotations

import html
import json
import sqlite3
import unicodedata
from collections.abc import Callable
from pathlib import Path

import markupsafe
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r2d.modeling.trained_rows import TRAINED_ROWS_FILE, TrainedRows, write_trained_rows
from tests.mlops.conftest import Typed

NAME, NUMBER, OTHER = "Zoë O'Brien & Ćwik", "100234", "Zoë O'Brie"


def written(text: str, encoding: str = "utf-8") -> Callable[[Path], object]:
    return lambda path: path.write_text(f"id,name\n1,{text},x\n2,{OTHER},x\n", encoding=encoding)


def table(**columns: pa.Array) -> Callable[[Path], object]:
    return lambda path: pq.write_table(pa.table(columns), path)


def database(path: Path) -> None:
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE calls (id INTEGER, note TEXT)")
        made.execute(f"INSERT INTO calls VALUES ({NUMBER}, 'fine'), (7, 'fine')")


FILES: dict[str, Callable[[Path], object]] = {
    "plain.csv": written(NAME),
    "decomposed.csv": written(unicodedata.normalize("NFD", NAME)),
    "excel.csv": written(NAME, "utf-16"),
    "windows.csv": written(NAME.replace("Ć", "&#262;"), "cp1252"),
    "json.json": written(json.dumps(NAME)),
    "page.html": written(str(markupsafe.escape(NAME))),
    "other.html": written(html.escape(NAME)),
    "book.xml": written(html.escape(NAME, quote=False)),
    "number.csv": written(NUMBER),
    "within.parquet": table(note=pa.array([f"seen with {NAME}.", OTHER], pa.large_string())),
    "category.parquet": table(name=pa.array([NAME, OTHER]).dictionary_encode()),
    "list.parquet": table(ids=pa.array([[7, int(NUMBER)], [8]])),
    "number.parquet": table(id=pa.array([int(NUMBER), 8])),
    "number.db": database,
}


@pytest.mark.usefixtures("store")
def test_a_person_is_found_however_a_file_writes_the_name(typed: Typed, tmp_path: Path) -> None:
    for file, write in FILES.items():
        write(tmp_path / file)
    rows = pa.table({"id": ["1"], "text": ["pain"], "group": [NAME], "split": ["train"]})
    write_trained_rows(tmp_path, TrainedRows.of(rows, None, seed="7"))
    code, out, err = typed("forget", NAME, "--id", NUMBER, "--also", str(tmp_path), "--by", "dpo")
    assert code == 0, err
    for file in FILES:
        (line,) = [line for line in out.splitlines() if f"/{file} (" in line]
        assert "(1 row)" in line or "(1 line)" in line
    assert f"{TRAINED_ROWS_FILE} (1 group)" in out
