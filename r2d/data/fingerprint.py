"""Hashes of what a run reads: equal contents keep the caches, a changed byte does not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from r2d.config.data import DataConfig
from r2d.data.readers.files import existing_file, existing_path, files_below, find_files, parquet_files, require_files
from r2d.data.readers.tables import local_dataset_folder
from r2d.files import file_sha256

MAX_FILES = 1_000  # up to this number, the hash of each is recorded


def data_fingerprint(config: DataConfig) -> str:
    """SHA-256 that changes when the data change, and not when they only move: for cache keys and records.

    Covers the bytes of every file that is read (in a folder with its relative path), the pinned revision of a hub data
    set, or the parameters of synthetic data.

    Raises:
        DataError: a file is missing or has no content.
    """
    digest = hashlib.sha256(config.format.encode())
    if config.format == "synthetic_triage":
        digest.update(config.synthetic.model_dump_json().encode())
    elif config.format == "huggingface" and local_dataset_folder(config) is None:
        digest.update(json.dumps([config.path, config.hub_config, config.revision]).encode())
    for root, files in _files_read(config):
        _update(digest, files, root)
    return digest.hexdigest()


def files_fingerprint(files: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the contents of files, given as (config key, path or glob).

    Raises:
        DataError: a file is missing, or a glob matches none.
    """
    digest = hashlib.sha256()
    for key, path in files:
        for file in find_files([path], key):
            _update(digest, [file], file)
    return digest.hexdigest()


def file_hashes(config: DataConfig, auxiliary_files: Iterable[tuple[str, str]]) -> dict[str, str]:
    """SHA-256 of each file that a run reads, as `sha256sum` prints it: data, ids of test rows, auxiliary files.

    Args:
        auxiliary_files: (config key, path or glob) of the other files.

    Returns:
        path, relative where it lies below the working directory -> digest; empty for more than `MAX_FILES` files.

    Raises:
        DataError: a file is missing, or a glob matches none.
    """
    files = [file for _, group in _files_read(config) for file in group]
    files += [file for key, path in auxiliary_files for file in find_files([path], key)]
    here = Path.cwd()
    return {
        str(file.relative_to(here) if file.is_relative_to(here) else file): file_sha256(file)
        for file in dict.fromkeys(files if len(files) <= MAX_FILES else [])
    }


def require_data_files(config: DataConfig, auxiliary_files: Iterable[tuple[str, str]] = ()) -> None:
    """Refuse every file of a run that is missing, all at once.

    Raises:
        DataError: as `require_files`.
    """
    named = {
        "data.path": None if config.format in ("synthetic_triage", "huggingface") else config.path,
        "data.test.path": None if config.test is None else config.test.path,
        "data.reviewed": config.reviewed,
        "data.split.test_ids": config.split.test_ids,
    }
    require_files([*((key, path) for key, path in named.items() if path is not None), *auxiliary_files])


def _files_read(config: DataConfig) -> list[tuple[Path, Sequence[Path]]]:
    """(path in the config, files read from it) of the data, of reviews and of the test ids."""
    read: list[tuple[Path, Sequence[Path]]] = []
    if config.format == "huggingface":
        if (folder := local_dataset_folder(config)) is not None:
            read.append((folder, files_below(folder)))
    elif config.format == "parquet":
        read.append((existing_path(config.path or ""), parquet_files(config.path or "")))
    elif config.format != "synthetic_triage":
        file = existing_file(config.path or "")
        read.append((file, [file]))
    if config.test is not None:
        read += _files_read(config.model_copy(update={"path": config.test.path, "test": None}))
    if config.reviewed is not None:
        file = existing_file(config.reviewed, "data.reviewed")
        read.append((file, [file]))
    if config.split.test_ids is not None:
        file = existing_file(config.split.test_ids, "data.split.test_ids")
        read.append((file, [file]))
    return read


def _update(digest: hashlib._Hash, files: Sequence[Path], root: Path) -> None:
    """Add each file as relative path, size and content, so that no two sets of files give the same bytes."""
    for file in files:
        digest.update(json.dumps([str(file.relative_to(root)), file.stat().st_size]).encode())
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
