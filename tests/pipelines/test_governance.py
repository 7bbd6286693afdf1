"""How models are governed on one real ZenML and MLflow: a champion, a refused model, a better one, a rollback; and of
each version where it comes from, to the byte.

Half of the calls are worded in a second way. Version 1 never learns that wording, though it is tested on it; version 2
learns from damaged labels; version 3 learns from more calls, of both wordings.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.conftest import TOY_LABELS, toy_examples
from tests.pipelines.conftest import ROOT, Run, Workplace
from tests.tables import as_csv

pytestmark = pytest.mark.slow

NAME = "toy-triage"
STAGES = {"train_stage1", "train_stage2", "evaluate", "register_model"}
FIRST, MORE = 120, 240
SECOND_WORDING = {"denies": "lacks", "reports": "has"}
Row = dict[str, str]


def calls(num_rows: int, *, damaged: bool = False) -> list[Row]:
    """The toy task; among the first rows only those of the test split are worded in the second way, one in two.

    Args:
        damaged: every label is taken for the other one, but for those that are tested on.
    """
    rows = toy_examples(num_rows).select(["id", "text", "label", "rationale", "split"]).to_pylist()
    for number, row in enumerate(rows):
        if number % 2 and (row["split"] == "test" or number >= FIRST):
            for word, other in SECOND_WORDING.items():
                row["text"] = row["text"].replace(word, other)
        if damaged and row["split"] != "test":
            row["label"] = TOY_LABELS.names[1 - TOY_LABELS.names.index(row["label"])]
    return rows


def nurse(rows: Sequence[Row]) -> list[Row]:
    """What a nurse wrote of each row that has no rationale, and of a few others."""
    written = [row for number, row in enumerate(rows) if not row["rationale"] or number % 8 == 0]
    return [{"example_id": row["id"], "rationale": f"the nurse read: {row['text']}", "author": "n1"} for row in written]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Trained:
    """A run, what it read, and who is champion after it."""

    run: Run
    rows: list[Row]
    written: list[Row]
    commit: str
    dirty: bool
    champion: str

    @property
    def notes(self) -> bytes:
        return as_csv(self.rows).encode()

    @property
    def nurse(self) -> bytes:
        return as_csv(self.written).encode()


class Checkout:
    """A repository with the project's code, and what its MLflow and its commands print."""

    def __init__(self, place: Workplace, config: dict[str, Any]) -> None:
        self.place, self.config = place, config
        for file in (".gitignore", "pyproject.toml", "requirements.lock"):
            (place.folder / file).write_bytes((ROOT / file).read_bytes())
        self.git("init", "--quiet")
        self.commit("the code")

    @property
    def mlflow(self) -> MlflowClient:
        uri = f"sqlite:///{self.place.folder.parent / 'zenml' / 'local_stores' / 'mlflow' / 'mlflow.db'}"
        return MlflowClient(tracking_uri=uri, registry_uri=uri)  # else MLflow asks the one that an earlier test set

    def git(self, *words: str) -> str:
        command = ["git", "-C", str(self.place.folder), "-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
        return subprocess.run([*command, *words], capture_output=True, text=True, check=True).stdout.strip()

    def commit(self, message: str) -> None:
        self.git("add", "--", "r2d", "steps", "pipelines", "mlops", "configs", "*.py", "*.toml", "*.lock", ".gitignore")
        self.git("commit", "--quiet", "--message", message)

    def train(self, rows: list[Row], **stage2: Any) -> Trained:
        written = nurse(rows)
        (self.place.folder / "notes.csv").write_bytes(as_csv(rows).encode())
        (self.place.folder / "nurse.csv").write_bytes(as_csv(written).encode())
        run = self.place.run(self.config | {"stage2": self.config["stage2"] | stage2})
        dirty = bool(self.git("status", "--porcelain", "--", "reason2decide.py"))
        return Trained(run, rows, written, self.git("rev-parse", "HEAD"), dirty, self.champion())

    def champion(self) -> str:
        return str(self.mlflow.get_model_version_by_alias(NAME, "champion").version)

    def files(self, version: str) -> Path:
        """The folder in which MLflow keeps what is registered."""
        model = self.mlflow.get_logged_model(
            self.mlflow.get_model_version(NAME, version).source.removeprefix("models:/")
        )
        return Path(model.artifact_location.removeprefix("file://")) / "artifacts"

    def metrics(self, version: str) -> dict[str, Any]:
        return json.loads((self.files(version) / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, databases: Path, tiny_config: dict[str, Any]) -> Checkout:
    config = copy.deepcopy(tiny_config)
    config["rationales"] = {
        "stage1_source": "llm",
        "stage2_source": ["nurse", "llm"],
        "sources": {"nurse": {"format": "csv", "paths": ["nurse.csv"], "author_column": "author"}},
    }
    config["stage1"] |= {"max_steps": 10, "eval_every_steps": 10, "learning_rate": 1e-2}
    config["stage2"] |= {"max_steps": 40, "eval_every_steps": 20, "learning_rate": 1e-2}
    config["registration"]["gate"]["rules"].append(
        {"rule": "not_worse_than_champion", "figure": "macro_f1", "margin": 0.01}
    )
    return Checkout(Workplace(tmp_path_factory.mktemp("governance"), warm=True, databases=databases), config)


@pytest.fixture(scope="module")
def trained(checkout: Checkout) -> dict[str, Trained]:
    """Version -> its training, in order: the first, one on damaged labels with an edited file, one on more calls."""
    first = checkout.train(calls(FIRST))
    with (checkout.place.folder / "reason2decide.py").open("a", encoding="utf-8") as file:
        file.write("\n# edited\n")
    damaged = checkout.train(calls(FIRST, damaged=True))
    checkout.commit("an edit")
    return {"1": first, "2": damaged, "3": checkout.train(calls(MORE), max_steps=80)}


@pytest.fixture(scope="module")
def rolled_back(checkout: Checkout, trained: dict[str, Trained]) -> str:
    command = ("r2d", "rollback", NAME, "--reason", "the nurses ask for it", "--by", "ward 7")
    return checkout.place.type(*command).stdout


@pytest.fixture(scope="module")
def output(checkout: Checkout, rolled_back: str) -> dict[str, Any]:
    """Of each version its lineage, of two pairs the difference, and the lineage of three rows, after all of it."""
    commands = {version: f"lineage {NAME}/{version} --json" for version in ("1", "2", "3")}
    commands |= {"diff": f"diff {NAME}/1 {NAME}/3 --json", "damage": f"diff {NAME}/1 {NAME}/2 --json"}
    commands |= {row: f"lineage {NAME} --row {row} --json" for row in ("toy-000", "toy-009", "toy-200")}
    outputs = checkout.place.python(  # one process for all: each of its own would import for seconds
        "from typer.testing import CliRunner\nfrom mlops.cli.main import app\n"
        "def output(words):\n    return CliRunner().invoke(app, words, catch_exceptions=False).output\n"
        f"answer = [output(words) for words in {[command.split() for command in commands.values()]!r}]"
    )
    return dict(zip(commands, map(json.loads, outputs), strict=True))


VERSIONS = pytest.mark.parametrize("version", ["1", "2", "3"])


def fingerprint(content: bytes, *, begins: bytes = b"") -> str:
    """Of one file: what it is, its size, and its bytes."""
    return sha256(begins + json.dumps([".", len(content)]).encode() + content)


def test_a_better_model_becomes_champion_and_one_of_damaged_labels_is_refused_with_its_metrics(
    checkout: Checkout, trained: dict[str, Trained]
) -> None:
    assert [training.champion for training in trained.values()] == ["1", "1", "3"]
    outputs = {version: training.run.output for version, training in trained.items()}
    assert f"{NAME} version 1 (registered; champion)" in outputs["1"]
    assert "it is the first champion" in outputs["1"]

    damaged = checkout.metrics("2")
    value, other = damaged["label"]["macro_f1"], damaged["champion"]["label"]["macro_f1"]
    assert value < other - 0.2
    assert f"{NAME} version 2 (registered" in outputs["2"]
    screen = " ".join(outputs["2"].split())  # a long sentence is wrapped
    (difference,) = re.findall(rf"macro-F1 minus that of {NAME}/1:? (?:is )?(-[\d.]+)", screen)
    assert float(difference) == pytest.approx(value - other, abs=0.001)
    assert "is NOT at least -0.010" in screen

    better = checkout.metrics("3")
    assert f"{NAME} version 3 (registered; champion)" in outputs["3"]
    assert better["champion"]["reference"] == f"{NAME}/1"
    assert better["differences"]["champion"]["macro_f1"]["low"] > 0
    tested = sum(row["split"] == "test" for row in trained["3"].rows)
    assert better["num_rows"] == tested, "both are measured on the rows of today"


def test_a_rollback_returns_to_the_one_before_and_the_history_keeps_why(checkout: Checkout, rolled_back: str) -> None:
    assert f"{NAME} version 1 is the champion again, in place of version 3" in rolled_back.splitlines()
    aliases = checkout.mlflow.get_registered_model(NAME).aliases
    assert {alias: str(version) for alias, version in aliases.items()} == {"champion": "1"}
    history = [json.loads(line) for line in checkout.place.type("r2d", "history", NAME, "--json").stdout.splitlines()]
    assert [(change["action"], change["version"], change["before"], change["by"]) for change in history] == [
        ("promoted", "1", None, "gate"),
        ("promoted", "3", "1", "gate"),
        ("rolled_back", "1", "3", "ward 7"),
    ], "the refused version does not stand in it"
    assert history[-1]["reason"] == "the nurses ask for it"


@VERSIONS
def test_the_lineage_names_the_very_bytes_on_disk(
    checkout: Checkout, output: dict[str, Any], trained: dict[str, Trained], version: str
) -> None:
    lineage, training, folder = output[version], trained[version], checkout.files(version)
    assert lineage["not_reachable"] == []
    origin = lineage["origin"]
    assert origin["files_read"] == {"notes.csv": sha256(training.notes), "nurse.csv": sha256(training.nurse)}
    assert origin["data_sha256"] == fingerprint(training.notes, begins=b"csv")
    assert origin["files_sha256"] == fingerprint(training.nurse)
    assert origin["lock_sha256"] == sha256((checkout.place.folder / "requirements.lock").read_bytes())
    assert (origin["code_commit"], origin["code_dirty"]) == (training.commit, training.dirty)
    assert lineage["files"] == {name: sha256((folder / name).read_bytes()) for name in lineage["files"]}
    assert set(lineage["files"]) == {path.name for path in folder.iterdir()} - {
        "model",
        "sbom.json",
    }  # that lists packages
    names = sorted(path.relative_to(folder / "model") for path in (folder / "model").rglob("*") if path.is_file())
    digests = [f"{name}\0".encode() + hashlib.sha256((folder / "model" / name).read_bytes()).digest() for name in names]
    assert origin["model_sha256"] == sha256(b"".join(digests))
    assert Path("model.safetensors") in names
    assert origin["model_files"] == {str(name): sha256((folder / "model" / name).read_bytes()) for name in names}


@VERSIONS
def test_the_lineage_counts_what_stands_in_the_files(
    output: dict[str, Any], trained: dict[str, Trained], version: str
) -> None:
    lineage, rows, written = output[version], trained[version].rows, trained[version].written
    counted = Counter((row["split"], row["label"]) for row in rows)
    splits = lineage["data_result"]["splits"].items()
    assert {(split, label): count for split, labels in splits for label, count in labels.items()} == counted
    assert lineage["data_result"]["num_rows"] == lineage["origin"]["num_rows"] == len(rows)
    assert lineage["num_test_rows"] == sum(row["split"] == "test" for row in rows)
    by_nurse = {row["example_id"] for row in written}
    of_llm = [row for row in rows if row["rationale"]]
    assert lineage["rationales"]["files"] == [
        {"source": "llm", "file": "notes.csv", "num_rationales": len(of_llm)},
        {"source": "nurse", "file": "nurse.csv", "num_rationales": len(written)},
    ]
    train = [row for row in rows if row["split"] == "train"]
    assert {(one["stage"], one["source"]): one["num_rationales"] for one in lineage["rationales"]["trained_on"]} == {
        ("stage1", "llm"): sum(bool(row["rationale"]) for row in train),
        ("stage2", "llm"): sum(bool(row["rationale"]) and row["id"] not in by_nurse for row in train),
        ("stage2", "nurse"): sum(row["id"] in by_nurse for row in train),
    }


@VERSIONS
def test_the_lineage_repeats_the_gate_and_the_figures_that_are_registered(
    checkout: Checkout, output: dict[str, Any], version: str
) -> None:
    lineage, client = output[version], checkout.mlflow
    run = client.get_run(client.get_model_version(NAME, version).run_id)
    stored = Path(run.info.artifact_uri.removeprefix("file://")) / "gate" / "decision.json"
    assert lineage["gate"] == json.loads(stored.read_text(encoding="utf-8")) | {"signed": "not signed"}
    compared = {"1": (None, "passed"), "2": (f"{NAME}/1", "failed"), "3": (f"{NAME}/1", "passed")}[version]
    assert (lineage["gate"]["champion"], lineage["gate"]["outcome"]) == compared
    metrics = checkout.metrics(version)
    for name in ("macro_f1", "accuracy", "weighted_f1"):
        assert lineage["figures"][name]["value"] == metrics["label"][name], name
    assert lineage["aliases"] == (["champion"] if version == "1" else [])


def test_the_difference_names_the_data_and_how_far_the_figures_moved(
    checkout: Checkout, output: dict[str, Any], trained: dict[str, Trained]
) -> None:
    difference, before, after = output["diff"], checkout.metrics("1"), checkout.metrics("3")
    changed = difference["changed"]
    assert changed["data"]["data_sha256"] == {
        "before": fingerprint(trained["1"].notes, begins=b"csv"),
        "after": fingerprint(trained["3"].notes, begins=b"csv"),
    }
    assert changed["data"]["num_rows"] == {"before": FIRST, "after": MORE}
    assert changed["config"] == {"stage2.max_steps": {"before": 40, "after": 80}}
    assert changed["code"] == {"code_commit": {"before": trained["1"].commit, "after": trained["3"].commit}}
    assert not {"lock", "seeds", "start model"} & changed.keys()
    assert difference["same_data"] is False
    for name in ("macro_f1", "accuracy", "weighted_f1"):
        assert difference["figures"][name]["difference"] == after["label"][name] - before["label"][name]
    paired = after["differences"]["champion"]["macro_f1"]
    assert difference["figures"]["macro_f1"]["paired"] == {bound: paired[bound] for bound in ("value", "low", "high")}
    damaged = output["damage"]["changed"]
    assert damaged["code"] == {"code_dirty": {"before": False, "after": True}}
    assert set(damaged) == {"code", "data", "weights"}
    assert set(damaged["data"]) == {"data_sha256", "files_read.notes.csv"}


def test_a_row_names_its_line_its_rationales_and_the_versions_that_saw_it(
    output: dict[str, Any], trained: dict[str, Trained]
) -> None:
    used = {
        row: [(one["version"], one["split"]) for one in output[row]["seen_by"]] for row in output if row[:3] == "toy"
    }
    assert used == {
        "toy-000": [("1", "train"), ("2", "train"), ("3", "train")],
        "toy-009": [("1", "test"), ("2", "test"), ("3", "test")],
        "toy-200": [("3", "train")],
    }
    for row, seen in output.items():
        if row not in used:
            continue
        for one in seen["seen_by"]:
            lines = trained[one["version"]].notes.decode().splitlines()
            assert (one["place"], one["row"]) == (f"notes.csv: row {one['row']} (line {one['row'] + 1})", one["row"])
            assert lines[one["row"]].startswith(f"{row},")
            for rationale in one["rationales"]:
                at, training = rationale["row"], trained[one["version"]]
                if rationale["file"] == "notes.csv":
                    written, counted = training.rows[at - 1], "row"
                else:  # nurse.csv, whose first line is the header
                    written, counted = training.written[at - 2], "line"
                assert rationale["counted"] == counted
                assert row in (written.get("id"), written.get("example_id"))
                assert rationale["rationale_sha256"] == sha256(written["rationale"].encode())
                assert rationale["author"] == written.get("author")
                assert rationale["record_id"] is None
    sources = {row: sorted(one["source"] for one in output[row]["seen_by"][-1]["rationales"]) for row in used}
    assert sources == {"toy-000": ["llm", "nurse"], "toy-009": ["nurse"], "toy-200": ["llm", "nurse"]}


def test_mlflow_has_one_run_for_each_pipeline_run_and_its_stages_below_it(
    checkout: Checkout, output: dict[str, Any]
) -> None:
    experiment = checkout.mlflow.get_experiment_by_name("reason2decide")
    runs = checkout.mlflow.search_runs([experiment.experiment_id])
    parents = {run.info.run_id: run for run in runs if "mlflow.parentRunId" not in run.data.tags}
    named = {output[version]["pipeline_run"]["name"]: version for version in ("1", "2", "3")}
    assert {run.info.run_name for run in parents.values()} == named.keys()
    for parent in parents.values():
        version = named[parent.info.run_name]
        below = {
            run.info.run_name: run.info.run_id
            for run in runs
            if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
        }
        assert set(below) == STAGES
        assert {name: [run] for name, run in below.items()} == output[version]["mlflow_runs"]
    assert len(runs) == 3 * (1 + len(STAGES))


def test_each_version_loads_by_itself_and_zenml_and_mlflow_name_each_other(
    checkout: Checkout, output: dict[str, Any]
) -> None:
    accuracies, linked = checkout.place.python(
        "import csv, mlflow\nfrom zenml.client import Client\n"
        "from mlops.tracking import configure_mlflow\nconfigure_mlflow()\n"
        "rows = [row for row in csv.DictReader(open('notes.csv')) if row['split'] == 'test']\n"
        "def right(version):\n"
        f"    model = mlflow.pyfunc.load_model(f'models:/{NAME}/{{version}}')\n"
        "    decided = model.predict([row['text'] for row in rows])\n"
        "    return sum(row['label'] == label for row, label in zip(rows, decided['label'])) / len(rows)\n"
        "def named(number):\n"
        f"    version = Client().get_model_version('{NAME}', int(number))\n"
        "    links = Client().list_model_version_pipeline_run_links(model_version_id=version.id).items\n"
        "    runs = [link.pipeline_run.name for link in links]\n"
        "    return [str(version.id), version.number, version.run_metadata['mlflow_run_id'], runs]\n"
        "answer = [[right(version) for version in '13'], {version: named(version) for version in '123'}]"
    )
    metrics = checkout.metrics("3")
    assert accuracies == pytest.approx([metrics["champion"]["label"]["accuracy"], metrics["label"]["accuracy"]])
    for version, (zenml_id, number, run_id, runs) in linked.items():
        registered = checkout.mlflow.get_model_version(NAME, version)
        assert (str(number), run_id) == (version, registered.run_id)
        assert registered.tags["zenml.id"] == zenml_id
        assert registered.tags["zenml.number"] == version
        assert runs == [output[version]["pipeline_run"]["name"]]
        assert registered.tags["zenml.pipeline_run"] == output[version]["pipeline_run"]["id"]


def test_a_lineage_is_asked_of_zenml_and_mlflow_once_until_one_of_them_changes(
    checkout: Checkout, output: dict[str, Any]
) -> None:
    program = (
        "import sys\nfrom mlops.lineage import version_lineage\n"
        f"lineage = version_lineage('{NAME}@champion').to_json()\n"
        "answer = [lineage, sorted({'mlflow', 'zenml'} & set(sys.modules))]"
    )
    first, _ = checkout.place.python(program, anew=True)
    assert checkout.place.python(program, anew=True) == [first, []]
    checkout.mlflow.set_registered_model_alias(NAME, "looked-at", first["version"])
    changed, asked = checkout.place.python(program, anew=True)
    checkout.mlflow.delete_registered_model_alias(NAME, "looked-at")
    assert changed == first | {"aliases": [*first["aliases"], "looked-at"]}
    assert "mlflow" in asked


def test_everything_that_was_destroyed_comes_back_from_the_backup(checkout: Checkout, output: dict[str, Any]) -> None:
    """Champion, history, lineage and decisions are what they were, and a run on the same rows comes from the cache."""
    place, home = checkout.place, checkout.place.folder.parent / "zenml"
    note = "patient reports chest pain"
    questions = (
        ("r2d", "history", NAME, "--json"),
        ("r2d", "lineage", NAME, "--json"),
        ("r2d", "lineage", NAME, "--row", "toy-009", "--json"),
        ("r2d", "predict", "--model", f"{NAME}@champion", "--json", note),
    )
    before, champion = [place.type(*words).stdout for words in questions], checkout.champion()
    backup = place.folder.parent / "backup.tar"
    place.type("r2d", "backup", str(backup), anew=True)
    shutil.rmtree(home)
    assert place.type("r2d", "restore", str(backup), anew=True).stdout.startswith(f"{home}: ")
    assert [place.type(*words).stdout for words in questions] == before
    assert checkout.champion() == champion
    again = place.run(checkout.config | {"stage2": checkout.config["stage2"] | {"max_steps": 80}}, anew=True)
    assert {"train_stage1", "train_stage2"} <= set(again.cached), again.output[-3000:]


def test_a_backup_without_the_models_is_refused(checkout: Checkout, output: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(checkout.place.environment, "MLFLOW_TRACKING_URI", f"sqlite:///{checkout.place.folder}/other.db")
        refused = checkout.place.type("r2d", "backup", str(checkout.place.folder / "b.tar"), check=False, anew=True)
    assert refused.returncode == 2
    assert "MLflow of the active stack: not below" in refused.stderr
