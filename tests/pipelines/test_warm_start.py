"""Training that starts from a registered version, on a real ZenML and MLflow."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.pipelines.conftest import Run, Workplace

TRAINED = {"train_stage1", "train_stage2"}


def run_from(workplace: Workplace, config: dict[str, Any], version: int) -> tuple[Run, list[str]]:
    """Run with the alias `start` at that version; also returns name and revision that Stage 1 says it started from."""
    workplace.python(
        "from mlflow import MlflowClient\nfrom mlops.tracking import configure_mlflow\nconfigure_mlflow()\n"
        f"MlflowClient().set_registered_model_alias('toy-warm', 'start', '{version}')\nanswer = None"
    )
    run = workplace.run(config)
    start = workplace.python(
        "from zenml.client import Client\n"
        "run = Client().list_pipeline_runs(sort_by='desc:created', size=1).items[0]\n"
        "answer = [run.steps['train_stage1'].run_metadata[name] for name in ('start_model', 'start_revision')]"
    )
    return run, start


@pytest.mark.slow
def test_a_run_starts_from_the_version_an_alias_stands_for_and_trains_anew_when_it_moves(
    workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    config = copy.deepcopy(tiny_config)
    config["registration"] = {"model_name": "toy-warm", "gate": {"rules": []}}
    workplace.run(config)  # registers version 1, from scratch
    config["model"]["name"] = "models:/toy-warm@start"
    first, first_start = run_from(workplace, config, 1)
    assert set(first.executed) >= TRAINED
    assert first_start[0] == "models:/toy-warm/1"

    moved, second_start = run_from(workplace, config, 2)
    assert set(moved.executed) >= TRAINED
    assert "load_examples" in moved.cached
    assert second_start[0] == "models:/toy-warm/2"
    assert second_start[1] != first_start[1]

    back, _ = run_from(workplace, config, 1)
    assert not TRAINED & set(back.executed), "what was trained from version 1 is still there"
