"""The manifest of a model folder: the SHA-256 of every file, written last, held against the files before they are read.

It finds files that have changed since. Where a folder was changed together with its manifest, only a record kept
elsewhere finds it: the registry keeps the `model_hash` of each version.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from r2d.errors import ModelError
from r2d.files import combined_hash, file_sha256, write_json
from r2d.signing import SIGNATURE_FILE

logger = logging.getLogger(__name__)

MANIFEST_FILE, FACTS_FILE = "manifest.json", "reason2decide.json"
FORMAT_VERSION = 1
MAY_BE_REMOVED = ("trained_rows.safetensors",)
"""Before a model is given away: docs/clinical-safety.md."""
SHOWN_DIGITS, SHOWN_FILES = 12, 5
_without_manifest: set[Path] = set()
"""Folders of an earlier version that were warned of, or whose files the registry has vouched for."""


def write_manifest(folder: Path) -> None:
    """Record every file of a folder; it is the last thing written there."""
    write_json(folder / MANIFEST_FILE, {"format_version": FORMAT_VERSION, "files": _listed(model_hashes(folder))})


def verify_model(folder: Path) -> None:
    """Hold the files of a model folder against its manifest. A file is hashed once a process, and again if it changes.

    A folder of an earlier version has none, and is warned of once. One that this project did not write, such as that of
    a hub checkpoint, is its publisher's.

    Raises:
        ModelError: a file has changed, is missing or was added; names each.
    """
    if not (folder / MANIFEST_FILE).exists() and not _promises_manifest(folder):
        if (folder / FACTS_FILE).exists() and folder not in _without_manifest:
            vouch_for(folder)
            message = "%s: an earlier version wrote this model, without %s: damage to its files is not noticed"
            logger.warning(message, folder, MANIFEST_FILE)
        return
    if damage := damage_of(folder):
        raise ModelError(
            f"{folder}: its files are damaged: {damage}. Restore them from where they were copied, or name another "
            "model; the model of a stage is made anew by the same run with `enable_cache: false` for that step"
        )


def vouch_for(folder: Path) -> None:
    """Say that a record kept elsewhere was held against this folder, so that no manifest is missed in it."""
    _without_manifest.add(folder)


def damage_of(folder: Path) -> str | None:
    """What is wrong with the files of a folder, in the words of `differences`; None if nothing is."""
    manifest = folder / MANIFEST_FILE
    if not manifest.is_file():  # a link to a device has no end
        return f"{MANIFEST_FILE} is missing"
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        recorded, version = dict(content["files"]), content["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{MANIFEST_FILE} cannot be read ({type(error).__name__})"
    if version != FORMAT_VERSION:
        return f"{MANIFEST_FILE} is of format {version}, this version reads {FORMAT_VERSION}"
    found = _listed(model_hashes(folder))
    for name in set(MAY_BE_REMOVED) - found.keys():
        recorded.pop(name, None)
    return differences(found, recorded)


def differences(found: Mapping[str, str], recorded: Mapping[str, str]) -> str | None:
    """Each file whose SHA-256 is not the one recorded, with the first digits of both; None where all are equal."""
    sentences = []
    for name in sorted(found.keys() | recorded.keys()):
        now, then = (hashes.get(name, "")[:SHOWN_DIGITS] for hashes in (found, recorded))
        if not now:
            sentences.append(f"{name} is missing (recorded SHA-256 {then})")
        elif not then:
            sentences.append(f"{name} was added (SHA-256 {now})")
        elif found[name] != recorded[name]:
            sentences.append(f"{name} has SHA-256 {now}, recorded is {then}")
    more = len(sentences) - SHOWN_FILES
    return "; ".join(sentences[:SHOWN_FILES] + ([f"and {more} more"] if more > 0 else [])) or None


def model_hash(folder: Path) -> str:
    """SHA-256 of a model folder without its signature."""
    return combined_hash(model_hashes(folder))


def model_hashes(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of each file of a model folder but its signature, whether or not they are as recorded."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / SIGNATURE_FILE)
    hashes = {}
    for path in paths:
        stat = path.stat()
        hashes[str(path.relative_to(folder))] = _sha256_of(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return hashes


@lru_cache(maxsize=4096)
def _sha256_of(path: Path, *identity: int) -> str:
    return file_sha256(path)


def _listed(hashes: Mapping[str, str]) -> dict[str, str]:
    """The files that a manifest lists: all but itself."""
    return {name: sha256 for name, sha256 in hashes.items() if name != MANIFEST_FILE}


def _promises_manifest(folder: Path) -> bool:
    """Whether the folder was written with a manifest; so its absence is damage."""
    try:
        return bool(json.loads((folder / FACTS_FILE).read_text(encoding="utf-8")).get("manifest"))
    except (OSError, ValueError, AttributeError):
        return False
