"""Hashes of what a run reads: equal contents keep the caches, a changed byte does not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from r2d.config import DataConfig
from r2d.data.readers.files import existing_file, existing_path, files_below, find_files
from r2d.data.readers.huggingface import local_folder
from r2d.data.readers.parquet import parquet_files


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
    elif config.format == "huggingface":
        folder = local_folder(config)
        if folder is None:
            digest.update(json.dumps([config.path, config.hub_config, config.revision]).encode())
        else:
            _update(digest, files_below(folder), folder)
    elif config.format == "parquet":
        _update(digest, parquet_files(config.path or ""), existing_path(config.path or ""))
    else:
        file = existing_file(config.path or "")
        _update(digest, [file], file)
    if config.split.test_ids is not None:
        file = existing_file(config.split.test_ids, "data.split.test_ids")
        _update(digest, [file], file)
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


def _update(digest: hashlib._Hash, files: Sequence[Path], root: Path) -> None:
    """Add each file as relative path, size and content, so that no two sets of files give the same bytes."""
    for file in files:
        digest.update(json.dumps([str(file.relative_to(root)), file.stat().st_size]).encode())
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
