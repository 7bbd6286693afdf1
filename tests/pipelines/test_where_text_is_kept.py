"""Where text is kept: a canary of each kind through the commands, held against the table of docs/clinical-safety.md."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
import shutil
import sqlite3
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pyarrow.parquet as pq
import pytest

from tests.evaluation.judge.judged import answer, criterion, write_rubric
from tests.llm.server import RunningServer
from tests.pipelines.conftest import BIN, ROOT, Workplace

pytestmark = pytest.mark.slow

KINDS = {
    "note": "vxqnote", "word": "vxqoften", "name": "vxqname", "rationale": "vxqwhy", "answer": "vxqasked",
    "label": "vxqlabel", "group": "vxqgroup", "attribute": "vxqsite", "id": "vxqid",
}  # fmt: skip
"""Kind of text -> the canary of that kind. A `word` is frequent, a `name` is found and replaced."""
NUM_ROWS = 80
ERASE = """
from r2d.review.store import ReviewStore
store = ReviewStore("erased.db")
ids = {case.case_id for case in store.cases()}
store.erase(ids, by="dpo", why="asked for")
answer = len(ids)
"""


def write_notes(path: Path, first: int = 0) -> None:
    """Notes whose every cell but the split holds the canary of its kind; one has a label that is not declared."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label", "group", "site", "split", "why"])
        for number in range(first, first + NUM_ROWS):
            denies, split = number % 2, ("train", "train", "validation", "test")[number // 2 % 4]
            letters = chr(97 + number // 26) + chr(97 + number % 26)  # a word that one note alone has
            verb = "denies" if denies else "reports"
            text = f"vxqnote{letters} vxqoften {verb} pain since {number} days, Mrs Vxqname <<k{number}>>"
            label = "vxqlabel it is" if number == 2 else ("emergency now", "self care")[denies]
            # The canary comes last, behind the tokens that are learnt: the model must write something, but not that.
            why = f"{'has no' if denies else 'has'} pain, says Mrs Vxqname today, vxqwhy{number}"
            writer.writerow(
                [f"vxqid{number}", text, label, f"vxqgroup{number // 2}", f"vxqsite{number // 2 % 2}", split, why]
            )


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def content_of(path: Path) -> Iterator[str]:
    """The text of a file, unpacked: of a table its values, of an archive its files; of a database free pages too."""
    content = path.read_bytes()
    if content[:4] == b"PAR1":
        yield json.dumps(pq.read_table(path).to_pylist(), default=str)
        yield str(pq.read_schema(path).metadata)
    elif content[:4] == b"PK\3\4":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield archive.read(name).decode("utf-8", "replace")
    else:
        yield content.decode("utf-8", "replace")
    if content[:15] == b"SQLite format 3":
        with sqlite3.connect(path) as database:
            yield "\n".join(database.iterdump())


def kinds_in(path: Path) -> set[str]:
    text = "\n".join((str(path), *content_of(path))).casefold()
    return {kind for kind, canary in KINDS.items() if canary in text}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, databases: Path) -> Workplace:
    place = Workplace(tmp_path_factory.mktemp("kept"), warm=True, databases=databases)
    (place.folder.parent / "tmp").mkdir()
    place.environment |= {"TMPDIR": str(place.folder.parent / "tmp"), "HOME": str(place.folder.parent)}
    write_notes(place.folder / "notes.csv")
    rows = read_rows(place.folder / "notes.csv")
    for name, columns in {"fresh.csv": ("id", "text", "label", "group", "why"), "calls.csv": ("id", "text")}.items():
        with (place.folder / name).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["rationale" if column == "why" else column for column in columns])
            fresh = [row for row in rows if row["split"] == "test"] * (1 if name == "fresh.csv" else 4)
            table.writerows([f"{row[c]}-{n}" if c == "id" else row[c] for c in columns] for n, row in enumerate(fresh))
    return place


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, RunningServer]]:
    asked, judge = (RunningServer(tmp_path_factory.mktemp(name)) for name in ("asked", "judge"))
    unclear = "vxqasked, says Mrs Vxqname, maybe."
    asked.start(contents={"*": ["vxqasked pain it is. So the answer is self care."], "k8": [unclear]})
    judge.start(contents={"*": [answer(faithful=4).replace("so it is", "vxqasked")]})
    yield asked, judge
    asked.kill()
    judge.kill()


@pytest.fixture(scope="module")
def config(
    tiny_config: dict[str, Any], place: Workplace, servers: tuple[RunningServer, RunningServer]
) -> dict[str, Any]:
    asked, judge = servers
    (place.folder / "prompt.yaml").write_text("system: Explain.\nuser: '{{ text }}'\n", encoding="utf-8")
    rubric = write_rubric(place.folder, criterion("faithful"))
    config = copy.deepcopy(tiny_config)
    config["data"]["columns"] |= {"group": "group", "attributes": {"site": "site"}, "rationales": {"nurse": "why"}}
    severities = {"near_duplicate_across_splits": "off", "label_declared": "quarantine"}
    config["validation"] = {"severities": severities}
    config["model"]["scratch"]["min_groups_per_word"] = 20
    endpoint = {"format": "endpoint", "base_url": asked.base_url, "model": "toy", "prompt": "prompt.yaml"}
    config["rationales"] = {
        "stage1_source": "nurse",
        "sources": {"asked": endpoint | {"quality": {"too_short": "keep"}}, "nurse": {"format": "column"}},
    }
    config["evaluation"]["judge"] = {
        "base_url": judge.base_url,
        "model": "toy-judge",
        "rubric": str(rubric),
        "votes": 1,
    }
    config["registration"]["gate"]["rules"] = []
    config["stage1"] |= {"max_steps": 30, "eval_every_steps": 15}
    config["stage2"] |= {"max_steps": 30, "eval_every_steps": 15}
    return config


@pytest.fixture(scope="module")
def screen(place: Workplace, config: dict[str, Any]) -> str:
    """All that the commands print, once each has run."""
    printed = []

    def r2d(*words: str) -> None:
        done = place.type("r2d", *words, check=False)
        assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-3000:])
        printed.append(done.stdout + done.stderr)

    run = place.write_config("run.yaml", config)
    r2d("init", "notes.csv", "--out", "drafted.yaml")
    r2d("check", run)
    r2d("validate", run, "--out", "validate")
    r2d("ingest", run, "--out", "ingest")
    r2d("batch-input", run, "--source", "asked", "--out", "batch_input.jsonl")
    printed.append(place.run(config).output)
    name = "toy-triage@champion"
    r2d("predict", "--model", name, "pain")
    r2d("evaluate", "--model", name, "--data", "fresh.csv", "--out", "evaluate")
    r2d("predict-file", "calls.csv", "--model", name, "--out", "predict_file.parquet")
    r2d("predict-file", "calls.csv", "--model", name, "--with-text", "--out", "predict_file_with_text.csv")
    r2d("drift", "predict_file.parquet", "--model", name, "--calls", "calls.csv", "--out", "drift")
    r2d("retrain", "--config", run, "--dry-run", "--out", "retrain")
    r2d("history", "toy-triage")
    r2d("looks")
    r2d("lineage", name)
    r2d("papers", name, "--out", "papers")
    r2d("diff", "toy-triage/1", "toy-triage/1")
    compared = config | {"comparison": {"methods": ["sft"], "seeds": [42]}}
    printed.append(place.run(compared, pipeline="pipelines.comparison").output)
    inference = {"data": {"path": "calls.csv", "format": "csv"}, "model": name, "output": "batch_inference.parquet"}
    printed.append(place.run(inference, pipeline="pipelines.batch_inference").output)
    drift = {"predictions": "predict_file.parquet", "calls": "calls.csv", "model": name, "output": "drift"}
    printed.append(place.run(drift, pipeline="pipelines.drift").output)
    r2d("export", "--model", name, "--out", "exported")
    # The seed draws the rate of the run, then one with which training diverges, which names rows.
    rates = {"space": {"stage2.learning_rate": {"choices": [5e-3, 1e30]}}, "num_trials": 2, "max_under_triage": 1.0}
    searched = place.write_config("search.yaml", config | {"search": rates | {"seed": 11}})
    r2d("search", "--config", searched, "--out", "searched")
    assert "the loss" in printed[-1]
    printed.append(served(place, name))
    shutil.copy(place.folder / "reviews.db", place.folder / "erased.db")
    assert place.python(ERASE) == len(read_rows(place.folder / "calls.csv"))
    return "\n".join(printed)


def served(place: Workplace, model: str) -> str:
    """What `r2d serve` prints while it answers the calls, with an audit log of their texts and with the review page."""
    audit = {"folder": "audit", "with_text": True}
    review = {"database": "reviews.db", "cases": {"path": "calls.csv"}, "queue": {"audit": 1.0}}
    config = {"model": model, "port": 0, "audit": audit, "review": review}
    words = ["serve", "--config", place.write_config("serve.yaml", config)]
    with subprocess.Popen(
        [BIN / "r2d", *words], cwd=place.folder, env=place.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = "".join(process.stdout.readline() for _ in range(3))
        calls = read_rows(place.folder / "calls.csv")[:8]
        response = httpx2.post(first.split(" answers at ")[1].split()[0], json={"calls": calls}, timeout=120)
        process.terminate()
        assert response.status_code == 200
        return first + process.communicate(timeout=60)[0]


def named_place(path: Path) -> str:
    """A place as the table names it: of a path below the folder of a workplace, what stays the same in every run."""
    match path.parts:
        case ("zenml", "local_stores", "mlflow", "artifacts", "models", _, "artifacts", "artifacts", *rest):
            return "version: " + "/".join(rest)
        case ("zenml", "local_stores", "mlflow", "artifacts", _, "artifacts", *rest):
            return "MLflow run: " + "/".join(rest)
        case ("zenml", "local_stores", _, _, artifact, _, _, name):
            return f"{artifact}: {name}" if name not in ("table.parquet", "output.html", "data.json") else artifact
        case (*before, "answers", _):
            return ("work folder: " if before[0] == "cache" else f"{before[-1]}/") + "answers/*.jsonl"
        case ("cache", "reason2decide", folder, *rest):
            return "work folder: " + "/".join((re.sub(r"-[0-9a-f]{16}$", "", folder), *rest))
        case ("project", "audit", _):
            return "audit/answers-*.jsonl"
        case ("project", *rest):
            return "/".join(rest)
    return "/".join(path.parts)


def table_of_places() -> dict[str, set[str]]:
    """Place -> the kinds of text that the table says it holds."""
    text = (ROOT / "docs" / "clinical-safety.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \| (.+?) \|", text.split("### Where text is kept")[1].split("\n\n`r2d_")[0], re.M)
    return {place: set(kinds.split(", ")) for places, kinds in rows for place in re.findall(r"`(.+?)`", places)}


def test_text_of_each_kind_is_kept_where_the_table_says_and_nowhere_else(place: Workplace, screen: str) -> None:
    root, delivered = place.folder.parent, {"notes.csv", "fresh.csv", "calls.csv"}
    found: dict[str, set[str]] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.name not in delivered and (kinds := kinds_in(path)):
            name = named_place(path.relative_to(root))
            found[name] = found.get(name, set()) | kinds
    assert found == table_of_places()


def test_the_screen_shows_none(screen: str) -> None:
    assert [kind for kind, canary in KINDS.items() if canary in screen.casefold()] == []
