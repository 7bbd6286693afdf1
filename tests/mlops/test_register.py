"""Registration in a real MLflow: what is stored, and that it works where nothing of this project is installed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from mlops.kept import kept_work
from mlops.registry import registration
from mlops.registry.versions import download, pin_models
from r2d.config.data import LabelsConfig
from r2d.config.evaluation import EncoderBaselineConfig
from r2d.config.loading import parse_config
from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, Stage2Config
from r2d.data.examples import Example, to_table
from r2d.errors import ModelError, RegistryError
from r2d.modeling.model_folder import read_calibration
from r2d.modeling.predictor import Predictor
from tests.gate.measured import decisions
from tests.mlops.conftest import Register, metrics, run_config

NOTE = "pt denies fever for 2 days"


GOOD = decisions(0.8)


@pytest.fixture(scope="module")
def registered(packaged: Register) -> Any:
    return packaged(run_config("whole"), metrics(GOOD))


def stored(reference: str) -> Path:
    return download(reference).parent


def test_a_version_has_weights_tokenizer_labels_calibration_config_metrics_card_and_origin(registered: Any) -> None:
    folder = stored("whole/1")
    assert {path.name for path in folder.iterdir()} == {
        "model", "metrics.json", "config.yaml", "origin.json", "README.md", "sbom.json", "rationale_provenance.parquet",
    }  # fmt: skip
    assert {"model.safetensors", "tokenizer.json", "reason2decide.json", "calibration.json"} <= {
        path.name for path in (folder / "model").iterdir()
    }
    assert json.loads((folder / "metrics.json").read_text()) == metrics(GOOD).to_json()
    run = parse_config(yaml.safe_load((folder / "config.yaml").read_text())["parameters"]["config"])
    assert run == run_config("whole")
    assert (folder / "README.md").read_text() == registered.card


def test_what_a_killed_registration_leaves_is_found_and_removed_as_unfinished_work(
    packaged: Register, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("R2D_WORK_DIR", str(tmp_path / "work"))
    monkeypatch.setattr(registration, "content_hash_of", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    arguments = (run_config("killed"), metrics(GOOD))
    killed = multiprocessing.get_context("fork").Process(target=packaged, args=arguments)
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    (left,) = kept_work()
    assert left.kind == "unfinished"
    assert left.source is not None
    assert (left.source / "model").is_dir()
    left.remove()
    assert not left.source.exists()


def test_the_temperature_goes_with_the_model_and_the_folder_it_came_from_is_left_as_it_was(
    registered: Any, stage2_model: Path
) -> None:
    kept, measured = read_calibration(stored("whole/1") / "model"), metrics(GOOD).calibration
    assert kept is not None
    assert measured is not None
    assert kept.temperature == measured.temperature.value
    assert not (stage2_model / "calibration.json").exists()


def test_the_tags_of_a_version_say_what_it_was_made_of(registered: Any) -> None:
    from mlflow import MlflowClient

    tags = MlflowClient().get_model_version("whole", "1").tags
    origin = json.loads((stored("whole/1") / "origin.json").read_text())
    for name in origin.keys() - {"files_read", "model_files"}:  # too long for a tag
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


def test_the_same_model_with_the_same_metrics_is_registered_once_whatever_it_was_compared_with(
    packaged: Register, registered: Any
) -> None:
    again = packaged(run_config("whole"), metrics(GOOD, decisions(0.7, seed=4), reference="whole/1"))
    assert (again.version, again.is_new) == ("1", False)


def test_another_provenance_or_another_metric_is_another_version(register: Register, registered: Any) -> None:
    assert register(run_config("whole"), metrics(GOOD, consistency=0.9)).version == "2"
    assert register(run_config("whole"), metrics(GOOD), digit="b").version == "3"


def test_a_start_that_is_not_registered_or_has_other_labels_is_refused_on_the_client(
    registered: Any, labels: LabelsConfig
) -> None:
    def pinned(name: str, labels: LabelsConfig) -> str:
        run = run_config("other", name=name)
        return pin_models(run.model_copy(update={"data": run.data.model_copy(update={"labels": labels})})).model.name

    assert pinned("models:/whole@champion", labels) == "models:/whole/1"
    with pytest.raises(RegistryError, match="'whole@nobody' is not in the registry"):
        pinned("models:/whole@nobody", labels)
    other = LabelsConfig(names=("emergency now", "self-care"), ordered=True)
    with pytest.raises(
        ModelError, match=r"only the model has \['self care'\], only data.labels.names has \['self-care'"
    ):
        pinned("models:/whole@champion", other)


def test_an_encoder_given_as_a_folder_is_pinned_by_its_contents(tmp_path: Path) -> None:
    run = run_config("other")
    encoder = EncoderBaselineConfig(name=str(tmp_path))
    run = run.model_copy(update={"evaluation": run.evaluation.model_copy(update={"encoder_baseline": encoder})})
    file = tmp_path / "config.json"

    def revision(content: str) -> str:
        file.write_text(content, encoding="utf-8")
        return str(pin_models(run).evaluation.encoder_baseline.revision)

    first = revision("{}")
    assert first != revision("{ }")
    assert first == revision("{}")


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
    packaged: Register, registered: Any, examples: pa.Table, labels: LabelsConfig, model_config: ModelConfig,
    tmp_path: Path,
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
        packaged(run_config(name), metrics(GOOD), folder=folder)
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
