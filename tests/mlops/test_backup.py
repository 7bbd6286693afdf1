"""`r2d backup` and `r2d restore` by their commands, on folders; the drill on a real ZenML and MLflow is in
tests/pipelines/test_governance.py."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
import stat
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path

import pytest

from mlops import backup
from tests.mlops.conftest import Typed


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a file, and a database."""
    folder = tmp_path / "home"
    (folder / "store" / "model").mkdir(parents=True)
    (folder / "store" / "model" / "weights").write_bytes(bytes(range(256)) * 40)
    with closing(sqlite3.connect(folder / "store" / "runs.db")) as database:
        database.execute("create table runs (name text)")
        database.execute("insert into runs values ('first')")
        database.commit()
    return folder


@pytest.fixture
def packed(home: Path, typed: Typed) -> Path:
    target = home.parent / "backup.tar"
    code, output, errors = typed("backup", str(target), "--folder", str(home))
    assert (code, errors) == (0, "")
    assert output.startswith(f"{target}: 2 files of {home}, ")
    return target


@pytest.fixture(autouse=True)
def ordinary_umask() -> Iterator[None]:
    """The commands keep others out by their own, and are run in this process."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def rows(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as opened:
        return [name for (name,) in opened.execute("select name from runs")]


def test_what_was_destroyed_comes_back_and_only_its_owner_may_read_it(home: Path, packed: Path, typed: Typed) -> None:
    target = home.parent / "other" / "home"
    code, _, errors = typed("restore", str(packed), "--folder", str(target))
    assert (code, errors) == (0, "")
    weights = Path("store", "model", "weights")
    assert (target / weights).read_bytes() == (home / weights).read_bytes()
    assert rows(target / "store" / "runs.db") == ["first"]
    paths = [packed, target, *target.rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600, 0o700}


def test_a_database_in_use_is_copied_as_it_was_at_its_last_commit(home: Path, typed: Typed) -> None:
    with closing(sqlite3.connect(home / "store" / "runs.db")) as writer:
        writer.execute("pragma journal_mode = wal")
        writer.execute("insert into runs values ('committed')")
        writer.commit()
        writer.execute("insert into runs values ('never committed')")
        assert (home / "store" / "runs.db-wal").exists()
        assert typed("backup", str(home.parent / "b.tar"), "--folder", str(home))[0] == 0
    assert typed("restore", str(home.parent / "b.tar"), "--folder", str(home.parent / "new"))[0] == 0
    assert rows(home.parent / "new" / "store" / "runs.db") == ["first", "committed"]
    assert [path.name for path in (home.parent / "new" / "store").iterdir() if "-" in path.name] == []


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Nobody else reads it meanwhile."""
    with closing(sqlite3.connect(database)) as holder:
        holder.execute("begin exclusive")
        yield


def test_a_locked_database_is_waited_for_and_not_for_ever(
    home: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, database = home.parent / "b.tar", home / "store" / "runs.db"
    monkeypatch.setattr(backup, "SECONDS_LOCKED", 0.5)
    with locked(database):
        code, _, errors = typed("backup", str(target), "--folder", str(home))
    assert code == 2
    assert f"the backup was not written ({database} is locked by another process" in errors
    assert [path.name for path in home.parent.iterdir()] == ["home"]
    with closing(sqlite3.connect(database, check_same_thread=False)) as holder:
        holder.execute("begin exclusive")
        monkeypatch.setattr(backup, "SECONDS_LOCKED", 30.0)
        end = threading.Timer(0.5, holder.rollback)
        end.start()
        assert typed("backup", str(target), "--folder", str(home))[0] == 0
        end.join()


def test_what_a_killed_backup_has_left_goes_with_the_same_command(home: Path, typed: Typed) -> None:
    target = home.parent / "b.tar"
    with locked(home / "store" / "runs.db"):
        killed = multiprocessing.get_context("fork").Process(target=backup.pack, args=(home, target))
        killed.start()
        while len(list(home.parent.iterdir())) < 3:  # the backup and the copies of its databases are begun
            assert killed.is_alive()
            time.sleep(0.01)
        killed.kill()
        killed.join()
    assert typed("backup", str(target), "--folder", str(home))[0] == 0
    assert sorted(path.name for path in home.parent.iterdir()) == ["b.tar", "home"]


def test_a_folder_in_use_is_kept_unless_told_and_then_moved_aside(home: Path, packed: Path, typed: Typed) -> None:
    (home / "later").write_text("made after the backup")
    code, _, errors = typed("restore", str(packed), "--folder", str(home))
    assert code == 2
    assert f"{home}: is not empty, and nothing was changed; with --replace" in errors
    assert (home / "later").exists()
    assert typed("restore", str(packed), "--folder", str(home), "--replace")[0] == 0
    assert not (home / "later").exists()
    (moved,) = home.parent.glob("home.before-restore-*")
    assert (moved / "later").exists()


def damaged(content: bytes) -> dict[str, bytes]:
    middle = content.index(bytes(range(256)))
    return {
        "cut in the middle": content[: middle + 700],
        "without its last file": content[: content.index(backup.HASHES.encode())],
        "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "empty": b"",
        "no tar": b"notes\n" * 1000,
    }


@pytest.mark.parametrize("damage", ["cut in the middle", "without its last file", "one bit", "empty", "no tar"])
def test_a_damaged_backup_changes_nothing(damage: str, home: Path, packed: Path, typed: Typed) -> None:
    packed.write_bytes(damaged(packed.read_bytes())[damage])
    for target in (home, home.parent / "new"):
        code, _, errors = typed("restore", str(packed), "--folder", str(target), "--replace")
        assert code == 2
        assert "nothing was changed" in errors
    assert rows(home / "store" / "runs.db") == ["first"]
    assert sorted(path.name for path in home.parent.iterdir()) == ["backup.tar", "home"]


@pytest.mark.parametrize("name", ["data/../../escaped", "/tmp/escaped", "data/link"])
def test_a_file_that_would_leave_the_folder_is_refused(name: str, home: Path, packed: Path, typed: Typed) -> None:
    with tarfile.open(packed, "a") as archive:
        info = tarfile.TarInfo(name)
        if name.endswith("link"):
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info, BytesIO())
    code, _, errors = typed("restore", str(packed), "--folder", str(home.parent / "new"))
    assert code == 2
    assert "nothing was changed" in errors
    assert not (home.parent / "new").exists()


def test_a_backup_of_another_place_or_of_newer_versions_is_refused(
    home: Path, packed: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZENML_CONFIG_PATH", str(home.parent / "elsewhere"))
    code, _, errors = typed("restore", str(packed))
    assert code == 2
    assert f"restore it to the same place: ZENML_CONFIG_PATH={home}" in errors
    with tarfile.open(packed) as archive:
        assert json.load(archive.extractfile(backup.FACTS) or BytesIO())["versions"].keys() == {*backup.PACKAGES}
    monkeypatch.setattr(backup, "version", lambda name: "0.0.1")
    code, _, errors = typed("restore", str(packed), "--folder", str(home.parent / "new"))
    assert code == 2
    assert "(here 0.0.1)" in errors
    assert not (home.parent / "new").exists()


def test_nothing_is_left_out_or_overwritten_in_silence(home: Path, packed: Path, typed: Typed) -> None:
    for target in (packed, home / "inside.tar"):
        assert typed("backup", str(target), "--folder", str(home))[0] == 2
    (home / "link").symlink_to("/etc")
    code, _, errors = typed("backup", str(home.parent / "b.tar"), "--folder", str(home))
    assert code == 2
    assert f"{home / 'link'}: is a link" in errors
    code, _, errors = typed("backup", str(home.parent / "b.tar"), "--folder", str(home.parent / "nowhere"))
    assert "holds no file" in errors
    assert not (home.parent / "b.tar").exists()
