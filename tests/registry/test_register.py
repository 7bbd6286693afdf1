"""Registration in a real MLflow: what is stored, and that it works where nothing of this project is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from r2d.config import parse_config
from r2d.errors import RegistryError
from r2d.modeling.calibrated import read_calibration
from r2d.modeling.predictor import Predictor
from r2d.registry.package import without_champion
from steps.registry import champion_to_compare, download, rollback
from steps.tracking import configure_mlflow
from tests.registry.conftest import Register, provenance, run_config
from tests.registry.measured import decisions, metrics_of

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
    monkeypatch.setattr("tests.registry.conftest.provenance", partial(provenance, "b"))
    assert register(run_config("whole"), metrics_of(decisions(0.8))).version == "3"


def test_missing_files_are_named_and_the_alias_stays(packaged: Register, metrics: dict[str, Any]) -> None:
    from mlflow import MlflowClient

    packaged(run_config("emptied"), metrics)
    shutil.rmtree(stored("emptied@champion"))
    with pytest.raises(RegistryError, match=r"its files are missing or cannot be read .*r2d rollback emptied"):
        download("emptied@champion")
    assert int(MlflowClient().get_model_version_by_alias("emptied", "champion").version) == 1


@pytest.fixture
def nobody_answers(store: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield
    configure_mlflow()


def test_a_registry_that_does_not_answer_is_an_error_that_says_so(nobody_answers: None) -> None:
    for ask in (
        lambda: champion_to_compare("whole", "key"),
        lambda: rollback("whole", by="me", reason="why"),
        lambda: download("whole@champion"),
    ):
        with pytest.raises(RegistryError, match=r"registry at http://127.0.0.1:9 did not do it .*No alias was moved"):
            ask()


@pytest.mark.slow
def test_a_version_loads_and_predicts_where_only_its_own_requirements_are_installed(
    registered: Any, tmp_path: Path
) -> None:
    import mlflow

    folder = Path(mlflow.artifacts.download_artifacts("models:/whole/1"))
    uv = str(Path(sys.executable).parent / "uv")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MLFLOW"))}
    environment |= {"UV_FIND_LINKS": os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS", "")}
    program = (
        "import json, mlflow\n"
        f"model = mlflow.pyfunc.load_model({str(folder)!r})\n"
        f"print(json.dumps(model.predict([{NOTE!r}]).to_dict('records')))"
    )
    for command in (
        [uv, "venv", "--python", sys.executable, "clean"],
        [uv, "pip", "install", "--quiet", "--python", "clean/bin/python", "-r", str(folder / "requirements.txt")],
        ["clean/bin/python", "-c", program],
    ):
        done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3_000:]
    (decision,) = json.loads(done.stdout.splitlines()[-1])
    (expected,) = Predictor(folder / "artifacts" / "model").decide([NOTE])
    assert decision["label"] == expected.label
    assert decision["rationale"] == expected.rationale
    assert decision["label_probabilities"] == pytest.approx(expected.label_probabilities)
