"""Hashes of what a run reads: equal contents keep the caches, a changed byte does not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from r2d.config.data import DataConfig
from r2d.data.readers.files import existing_file, existing_path, files_below, find_files
from r2d.data.readers.huggingface import local_folder
from r2d.data.readers.parquet import parquet_files

MAX_FILES = 1_000
"""Whose hashes are kept one by one."""


def data_fingerprint(config: DataConfig) -> str:
    """SHA-256 that changes when the data do, and not when they only move: for caching and for the record.

    Over the bytes of every file that is read (in a folder with its relative path), the pinned revision of a hub data
    set, or the parameters of synthetic data.

    Raises:
        DataError: a file is missing or has no content.
    """
    digest = hashlib.sha256(config.format.encode())
    if config.format == "synthetic_triage":
        digest.update(config.synthetic.model_dump_json().encode())
    elif config.format == "huggingface" and local_folder(config) is None:
        digest.update(json.dumps([config.path, config.hub_config, config.revision]).encode())
    for root, files in _files_read(config):
        _update(digest, files, root)
    return digest.hexdigest()


def files_fingerprint(files: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the contents of files, given with the config key that names each, globs filled in.

    Raises:
        DataError: a file is missing, or a glob matches none.
    """
    digest = hashlib.sha256()
    for key, path in files:
        for file in find_files([path], key):
            _update(digest, [file], file)
    return digest.hexdigest()


def file_hashes(config: DataConfig, beside: Iterable[tuple[str, str]]) -> dict[str, str]:
    """SHA-256 of each file that a run reads, as `sha256sum` says it: the data, the ids of test rows, and those beside
    them, given with the config key that names each, globs filled in.

    Returns:
        path, relative where it lies below the working directory -> hexadecimal digest; empty where more than
        `MAX_FILES` are read, of which only fingerprints are kept.

    Raises:
        DataError: a file is missing, or a glob matches none.
    """
    files = [file for _, some in _files_read(config) for file in some]
    for key, path in beside:
        files += find_files([path], key)
    if len(files) > MAX_FILES:
        return {}
    found, here = {}, Path.cwd()
    for file in dict.fromkeys(files):
        name = file.relative_to(here) if file.is_relative_to(here) else file
        with file.open("rb") as stream:
            found[str(name)] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def _files_read(config: DataConfig) -> list[tuple[Path, Sequence[Path]]]:
    """The files of the data, then that of the test rows, each with the path that the config names."""
    read: list[tuple[Path, Sequence[Path]]] = []
    if config.format == "huggingface":
        if (folder := local_folder(config)) is not None:
            read.append((folder, files_below(folder)))
    elif config.format == "parquet":
        read.append((existing_path(config.path or ""), parquet_files(config.path or "")))
    elif config.format != "synthetic_triage":
        file = existing_file(config.path or "")
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
