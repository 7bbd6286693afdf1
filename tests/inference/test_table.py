"""A table of decisions is what the Parquet file beside it says, in words, and a spreadsheet runs nothing in it."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from openpyxl import load_workbook
from typer.testing import CliRunner

from mlops.cli.main import app
from r2d.config.jobs import InferenceConfig
from r2d.config.section import parse_section
from r2d.errors import ConfigError, DataError
from r2d.inference.decide import Answerer
from r2d.inference.infer import infer
from r2d.inference.output import InferenceModel
from r2d.modeling.deferral import DEFERRAL_REASONS
from tests.inference.keyword_predictor import KeywordPredictor, answerer, write_calls

NOTES = ['=HYPERLINK("http://x")', "+49 cough", "pain, and \n more", "@SUM(1)", "", "-2 cough\x07"]


def decide(folder: Path, output: str, *, with_text: bool = True, asked: list[str] | None = None) -> Path:
    calls = write_calls(folder / "calls.jsonl", [{"id": f"={n}", "text": text} for n, text in enumerate(NOTES)])
    values = {"data": {"path": str(calls)}, "output": str(folder / output), "with_text": with_text}
    config = parse_section(InferenceConfig, values, where="test")
    predictor = KeywordPredictor()
    infer(config, InferenceModel("toy/1", "a" * 64), lambda: answerer(predictor))
    if asked is not None:
        asked += predictor.asked
    return folder / output


def rows_of(table: Path) -> list[dict[str, object]]:
    if table.suffix == ".csv":
        return list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines(keepends=True)))
    header, *rows = load_workbook(table, read_only=True).active.iter_rows(values_only=True)  # type: ignore[union-attr]
    return [dict(zip(map(str, header), row, strict=True)) for row in rows]


@pytest.mark.parametrize("name", ["decided.csv", "decided.xlsx"])
def test_the_table_says_what_the_parquet_file_beside_it_says(name: str, tmp_path: Path) -> None:
    rows = rows_of(decide(tmp_path, name, with_text=False))
    decided = pq.read_table(tmp_path / "decided.parquet").to_pylist()
    assert "text" not in rows[0]
    for row, truth in zip(rows, decided, strict=True):
        assert (row["label"] or None) == truth["label"]
        assert (row["handed_over"] == "yes") == truth["handed_over"]
        assert row["why"] == (DEFERRAL_REASONS[truth["why"]] if truth["why"] else row["why"])
        if truth["label_probability"] is not None:
            assert float(str(row["probability"])) == pytest.approx(truth["label_probability"])


def test_no_cell_of_a_table_begins_as_a_formula_or_is_one(tmp_path: Path) -> None:
    cells = [cell for row in rows_of(decide(tmp_path, "decided.csv")) for cell in row.values()]
    assert not [cell for cell in cells if str(cell).startswith(("=", "+", "-", "@"))]
    assert "'" + NOTES[0] in cells
    sheet = load_workbook(decide(tmp_path, "more.xlsx")).active
    assert sheet is not None
    written = [cell for row in sheet.iter_rows() for cell in row]
    assert "f" not in {cell.data_type for cell in written}
    assert NOTES[0] in [cell.value for cell in written]  # as text, unchanged


def test_a_finished_table_is_left_and_a_file_of_others_is_not_replaced(tmp_path: Path) -> None:
    table = decide(tmp_path, "decided.csv")
    table.write_text("corrected by hand", encoding="utf-8")
    asked: list[str] = []
    decide(tmp_path, "decided.csv", asked=asked)
    assert (table.read_text(encoding="utf-8"), asked) == ("corrected by hand", [])
    foreign = tmp_path / "foreign.csv"
    foreign.write_text("theirs", encoding="utf-8")
    with pytest.raises(DataError, match="is of no batch inference here"):
        decide(tmp_path, "foreign.csv")
    assert foreign.read_text(encoding="utf-8") == "theirs"


def test_changed_calls_are_not_joined_to_the_decisions_of_others(tmp_path: Path) -> None:
    table = decide(tmp_path, "decided.csv")
    table.unlink()
    write_calls(tmp_path / "calls.jsonl", [{"id": "=0", "text": "cough"}])
    config = InferenceConfig.model_validate(
        {"data": {"path": str(tmp_path / "calls.jsonl")}, "output": str(table), "with_text": True}
    )
    with pytest.raises(DataError, match="made with another model, input or setting"):
        infer(config, InferenceModel("toy/1", "a" * 64), answerer)
    assert not table.exists()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("decided.txt", "output ends with .txt"),
        ("calls.csv", "take the place of the calls"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_anything_is_read(output: str, message: str, tmp_path: Path) -> None:
    values = {"data": {"path": str(tmp_path / "calls.csv")}, "output": str(tmp_path / output)}
    with pytest.raises(ConfigError, match=message):
        parse_section(InferenceConfig, values, where="test")


def test_an_output_that_cannot_be_written_is_found_before_the_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    loaded: list[str] = []
    calls = write_calls(tmp_path / "calls.csv", [{"id": "1", "text": "cough"}])
    config = InferenceConfig.model_validate({"data": {"path": str(calls)}, "output": str(tmp_path / "file" / "x.csv")})

    def load() -> Answerer:
        loaded.append("model")
        return answerer()

    with pytest.raises(DataError, match=r"cannot be written \(Not a directory\)"):
        infer(config, InferenceModel("toy/1", "a" * 64), load)
    assert not loaded


def test_a_table_of_texts_needs_a_table(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["predict-file", "x.csv", "--out", str(tmp_path / "x.parquet"), "--with-text"])
    assert done.exit_code != 0
    assert "with_text is of a table" in str(done.exception)
