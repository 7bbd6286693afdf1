"""Training that starts from a registered version, on a real ZenML and MLflow."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from tests.pipelines.conftest import Workplace

TRAINED = {"train_stage1", "train_stage2"}


def point_alias(workplace: Workplace, version: int) -> None:
    workplace.python(
        "from mlflow import MlflowClient\nfrom mlops.tracking import configure_mlflow\nconfigure_mlflow()\n"
        f"MlflowClient().set_registered_model_alias('toy-triage', 'start', '{version}')\nanswer = None"
    )


def refused_run(workplace: Workplace, config: dict[str, Any]) -> str:
    path = workplace.folder / "refused.yaml"
    path.write_text(yaml.safe_dump({"parameters": {"config": config}}), encoding="utf-8")
    done = workplace.type("zenml", "pipeline", "run", "reason2decide", "--config", str(path), check=False)
    assert done.returncode != 0
    return " ".join((done.stdout + done.stderr).split())


def pinned(workplace: Workplace, config: dict[str, Any]) -> list[str]:
    """Name and revision of the start model in the parameters of the steps."""
    (workplace.folder / "pinned.yaml").write_text(yaml.safe_dump({"parameters": {"config": config}}), encoding="utf-8")
    return workplace.python(
        "from pathlib import Path\nfrom r2d.config.loading import load_config\n"
        "from mlops.registry.versions import pin_start_model\n"
        "model = pin_start_model(load_config(Path('pinned.yaml'))).model\nanswer = [model.name, model.revision]"
    )


def started_from(workplace: Workplace) -> list[str]:
    """What Stage 1 of the last run says it started from."""
    return workplace.python(
        "from zenml.client import Client\n"
        "run = Client().list_pipeline_runs(sort_by='desc:created', size=1).items[0]\n"
        "answer = [run.steps['train_stage1'].run_metadata[name] for name in ('start_model', 'start_revision')]"
    )


@pytest.fixture(scope="module")
def config(workplace: Workplace, tiny_config: dict[str, Any]) -> dict[str, Any]:
    """A run that starts from version 1 of `toy-triage`, which a run from scratch has registered."""
    config = copy.deepcopy(tiny_config)
    config["registration"]["gate"] = {"rules": []}
    workplace.run(config)
    point_alias(workplace, 1)
    config["model"]["name"] = "models:/toy-triage@start"
    return config


@pytest.mark.slow
def test_a_run_starts_from_the_version_an_alias_stands_for_and_trains_anew_when_it_moves(
    workplace: Workplace, config: dict[str, Any]
) -> None:
    assert set(workplace.run(config).executed) >= TRAINED
    first = pinned(workplace, config)
    assert first[0] == "models:/toy-triage/1"
    assert started_from(workplace) == first

    point_alias(workplace, 2)
    second = pinned(workplace, config)
    assert second[0] == "models:/toy-triage/2"
    assert second[1] != first[1]
    moved = workplace.run(config)
    assert set(moved.executed) >= TRAINED
    assert "load_examples" in moved.cached
    assert started_from(workplace) == second

    point_alias(workplace, 1)
    assert not TRAINED & set(workplace.run(config).executed), "what was trained from version 1 is still there"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("model", {"name": "models:/toy-triage@nobody"}, "'toy-triage@nobody' is not in the registry"),
        (
            "data",
            {"labels": {"names": ["emergency now", "self-care"]}},
            "only the model has ['self care'], only data.labels.names has ['self-care']",
        ),
    ],
)
def test_a_start_that_does_not_fit_is_refused_before_any_step(
    section: str, change: dict[str, Any], message: str, workplace: Workplace, config: dict[str, Any]
) -> None:
    wrong = copy.deepcopy(config)
    wrong[section] |= change
    refused = refused_run(workplace, wrong)
    assert message in refused
    assert "has started" not in refused
