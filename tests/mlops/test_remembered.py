"""An answer of a database is kept until something is written to it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pytest

from mlops.lineage import pipeline_run
from mlops.remembered import Remembered, database_state, stack_state
from mlops.tracking import tracking_uri
from r2d.lineage.records import ArtifactRecord, PipelineRunRecord, StepRecord


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("R2D_WORK_DIR", str(tmp_path / "work"))
    path = tmp_path / "some.db"
    write(path, "create table kept (value)")
    return path


def write(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def asked(path: Path) -> Remembered:
    return Remembered("what is kept?", lambda: database_state(f"sqlite:///{path}"))


def test_an_answer_holds_until_the_next_transaction(database: Path) -> None:
    asked(database).keep({"value": 1})
    assert asked(database).answer() == {"value": 1}
    write(database, "insert into kept values (2)")
    assert asked(database).answer() is None


def test_an_answer_is_not_kept_where_the_database_changed_while_it_was_asked(database: Path) -> None:
    question = asked(database)
    write(database, "insert into kept values (2)")
    question.keep({"value": 1})
    assert asked(database).answer() is None


def journal_there(path: Path) -> str:
    path.with_name(f"{path.name}-journal").touch()
    return f"sqlite:///{path}"


def wal_there(path: Path) -> str:
    path.with_name(f"{path.name}-wal").touch()
    return f"sqlite:///{path}"


@pytest.mark.parametrize(
    "address",
    [journal_there, wal_there, lambda path: "https://registry.example", lambda path: f"sqlite:///{path}.missing"],
)
def test_nothing_is_kept_where_nobody_knows_whether_it_changes(database: Path, address: Callable[[Path], str]) -> None:
    uri = address(database)
    assert database_state(uri) is None
    question = Remembered("what is kept?", lambda: database_state(uri))
    question.keep({"value": 1})
    assert question.answer() is None


def test_a_damaged_answer_is_none(database: Path, tmp_path: Path) -> None:
    asked(database).keep({"value": 1})
    (file,) = (tmp_path / "work" / "registry").iterdir()
    file.write_text("[1]", encoding="utf-8")
    assert asked(database).answer() is None


@pytest.fixture
def zenml(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a ZenML whose database is a file, by its configuration alone."""
    home = tmp_path / "zenml"
    home.mkdir()
    (home / "config.yaml").write_text(f"store: {{url: 'sqlite:///{database}'}}\n", encoding="utf-8")
    for variable in ("MLFLOW_TRACKING_URI", "ZENML_REPOSITORY_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("ZENML_CONFIG_PATH", str(home))
    monkeypatch.chdir(tmp_path)
    return home


def another_stack_in_zenml(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home / "config.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "active_stack_id: other\n", encoding="utf-8")


def another_stack_of_the_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home.parent / ".zen").mkdir()
    (home.parent / ".zen" / "config.yaml").write_text("active_stack_id: other\n", encoding="utf-8")


def another_stack_by_a_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZENML_ACTIVE_STACK_ID", "other")


def a_server_by_a_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZENML_STORE_URL", "https://zenml.example")


def a_change_of_the_stack(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home.parent / "some.db", "insert into kept values (2)")


@pytest.mark.parametrize(
    "change",
    [
        another_stack_in_zenml, another_stack_of_the_folder, another_stack_by_a_variable, a_server_by_a_variable,
        a_change_of_the_stack,
    ],
)  # fmt: skip
def test_the_stack_is_asked_again_after_whatever_may_name_another(
    zenml: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path, pytest.MonkeyPatch], None]
) -> None:
    before = stack_state()
    assert before is not None
    assert stack_state() == before
    change(zenml, monkeypatch)
    assert stack_state() != before


def test_the_address_of_the_registry_is_kept_without_what_zenml_was_told_in_confidence(
    zenml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer() -> tuple[str, bool]:
        asked.append("zenml")
        return f"sqlite:///{tmp_path / 'some.db'}", False

    monkeypatch.setenv("ZENML_PASSWORD", "canary-72")
    monkeypatch.setattr("mlops.tracking._uri_of_stack", answer)
    assert tracking_uri() == tracking_uri() == f"sqlite:///{tmp_path / 'some.db'}"
    assert asked == ["zenml"]
    (file,) = (tmp_path / "work" / "registry").iterdir()
    assert "canary-72" not in file.read_text(encoding="utf-8")
    assert json.loads(file.read_text(encoding="utf-8")).keys() == {"state", "answer"}


def test_a_pipeline_run_is_asked_of_zenml_once_until_its_database_changes(
    zenml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ArtifactRecord("r2d_stage2_model", "4", "artifact-1", "abcdef", "/store/r2d_stage2_model/1")
    step = StepRecord("step-1", "completed", None, "run-1", {"seconds": 2.5}, [], [model])
    record = PipelineRunRecord("run-1", "first", "reason2decide", "2026-01-01T00:00:00", {"train_stage2": step})
    asked: list[UUID] = []

    def answer(run_id: UUID) -> PipelineRunRecord:
        asked.append(run_id)
        return record

    monkeypatch.setattr("mlops.lineage._pipeline_run_record", answer)
    version = SimpleNamespace(tags={"zenml.pipeline_run": str(UUID(int=7))})
    assert pipeline_run(version) == pipeline_run(version) == record
    assert asked == [UUID(int=7)]
    write(zenml.parent / "some.db", "insert into kept values (2)")
    assert pipeline_run(version) == record
    assert len(asked) == 2
