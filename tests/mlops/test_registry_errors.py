"""What goes wrong around a champion, by the literal commands: a clear error within the minute, the alias unmoved."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from mlops.registry.aliases import champion_to_compare
from mlops.registry.versions import REGISTRY_TIMEOUTS, download, registry_client
from mlops.run_record import RunRecord
from mlops.tracking import configure_mlflow
from r2d.config.run import RunConfig
from r2d.errors import RegistryError
from tests.gate.measured import decisions
from tests.mlops.conftest import Register, Typed, metrics, run_config

GOOD, BETTER = decisions(0.8), decisions(0.9, seed=2)
SPLITS = ("train", "train", "train", "validation", "test")
LABELS = ("emergency now", "same day", "self care")


def rows(num_rows: int, *more: str) -> str:
    """A CSV of that many rows, and others."""
    lines = (f"n{n},word {n} of a note,{LABELS[n % 3]},because {n},{SPLITS[n % 5]}" for n in range(num_rows))
    return "\n".join(["id,text,label,why,split", *lines, *more, ""])


def champion(name: str) -> str:
    return str(MlflowClient().get_registered_model(name).aliases["champion"])


class CommandLine:
    """A folder with a run configuration, at which commands are typed. None of them may start a run."""

    def __init__(self, folder: Path, typed: Typed) -> None:
        self.folder, self.typed = folder, typed

    def run_of(self, name: str, data: str) -> RunConfig:
        path = self.folder / "notes.csv"
        path.write_text(data, encoding="utf-8")
        run = run_config(name)
        config = run.data.model_copy(update={"path": str(path)})
        columns = config.columns.model_copy(update={"split": "split"})
        return run.model_copy(update={"data": config.model_copy(update={"columns": columns})})

    def retrain(self, run: RunConfig, **triggers: Any) -> tuple[int, str]:
        values = run.model_dump(mode="json", exclude_none=True) | {"retraining": triggers}
        config = self.folder / "run.yaml"
        config.write_text(yaml.safe_dump({"parameters": {"config": values}}), encoding="utf-8")
        return self.type("retrain", "--config", str(config))

    def type(self, *words: str) -> tuple[int, str]:
        """Exit code, and what is read on the screen in one line."""
        code, output, errors = self.typed(*words)
        return code, " ".join((output + errors).split())


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Typed, store: str) -> CommandLine:
    monkeypatch.setattr("mlops.retraining.train_and_register", lambda *_: pytest.fail("a run started"))
    return CommandLine(tmp_path, typed)


def test_old_data_that_a_version_was_made_of_already_make_no_new_one(cli: CommandLine, register: Register) -> None:
    old = cli.run_of("old-data", rows(30))
    register(old, metrics(GOOD), key=RunRecord.of(old).key)
    register(old, metrics(BETTER, GOOD, reference="old-data/1"), key="of newer data")
    code, output = cli.retrain(old)
    assert (code, champion("old-data")) == (0, "2")
    assert "nothing to do: old-data/1 was made of just this configuration, data and code" in output


def test_fewer_rows_start_nothing_where_new_rows_are_asked_for_and_are_named(
    cli: CommandLine, register: Register
) -> None:
    run = cli.run_of("fewer", rows(30))
    register(run, metrics(GOOD))
    code, output = cli.retrain(cli.run_of("fewer", rows(20)), min_new_rows=5)
    assert (code, champion("fewer")) == (0, "1")
    assert "valid rows: fewer than the champion knew: see that the delivery is whole (then 240, now 20)" in output


def test_a_label_that_is_not_declared_is_named_with_its_rows_before_anything_starts(
    cli: CommandLine, register: Register
) -> None:
    run = cli.run_of("new-label", rows(30))
    register(run, metrics(GOOD))
    code, output = cli.retrain(cli.run_of("new-label", rows(30, "x1,a note,call back,why,train")), min_new_rows=1)
    assert (code, champion("new-label")) == (2, "1")
    assert "label_declared (every label is allowed): 1 row: notes.csv: row 31 (line 32) holds (a text of 9" in output
    assert "correct the rows, or declare what stands for a label (data.labels.names, data.labels.codes)" in output


def test_files_of_the_champion_that_are_missing_are_named_and_the_way_back(
    cli: CommandLine, packaged: Register
) -> None:
    run = cli.run_of("gone", rows(30))
    packaged(run, metrics(GOOD))
    shutil.rmtree(download("gone@champion").parent)
    code, output = cli.retrain(run)
    assert (code, champion("gone")) == (2, "1")
    assert "gone/1 is registered, but its files are missing or cannot be read" in output
    assert "restore them, or go back with `r2d rollback gone --reason ...`" in output
    with pytest.raises(RegistryError, match=r"gone/1 is registered, but its files are missing .*r2d rollback gone"):
        download("gone@champion")


@pytest.fixture
def port(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The one of the registry: closed, and silent once a test listens at it."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    configure_mlflow()


@pytest.fixture
def closed_port(port: socket.socket) -> str:
    """The address of a port at which nobody listens."""
    return os.environ["MLFLOW_TRACKING_URI"]


@pytest.fixture
def silent_port(port: socket.socket) -> str:
    """The address of a server that takes connections and never says a word."""
    port.listen()
    return os.environ["MLFLOW_TRACKING_URI"]


def test_a_registry_whose_port_is_closed_is_an_error_within_seconds_whatever_was_asked(
    cli: CommandLine, register: Register, request: pytest.FixtureRequest
) -> None:
    run = cli.run_of("asleep", rows(30))
    register(run, metrics(GOOD))
    address = request.getfixturevalue("closed_port")
    start = time.monotonic()
    for code, output in (cli.retrain(run), cli.type("rollback", "asleep", "--reason", "why")):
        assert code == 2
        assert f"the registry at {address} did not do it" in output
    assert time.monotonic() - start < 45


@pytest.mark.parametrize(
    ("words", "then"),
    [
        (("history", "m"), "then start the same command again"),
        (("rollback", "m", "--reason", "why"), "then look at `r2d history m`: start the same command again only where"),
        (("approve", "m/2", "--reason", "why"), "then look at `r2d history m`: start the same command again only wh"),
    ],
)
def test_after_a_failed_change_a_person_is_told_to_look_first_and_after_a_question_is_not(
    words: tuple[str, ...], then: str, cli: CommandLine, closed_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    code, output = cli.type(*words)
    assert code == 2
    assert then in output


def test_a_registry_that_takes_the_connection_and_is_silent_is_an_error_too(
    cli: CommandLine, silent_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}.items():
        monkeypatch.setenv(name, value)
    code, output = cli.retrain(cli.run_of("silent", rows(30)))
    assert code == 2
    assert f"the registry at {silent_port} did not do it" in output
    assert "timed out" in output


def test_by_default_a_question_is_given_up_within_the_minute_and_a_setting_of_the_user_stays(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeout, retries, backoff = (int(value) for value in REGISTRY_TIMEOUTS.values())
    assert timeout * (retries + 1) + backoff * sum(2**n for n in range(retries)) < 45
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "300")
    with registry_client("looking"):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "300"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == str(retries)
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_a_step_which_has_hours_behind_it_is_as_patient_as_mlflow(store: str) -> None:
    from zenml.steps.step_context import StepContext

    inside = StepContext.__context_var__.set(StepContext.__new__(StepContext))
    try:
        with registry_client("registering"):
            assert not set(REGISTRY_TIMEOUTS) & set(os.environ)
    finally:
        StepContext.__context_var__.reset(inside)


def test_name_and_password_of_an_address_are_in_no_message(closed_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed_port.replace("//", "//ward:hunter2@"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RegistryError) as caught:
        champion_to_compare("whole", "key")
    assert "hunter2" not in str(caught.value)
    assert f"the registry at {closed_port} did not do it" in str(caught.value)
