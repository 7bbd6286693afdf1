"""Which model decides: where its folder is, and what the output calls it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from r2d.config.model import REGISTERED
from r2d.files import folder_hash

SHOWN_HASH_CHARACTERS = 16


@dataclass(frozen=True)
class InferenceModel:
    """A model as the output tells it."""

    name: str
    """`name/version` of a registered one; behind an alias, which may move, or for a folder, the start of its hash."""
    hash: str
    """SHA-256 over the files of its folder."""


def inference_model(reference: str, folder: Path) -> InferenceModel:
    """What the model is called at this moment.

    Args:
        reference: a registered version, `name/version` or `name@alias`, or the folder itself.
        folder: where its files lie.
    """
    digest = folder_hash(folder)
    shown = f"sha256:{digest[:SHOWN_HASH_CHARACTERS]}"
    if Path(reference).is_dir():
        return InferenceModel(shown, digest)
    place = reference.removeprefix(REGISTERED)
    is_version = re.fullmatch(r"[^/@]+/\d+", place) is not None
    return InferenceModel(place if is_version else f"{place} {shown}", digest)
