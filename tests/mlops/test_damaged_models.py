"""A model whose files have changed decides nothing, through whatever door it is read; and what the error says."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops.registry.package import TrainedModel, write_package
from mlops.registry.versions import download, start_folder
from r2d.config.model import ModelConfig
from r2d.errors import ModelError, R2DError, RegistryError
from r2d.modeling.load import start_model
from r2d.modeling.manifest import MANIFEST_FILE, write_manifest
from r2d.modeling.predictor import Predictor
from r2d.modeling.trained_rows import TRAINED_ROWS_FILE
from r2d.training.stage2 import train_stage2
from tests.conftest import TOY_LABELS, toy_examples, toy_work
from tests.gate.measured import decisions
from tests.mlops.conftest import Register, Typed, metrics, provenance, run_config, run_record

NOTE = "pt denies fever for 2 days"
Damage = Callable[[Path], None]


def four_bytes(path: Path) -> Damage:
    def damage(folder: Path) -> None:
        content = bytearray((folder / path).read_bytes())
        content[-2000:-1996] = bytes(byte ^ 0x55 for byte in content[-2000:-1996])
        (folder / path).write_bytes(content)

    return damage


def replaced(name: str, old: str, new: str) -> Damage:
    def damage(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return damage


def cut_off(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def removed(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def device(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to("/dev/null")

    return damage


def added(name: str) -> Damage:
    return lambda folder: (folder / name).write_text("{}", encoding="utf-8") and None


DAMAGES: dict[str, tuple[str, Damage]] = {
    "four bytes of the weights": ("model.safetensors has SHA-256 ", four_bytes(Path("model.safetensors"))),
    "weights cut off": ("model.safetensors has SHA-256 ", cut_off),
    "tokenizer": ("tokenizer.json has SHA-256 ", replaced("tokenizer.json", "fever", "fevre")),
    "architecture": ("config.json has SHA-256 ", replaced("config.json", '"dropout_rate": 0.1', '"dropout_rate": 0.2')),
    "calibration": ("calibration.json has SHA-256 ", replaced("calibration.json", '"temperature"', '"temperature" ')),
    "labels": ("reason2decide.json has SHA-256 ", replaced("reason2decide.json", "self care", "self-care")),
    "a file removed": ("tokenizer_config.json is missing (recorded ", removed("tokenizer_config.json")),
    "manifest removed": ("manifest.json is missing", removed(MANIFEST_FILE)),
    "manifest a device": ("manifest.json is missing", device(MANIFEST_FILE)),
    "a file added": ("special_tokens_map.json was added (", added("special_tokens_map.json")),
}  # fmt: skip


@pytest.fixture(scope="module")
def kept(packaged: Register, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Registers `frail/1`, and keeps a copy of its model folder."""
    packaged(run_config("frail"), metrics(decisions(0.8)))
    copy = tmp_path_factory.mktemp("kept") / "model"
    shutil.copytree(download("frail@champion"), copy)
    return copy


@pytest.fixture
def stored(kept: Path) -> Iterator[Path]:
    """The model folder of `frail/1` in the artifact store; sound again afterwards."""
    import mlflow

    from mlops.tracking import configure_mlflow

    configure_mlflow()
    version = mlflow.MlflowClient().get_model_version("frail", "1")
    place = mlflow.models.get_model_info(version.source).flavors["python_function"]["artifacts"]["model"]["path"]
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/frail/1/{place}"))
    yield folder
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)


@pytest.fixture
def copied(kept: Path, tmp_path: Path) -> Path:
    """A copy of the model folder, as one that was exported."""
    return Path(shutil.copytree(kept, tmp_path / "copied"))


def calls_file(folder: Path) -> Path:
    path = folder / "calls.parquet"
    pq.write_table(pa.table({"id": ["c1"], "text": [NOTE]}), path)
    return path


def rows_file(folder: Path) -> Path:
    path = folder / "rows.csv"
    path.write_text("id,text,label\n" + "".join(f"r{n},note {n},self care\n" for n in range(30)), encoding="utf-8")
    return path


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_a_registered_model_is_named_with_both_hashes_and_the_way_back(
    damage: str, stored: Path, typed: Typed
) -> None:
    sentence, do = DAMAGES[damage]
    do(stored)
    code, output, errors = typed("predict", "--model", "frail@champion", NOTE)
    assert (code, output) == (2, "")
    assert errors.count("\n") == 1
    assert "Traceback" not in errors
    assert "error: frail/1 is registered, but its files are damaged: " in errors
    assert sentence in errors
    assert "go back with `r2d rollback frail --reason ...`; `r2d history frail` names the champions before" in errors


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_a_folder_is_named_with_both_hashes_and_what_to_do(
    damage: str, copied: Path, typed: Typed
) -> None:
    sentence, do = DAMAGES[damage]
    do(copied)
    code, output, errors = typed("predict", "--model", str(copied), NOTE)
    assert (code, output) == (2, "")
    assert errors.count("\n") == 1
    assert f"error: {copied}: its files are damaged: " in errors
    assert sentence in errors
    assert "Restore them from where they were copied, or name another model" in errors


def predict_file(model: str, out: Path, typed: Typed) -> Any:
    return typed("predict-file", str(calls_file(out)), "--out", str(out / "o.parquet"), "--model", model)


def drift(model: str, out: Path, typed: Typed) -> Any:
    return typed("drift", str(calls_file(out)), "--out", str(out / "drift"), "--model", model)


def evaluate(model: str, out: Path, typed: Typed) -> Any:
    return typed("evaluate", "--data", str(rows_file(out)), "--out", str(out / "e"), "--model", model)


def serve(model: str, out: Path, typed: Typed) -> Any:
    return typed("serve", "--port", "0", "--model", model)


def export(model: str, out: Path, typed: Typed) -> Any:
    return typed("export", "--out", str(out / "exported"), "--no-measure", "--model", model)


COMMANDS = {"predict-file": predict_file, "drift": drift, "evaluate": evaluate, "serve": serve, "export": export}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("where", ["registered", "folder"])
def test_every_command_that_reads_a_model_refuses_damaged_weights_and_writes_nothing(
    command: str, where: str, stored: Path, copied: Path, tmp_path: Path, typed: Typed
) -> None:
    four_bytes(Path("model.safetensors"))(stored if where == "registered" else copied)
    name = "frail/1" if where == "registered" else str(copied)
    out = tmp_path / "out"
    out.mkdir()
    code, output, errors = COMMANDS[command](name, out, typed)
    assert (code, output) == (2, ""), errors
    assert "its files are damaged: model.safetensors has SHA-256 " in errors
    assert {path.name for path in out.rglob("*")} <= {"calls.parquet", "rows.csv"}


def test_the_champion_that_a_model_is_compared_with_is_checked_too(
    stored: Path, copied: Path, tmp_path: Path, typed: Typed
) -> None:
    cut_off(stored)
    code, _, errors = typed(
        "evaluate", "--data", str(rows_file(tmp_path)), "--out", str(tmp_path / "e"), "--model", str(copied),
        "--compare-with", "frail/1",
    )  # fmt: skip
    assert code == 2
    assert "frail/1 is registered, but its files are damaged: model.safetensors has SHA-256 " in errors


def test_a_rollback_is_advised_for_the_champion_alone(register: Register, typed: Typed) -> None:
    """Else whoever follows the words would take the alias from a sound model."""
    register(run_config("later"), metrics(decisions(0.8)))
    register(run_config("later"), metrics(decisions(0.9, seed=2), decisions(0.8), reference="later/1"))
    folder = download("later/1")
    content = (folder / "model.safetensors").read_bytes()
    cut_off(folder)  # both versions have these files
    try:
        before, champion = (typed("predict", "--model", f"later/{number}", NOTE)[2] for number in (1, 2))
    finally:
        (folder / "model.safetensors").write_bytes(content)
    assert "restore them, or name another version; `r2d history later` names the champions" in before
    assert "go back with `r2d rollback later --reason ...`" in champion


def test_the_step_of_a_batch_inference_refuses_it(stored: Path, tmp_path: Path) -> None:
    from r2d.config.jobs import InferenceConfig
    from steps.infer_batch import infer_batch

    cut_off(stored)
    config = InferenceConfig.model_validate(
        {"data": {"path": str(calls_file(tmp_path))}, "output": str(tmp_path / "o.parquet"), "model": "frail@champion"}
    )
    with pytest.raises(RegistryError, match=r"its files are damaged: model\.safetensors has SHA-256"):
        infer_batch.entrypoint(config)


def test_mlflow_s_own_door_refuses_it(stored: Path) -> None:
    import mlflow

    mlflow.pyfunc.load_model("models:/frail@champion")
    four_bytes(Path("model.safetensors"))(stored)
    with pytest.raises(Exception, match=r"its files are damaged: model\.safetensors has SHA-256"):
        mlflow.pyfunc.load_model("models:/frail@champion")


@pytest.mark.parametrize("where", ["registered", "folder"])
def test_training_does_not_start_from_it(where: str, stored: Path, copied: Path) -> None:
    four_bytes(Path("model.safetensors"))(stored if where == "registered" else copied)
    config = ModelConfig(name="models:/frail@champion" if where == "registered" else str(copied))
    with pytest.raises(R2DError, match=r"its files are damaged: model\.safetensors has SHA-256"):
        start_model(config, toy_examples(), TOY_LABELS, seed=1, folder=start_folder(config))


def test_a_damaged_artifact_of_a_stage_is_neither_trained_on_nor_registered(
    stage1_model: Path, stage2_model: Path, stage2_config: Any, tmp_path: Path
) -> None:
    stages = [Path(shutil.copytree(folder, tmp_path / folder.parent.name)) for folder in (stage1_model, stage2_model)]
    for folder in stages:
        four_bytes(Path("model.safetensors"))(folder)
    with pytest.raises(ModelError, match="made anew by the same run with `enable_cache: false` for that step"):
        train_stage2(toy_work(tmp_path / "work", stage2_config, stage1_model=stages[0]))
    run = run_record(run_config("frail"))
    trained = TrainedModel(stages[1], run, metrics(decisions(0.8)), toy_examples(), provenance())
    with pytest.raises(ModelError, match=r"its files are damaged: model\.safetensors has SHA-256"):
        write_package(tmp_path / "package", trained)


def test_files_that_were_changed_together_with_their_manifest_are_found_by_the_registry_alone(
    stored: Path, copied: Path, typed: Typed
) -> None:
    for folder in (stored, copied):
        four_bytes(Path("model.safetensors"))(folder)
        write_manifest(folder)
    assert typed("predict", "--model", str(copied), NOTE)[0] == 0
    code, _, errors = typed("predict", "--model", "frail/1", NOTE)
    assert code == 2
    assert "damaged: manifest.json has SHA-256 " in errors
    assert "; model.safetensors has SHA-256 " in errors


def test_where_the_list_of_files_was_changed_too_the_hash_of_all_together_is_left(stored: Path, typed: Typed) -> None:
    four_bytes(Path("model.safetensors"))(stored)
    origin = stored.parent / "origin.json"
    content = origin.read_text(encoding="utf-8")
    origin.write_text(json.dumps(json.loads(content) | {"model_files": {"model.safetensors": "ab" * 32}}))
    try:
        code, _, errors = typed("predict", "--model", "frail/1", NOTE)
    finally:
        origin.write_text(content, encoding="utf-8")
    assert code == 2
    assert "frail/1 is registered, but its files are damaged: together they have SHA-256 " in errors


def test_a_sound_model_is_hashed_once_a_process(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from r2d.modeling import manifest

    read: list[str] = []
    monkeypatch.setattr(manifest, "file_sha256", lambda path: read.append(path.name) or "")
    manifest._sha256_of.cache_clear()
    for _ in range(3):
        manifest.model_hashes(stored)
    assert sorted(read) == sorted(path.name for path in stored.iterdir())
    manifest._sha256_of.cache_clear()


def test_a_folder_of_an_earlier_version_is_read_and_warned_of_once(
    copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (copied / MANIFEST_FILE).unlink()
    facts = json.loads((copied / "reason2decide.json").read_text(encoding="utf-8"))
    del facts["manifest"]
    (copied / "reason2decide.json").write_text(json.dumps(facts), encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            Predictor(copied)
    warnings = [record.getMessage() for record in caplog.records if str(copied) in record.getMessage()]
    assert warnings == [
        f"{copied}: an earlier version wrote this model, without manifest.json: damage to its files is not noticed"
    ]


def test_weights_cut_off_in_a_folder_without_a_manifest_are_an_error_without_a_traceback(
    copied: Path, typed: Typed
) -> None:
    (copied / MANIFEST_FILE).unlink()
    facts = (copied / "reason2decide.json").read_text(encoding="utf-8")
    (copied / "reason2decide.json").write_text(facts.replace('"manifest"', '"other"'), encoding="utf-8")
    cut_off(copied)
    code, output, errors = typed("predict", "--model", str(copied), NOTE)
    assert (code, output) == (2, "")
    assert "its weights or its tokenizer are cut off or damaged, and cannot be read (SafetensorError)" in errors


def test_the_record_of_trained_rows_may_be_removed_before_a_model_is_given_away(copied: Path) -> None:
    (copied / TRAINED_ROWS_FILE).unlink()
    assert Predictor(copied).decide([NOTE])
