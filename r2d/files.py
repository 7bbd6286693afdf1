"""Files: written aside and renamed, so that partial output never looks whole, and named by hashes of their contents."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import chain
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import click
import yaml

from r2d.errors import ConfigError, R2DError

if TYPE_CHECKING:
    import pyarrow as pa

PARTIAL = ".partial"  # ends the name of a file or folder that is being written
MOST_YAML_NODES = 100_000  # of a file, where what it repeats by aliases is counted each time
outputs: set[Path] = set()
"""The folders of outputs that this process was told: a full disk may be theirs."""


def work_root() -> Path:
    """`R2D_WORK_DIR` (on a cluster: a mounted volume), by default a folder in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("R2D_WORK_DIR") or Path(cache) / "reason2decide")


def zenml_home() -> Path:
    """The folder of ZenML's state, found without ZenML, which would make it."""
    return Path(os.environ.get("ZENML_CONFIG_PATH") or click.get_app_dir("zenml")).absolute()


def keep_private() -> None:
    """Let this process, and those that it starts, write files that only their owner reads: 0600, folders 0700.

    In a pod the group too (0660, 0770): `fsGroup` gives a volume to pods of other users by their group.
    """
    os.umask(0o007 if "KUBERNETES_SERVICE_HOST" in os.environ else 0o077)


@contextmanager
def held_alone(folder: Path, refused: type[R2DError]) -> Iterator[None]:
    """Hold a folder for this process; the lock of a killed one does not block, and `holder.json` says who holds it.

    Raises:
        R2DError: of the type `refused`: another process holds it, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    lock, holder = FileLock(folder / "lock"), folder / "holder.json"
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
        write_json(holder, {"pid": os.getpid(), "host": socket.gethostname(), "since": now})
    except Timeout:
        who = json.loads(holder.read_text(encoding="utf-8")) if holder.exists() else {}
        raise refused(
            f"{folder}: another run works here: process {who.get('pid', '?')} on {who.get('host', '?')}, since "
            f"{who.get('since', '?')}. Wait for its end and start the same command again, which then takes what it has "
            "made, or stop it"
        ) from None
    except OSError as error:
        lock.release()
        raise refused(f"{folder}: cannot be written ({error.strerror}); make it writable, or name another") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; renamed to `path` when the block ends, kept aside when it raises."""
    aside = path.with_name(path.name + PARTIAL)
    yield aside
    aside.replace(path)


def out_folder(folder: Path | None) -> Path | None:
    """The folder of an output that can be written: found out before the work, not after it. It is not made, so that a
    refusal leaves nothing.

    Raises:
        R2DError: it cannot be made or written.
    """
    if folder is not None:
        outputs.add(folder)
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            reason = "is a file" if folder.is_file() else error.strerror
            raise R2DError(f"{folder}: no output can be written there ({reason}); name another folder") from error
        finally:
            for place in missing:
                with suppress(OSError):
                    place.rmdir()
    return folder


def file_in_made_folder(file: Path) -> Path:
    """The file of an output, whose folder is there from now on.

    Raises:
        R2DError: as `out_folder`, or it is a folder.
    """
    out_folder(file.parent)
    if file.is_dir():
        raise R2DError(f"{file}: is a folder; name a file")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8."""
    with partial_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Write a value as JSON with a final line break."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet."""
    import pyarrow.parquet as pq

    with partial_file(path) as aside:
        pq.write_table(table, aside)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        ConfigError: it cannot be read, or is no YAML or no UTF-8 (names the line and quotes nothing).
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if _num_nodes(node, {}) > MOST_YAML_NODES:
            many = f"{MOST_YAML_NODES:,}"
            raise ConfigError(
                f"{path}: holds more than {many} values, or repeats so many by aliases; a run has hundreds"
            )
        return None if node is None else loader.construct_document(node)
    except OSError as error:
        fix = "make it readable" if isinstance(error, PermissionError) else "give the path of a YAML file"
        if isinstance(error, FileNotFoundError) and not path.is_absolute():
            fix += f"; a relative path starts in the folder where you are, {Path.cwd()}"
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); {fix}") from None
    except RecursionError:
        raise ConfigError(
            f"{path}: its lists and mappings are nested too deeply to be read; a run has a few levels"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark, error.problem or ""
        why = f" ({problem})" if problem and not re.search("['\"]", problem) else ""  # a quotation quotes the file
        where = f", faulty on line {mark.line + 1}{why}" if mark is not None else ""
        raise ConfigError(
            f"{path}: is no YAML{where}; lines of one level begin in the same column, after spaces and no tab, a space "
            "follows a colon, and brackets and quotation marks are closed"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ConfigError(f"{path}: is no text in UTF-8, or holds control characters; save it as UTF-8") from None
    except ValueError:
        raise ConfigError(
            f"{path}: holds a date or a number that there is not, such as 2026-13-01; a text needs quotation marks"
        ) from None


def _num_nodes(node: yaml.Node | None, counted: dict[int, int]) -> int:
    """Number of nodes below and with this one; what an alias repeats is counted, not walked through, again."""
    if node is None:
        return 0
    if id(node) not in counted:
        counted[id(node)] = 1  # of a node that holds itself
        below = chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value
        if not isinstance(node, yaml.ScalarNode):
            counted[id(node)] += sum(_num_nodes(one, counted) for one in below)
    return counted[id(node)]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content in hexadecimal digits, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_hashes(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of each file below a folder, in order of their names."""
    return {str(path.relative_to(folder)): file_sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def folder_hash(folder: Path) -> str:
    """SHA-256 over names and contents of all files of a folder, in order of their names."""
    return combined_hash(file_hashes(folder))


def combined_hash(hashes: Mapping[str, str]) -> str:
    """SHA-256 over relative paths of files and the SHA-256 of each, in order of their names."""
    digest = hashlib.sha256()
    for name, sha256 in sorted(hashes.items(), key=lambda item: PurePath(item[0])):
        digest.update(name.encode() + b"\0" + bytes.fromhex(sha256))
    return digest.hexdigest()


def order_by_hash(ids: Sequence[str]) -> list[int]:
    """Positions of the ids in order of their SHA-256: a sample taken from the front is nobody's choice, and stays the
    same when rows are added or moved."""
    digests = [hashlib.sha256(row_id.encode("utf-8", "surrogatepass")).digest() for row_id in ids]
    return sorted(range(len(ids)), key=digests.__getitem__)
