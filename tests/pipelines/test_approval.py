"""The approval as a node of a DAG: the run shows the gate, waits for a person, and does what the person said."""

from __future__ import annotations

import copy
import json
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from tests.pipelines.conftest import Run, Workplace

pytestmark = pytest.mark.slow

NAME = "toy-approved"
PENDING = """
from zenml.client import Client
pending = Client().list_run_wait_conditions(status="pending", hydrate=True).items
answer = [[str(condition.id), condition.question] for condition in pending]
"""


def asked(workplace: Workplace, run: Future[subprocess.CompletedProcess[str]]) -> tuple[str, str]:
    """Id and question of what the run waits for, once it does."""
    found: list[tuple[str, str]] = []
    while not found:
        assert not run.done(), run.result().stdout[-3000:] + run.result().stderr[-3000:]
        with suppress(AssertionError):  # the run writes the configuration of ZenML while this reads it
            found = workplace.python(PENDING)
        time.sleep(1)
    ((condition, question),) = found
    return condition, question


def answered(workplace: Workplace, *answer: str) -> subprocess.CompletedProcess[str]:
    """The run of an approval in which a person answers."""
    (workplace.folder / "approval.yaml").write_text(json.dumps({"parameters": {"model": NAME}}), encoding="utf-8")
    command = ("zenml", "pipeline", "run", "pipelines.approval.approval", "--config", "approval.yaml")
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(workplace.type, *command, check=False)
        condition, question = asked(workplace, run)
        assert f"Make {NAME}/1 the champion?" in question
        workplace.type("zenml", "pipeline", "runs", "wait-conditions", "resolve", condition, *answer)
        return run.result()


def test_who_aborts_changes_nothing_and_who_answers_makes_the_challenger_the_champion(
    workplace: Workplace, tiny_config: dict[str, Any], first_run: Run
) -> None:
    config = copy.deepcopy(tiny_config)
    config["registration"] = {"model_name": NAME, "gate": {"rules": [{"rule": "human_approval"}]}}
    waiting = workplace.named(workplace.run(config))
    tags, of_model = workplace.python(
        f"from zenml.client import Client\nrun = Client().get_pipeline_run('{waiting.name}')\n"
        "model = run.steps['train_stage2'].outputs['r2d_stage2_model'][0]\n"
        "answer = [sorted(tag.name for tag in one.tags) for one in (run, Client().get_artifact_version(model.id))]"
    )
    assert [tag.split(":")[0] for tag in tags] == ["data", "gate", "method", "model"]
    assert {"gate:waiting", "method:r2d", f"model:{NAME}/1"} <= set(tags)
    assert {"method:r2d", f"model:{NAME}/1"} <= set(of_model)

    before = workplace.type("r2d", "history", NAME, "--json").stdout
    answered(workplace, "--resolution", "abort")
    assert workplace.type("r2d", "history", NAME, "--json").stdout == before
    done = answered(workplace, "--resolution", "continue", "--result", '"the ward agreed"')
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    last = json.loads(workplace.type("r2d", "history", NAME, "--json").stdout.splitlines()[-1])
    assert (last["action"], last["version"], last["by"]) == ("approved", "1", "default")
    assert last["reason"] == "the ward agreed"
