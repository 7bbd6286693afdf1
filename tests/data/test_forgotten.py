"""Rows of forgotten people are left out wherever data are read, and nothing that belongs to them comes in by another
way."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.compute as pc
import pytest

from r2d.config.data import DataConfig
from r2d.config.privacy import PrivacyConfig
from r2d.config.rationales import RationalesConfig
from r2d.config.validation import ValidationConfig
from r2d.data.forgotten import forgotten_entry, new_key
from r2d.data.load import load_examples
from r2d.data.reading import Reading
from r2d.data.validation.validate import validate
from r2d.rationales.ingest import ingest

LABELS = {"names": ["emergency", "routine"], "ordered": True}
KEY = new_key()


def write_notes(path: Path, numbers: range, *, with_split: bool = True) -> Path:
    """Two rows of each patient; every tenth row has no patient."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label", "patient"])
        for number in numbers:
            patient = "" if number % 10 == 9 else f"patient {number // 2}"
            label = LABELS["names"][number % 3 == 0]
            writer.writerow([f"row-{number}", f"note number {number} about a pain", label, patient])
    return path


def config(path: Path, *forgotten: str, **more: object) -> DataConfig:
    entries = [forgotten_entry(name, KEY) for name in forgotten]
    values = {"format": "csv", "path": str(path), "labels": LABELS, "columns": {"group": "patient"}}
    return DataConfig.model_validate(values | {"forgotten": entries} | more)


def test_a_forgotten_group_and_a_row_of_its_own_are_left_out_and_the_others_stay_in_their_splits(
    tmp_path: Path,
) -> None:
    path = write_notes(tmp_path / "notes.csv", range(200))
    whole, rest = load_examples(config(path)), load_examples(config(path, "patient 7", " row-19 ", "nobody"))
    assert set(whole["id"].to_pylist()) - set(rest["id"].to_pylist()) == {"row-14", "row-15", "row-19"}
    splits = dict(zip(whole["id"].to_pylist(), whole["split"].to_pylist(), strict=True))
    assert splits | dict(zip(rest["id"].to_pylist(), rest["split"].to_pylist(), strict=True)) == splits
    assert Reading.of(rest).notes == ["3 rows of forgotten groups left out"]


def test_an_entry_names_nobody_and_two_keys_give_two_entries() -> None:
    entry = forgotten_entry("patient 7", KEY)
    assert "patient" not in entry
    assert entry != forgotten_entry("patient 7", new_key())
    with pytest.raises(ValueError, match="forgotten"):
        DataConfig.model_validate({"format": "csv", "path": "x.csv", "labels": LABELS, "forgotten": ["patient 7"]})


@pytest.mark.parametrize("joined_by", ["id", "order"])
def test_what_a_model_wrote_about_a_forgotten_row_is_neither_taken_nor_kept_as_rejected(
    tmp_path: Path, joined_by: str
) -> None:
    path = write_notes(tmp_path / "notes.csv", range(60))
    lines = [
        {"id": f"row-{n}", "text": f"The note {n} reports pain, so it is {LABELS['names'][n % 3 == 0]}."}
        for n in range(60)
    ]
    if joined_by == "id":
        lines.append({"id": "row-15b", "text": "The note 15 reports pain, again."})
    content = [json.dumps(line if joined_by == "id" else line["text"]) + "\n" for line in lines]
    answers = tmp_path / "answers.jsonl"
    answers.write_text("".join(content), encoding="utf-8")
    source = {"format": "text", "paths": [str(answers)], "join": joined_by}
    rationales = RationalesConfig.model_validate({"stage1_source": "llm", "sources": {"llm": source}})

    data = config(path, "patient 7", "row-15b")
    validation = validate(load_examples(data), ValidationConfig(), labels=data.labels, count_tokens=lambda *_: [])
    result = ingest(
        validation.examples, rationales, data=data, privacy=PrivacyConfig(), work_dir=tmp_path,
        quarantined=validation.quarantined,
    )  # fmt: skip
    taken = dict(zip(result.provenance["example_id"].to_pylist(), result.provenance["row"].to_pylist(), strict=True))
    assert taken.keys().isdisjoint({"row-14", "row-15"})
    assert len(taken) + len(result.rejected) == 58
    texts = dict(result.examples.select(["id", "rationales"]).to_pandas().itertuples(index=False))
    assert all(row_id.removeprefix("row-") in dict(pairs)["llm"] for row_id, pairs in texts.items() if pairs)
    assert "15" not in str(result.rejected.to_pylist())


def test_the_rows_of_a_fresh_test_set_keep_their_places_behind_data_of_which_some_are_forgotten(tmp_path: Path) -> None:
    path = write_notes(tmp_path / "notes.csv", range(60))
    fresh = write_notes(tmp_path / "fresh.csv", range(100, 120))
    examples = load_examples(config(path, "patient 7", "patient 51", test={"path": str(fresh)}))
    rows = dict(zip(examples["id"].to_pylist(), examples["row"].to_pylist(), strict=True))
    kept = [number for number in [*range(60), *range(100, 120)] if number // 2 not in (7, 51)]
    assert rows == {f"row-{number}": number if number < 60 else number - 40 for number in kept}
    assert pc.unique(examples["split"].filter(pc.starts_with(examples["id"], "row-1")))
