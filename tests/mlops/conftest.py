"""A real MLflow on SQLite, and models that are registered in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlops.cli.main import main
from mlops.registry.package import TrainedModel
from mlops.run_record import RunRecord
from r2d.config.run import RunConfig
from r2d.data.examples import split_of
from r2d.evaluation.metrics import Metrics
from r2d.rationales.provenance import PROVENANCE_SCHEMA
from tests.gate.measured import examples, measured

Register = Callable[..., Any]
Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow of our own; its tables are made once for all tests, which use names of their own."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        yield uri


def run_config(model_name: str, rules: Sequence[dict[str, Any]] | None = None, **model: Any) -> RunConfig:
    gate = {} if rules is None else {"gate": {"rules": list(rules)}}
    return RunConfig.model_validate(
        {
            "data": {
                "format": "csv",
                "path": "notes.csv",
                "labels": {"names": ["emergency now", "same day", "self care"], "ordered": True},
                "columns": {"rationales": {"llm": "why"}},
            },
            "rationales": {"stage1_source": "llm"},
            "model": {"name": "scratch", **model},
            "registration": {"model_name": model_name, **gate},
        }
    )


def run_record(run: RunConfig, key: str = "key") -> RunRecord:
    """The record of a run whose files are not read."""
    return RunRecord(run=run, data_sha256="d" * 64, files_sha256="f" * 64, files_read={}, key=key)


def metrics(predicted: Sequence[str], champion: Sequence[str] | None = None, **more: Any) -> Metrics:
    """Those of predicted labels (`tests.gate.measured.decisions`), maybe compared with the champion's."""
    return measured(tuple(predicted), None if champion is None else tuple(champion), **more)


def provenance(digit: str = "a") -> pa.Table:
    """One rationale, whose hash repeats a digit."""
    row = dict.fromkeys(PROVENANCE_SCHEMA.names) | {
        "example_id": "row-1", "split": "train", "source": "llm", "rationale_sha256": digit * 64, "edits": [],
        "checks_passed": [], "flags": [], "stages": ["stage1", "stage2"],
    }  # fmt: skip
    schema = PROVENANCE_SCHEMA.append(pa.field("stages", pa.list_(pa.string())))
    return pa.Table.from_pylist([row], schema=schema)


@pytest.fixture(scope="session")
def test_rows() -> pa.Table:
    return split_of(examples(), "test")


@pytest.fixture(scope="package")
def packaged(store: str, stage2_model: Path, test_rows: pa.Table) -> Register:
    """Registers the trained toy model, or another folder, under invented metrics."""
    from mlops.registry.registration import register
    from mlops.tracking import experiment_id

    def do(run: RunConfig, metrics: Metrics, *, key: str = "key", folder: Path = stage2_model, digit: str = "a") -> Any:
        trained = TrainedModel(folder, run_record(run, key), metrics, test_rows, provenance(digit))
        return register(trained, new_run=lambda client: str(client.create_run(experiment_id(client)).info.run_id))

    return do


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Runs `r2d` with these words; returns its exit code, output and errors."""

    def do(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["r2d", *words])
        with pytest.raises(SystemExit) as done:
            main()
        return int(done.value.code or 0), *capsys.readouterr()

    return do


@pytest.fixture(scope="package")
def cache() -> dict[str, Any]:
    return {}


@pytest.fixture
def register(packaged: Register, cache: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Register:
    """The same at a tenth of the time, for tests of what happens around it: MLflow packs the files of a configuration
    once and all its versions share them, and one picture stands for all."""
    import mlflow

    from r2d.gate import page

    pack, draw = mlflow.pyfunc.log_model, page.gate_picture

    def draw_once(decision: Any) -> Any:
        if "picture" not in cache:
            cache["picture"] = draw(decision)
        return cache["picture"]

    def do(run: RunConfig, metrics: Metrics, **more: Any) -> Any:
        made_of = run.model_dump_json(exclude={"registration": True, "data": {"path"}})

        def pack_once(**arguments: Any) -> Any:
            if made_of not in cache:
                cache[made_of] = pack(**arguments)
            return cache[made_of]

        monkeypatch.setattr(mlflow.pyfunc, "log_model", pack_once)
        return packaged(run, metrics, **more)

    monkeypatch.setattr(page, "gate_picture", draw_once)
    monkeypatch.setattr("r2d.gate.page.to_svg", lambda *_: "")
    return do
