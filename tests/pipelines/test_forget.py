"""`r2d forget` and `r2d retention` on a real ZenML, MLflow and SQLite: a canary is nowhere afterwards but where the
command names it and says why."""

from __future__ import annotations

import copy
import csv
import getpass
import json
import re
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from openpyxl import Workbook

from r2d.review.store import ReviewStore
from tests.pipelines.conftest import Workplace
from tests.review.conftest import a_case

pytestmark = pytest.mark.slow

GROUP, WORD, REVIEWS = "Qanary Zyxwv", "zyxwv", "exports/reviews.db"
OUTSIDE = ("notes.csv", "reviews.csv", "decided.csv", "exports/calls.xlsx")


def write_notes(path: Path) -> None:
    """Five rows of the canary in training, one of them too short and one whose rationale is a refusal."""
    header = ["id", "text", "label", "group", "split", "why"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for number in range(80):
            denies, split = number % 2, ("train", "train", "validation", "test")[number // 2 % 4]
            text = f"call {number}, {'denies' if denies else 'reports'} pain since {number} days"
            why = f"{'has no' if denies else 'has'} pain, day {number}"
            label = ("emergency now", "self care")[denies]
            writer.writerow([f"row-{number}", text, label, f"patient {number}", split, why])
        for number in range(5):
            text = f"{GROUP} reports pain in the {('arm', 'leg', 'back', 'head', 'neck')[number]}" if number else WORD
            why = f"{WORD} has pain {number}" if number != 1 else f"I cannot help with {WORD}."
            writer.writerow([f"zyxwv-{number}", text, "emergency now", GROUP, "train", why])


@pytest.fixture(scope="module")
def config(tiny_config: dict[str, Any]) -> dict[str, Any]:
    config = copy.deepcopy(tiny_config)
    config["data"]["columns"] |= {"group": "group", "rationales": {"llm": "why"}}
    config["rationales"]["sources"] = {"llm": {"format": "column", "quality": {"refusal": "drop"}}}
    severities = {"near_duplicate_across_splits": "off", "text_length": "quarantine"}
    config["validation"] = {"severities": severities, "privacy": {"policy": "off"}}
    config["registration"] = {"model_name": "toy-forgets", "gate": {"rules": []}}
    config["retraining"] = {"min_new_rows": None}
    return config


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, databases: Path, config: dict[str, Any]) -> Workplace:
    """A champion that was trained on the canary, another version, answers of an endpoint, and files outside."""
    place = Workplace(tmp_path_factory.mktemp("forget"), warm=True, databases=databases)
    write_notes(place.folder / "notes.csv")
    place.run(config)
    other = copy.deepcopy(config)
    other["stage2"]["seed"] = 7
    other["registration"]["gate"]["rules"] = [{"rule": "human_approval"}]
    place.run(other)
    work = Path(place.environment["XDG_CACHE_HOME"]) / "reason2decide"
    answers = work / "answers" / "llm-1.jsonl"
    answers.parent.mkdir(parents=True)
    lines = [{"custom_id": row, "request_hash": "h", "response": f"of {row}"} for row in ("zyxwv-2", "row-2")]
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (place.folder / "reviews.csv").write_text(f"id,opinion\nzyxwv-2,{WORD} is fine\nrow-2,right\n", encoding="utf-8")
    (place.folder / "decided.csv").write_text("id,label\ncall-of-zyxwv,self care\n", encoding="utf-8")
    exports = place.folder / "exports"
    exports.mkdir()
    store = ReviewStore(str(exports / "reviews.db"), create=True)
    theirs, other = a_case("zyxwv-2", text=f"{WORD} has pain"), a_case("row-2")
    store.add_cases([theirs, a_case("call-of-zyxwv"), other, a_case("call-9", text=f"brother of {GROUP}, has pain")])
    for number, case in enumerate(store.cases()[:3]):
        value = {"label": "self care", "rationale": f"{WORD} is fine" if number < 2 else "the other one is fine"}
        store.record("ann", case, "correct", value, after=number)
    place.type("r2d", "review", "push", "exports/reviews.db", "--queue", "ward")
    book = Workbook()
    book.active.append(["call-of-zyxwv", "self care"])
    book.save(exports / "calls.xlsx")
    (exports / "old.tar.gz").write_bytes(b"cannot be read")
    store.close()
    page = work / "pages" / "r2d_evaluation_report-1.html"
    page.parent.mkdir()
    page.write_text(f"<p>{WORD} has pain</p>", encoding="utf-8")
    return place


def holding_the_canary(place: Workplace) -> set[str]:
    """Every file below the workplace that holds the word, in tables, databases, pages and weights."""
    found = set()
    for path in place.folder.parent.rglob("*"):
        if not path.is_file() or path.suffix == ".pyc" or path.name == "run.yaml":
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content = str(pq.read_table(path).to_pylist()).encode()
        if WORD.encode() in content.lower():
            found.add(str(path))
    return found


def forget(place: Workplace, *options: str) -> str:
    also = ("--id", "call-of-zyxwv", "--also", "reviews.csv", "--also", "decided.csv", "--also", "exports")
    done = place.type("r2d", "forget", "-", *also, "--reviews", REVIEWS, *options, stdin=f"{GROUP}\n")
    assert WORD not in re.sub(r"call-of-zyxwv|zyxwv-\d", "", done.stdout + done.stderr).lower()
    return done.stdout


def named(lines: str, verb: str) -> list[str]:
    return [line for line in lines.splitlines() if line.startswith(f"{verb}: ")]


def kinds(lines: Collection[str]) -> set[str]:
    return {line.split(": ")[1].split(" ")[0] for line in lines}


def test_a_person_is_nowhere_afterwards_but_in_what_is_named_with_the_reason(place: Workplace) -> None:
    before = holding_the_canary(place)
    assert len(before) > 15, "or the rest shows nothing"
    planned = forget(place)
    assert holding_the_canary(place) == before, "without --yes nothing happens"
    assert "nothing was removed; add --yes to do it" in planned
    wanted = {"examples", "quarantine", "provenance", "reports", "answers", "reviews"}
    assert "exports (1 file in it not searched, for the kind cannot be)" in planned
    assert kinds(named(planned, "would be removed")) >= wanted

    assert f"would be removed: reviews {place.folder / REVIEWS} (2 cases with 2 actions of reviewers; " in planned
    assert f"stays: reviews {place.folder / REVIEWS} (1 other case names the person: 'call-9'); if they are" in planned

    done = forget(place, "--yes", "--id", "call-9")
    assert "a retraining is open: toy-forgets/1" in done
    stays = named(done, "stays")
    assert [line for line in stays if "versions toy-forgets/1" in line and "it is the champion" in line]
    assert [line for line in stays if "versions toy-forgets/2" in line and "it is the challenger" in line]
    assert all(any(name in line for line in stays) for name in OUTSIDE)
    left = holding_the_canary(place)
    inside = {path for path in left if not path.endswith(OUTSIDE)}
    in_models = {path for path in inside if "/mlflow/" in path or "/r2d_stage" in path or "train_stage" in path}
    assert inside == in_models, "only the models in use, which the lines above name"
    assert not any("mlflow.db" in path or "traces.json" in path for path in inside), "the note in the review queue"
    answers = Path(place.environment["XDG_CACHE_HOME"]) / "reason2decide" / "answers" / "llm-1.jsonl"
    assert [json.loads(line)["custom_id"] for line in answers.read_text().splitlines()] == ["row-2"]

    exported = place.type("r2d", "review", "export", REVIEWS, "--out", "reviewed").stdout
    assert "reviewed: 1 labels, 0 cases on which reviewers differ; 3 cases are erased and left out;" in exported
    with sqlite3.connect(place.folder / REVIEWS) as database:
        erased = database.execute("SELECT DISTINCT by, why FROM reviews_erased WHERE number IS NOT NULL").fetchall()
    assert erased == [(getpass.getuser(), "a person was forgotten (r2d forget)")]

    record = json.loads(place.type("r2d", "forgotten", "--json").stdout.splitlines()[-1])
    assert record["versions_kept"] == ["toy-forgets/1", "toy-forgets/2"]
    assert WORD not in json.dumps({key: value for key, value in record.items() if key != "kept"})


def test_a_retraining_is_open_and_takes_the_champion_that_knew_the_person_out_of_use(
    place: Workplace, config: dict[str, Any]
) -> None:
    path = place.write_config("retrain.yaml", config)
    decided = place.type("r2d", "retrain", "--config", path).stdout
    assert "training: toy-forgets/1 was trained on people who are forgotten since (1 erasures)" in decided
    assert "toy-forgets version 3" in decided
    assert "the champion in place of toy-forgets/1" in decided
    again = place.type("r2d", "retrain", "--config", path).stdout
    assert "nothing to do: no trigger fired; toy-forgets/3 stays champion" in again

    last = forget(place, "--yes")
    assert "a retraining is open" not in last
    assert "reviews.csv" in last, "the ids of the rows are known by their hashes"
    assert {"versions", "weights"} <= kinds(named(last, "removed"))
    assert {path for path in holding_the_canary(place) if not path.endswith(OUTSIDE) and "train_stage" not in path} == (
        set()
    )
    decision = place.type("r2d", "predict", "--model", "toy-forgets@champion", "reports pain since 3 days").stdout
    assert "emergency now" in decision or "self care" in decision


def test_commands_that_read_the_data_leave_the_person_out(place: Workplace, config: dict[str, Any]) -> None:
    path = place.write_config("checked.yaml", config)
    place.type("r2d", "validate", path, "--out", "checked")
    place.type("r2d", "ingest", path, "--out", "ingested")
    place.type("r2d", "evaluate", "--data", path, "--out", "measured", "--model", "toy-forgets@champion")
    outputs = {str(place.folder / name) for name in ("checked", "ingested", "measured")}
    assert not [path for path in holding_the_canary(place) if any(path.startswith(folder) for folder in outputs)]


def test_what_is_too_old_goes_kind_by_kind_and_a_step_whose_result_is_gone_runs_again(
    place: Workplace, config: dict[str, Any]
) -> None:
    def retention(days: dict[str, float | None], *options: str) -> str:
        (place.folder / "periods.yaml").write_text(yaml.safe_dump({"parameters": {"config": days}}), encoding="utf-8")
        return place.type("r2d", "retention", "--config", "periods.yaml", *options).stdout

    place.run(config)
    assert place.run(config).executed == ["register_model"]
    planned = retention({"examples": 0, "weights": 0, "versions": 0, "reports": 5000})
    assert "reports: 0 of " in planned
    assert "quarantine: " in planned
    assert "no period is declared" in planned
    assert "older ones in use" in planned, "the champion and its weights stay"
    done = retention({"examples": 0, "weights": 0}, "--yes")
    assert "examples: 4 of 4 removed, older than 0 days" in done
    assert retention({"examples": 0}).startswith("examples: 0 of 0 would be removed")
    again = place.run(config)
    assert {"load_examples", "validate_examples", "ingest_rationales"} <= set(again.executed)
    assert "toy-forgets version 3 (already registered" in again.output
