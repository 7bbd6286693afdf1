"""Registration in a real MLflow: what is stored, and that it works where nothing of this project is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from mlops.registry.package import without_champion
from mlops.registry.registration import register
from mlops.registry.versions import download
from mlops.tracking import experiment_id
from r2d.config.data import LabelsConfig
from r2d.config.loading import parse_config
from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, Stage2Config
from r2d.data.examples import Example, to_table
from r2d.modeling.calibration_file import read_calibration
from r2d.modeling.predictor import Predictor
from tests.gate.measured import decisions, metrics_of
from tests.mlops.conftest import Register, provenance, run_config

NOTE = "pt denies fever for 2 days"


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    return metrics_of(decisions(0.8))


@pytest.fixture(scope="module")
def registered(packaged: Register, metrics: dict[str, Any]) -> Any:
    return packaged(run_config("whole"), metrics)


def stored(reference: str) -> Path:
    return download(reference).parent


def test_the_files_of_a_version_are_weights_tokenizer_labels_temperature_config_figures_card_and_origins(
    registered: Any, metrics: dict[str, Any]
) -> None:
    folder = stored("whole/1")
    assert {path.name for path in folder.iterdir()} == {
        "model", "metrics.json", "config.yaml", "origin.json", "README.md", "rationale_provenance.parquet",
    }  # fmt: skip
    assert {"model.safetensors", "tokenizer.json", "reason2decide.json", "calibration.json"} <= {
        path.name for path in (folder / "model").iterdir()
    }
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    run = parse_config(yaml.safe_load((folder / "config.yaml").read_text())["parameters"]["config"])
    assert run == run_config("whole")
    assert (folder / "README.md").read_text() == registered.card


def test_the_temperature_goes_with_the_model_and_the_folder_it_came_from_is_left_as_it_was(
    registered: Any, metrics: dict[str, Any], stage2_model: Path
) -> None:
    kept = read_calibration(stored("whole/1") / "model")
    assert kept is not None
    assert kept.temperature == metrics["calibration"]["temperature"]["value"]
    assert not (stage2_model / "calibration.json").exists()


def test_the_tags_of_a_version_say_what_it_was_made_of(registered: Any) -> None:
    from mlflow import MlflowClient

    tags = MlflowClient().get_model_version("whole", "1").tags
    origin = json.loads((stored("whole/1") / "origin.json").read_text())
    for name in (
        "code_commit",
        "code_dirty",
        "lock_sha256",
        "data_sha256",
        "rationales_sha256",
        "model_sha256",
        "seeds",
        "files_sha256",
        "sources_sha256",
        "num_rows",
    ):
        value = tags[f"r2d.{name}"]
        assert (value if isinstance(origin[name], str) else json.loads(value)) == origin[name], name
    assert origin["seeds"] == {"split": 42, "stage1": 42, "stage2": 42, "intervals": 42}
    assert (origin["data_sha256"], len(origin["lock_sha256"])) == ("d" * 64, 64)
    assert json.loads(tags["r2d.rationales"])[0]["num_rationales"] == 1


def test_the_signature_and_the_input_example_are_stored(registered: Any) -> None:
    import mlflow

    model = mlflow.pyfunc.load_model("models:/whole@champion")
    assert model.metadata.signature.inputs.to_dict()[0]["type"] == "string"
    assert model.input_example == ["62 yo with chest pain since 1h, denies fever."]


def test_the_same_model_with_the_same_figures_is_registered_once_whatever_it_was_compared_with(
    packaged: Register, registered: Any, metrics: dict[str, Any]
) -> None:
    compared = metrics_of(decisions(0.8), decisions(0.7, seed=4), reference="whole/1")
    assert compared["champion"] is not None
    assert without_champion(compared) == without_champion(metrics)
    again = packaged(run_config("whole"), compared)
    assert (again.version, again.is_new) == ("1", False)


def test_another_provenance_or_another_figure_is_another_version(
    register: Register, registered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = register(run_config("whole"), metrics_of(decisions(0.8), consistency=0.9))
    assert other.version == "2"
    monkeypatch.setattr("tests.mlops.conftest.provenance", partial(provenance, "b"))
    assert register(run_config("whole"), metrics_of(decisions(0.8))).version == "3"


QUESTIONS = [{"text": "where do you bake bread at 7", "options": ["oven", "car"]}]


def trained(examples: pa.Table, labels: LabelsConfig, model: ModelConfig, folder: Path) -> Path:
    """The model folder of a few steps by `sft`."""
    from r2d.training.stage2 import train_stage2
    from r2d.training.work import StageWork

    steps = Stage2Config(max_steps=2, eval_every_steps=2, save_every_steps=2, batch_size=8, precision="fp32")
    method = MethodConfig(name="sft")
    work = StageWork(examples=examples, config=steps, model=model, labels=labels, work_dir=folder, method=method)
    return train_stage2(work).model_folder


@pytest.fixture
def versions(
    registered: Any, metrics: dict[str, Any], examples: pa.Table, test_rows: pa.Table, labels: LabelsConfig,
    model_config: ModelConfig, tmp_path: Path,
) -> dict[str, Any]:  # fmt: skip
    """Registered version -> what it is asked: one explains, one decides only, one has options in its rows."""
    choices = to_table(
        Example(id=f"q{n}", text=f"where do you bake bread at {n}", label="oven", options=("oven", "car"), split=split)
        for n, split in enumerate(("train", "train", "validation") * 8)
    )
    models = {
        "decides": trained(examples, labels, model_config, tmp_path / "sft"),
        "chooses": trained(choices, LabelsConfig(per_row=True), model_config, tmp_path / "options"),
    }
    for name, folder in models.items():
        register(
            folder, run_config(name), metrics, examples=test_rows, provenance=provenance(), data_sha256="d" * 64,
            run_key="key", new_run=lambda client: str(client.create_run(experiment_id(client)).info.run_id),
        )  # fmt: skip
    return {"whole/1": [NOTE], "decides/1": [NOTE], "chooses/1": QUESTIONS}


@pytest.mark.slow
def test_versions_of_every_kind_load_and_predict_where_only_their_own_requirements_are_installed(
    versions: dict[str, Any], tmp_path: Path
) -> None:
    import mlflow

    folders = {name: Path(mlflow.artifacts.download_artifacts(f"models:/{name}")) for name in versions}
    requirements = {name: (folder / "requirements.txt").read_text() for name, folder in folders.items()}
    assert len(set(requirements.values())) == 1, "so that one environment stands for all"
    uv = str(Path(sys.executable).parent / "uv")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW"))}
    environment |= {"UV_FIND_LINKS": os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS", "")}
    asked = {str(folders[name]): rows for name, rows in versions.items()}
    program = (
        "import json, mlflow\n"
        f"asked = {asked!r}\n"
        "answers = {folder: mlflow.pyfunc.load_model(folder).predict(rows) for folder, rows in asked.items()}\n"
        "print(json.dumps({folder: answer.to_dict('records') for folder, answer in answers.items()}))"
    )
    for command in (
        [uv, "venv", "--python", sys.executable, "clean"],
        [uv, "pip", "install", "--quiet", "--python", "clean/bin/python", "-r",
         str(folders["whole/1"] / "requirements.txt")],
        ["clean/bin/python", "-c", program],
    ):  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3_000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for name, folder in folders.items():
        (decision,) = found[str(folder)]
        predictor = Predictor(folder / "artifacts" / "model")
        (expected,) = (
            predictor.decide([QUESTIONS[0]["text"]], [QUESTIONS[0]["options"]])
            if name == "chooses/1"
            else predictor.decide([NOTE])
        )
        assert (decision["label"], decision["rationale"]) == (expected.label, expected.rationale), name
        assert decision["label_probabilities"] == pytest.approx(expected.label_probabilities), name
        assert bool(decision["rationale"]) == (name == "whole/1"), "the others were trained to explain nothing"
