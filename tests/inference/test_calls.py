"""Calls are read alike from every format, a row at a time, and a faulty file says what is wrong with it."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from r2d.config.data import DataConfig
from r2d.config.jobs import CallsConfig
from r2d.data.readers.tables import read_source
from r2d.errors import DataError
from r2d.inference.calls import Call, read_calls, scan_calls
from tests.inference.keyword_predictor import LABELS, write_calls

ROWS = [
    {"id": "a", "text": 'pt says "ok",\nthen leaves', "label": "self care"},
    {"id": "007", "text": "None", "label": "self care"},
    {"id": "", "text": "", "label": "self care"},
    {"id": "d", "text": "  ", "label": "self care"},
]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_stream_gives_what_the_reader_of_training_data_gives(ending: str, tmp_path: Path) -> None:
    path = write_calls(tmp_path / f"calls.{ending}", ROWS)
    table = read_source(DataConfig(format=ending, path=str(path), labels=LABELS)).columns
    streamed = list(read_calls(CallsConfig(path=str(path))))
    assert [call.id for call in streamed] == table["id"].to_pylist()
    assert [call.text for call in streamed] == table["text"].to_pylist()
    assert scan_calls(CallsConfig(path=str(path))).num_rows == len(ROWS)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_text_of_ten_megabytes_is_cut_and_said(ending: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"id": "a", "text": "reports pain, " * 700_000}, {"id": "b", "text": "no pain"}]
    config = CallsConfig(path=str(write_calls(tmp_path / f"calls.{ending}", rows)))
    caplog.set_level("INFO")
    scan_calls(config)
    assert "1 cell longer than 200,000 characters cut there" in caplog.text
    assert [len(call.text or "") for call in read_calls(config)] == [200_000, 7]


def test_options_come_as_lists(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "t", "options": ["yes", "no"]}, {"id": "b", "text": "t", "options": None}]
    for ending in ("jsonl", "parquet"):
        path = write_calls(tmp_path / f"calls.{ending}", rows)
        config = CallsConfig(path=str(path), columns={"options": "options"})
        assert list(read_calls(config)) == [Call("a", "t", ["yes", "no"]), Call("b", "t", None)]


def test_a_folder_of_parquet_files_is_one_file_of_calls(tmp_path: Path) -> None:
    for number in range(3):
        write_calls(tmp_path / f"{number}.parquet", [{"id": f"{number}", "text": "t"}])
    assert [call.id for call in read_calls(CallsConfig(path=str(tmp_path)))] == ["0", "1", "2"]


def test_the_fingerprint_is_that_of_the_content_and_not_of_the_place(tmp_path: Path) -> None:
    one, moved = (write_calls(tmp_path / f"{name}.csv", ROWS) for name in ("one", "moved"))
    changed = write_calls(tmp_path / "changed.csv", [*ROWS[:-1], ROWS[0]])
    prints = [scan_calls(CallsConfig(path=str(path))).fingerprint for path in (one, moved, changed)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,text\n1,a\n2\n3,b,c\n", r"2 rows have not the 2 fields .* line 3 has 1; line 4 has 3"),
        ("a.csv", "id,text\n", "has columns but no rows"),
        ("a.csv", "", "is empty"),
        ("a.jsonl", '{"id": 1, "text": ["pain", 2]}\n', r"line 1, column 'text' \(data\.columns\.text\) holds a list"),
        ("a.jsonl", '{"id": "\\ud800", "text": "a"}\n', r"half a surrogate pair in its id \(column 'id'\): line 1;"),
        ("a.parquet", "PAR1 no more", "is no whole Parquet file"),
    ],
)
def test_a_faulty_file_is_refused_as_a_whole_and_its_texts_are_not_quoted(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    """The reader is that of training data: tests/data/test_readers.py has every fault."""
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        scan_calls(CallsConfig(path=str(path)))
    assert "pain" not in str(caught.value)


def test_a_column_without_plain_text_is_refused(tmp_path: Path) -> None:
    path = write_calls(tmp_path / "calls.parquet", [{"id": "a", "text": {"a": 1}}])
    with pytest.raises(DataError, match=r"column 'text' holds struct.*; store it as a string"):
        scan_calls(CallsConfig(path=str(path)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"path": "calls.xls"}, "ends with none of"),
        ({"path": "calls.csv", "columns": {"options": "o"}}, "which format 'csv' cannot hold"),
    ],
)
def test_what_cannot_be_read_is_a_fault_of_the_config(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CallsConfig.model_validate(values)


def test_a_row_group_that_holds_everything_is_not_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "calls.parquet"
    texts = [random.Random(row).randbytes(1000).hex() for row in range(20_000)]
    ids = [str(row) for row in range(20_000)]
    pq.write_table(pa.table({"id": ids, "text": texts}), path, use_dictionary=False, row_group_size=20_000)
    del texts
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() - before for _ in read_calls(CallsConfig(path=str(path))))
    assert most < path.stat().st_size / 2
