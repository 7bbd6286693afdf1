"""The door to a registry: what one must offer that is installed beside `r2d`, which itself knows none.

A registry is a module (or an object) with these functions, declared as entry point of the group `r2d.model_registries`.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from r2d.errors import RegistryError


class ModelRegistry(Protocol):
    """Every function raises a RegistryError that says what is there and what to do."""

    def download(self, reference: str) -> Path:
        """The model folder of `name@alias`, `name/version` or `name` (its champion)."""

    def rollback(self, name: str, *, by: str, reason: str) -> dict[str, Any]:
        """Make the champion before the present one the champion again: name, version (None: there is no champion any
        more), before, reason."""

    def approve(self, reference: str, *, by: str, reason: str) -> dict[str, Any]:
        """Approve a version (`name/version`, or `name`: its challenger) that met every other rule of its gate, and make
        it the champion: name, version, before, reason."""

    def history(self, name: str) -> list[dict[str, Any]]:
        """Every change of the aliases of a model, oldest first: number, action, version, before, by, reason, at."""

    def lineage_facts(self, reference: str) -> dict[str, Any]:
        """Where a version (`name/version`, `name@alias`, or `name`: its champion) comes from: name, version, aliases,
        registered_at, files (name -> SHA-256), config, origin, num_test_rows, figures, compared, rationales, gate,
        mlflow_runs (step -> ids), pipeline_run, data_result, not_reachable. Of what cannot be asked, gate, pipeline_run
        or data_result is None, and a sentence in `not_reachable` says why."""

    def row_facts(self, row_id: str, reference: str | None) -> list[dict[str, Any]]:
        """The versions that saw a row, of one version, of a model (`name`), or of all models (None): name, version,
        aliases, data_sha256, not_reachable (None or why), and those of `r2d.registry.lineage.rows.row_of`."""


def installed_registry(*, else_say: str) -> ModelRegistry:
    """The registry that is installed beside `r2d`.

    Args:
        else_say: the message where there is none.

    Raises:
        RegistryError: none is installed.
    """
    found = list(entry_points(group="r2d.model_registries"))
    if not found:
        raise RegistryError(else_say)
    registry: ModelRegistry = found[0].load()
    return registry
