"""A run that a killed process has left is closed by the next one; one that lives, or is not ours, never."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlops.dead_runs import OWNER_KEY, Process, close_dead_mlflow_runs

SAY = "from mlops.dead_runs import Process; print(Process.this().to_text(), flush=True); input()"


@pytest.fixture
def other() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", SAY], stdin=-1, stdout=-1, text=True)
    yield process
    process.kill()
    process.wait()


def said_by(process: subprocess.Popen[str]) -> Process:
    assert process.stdout is not None
    said = Process.of(process.stdout.readline())
    assert said is not None
    return said


def test_a_process_is_gone_when_it_was_killed_and_not_before(other: subprocess.Popen[str]) -> None:
    process = said_by(other)
    assert not process.is_gone()
    assert process.is_alive()
    other.kill()
    other.wait()
    assert process.is_gone()
    assert not process.is_alive()


def test_a_killed_process_that_nobody_has_waited_for_is_gone(other: subprocess.Popen[str]) -> None:
    process = said_by(other)
    other.kill()
    while not process.is_gone():  # a zombie from now on, until the fixture waits for it
        pass
    assert Path(f"/proc/{other.pid}").exists()


def test_of_another_machine_container_or_start_nothing_is_known_but_that_a_machine_was_started_anew() -> None:
    here = Process.this()
    assert here is not None
    dead = replace(here, pid=2**22 + 1)
    assert dead.is_gone()
    assert replace(here, started="1").is_gone(), "the number was given to a later process"
    assert not replace(dead, host="elsewhere").is_gone()
    assert not replace(here, host="elsewhere").is_alive(), "it may be dead long since"
    assert not replace(dead, machine="elsewhere").is_gone()
    assert not replace(dead, namespace="pid:[1]").is_gone()
    assert replace(here, boot="before").is_gone() is bool(here.machine)
    assert not Process.this().is_gone()
    assert not here.is_alive(), "it is this one"


@pytest.mark.parametrize("text", [None, "", "no JSON", "[]", "{}", '{"host": "x"}'])
def test_a_run_that_names_no_process_is_left_alone(text: str | None) -> None:
    assert Process.of(text) is None


def test_mlflow_runs_and_models_of_gone_processes_are_closed_and_no_others(
    store: str, other: subprocess.Popen[str]
) -> None:
    client, lives, here = MlflowClient(store, store), said_by(other), Process.this()
    assert here is not None
    experiment = client.create_experiment("dead runs")
    owners = {
        "gone": replace(here, pid=2**22 + 1),
        "lives": lives,
        "elsewhere": replace(here, host="elsewhere", pid=2**22 + 1),
    }
    runs = {name: client.create_run(experiment, tags={OWNER_KEY: owner.to_text()}) for name, owner in owners.items()}
    runs["unknown"] = client.create_run(experiment)
    packing = {name: client.create_logged_model(experiment, source_run_id=runs[name].info.run_id) for name in owners}
    ready = client.create_logged_model(experiment, source_run_id=runs["gone"].info.run_id)
    client.finalize_logged_model(ready.model_id, "READY")
    close_dead_mlflow_runs(client, experiment)
    statuses = {name: client.get_run(run.info.run_id).info.status for name, run in runs.items()}
    assert statuses == {"gone": "KILLED", "lives": "RUNNING", "elsewhere": "RUNNING", "unknown": "RUNNING"}
    models = {name: client.get_logged_model(model.model_id).status for name, model in packing.items()}
    assert models == {"gone": "FAILED", "lives": "PENDING", "elsewhere": "PENDING"}
    assert client.get_logged_model(ready.model_id).status == "READY"
