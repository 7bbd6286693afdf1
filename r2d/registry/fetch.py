"""A registered model as a folder, through whatever registry is installed beside `r2d`, which itself knows none."""

from __future__ import annotations

from pathlib import Path

from r2d.registry.door import installed_registry

REGISTERED = "models:/"
"""What a registered version is called by: `models:/name@alias`, `models:/name/version`."""


def fetch_registered(reference: str) -> Path:
    """The model folder of `name@alias` or `name/version`, with or without `models:/` before it.

    Raises:
        RegistryError: no registry is installed, or it has no such model.
    """
    missing = f"{reference!r} is no folder, and no model registry is installed; give a model folder"
    return installed_registry(else_say=missing).download(reference)
