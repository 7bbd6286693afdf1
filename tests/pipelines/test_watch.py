"""A night with a failing run: the alert of the step, its logs as JSON, and what `r2d watch` tells and measures."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml

from tests.pipelines.conftest import Run, Workplace
from tests.web_inbox import web_inbox

pytestmark = pytest.mark.slow

NOTE = "zyxwv reports pain"


@pytest.fixture(scope="module")
def night(workplace: Workplace, tiny_config: dict[str, Any], first_run: Run) -> dict[str, Any]:
    """A run whose data break the contract, then two looks, with a webhook that listens."""
    calls = workplace.write_csv("night.csv")
    calls.write_text(calls.read_text(encoding="utf-8") + f",,,,\nnew,{NOTE},call back,why,train\n", encoding="utf-8")
    config = copy.deepcopy(tiny_config)
    config["data"]["path"] = "night.csv"
    watched = {"models": ["toy-triage"], "jobs": {"restore-drill": 192, "backup": 30}}  # no test runs that drill
    path = workplace.folder / "watch.yaml"
    path.write_text(yaml.safe_dump({"parameters": {"config": watched}}), encoding="utf-8")
    with web_inbox() as (inbox, address), pytest.MonkeyPatch.context() as patch:
        patch.setitem(workplace.environment, "R2D_ALERT_WEBHOOK", address)
        patch.setitem(workplace.environment, "ZENML_CONSOLE_LOGGING_FORMAT", "json")
        run = workplace.run(config, check=False, anew=True)  # ZenML reads the format when it is imported
        first = len(inbox.received)
        workplace.type("r2d", "beat", "backup")
        looks = [
            workplace.type("r2d", "watch", "--config", "watch.yaml", "--metrics", "r2d.prom", check=False)
            for _ in range(2)
        ]
    alerts = [alert for _, alert in inbox.received]
    return {"run": run, "step": alerts[:first], "watch": alerts[first:], "looks": looks}


def test_a_failing_step_sends_one_alert_that_names_run_and_step_and_tells_nothing_of_the_data(
    night: dict[str, Any],
) -> None:
    assert night["run"].returncode != 0
    (alert,) = night["step"]
    assert alert["event"] == "run_failed"
    assert alert["facts"]["step"] == "validate_examples"
    assert alert["facts"]["pipeline"] == "reason2decide"
    assert alert["facts"]["error"] == "DataError"
    assert "zyxwv" not in str(alert)
    assert "call back" not in str(alert), "nor the message of the exception"


def test_each_line_of_a_step_is_a_json_object_with_run_and_step(night: dict[str, Any]) -> None:
    lines = [json.loads(line) for line in night["run"].output.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if " of empty cells left out" in line["message"]]
    assert line["step"] == "load_examples"
    assert line["run_id"] == night["step"][0]["facts"]["run_id"]


def test_the_watch_tells_the_overdue_job_and_the_failed_run_once_and_writes_metrics(
    night: dict[str, Any], workplace: Workplace
) -> None:
    first, second = night["looks"]
    assert (first.returncode, second.returncode) == (1, 1)
    assert "restore-drill has never succeeded" in first.stdout
    assert "of reason2decide failed since the last look" in first.stdout
    assert "failed" not in second.stdout
    assert "backup" not in first.stdout
    assert {"overdue", "run_failed"} <= {alert["event"] for alert in night["watch"]}
    lines = (workplace.folder / "r2d.prom").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith('r2d_runs{pipeline="reason2decide",status="completed"}')]
    assert [line for line in lines if line.startswith('r2d_champion_metric{metric="macro_f1",model="toy-triage"}')]
    assert 'r2d_model_alias_is_recorded{model="toy-triage"} 1.0' in lines
