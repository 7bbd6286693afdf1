"""Labels of reviewers, laid over the training rows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from r2d.config.data import DataConfig
from r2d.data.fingerprint import data_fingerprint, file_hashes
from r2d.data.load import load_examples
from r2d.data.reading import Reading
from r2d.errors import DataError

LABELS = {"names": ["emergency now", "self care"], "ordered": True}


def write(path: Path, header: str, *rows: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(line.split("|") for line in (header, *rows))


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    rows = [f"r{n}|note {n}|self care|{('train', 'validation', 'test')[n % 3]}|g{n}" for n in range(9)]
    write(tmp_path / "notes.csv", "id|text|label|split|group", *rows)
    write(
        tmp_path / "reviewed.csv",
        "id|text|label|author|time",
        "r0|note 0|emergency now|ann|2026-11-29T10:00",
        "r1|note 1|emergency now|ann|2026-11-29T10:01",
        "r2|note 2|emergency now|ann|2026-11-29T10:02",
        "new|a new, longer note|Emergency Now|bob|2026-11-29T10:03",
        "new|a new, longer note|emergency now|ann|2026-11-29T10:04",
        "r3|note 3|emergency now|ann|2026-11-29T10:05",
        "r3|note 3|self care|bob|2026-11-29T10:06",
    )
    values: dict[str, Any] = {
        "format": "csv", "path": str(tmp_path / "notes.csv"), "labels": LABELS,
        "columns": {"split": "split", "group": "group"},
        "reviewed": str(tmp_path / "reviewed.csv"),
    }  # fmt: skip
    return DataConfig.model_validate(values)


def labels_of(table: pa.Table) -> dict[str, tuple[str, str]]:
    return {row["id"]: (row["split"], row["label"]) for row in table.to_pylist()}


def test_training_rows_get_them_new_rows_are_trained_on_and_held_out_rows_stay(config: DataConfig) -> None:
    before = labels_of(load_examples(config.model_copy(update={"reviewed": None})))
    table = load_examples(config)
    after = labels_of(table)
    assert {row_id: value for row_id, value in after.items() if before.get(row_id) != value} == {
        "r0": ("train", "emergency now"),
        "new": ("train", "emergency now"),
    }
    assert len(table) == 10
    assert sorted(table["row"].to_pylist()) == list(range(-1, 9)), "what stands in the order of the data still fits"
    rows = {row["id"]: row for row in table.to_pylist()}
    assert rows["new"]["attributes"] == [], "reviewers are no slice of the evaluation"
    [note] = [note for note in Reading.of(table).notes if note.startswith("reviews")]
    assert note.startswith("reviews: 1 row added to the training rows, 1 label of training rows changed; 2 rev")
    assert "1 on which reviewers differ are left as they are" in note


def test_the_place_of_a_row_names_reviewer_and_time(config: DataConfig) -> None:
    places = {row["id"]: row["place"] for row in load_examples(config).to_pylist()}
    assert places["r0"].endswith("by ann, 2026-11-29T10:00")
    assert places["r0"].startswith("notes.csv: ")
    assert places["new"].startswith("reviewed.csv: ")
    assert places["new"].endswith("by ann, 2026-11-29T10:04")
    assert "ann" not in places["r3"]


def test_a_changed_file_is_noticed_and_is_among_those_that_were_read(config: DataConfig) -> None:
    before = data_fingerprint(config)
    path = Path(str(config.reviewed))
    assert str(path) in file_hashes(config, [])
    path.write_text(path.read_text(encoding="utf-8").replace("bob", "eve"), encoding="utf-8")
    assert data_fingerprint(config) != before


@pytest.mark.parametrize(
    ("content", "message"), [(None, "data.reviewed"), ("id,text,label\n", r"\['author', 'time'\]")]
)
def test_another_file_is_refused_by_its_key(config: DataConfig, content: str | None, message: str) -> None:
    path = Path(str(config.reviewed))
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load_examples(config)


def test_labels_of_the_row_have_none() -> None:
    with pytest.raises(ValidationError, match="remove reviewed"):
        DataConfig.model_validate(
            {"format": "jsonl", "path": "a", "labels": {"per_row": True}, "columns": {"options": "o"}, "reviewed": "r"}
        )
