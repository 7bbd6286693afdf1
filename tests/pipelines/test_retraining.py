"""`r2d retrain`, as the workflow of GitHub starts it and as a user types it: when it trains, when not, and why."""

from __future__ import annotations

import copy
import json
import subprocess
from typing import Any

import pytest
import yaml

from tests.pipelines.conftest import Run, Workplace
from tests.pipelines.test_training import STEPS
from tests.workflow_runner import Runner

pytestmark = pytest.mark.slow

REASON = 'drift in "calls"; $(touch started-by-a-stranger)'
EXPRESSIONS = {
    # No server: the local store of the checkout. With these variables empty, ZenML uses it.
    "${{ secrets.ZENML_STORE_URL }}": "",
    "${{ secrets.ZENML_STORE_API_KEY }}": "",
    "${{ vars.R2D_IMAGE }}": "reason2decide:test",
    "${{ vars.R2D_STACK }}": "default",
    "${{ inputs.force || github.event.client_payload.force }}": "",
    "${{ github.token }}": "a token",
}
Lines = list[subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def config(tiny_config: dict[str, Any], workplace: Workplace, first_run: Run) -> dict[str, Any]:
    """Whatever comes of training passes the gate; the data are those of the first run under a name of their own."""
    config = copy.deepcopy(tiny_config)
    config["registration"] = {"model_name": "toy-retrained", "gate": {"rules": []}}
    config["data"]["path"] = "calls.csv"
    workplace.write_csv("calls.csv")
    return config


@pytest.fixture(scope="module")
def runner(workplace: Workplace, config: dict[str, Any]) -> Runner:
    """A checkout whose `configs/kubernetes.yaml` is the shipped one, but for data and sizes: those of a run of seconds.

    Its settings of steps and pods stay. The local stack has no use for them.
    """
    path = workplace.folder / "configs" / "kubernetes.yaml"
    shipped = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**shipped, "parameters": {"config": config}}), encoding="utf-8")
    return Runner(workplace.folder, workplace.environment, EXPRESSIONS)


@pytest.fixture(scope="module")
def pushed(runner: Runner) -> Lines:
    """What every `run:` line of the workflow did after a push, in order."""
    return runner.run("retrain.yml", event="push", FORCE=REASON)


def retrain(place: Workplace, config: dict[str, Any], *more: str, check: bool = True, **triggers: Any) -> Any:
    place.write_config("retrain.yaml", config | ({"retraining": triggers} if triggers else {}))
    return place.type("r2d", "retrain", "--config", "retrain.yaml", "--out", "retrained", *more, check=check)


def decided(place: Workplace) -> dict[str, Any]:
    return json.loads((place.folder / "retrained" / "decision.json").read_text(encoding="utf-8"))


def test_every_line_of_the_workflow_runs_as_it_stands_and_a_model_comes_of_it(
    workplace: Workplace, runner: Runner, pushed: Lines
) -> None:
    assert [line.returncode for line in pushed] == [0] * 5, [line.stderr[-2000:] for line in pushed]
    output = pushed[2].stdout
    assert f"training: forced: {REASON}; there is no champion yet" in output
    assert not (workplace.folder / "started-by-a-stranger").exists()
    assert "so: it passed the gate: it is the first champion" in output
    assert decided(workplace)["registration"]["version"] == "1"
    pages = {path.name for path in (workplace.folder / "retrained").iterdir()}
    assert pages == {"decision.json", "summary.md", "report.html", "gate.html"}


def test_the_summary_is_on_the_page_of_the_job_and_in_a_comment_of_the_pull_request(
    workplace: Workplace, runner: Runner, pushed: Lines
) -> None:
    summary = runner.summary.read_text(encoding="utf-8")
    assert summary.startswith("### Retraining: training: forced: drift in ")
    calls = runner.gh_calls.read_text(encoding="utf-8")
    assert calls == (
        f"api repos/ward/triage/commits/{'a' * 40}/pulls --jq .[0].number // empty\n"
        "pr comment 7 --repo ward/triage --body-file retrained/summary.md\n" + summary
    )


def test_the_next_run_by_the_clock_has_nothing_to_do_and_names_what_it_compared(
    workplace: Workplace, runner: Runner, pushed: Lines
) -> None:
    lines = runner.run("retrain.yml", event="schedule")
    assert [line.returncode for line in lines] == [0] * 4, "all but the comment"
    assert "nothing to do: no trigger fired; toy-retrained/1 stays champion" in lines[2].stdout
    assert "Initiating a new run" not in lines[2].stdout + lines[2].stderr
    findings = {fact["name"]: fact["finding"] for fact in decided(workplace)["compared"]}
    same = {"data", "files with rationales", "code", "locked libraries", "configuration", "start"}
    assert {findings[name] for name in same} == {"same"}
    assert runner.summary.read_text(encoding="utf-8").count("### Retraining: nothing to do") == 1


def test_new_rows_start_a_run_from_the_champion_and_what_came_of_it_is_not_trained_again(
    workplace: Workplace, config: dict[str, Any], pushed: Lines
) -> None:
    workplace.write_csv("calls.csv", num_rows=130)
    few = retrain(workplace, config, min_new_rows=11)
    assert "valid rows: counted, because the data changed (then 120, now 130)" in few.stdout
    assert "nothing to do" in few.stdout

    warm = {"min_new_rows": 10, "warm_start": True}
    trained = retrain(workplace, config, **warm)
    assert "training: 10 new rows, at least 10 are asked for" in trained.stdout
    assert Run(trained.stdout + trained.stderr).executed == STEPS, "other data: nothing comes from the cache"
    assert "start: warm, from the champion (then scratch, now models:/toy-retrained/1)" in trained.stdout
    assert "toy-retrained version 2 (new), compared with toy-retrained/1" in trained.stdout
    assert "it is the champion in place of toy-retrained/1" in trained.stdout
    start = workplace.python(
        "from zenml.client import Client\n"
        "run = Client().list_pipeline_runs(sort_by='desc:created', size=1).items[0]\n"
        "answer = run.steps['train_stage1'].run_metadata['start_model']"
    )
    assert start == "models:/toy-retrained/1"

    line, heavy = workplace.python(
        "import sys\nfrom pathlib import Path\nfrom mlops.retraining import retrain\n"
        "result = retrain(Path('retrain.yaml'))\n"
        "heavy = {'torch', 'transformers', 'great_expectations', 'matplotlib'}\n"
        "answer = [result.lines()[0], sorted(heavy & set(sys.modules))]",
        anew=True,
    )
    assert line == "nothing to do: no trigger fired; toy-retrained/2 stays champion"
    assert heavy == [], "a decision that takes seconds has no use for them"


def test_a_run_that_fails_fails_its_command_without_a_traceback_keeps_its_report_and_moves_no_alias(
    workplace: Workplace, config: dict[str, Any], pushed: Lines
) -> None:
    before = workplace.type("r2d", "history", "toy-retrained", "--json").stdout
    calls = workplace.folder / "calls.csv"
    calls.write_text(calls.read_text(encoding="utf-8") + "new,a note of mine,call back,why,train\n", encoding="utf-8")
    failed = retrain(workplace, config, check=False)
    output = failed.stdout + failed.stderr
    assert failed.returncode == 2, output[-2000:]
    assert "Traceback" not in failed.stderr.splitlines()[-1]
    assert "label_declared (every label is allowed): 1 row: calls.csv: row" in output
    (error,) = [line for line in failed.stderr.splitlines() if line.lower().startswith("error: ")]
    assert "step validate_examples: " in error
    report = workplace.python(
        "from zenml.client import Client\n"
        "answer = str(Client().get_artifact_version('r2d_data_report_of_a_stopped_run').load())"
    )
    assert "label_declared" in report
    assert "a note of mine" not in output + report
    assert decided(workplace)["registration"] is None
    assert workplace.type("r2d", "history", "toy-retrained", "--json").stdout == before
