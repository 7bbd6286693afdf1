"""The workflow of a pull request, line by line: the base and the branch run, and the comment says what differs."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipelines.conftest import PARTS, ROOT, Workplace
from tests.workflow_runner import Runner, link_environment

pytestmark = pytest.mark.slow


def test_the_comment_says_what_the_branch_changes_in_the_model(
    tmp_path: Path, workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    checkout = tmp_path / "checkout"
    for name in ("base", "branch"):
        folder = checkout / name
        for part in PARTS:
            copied = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            folder.mkdir(parents=True, exist_ok=True)
            copied(ROOT / part, folder / part)
        (folder / ".zen").mkdir()
        link_environment(folder)
    config = copy.deepcopy(tiny_config)
    config["data"]["path"] = str(workplace.folder / "notes.csv")
    config["registration"] = {"model_name": "pull-request", "gate": {"rules": []}}
    small = checkout / "branch" / "configs" / "pull_request.yaml"
    small.write_text(yaml.safe_dump({"parameters": {"config": config}}), encoding="utf-8")
    schedule = checkout / "branch" / "r2d" / "training" / "stage2.py"
    schedule.write_text(schedule.read_text(encoding="utf-8") + "\nCHANGED = True\n", encoding="utf-8")
    state = str(tmp_path / "state")
    environment = {key: value for key, value in workplace.environment.items() if key != "PYTHONPATH"}
    expressions = {
        "${{ github.workspace }}/state": state, "${{ github.token }}": "a token",
        "${{ github.event.pull_request.number }}": "7",
    }  # fmt: skip
    runner = Runner(checkout, environment, expressions)
    done = runner.run("pull_request.yml", event="pull_request", PYTHONPATH=".:branch")
    assert [one.returncode for one in done] == [0] * 4, done[-1].stdout[-2000:] + done[-1].stderr[-2000:]
    comment = runner.gh_calls.read_text(encoding="utf-8")
    assert comment.startswith("pr comment 7 --repo ward/triage --edit-last")
    assert "### A small run of the base and of this branch" in comment
    assert "macro-F1, more is better: " in comment
    assert runner.summary.read_text(encoding="utf-8") in comment
