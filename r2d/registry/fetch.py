"""A registered model as a folder, through whatever registry is installed beside `r2d`, which itself knows none."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from r2d.errors import RegistryError

REGISTERED = "models:/"
"""What a registered version is called by: `models:/name@alias`, `models:/name/version`."""


def fetch_registered(reference: str) -> Path:
    """The model folder of `name@alias` or `name/version`, with or without `models:/` before it.

    Raises:
        RegistryError: no registry is installed, or it has no such model.
    """
    registries = list(entry_points(group="r2d.model_registries"))
    if not registries:
        raise RegistryError(f"{reference!r} is no folder, and no model registry is installed; give a model folder")
    folder: Path = registries[0].load()(reference)
    return folder
