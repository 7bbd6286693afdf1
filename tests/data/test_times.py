"""A time column: read as declared, a split in time that no patient crosses, and a period of each row."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from r2d.config.data import DataConfig
from r2d.config.privacy import PrivacyConfig
from r2d.config.rationales import RationalesConfig
from r2d.config.section import parse_section
from r2d.data.load import load_examples
from r2d.data.reading import Reading, set_aside_rows
from r2d.data.times import period_of
from r2d.errors import ConfigError, DataError
from r2d.rationales.ingest import ingest

SECRET = "Mrs Jones rang in the spring"


def config(path: Path, **keys: Any) -> DataConfig:
    columns = {"group": "patient", "time": "written", "rationales": {"nurse": "why"}} | keys.pop("columns", {})
    values = {"format": "csv", "path": str(path), "labels": {"names": ["now", "later"], "ordered": True}}
    return parse_section(DataConfig, values | {"columns": columns} | keys)


def notes(path: Path, times: list[str], patients: list[str] | None = None) -> Path:
    rows = ["id,text,label,patient,written,why"]
    for n, time in enumerate(times):
        patient = f"p{n}" if patients is None else patients[n]
        rows.append(f"r{n},note number {n} of a call,{'now' if n % 3 else 'later'},{patient},{time},because {n}")
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def days(num_rows: int) -> list[str]:
    """Two a month, from January 2024 on, the last first."""
    return [f"{2024 + n // 24}-{n // 2 % 12 + 1:02}-{1 + 14 * (n % 2):02}" for n in reversed(range(num_rows))]


def test_the_test_rows_are_those_from_the_cut_on_and_no_patient_is_on_both_sides(tmp_path: Path) -> None:
    times = days(48)
    patients = [f"p{n % 40}" for n in range(48)]  # eight patients rang again, eight rows earlier or 40 later
    path = notes(tmp_path / "notes.csv", times, patients)
    examples = load_examples(config(path, split={"test_from": "2025-07-01", "validation_fraction": 0.2}))
    split = dict(zip(examples["id"].to_pylist(), examples["split"].to_pylist(), strict=True))
    late = {f"r{n}" for n, time in enumerate(times) if time >= "2025-07-01"}
    assert {row for row, name in split.items() if name == "test"} == late
    groups: dict[str, set[str]] = {}
    for row, name in split.items():
        groups.setdefault(patients[int(row[1:])], set()).add("test" if name == "test" else "before")
    assert all(len(sides) == 1 for sides in groups.values())
    again = {f"r{n}" for n in range(48) if f"r{n}" not in late and patients[n] in {patients[int(r[1:])] for r in late}}
    assert again, "patients on both sides"
    assert again == {f"r{n}" for n in range(48)} - split.keys() == {row_id for _, row_id in set_aside_rows(examples)}
    reading = Reading.of(examples)
    assert (reading.num_read, sum(reading.left_out.values())) == (48, len(again))
    assert any("of patients with test rows left out" in note for note in reading.notes)
    ingested = ingest(
        examples, RationalesConfig(stage1_source="nurse"), data=config(path), privacy=PrivacyConfig(), work_dir=tmp_path
    )
    assert len(ingested.examples) == 48 - len(again)


def test_the_latest_fraction_is_the_test(tmp_path: Path) -> None:
    path = notes(tmp_path / "notes.csv", [f"{2000 + n}" + "-05-01" for n in range(40)])
    examples = load_examples(config(path, split={"test_from": "latest", "test_fraction": 0.25}))
    tested = [row_id for row_id, split in zip(*(examples[k].to_pylist() for k in ("id", "split"))) if split == "test"]  # noqa: B905
    assert tested == [f"r{n}" for n in range(30, 40)]


def test_each_row_has_its_period_and_times_with_an_offset_are_in_utc(tmp_path: Path) -> None:
    times = ["2024-12-31T23:30:00-02:00", "2024-12-31 23:30", "", *["2024-03-01"] * 20]
    path = notes(tmp_path / "notes.csv", times)
    rows = [dict(row) for row in load_examples(config(path))["attributes"].to_pylist()]
    assert [row.get("period") for row in rows[:4]] == ["2025 Q1", "2024 Q4", None, "2024 Q1"]
    assert period_of(datetime(2024, 8, 9), "month") == "2024-08"
    assert period_of(datetime(2024, 8, 9), "year") == "2024"


def test_a_declared_format_is_read(tmp_path: Path) -> None:
    path = notes(tmp_path / "notes.csv", ["31.12.2024 08:15"] * 20)
    examples = load_examples(config(path, time_format="%d.%m.%Y %H:%M", period="month"))
    assert dict(examples["attributes"][0].as_py()) == {"period": "2024-12"}


@pytest.mark.parametrize(
    ("times", "keys", "message"),
    [
        ([SECRET, "2024-01-01", SECRET, *["2024-01-01"] * 20], {}, "holds no time in 2 of 23 cells: .*row 1.*row 3"),
        (["2024-01-01"] * 20, {"time_format": "%d.%m.%Y"}, "holds no time in 20 of 20 cells"),
        (["", *days(23)], {"split": {"test_from": "latest"}}, "1 of 24 rows have no time .*row 1"),
        (days(24), {"split": {"test_from": "2030-01-01"}}, "no row lies from the cut data.split.test_from on"),
        (days(24), {"split": {"test_from": "1999-01-01"}}, "no row lies before the cut"),
        (["2024-01-01"] * 24, {"split": {"test_from": "latest"}}, "no row lies before the cut"),
    ],
)
def test_what_is_no_time_or_no_cut_is_an_error_that_shows_no_cell(
    tmp_path: Path, times: list[str], keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as error:
        load_examples(config(notes(tmp_path / "notes.csv", times), **keys))
    assert SECRET not in str(error.value)
    assert "2024" not in str(error.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"columns": {"attributes": {"period": "x"}}}, "the period is made of the time"),
        ({"columns": {"time": None}, "split": {"test_from": "latest"}}, "name the column in columns.time"),
        ({"columns": {"split": "s"}, "split": {"test_from": "latest"}}, "split.test_from and columns.split both say"),
        ({"split": {"test_from": "yesterday"}}, "test_from"),
        ({"split": {"test_from": 2025}}, "test_from: found the number 2025; give a date, such as 2025-01-01"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(tmp_path / "notes.csv", **keys)
