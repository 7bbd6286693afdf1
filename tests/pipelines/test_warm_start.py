"""A method without Stage 1, and training that starts from a registered version, on a real ZenML and MLflow."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.pipelines.conftest import Run, Workplace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tiny_config: dict[str, Any]) -> dict[str, Any]:
    """Labels alone, on a CSV of which no rationale is read."""
    config = copy.deepcopy(tiny_config) | {"method": {"name": "sft"}}
    del config["rationales"], config["data"]["columns"]["rationales"], config["stage1"]
    del config["stage2"]["validation_rationales"]
    config["registration"] = {"model_name": "toy-sft", "gate": {"rules": []}}
    return config


@pytest.fixture(scope="module")
def from_scratch(first_run: Run, workplace: Workplace, config: dict[str, Any]) -> Run:
    """Registers version 1."""
    return workplace.run(config)


def run_from(workplace: Workplace, config: dict[str, Any], version: int) -> tuple[Run, list[str]]:
    """Run with the alias `start` at that version; also returns name and revision that training says it started from."""
    workplace.python(
        "from mlflow import MlflowClient\nfrom mlops.tracking import configure_mlflow\nconfigure_mlflow()\n"
        f"MlflowClient().set_registered_model_alias('toy-sft', 'start', '{version}')\nanswer = None"
    )
    config = config | {"model": config["model"] | {"name": "models:/toy-sft@start"}}
    run = workplace.run(config)
    start = workplace.python(
        "from zenml.client import Client\n"
        "run = Client().list_pipeline_runs(sort_by='desc:created', size=1).items[0]\n"
        "answer = [run.steps['train_stage2'].run_metadata[name] for name in ('start_model', 'start_revision')]"
    )
    return run, start


def test_a_method_without_stage1_and_without_rationales_runs_and_is_registered(
    from_scratch: Run, workplace: Workplace
) -> None:
    assert "train_stage1" not in from_scratch.executed + from_scratch.cached
    assert from_scratch.executed[-3:] == ["train_stage2", "evaluate", "register_model"]
    assert "toy-sft version 1 (registered" in from_scratch.output
    assert "rationales: none, method sft decides only" in from_scratch.output
    typed = workplace.type("r2d", "predict", "--json", "--model", "toy-sft/1", "pt denies fever for 2 days")
    assert '"rationale": ""' in typed.stdout


def test_a_run_starts_from_the_version_an_alias_stands_for_and_trains_anew_when_it_moves(
    from_scratch: Run, workplace: Workplace, config: dict[str, Any]
) -> None:
    first, first_start = run_from(workplace, config, 1)
    assert "train_stage2" in first.executed
    assert first_start[0] == "models:/toy-sft/1"

    moved, second_start = run_from(workplace, config, 2)
    assert "train_stage2" in moved.executed
    assert "load_examples" in moved.cached
    assert second_start[0] == "models:/toy-sft/2"
    assert second_start[1] != first_start[1]

    back, _ = run_from(workplace, config, 1)
    assert "train_stage2" in back.cached, "what was trained from version 1 is still there"
