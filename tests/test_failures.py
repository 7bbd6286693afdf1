"""A full disk, a locked database, a folder without rights: said in our words whatever library met it."""

from __future__ import annotations

import json
import re
import resource
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from kubernetes.client.exceptions import ApiException
from mlflow import MlflowClient
from safetensors.torch import save_file

from r2d.errors import ConfigError, DataError
from r2d.failures import describe, unexpected, write_log
from r2d.files import out_folder, read_yaml, write_json

BYTES = 128 * 1024
Write = Callable[[Path], object]


def arrow(path: Path) -> None:
    pq.write_table(pa.table({"x": range(200_000)}), path)


def sqlite(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE rows (content TEXT)")
        database.execute("INSERT INTO rows VALUES (?)", ["x" * BYTES])


WRITERS: dict[str, Write] = {
    "text": lambda path: write_json(path, "x" * 4 * BYTES),
    "safetensors": lambda path: save_file({"x": torch.zeros(100_000)}, path),
    "torch": lambda path: torch.save({"x": torch.zeros(100_000)}, path),
    "arrow": arrow,
    "sqlite": sqlite,
    "mlflow": lambda path: MlflowClient(f"sqlite:///{path}").search_experiments(),
}


def assert_is_said(write: Write, path: Path) -> str:
    said = ""
    try:
        write(path)
    except Exception as error:
        said = str(unexpected(error))
    assert said.startswith("no space left on the disk")
    assert "MB free for" in said
    assert said.endswith("start the same command again: it goes on where it stopped")
    assert "\n" not in said
    return said


@pytest.mark.parametrize("library", WRITERS)
def test_a_full_disk_is_named_whatever_library_met_it(library: str, tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={BYTES}", "tmpfs", tmp_path], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        out_folder(tmp_path)
        said = assert_is_said(WRITERS[library], tmp_path / "file")
        assert re.search(rf"\b0\.\d MB free for the output in {tmp_path}, ", said)
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


@pytest.mark.parametrize("library", ["text", "safetensors", "torch", "arrow"])
def test_a_limit_of_files_is_named_so_too(library: str, tmp_path: Path) -> None:
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BYTES, limits[1]))
    try:
        assert_is_said(WRITERS[library], tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_locked_and_a_read_only_database_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE x (y)")
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError) as met:
            sqlite3.connect(path, timeout=0).execute("INSERT INTO x VALUES (1)")
    assert str(unexpected(met.value)).startswith("a database is locked: another process")
    with pytest.raises(sqlite3.OperationalError) as met:
        sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute("INSERT INTO x VALUES (1)")
    assert str(unexpected(met.value)).startswith("a database cannot be written")


def test_a_file_that_may_not_be_written_is_named() -> None:
    met = PermissionError(13, "Permission denied", "/srv/models")
    assert str(unexpected(met)).startswith("/srv/models cannot be used (Permission denied); make it accessible")


def test_a_value_that_speaks_of_a_full_disk_is_no_full_disk() -> None:
    assert str(unexpected(ValueError("no space left on the ward"))).startswith("unexpected ValueError")


def test_a_log_holds_our_messages_and_of_a_library_type_and_place_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("R2D_WORK_DIR", str(tmp_path / "work"))
    try:
        try:
            int("Qanary has pain")
        except ValueError as error:
            raise DataError("row 7: is no number") from error
    except DataError as error:
        log = write_log(describe(error))
    assert log is not None
    assert log.parent == tmp_path / "work" / "logs"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    text = log.read_text(encoding="utf-8")
    assert text.startswith("DataError: row 7: is no number\n  ")
    assert "caused by ValueError (message not shown)\n" in text
    assert "test_failures.py, line" in text
    assert "Qanary" not in text


def test_a_log_goes_elsewhere_where_it_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("R2D_WORK_DIR", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    log = write_log("text")
    assert log is not None
    assert log.parent.parent == tmp_path


def test_yaml_nested_without_end_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("a: " + "[" * 20_000 + "]" * 20_000)
    with pytest.raises(Exception, match=r"^.*deep.yaml: its lists and mappings are nested too deeply[^\n]*$"):
        read_yaml(path)


@pytest.mark.parametrize("value", ["2026-13-01", "9" * 5000])
def test_yaml_with_a_value_that_there_is_not_is_said_in_one_line(value: str, tmp_path: Path) -> None:
    path = tmp_path / "value.yaml"
    path.write_text(f"a: {value}")
    with pytest.raises(ConfigError, match=r"^.*value.yaml: holds a date or a number that there is not[^\n]*$"):
        read_yaml(path)


def test_the_right_that_a_cluster_refuses_is_named_and_nothing_else_of_its_answer() -> None:
    missing = (
        'secrets is forbidden: User "nurse" cannot create resource "secrets" in API group "" in the namespace "r2d"'
    )
    refused = ApiException(status=403, reason="Forbidden")
    refused.body = json.dumps({"kind": "Status", "reason": "Forbidden", "message": missing})
    submission = RuntimeError("Orchestrator failed to submit")
    submission.__context__ = refused  # as ZenML raises it
    assert str(unexpected(submission)).startswith(f"Kubernetes refused: {missing}; ")
    for status, body in ((403, "<html>a proxy</html>"), (409, refused.body), (403, None)):
        other = ApiException(status=status, reason="x")
        other.body = body
        assert str(unexpected(other)).startswith("unexpected ApiException")
