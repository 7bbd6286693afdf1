"""The registration step on a real ZenML: its artifacts, and the ZenML version of the same number."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.gate.measured import decisions, examples, metrics_of
from tests.mlops.conftest import provenance, run_config
from tests.pipelines.conftest import Workplace

pytestmark = pytest.mark.slow


@dataclass
class Told:
    """What three registrations printed, and what stood in ZenML and MLflow after each of them."""

    screen: str
    story: dict[str, Any]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, stage2_model: Path) -> Told:
    place = Workplace(tmp_path_factory.mktemp("registering"), warm=True)
    shutil.copy(Path(__file__).parent / "registering_pipeline.py", place.folder)
    shutil.copytree(stage2_model, place.folder / "model")
    config: dict[str, Any] = run_config("triage").model_dump(mode="json", exclude_none=True)
    (place.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (place.folder / "metrics.json").write_text(json.dumps(metrics_of(decisions(0.8))), encoding="utf-8")
    pq.write_table(examples(), place.folder / "examples.parquet")
    pq.write_table(provenance(), place.folder / "provenance.parquet")
    screen = place.type("python", "registering_pipeline.py").stdout
    return Told(screen, json.loads((place.folder / "story.json").read_text(encoding="utf-8")))


def test_the_step_leaves_the_registration_the_decision_its_page_its_picture_and_the_card(told: Told) -> None:
    shown = told.story["shown"]
    assert set(shown) == {
        "r2d_registration", "r2d_gate_decision", "r2d_gate_page", "r2d_gate_picture", "r2d_model_card",
    }  # fmt: skip
    assert [shown[f"r2d_{name}"] for name in ("gate_page", "gate_picture", "model_card")] == [
        ["html"], ["image"], ["markdown"],
    ]  # fmt: skip


def test_the_screens_tell_what_came_of_each_registration(told: Told) -> None:
    for text in (
        "triage version 1 (registered; champion)",
        "triage version 1 (already registered, nothing new; champion)",
        "triage version 3 (registered; challenger)",
    ):
        assert text in told.screen


def test_the_versions_of_mlflow_and_of_zenml_have_one_number_and_name_each_other(told: Told) -> None:
    assert told.story["first"] == {
        "1": {
            "number": 1, "uri": "models:/triage/1", "names_its_run": True, "is_named_back": True, "artifacts": 6,
            "runs": 1,
        }
    }  # fmt: skip


def test_a_repeated_registration_finds_the_same_zenml_version(told: Told) -> None:
    assert list(told.story["repeated"]) == ["1"]
    assert told.story["repeated"]["1"]["runs"] == 2


def test_the_numbers_stay_equal_after_a_version_that_zenml_has_never_seen(told: Told) -> None:
    third = told.story["third"]
    assert {name: one["uri"] for name, one in third.items()} == {
        "1": "models:/triage/1", "2": None, "3": "models:/triage/3",
    }  # fmt: skip
    assert (third["3"]["number"], third["3"]["is_named_back"]) == (3, True)
