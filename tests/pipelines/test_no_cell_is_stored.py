"""What ZenML and MLflow store beside the artifacts, and what a stopped run prints: no cell of a file with a canary in
each. Of a run that succeeds, `test_where_text_is_kept.py` shows it."""

from __future__ import annotations

import copy
import csv
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.conftest import Run, Workplace
from tests.test_no_cell_is_printed import CANARY, PHONE, SECRETS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, databases: Path) -> Workplace:
    """Notes whose every cell but label and split holds the canary."""
    place = Workplace(tmp_path_factory.mktemp("canary"), warm=True, databases=databases)
    header = ["id", "text", "label", "group", "site", "split", "why"]
    with (place.folder / "notes.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for number in range(80):
            denies, split = number % 2, ("train", "train", "validation", "test")[number // 2 % 4]
            text = f"{CANARY} {number}, telephone {PHONE}, {'denies' if denies else 'reports'} pain since {number} days"
            label = ("emergency now", "self care")[denies]
            why = f"{CANARY} {'has no' if denies else 'has'} pain, day {number}"
            writer.writerow([f"{CANARY} {number}", text, label, f"{CANARY} {number}", f"{CANARY} ward", split, why])
    return place


@pytest.fixture(scope="module")
def config(tiny_config: dict[str, Any]) -> dict[str, Any]:
    config = copy.deepcopy(tiny_config)
    config["data"]["columns"] |= {"group": "group", "attributes": {"site": "site"}, "rationales": {"llm": "why"}}
    config["validation"] = {"severities": {"near_duplicate_across_splits": "off"}, "privacy": {"policy": "warn"}}
    config["registration"]["gate"]["rules"] = []
    return config


def stored_beside_artifacts(place: Workplace) -> list[Path]:
    """Databases and logs of ZenML and MLflow; the artifacts are made of the data, and are protected like them."""
    files = [path for path in (place.folder.parent / "zenml").rglob("*") if path.is_file()]
    return [path for path in files if path.suffix in (".db", ".log") or "logs" in path.parts or "-wal" in path.name]


def assert_nothing_is_told(place: Workplace, run: Run) -> None:
    files = stored_beside_artifacts(place)
    assert any(path.suffix == ".db" for path in files)
    contents = {str(path): path.read_bytes().lower() for path in files} | {"printed": run.output.lower().encode()}
    told = {name for name, content in contents.items() if any(secret.encode() in content for secret in SECRETS)}
    assert told == set()


def test_of_a_run_that_meets_an_error_that_nobody_foresaw(place: Workplace, config: dict[str, Any]) -> None:
    old = "    reading = Reading.of(examples)\n"
    with place.edited("r2d/data/validation/validate.py", old, f"    int(examples['text'][0].as_py())\n{old}"):
        stopped = place.run(config, check=False)
    assert stopped.returncode != 0
    assert "unexpected ValueError" in stopped.output
    assert_nothing_is_told(place, stopped)
    config = copy.deepcopy(config)
    config["data"]["columns"]["group"] = "site"
    stopped = place.run(config, check=False)
    assert "group_across_splits" in stopped.output
    assert_nothing_is_told(place, stopped)
