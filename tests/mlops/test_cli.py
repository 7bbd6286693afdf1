"""The command line, in processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
R2D = Path(sys.executable).parent / "r2d"


def r2d(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(R2D), *arguments], cwd=ROOT, input=stdin, capture_output=True, text=True, check=False)


def test_check_says_ok_for_each_right_config() -> None:
    done = r2d("check", "configs/demo.yaml", "configs/paper.yaml", "configs/cqa.yaml")
    assert done.returncode == 0
    assert [line.split(":")[1].split()[0] for line in done.stdout.splitlines()] == ["ok", "ok", "ok"]
    assert "5 labels" in done.stdout.splitlines()[0]
    assert "labels in each row" in done.stdout.splitlines()[2]


def test_check_names_the_faults_of_wrong_ones_and_fails(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("parameters: {config: {data: {format: csv}}}")
    done = r2d("check", "configs/demo.yaml", str(wrong), str(tmp_path / "missing.yaml"))
    assert done.returncode == 2
    assert "configs/demo.yaml: ok" in done.stdout
    assert "data.labels: missing" in done.stderr
    assert "missing.yaml: cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_predict_decides_from_a_folder_for_people_and_for_machines(stage2_model: Path) -> None:
    note = "pt denies fever for 2 days"
    shown = r2d("predict", "--model", str(stage2_model), note)
    assert shown.returncode == 0, shown.stderr
    machine = r2d("predict", "--model", str(stage2_model), "--json", "-", stdin=f"{note}\n\npt reports cough\n")
    decisions = [json.loads(line) for line in machine.stdout.splitlines()]
    fields = {"label", "valid", "label_probabilities", "rationale", "handed_over"}
    assert [set(decision) for decision in decisions] == [fields] * 2
    assert decisions[0]["handed_over"] is None, "no evaluation has left a threshold in this folder"
    assert shown.stdout.startswith(f"{decisions[0]['label']} (")


def test_predict_refuses_options_where_the_labels_are_declared(stage2_model: Path) -> None:
    done = r2d("predict", "--model", str(stage2_model), "--option", "yes", "--option", "no", "pt denies fever")
    assert done.returncode == 2
    assert "error: --option: this model decides between emergency now, self care; leave --option out" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [(["-"], "\n", "standard input held no note"), ([" "], "", "a note is empty")],
)
def test_predict_refuses_emptiness(arguments: list[str], stdin: str, message: str) -> None:
    done = r2d("predict", *arguments, stdin=stdin)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_check_reads_the_rubric_of_a_judge(tmp_path: Path) -> None:
    values = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8"))
    judge = {"base_url": "http://127.0.0.1:1/v1", "model": "m", "rubric": "configs/rubrics/rationale.yaml"}
    values["parameters"]["config"]["evaluation"]["judge"] = judge
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    assert r2d("check", str(tmp_path / "run.yaml")).returncode == 0
    judge["rubric"] = "nowhere.yaml"
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    done = r2d("check", str(tmp_path / "run.yaml"))
    assert done.returncode == 2
    assert "nowhere.yaml: this rubric cannot be read" in done.stderr
