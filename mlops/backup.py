"""Backup and restore of everything that a machine without a server keeps: ZenML's home, which holds ZenML's SQLite, the
artifacts, and MLflow's SQLite with the registered models.

A backup is a tar: `backup.json` (where and when it was made, and by which versions), the files below `data/`, and last
`files.json` with the SHA-256 of each. So a backup that was cut short or changed is noticed before anything is replaced.
Databases are copied by SQLite's own backup, which is whole also while somebody writes. They are copied first, so that
every artifact that they name is among the files. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import IO

from r2d.errors import R2DError
from r2d.files import PARTIAL, partial_file

FACTS, DATA, HASHES = "backup.json", "data/", "files.json"
SQLITE_MAGIC = b"SQLite format 3\0"
WRITTEN_BESIDE = ("-wal", "-shm", "-journal")
"""Endings of the files of a transaction; SQLite's backup has read them."""
SECONDS_LOCKED = 60.0
"""How long a database that another process has locked is waited for, as long as a run waits."""
PACKAGES = ("zenml", "mlflow", "reason2decide")
"""Their versions own the tables: a newer one migrates them at its first start, an older one cannot read them."""


@dataclass(frozen=True)
class Facts:
    """Where and when a backup was made, and by which versions of `PACKAGES`."""

    folder: str
    made_at: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Contents:
    """What a backup holds: its facts, and file -> SHA-256."""

    facts: Facts
    files: dict[str, str]


class HashedReader:
    """A file whose bytes are hashed as they are read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        content = self.file.read(size)
        self.sha256.update(content)
        return content


def require_embedded(home: Path) -> None:
    """Raise unless ZenML, its artifacts and MLflow all lie below ZenML's home.

    Raises:
        R2DError: names what lies elsewhere.
    """
    from zenml.client import Client
    from zenml.enums import StackComponentType

    from mlops.tracking import configure_mlflow

    client = Client()
    (store,) = client.active_stack_model.components[StackComponentType.ARTIFACT_STORE]
    places = {"ZenML": client.zen_store.url, f"the artifact store {store.name!r}": str(store.configuration.get("path"))}
    if store.flavor_name == "local" and not store.configuration.get("path"):
        places.popitem()  # ZenML's default, below its home
    places["MLflow"] = configure_mlflow()
    elsewhere = [
        name for name, place in places.items() if home not in Path(place.removeprefix("sqlite:///")).absolute().parents
    ]
    if elsewhere:
        raise R2DError(
            f"{' and '.join(elsewhere)} of the active stack: not below {home}, so this backup would not hold it; a "
            "server has its own backup (docs/operations.md, Backup), and --folder packs another folder"
        )


def pack(folder: Path, target: Path) -> Contents:
    """Write a backup of all files of a folder.

    Raises:
        R2DError: the folder is empty or holds a link, the file exists or lies in the folder, or a file cannot be read.
    """
    paths = sorted(path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    paths = [path for path in paths if not path.name.endswith(WRITTEN_BESIDE)]
    links = [path for path in paths if not path.is_file() or path.is_symlink()]
    if links:
        raise R2DError(f"{links[0]}: is a link or no file, and {len(links)} such would be missing; move them away")
    if not paths:
        raise R2DError(f"{folder}: holds no file, so there is nothing to back up")
    if target.exists():
        raise R2DError(f"{target}: is there already; name another file, a backup is not overwritten")
    if folder in target.absolute().parents:
        raise R2DError(f"{target}: lies in {folder}, which is backed up; name a file elsewhere")
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    facts = Facts(str(folder), made_at, {name: version(name) for name in PACKAGES})
    try:
        with (
            partial_file(target) as aside,
            _folder_of_copies(target) as copies,
            tarfile.open(aside, "w", format=tarfile.PAX_FORMAT) as archive,
        ):
            databases = {path: copies / str(number) for number, path in enumerate(paths) if _is_sqlite(path)}
            for path, copy in databases.items():
                _copy_database(path, copy)
            _add_json(archive, FACTS, asdict(facts))
            hashes = {
                name: _add(archive, DATA + name, databases.get(path, path))
                for path in paths
                for name in [str(path.relative_to(folder))]
            }
            _add_json(archive, HASHES, hashes)
    except (OSError, sqlite3.Error, tarfile.TarError) as error:
        target.with_name(target.name + PARTIAL).unlink(missing_ok=True)
        raise R2DError(
            f"{target}: the backup was not written ({error}); end what writes there, and try again"
        ) from error
    return Contents(facts, hashes)


@contextmanager
def _folder_of_copies(target: Path) -> Iterator[Path]:
    """An empty folder beside a backup, removed at the end; what a killed backup to this file has left goes first."""
    folder = target.with_name(f"{target.name}.databases{PARTIAL}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _copy_database(path: Path, copy: Path) -> None:
    """Copy a database in use. Of itself, Python's backup would wait for a lock for ever.

    Raises:
        sqlite3.OperationalError: another process has locked it for longer than `SECONDS_LOCKED`.
    """
    give_up_at = time.monotonic() + SECONDS_LOCKED

    def wait_no_longer(status: int, _remaining: int, _total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() >= give_up_at:
            raise sqlite3.OperationalError(f"{path} is locked by another process; `fuser -v` on it names which")

    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(copy)) as new:
        old.backup(new, progress=wait_no_longer)


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC


def _add(archive: tarfile.TarFile, name: str, path: Path) -> str:
    """Add a file under a name, readable by its owner alone, and return its SHA-256."""
    with path.open("rb") as file:
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = os.fstat(file.fileno()).st_size, int(path.stat().st_mtime), 0o600
        reader = HashedReader(file)
        archive.addfile(info, reader)  # type: ignore[arg-type]
    return reader.sha256.hexdigest()


def _add_json(archive: tarfile.TarFile, name: str, value: object) -> None:
    content = json.dumps(value).encode()
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o600
    archive.addfile(info, BytesIO(content))


def restore(source: Path, folder: Path, *, replace: bool = False, same_place: bool = True) -> Contents:
    """Put back a folder as a backup holds it. It appears whole, after every hash was found right, or not at all.

    Args:
        replace: move what is in the folder aside, to `FOLDER.before-restore-TIME`; else it must be empty.
        same_place: refuse a backup of another folder, since ZenML and MLflow keep whole paths of artifacts.

    Raises:
        R2DError: the folder is in use, or the backup is damaged, of another place or of newer versions.
    """
    if folder.exists() and any(folder.iterdir()) and not replace:
        raise R2DError(
            f"{folder}: is not empty, and nothing was changed; with --replace it is moved aside first (end every run "
            "and server that uses it before)"
        )
    aside = folder.with_name(folder.name + PARTIAL)
    shutil.rmtree(aside, ignore_errors=True)  # of a restore that was cut short
    aside.mkdir(parents=True)
    try:
        contents = _unpack(source, aside, folder if same_place else None)
    except BaseException:
        shutil.rmtree(aside)
        raise
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}.before-restore-{datetime.now(UTC):%Y%m%dT%H%M%S}"))
    aside.rename(folder)
    return contents


def _unpack(source: Path, folder: Path, place: Path | None) -> Contents:
    """Write the files of a backup below a folder, and return what it holds.

    Args:
        place: the folder that the backup must be of; None for any.
    """
    facts: Facts | None = None
    expected: dict[str, str] | None = None
    hashes: dict[str, str] = {}
    try:
        for name, file in _members(source):
            if name == FACTS:
                facts = Facts(**json.load(file))
                _require_readable(source, facts, place)
            elif name == HASHES:
                expected = json.load(file)
            else:
                name = name.removeprefix(DATA)
                path, reader = folder / name, HashedReader(file)
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as out:
                    shutil.copyfileobj(reader, out)
                hashes[name] = reader.sha256.hexdigest()
    except (tarfile.TarError, EOFError, ValueError, TypeError) as error:
        raise R2DError(f"{source}: is no backup, or is damaged ({error}); nothing was changed, take another") from error
    except OSError as error:
        raise R2DError(f"{source}: cannot be restored ({error}); nothing was changed") from error
    if facts is None or expected is None:
        raise R2DError(f"{source}: ends before its last file: it is no whole backup; nothing was changed, take another")
    if different := sorted(name for name in {*hashes, *expected} if hashes.get(name) != expected.get(name)):
        raise R2DError(
            f"{source}: {len(different)} of {len(expected)} files are not as they were backed up, the first is "
            f"{different[0]}; nothing was changed, take another backup"
        )
    return Contents(facts, hashes)


def _members(source: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The regular files of a backup; anything else, or a name that leads out of the folder, is refused."""
    with tarfile.open(source, "r:") as archive:
        for member in archive:
            tarfile.data_filter(member, "/restored")  # raises for `..` and whole paths
            file = archive.extractfile(member) if member.isreg() else None
            if file is None:
                raise tarfile.ReadError("it holds what is no file")
            yield member.name, file


def _require_readable(source: Path, facts: Facts, place: Path | None) -> None:
    from packaging.version import Version

    if place is not None and facts.folder != str(place):
        raise R2DError(
            f"{source}: is of {facts.folder}, and this is {place}; ZenML and MLflow keep whole paths, so restore it to "
            f"the same place: ZENML_CONFIG_PATH={facts.folder}"
        )
    older = [name for name in PACKAGES if Version(version(name)) < Version(facts.versions[name])]
    if older:
        needed = ", ".join(f"{name} {facts.versions[name]} (here {version(name)})" for name in older)
        raise R2DError(f"{source}: was made by {needed}; install that version or a newer one: an older cannot read it")
