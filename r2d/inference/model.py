"""Which model decides: where its folder is, and what the output calls it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from r2d.modeling.model_folder import folder_hash
from r2d.registry.fetch import REGISTERED, fetch_registered

SHOWN_HASH_CHARACTERS = 16


@dataclass(frozen=True)
class InferenceModel:
    """A model as the output tells it."""

    name: str
    """`name/version` of a registered one; behind an alias, which may move, or for a folder, the start of its hash."""
    hash: str
    """SHA-256 over the files of its folder."""


def model_of(reference: str) -> tuple[Path, InferenceModel]:
    """The folder that a reference stands for at this moment, and its name.

    Raises:
        RegistryError: it is neither a folder nor in the registry.
    """
    is_folder = Path(reference).is_dir()
    folder = Path(reference) if is_folder else fetch_registered(reference)
    digest = folder_hash(folder)
    shown = f"sha256:{digest[:SHOWN_HASH_CHARACTERS]}"
    place = reference.removeprefix(REGISTERED)
    if re.fullmatch(r"[^/@]+/\d+", place) and not is_folder:
        return folder, InferenceModel(place, digest)
    return folder, InferenceModel(shown if is_folder else f"{place} {shown}", digest)
