"""The history of aliases in MLflow, and the aliases that follow from it.

MLflow can set an alias, but cannot set it only if nobody else has moved it meanwhile. What it does one at a time, on
every store, is to number new versions. So each change of a model's aliases is a version of a second registered model,
`NAME.alias-history`: written once, numbered by MLflow, read by people on its page. `mlops.registry.alias_history` says
which changes count; the aliases of NAME are drawn from them after each change, and by whoever comes next if a process
died in between.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops.registry.alias_history import Action, AliasChange, AliasHistory
from mlops.registry.versions import CHALLENGER, CHAMPION, all_versions, connected, is_missing, version_numbers
from r2d.config.gate import HISTORY_SUFFIX
from r2d.errors import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

TAG = "r2d.change."


class AliasesMovedError(RegistryError):
    """Another process changed the aliases between looking and writing; nothing was moved by this one."""


def history(name: str) -> list[dict[str, Any]]:
    """Every change of the aliases of a model, oldest first.

    Raises:
        RegistryError: there is no such model, or the registry does not answer.
    """
    with connected(f"reading the history of {name!r}") as client:
        require_model(client, name)
        return settled_history(client, name).as_facts()


def require_model(client: MlflowClient, name: str) -> None:
    """Raises a RegistryError where no version of that name is registered."""
    if not version_numbers(client, name):
        raise RegistryError(f"no model named {name!r} is registered; give the name of one, as in `{name}@champion`")


def settled_history(client: MlflowClient, name: str) -> AliasHistory:
    """The history, once the aliases agree with it: what a process that died has left undone is done here."""
    found = _read(client, name)
    if not found.changes:
        there = _aliases(client, name).get(CHAMPION)
        if there is None:
            return found
        # The alias is older than the history, or was set by hand before there was one.
        _write(client, name, found, "found", there, by="unknown", reason="the alias was there before this history")
    return _draw(client, name)


def add_change(
    client: MlflowClient,
    name: str,
    seen: AliasHistory,
    action: Action,
    version: str | None,
    *,
    by: str,
    reason: str,
    run_key: str | None = None,
) -> AliasHistory:
    """Write a change that builds on the history as its writer saw it, and draw the aliases.

    Raises:
        AliasesMovedError: another change came first; then this one does not count, and nothing was moved by it.
    """
    number = _write(client, name, seen, action, version, by=by, reason=reason, run_key=run_key)
    now = _draw(client, name)
    if number not in {change.number for change in now.changes}:
        raise AliasesMovedError(
            f"{name}: the aliases were moved by another process at the same moment (its champion is now "
            f"{now.champion or 'none'}), so this change was not made; look at `r2d history {name}` and start again"
        )
    return now


def _write(
    client: MlflowClient,
    name: str,
    seen: AliasHistory,
    action: Action,
    version: str | None,
    *,
    by: str,
    reason: str,
    run_key: str | None = None,
) -> int:
    facts = {
        "after": str(seen.head),
        "action": action,
        "version": version,
        "before": seen.champion,
        "by": by,
        "reason": reason,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "run_key": run_key,
    }
    tags = {TAG + key: value for key, value in facts.items() if value is not None}
    ensure_model(client, name + HISTORY_SUFFIX, f"Changes of the aliases of {name}, one a version. It holds no model.")
    created = client.create_model_version(
        name + HISTORY_SUFFIX, f"alias-history:/{name}", tags=tags, description=f"{action}: {reason}"
    )
    return int(created.version)


def ensure_model(client: MlflowClient, name: str, description: str) -> None:
    """Create a registered model if there is none; somebody else may do so at the same moment."""
    from mlflow.exceptions import MlflowException

    if client.search_registered_models(f"name = '{name}'"):
        return
    try:
        client.create_registered_model(name, description=description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _read(client: MlflowClient, name: str) -> AliasHistory:
    written = []
    for one in all_versions(client, f"name = '{name}{HISTORY_SUFFIX}'"):
        tags = {key.removeprefix(TAG): value for key, value in one.tags.items() if key.startswith(TAG)}
        optional = {key: tags.get(key) for key in ("version", "before", "run_key")}
        written.append(
            AliasChange(
                number=int(one.version), after=int(tags["after"]), action=tags["action"], by=tags["by"],
                reason=tags["reason"], at=tags["at"], **optional,
            )
        )  # fmt: skip
    return AliasHistory.of(written)


def _draw(client: MlflowClient, name: str) -> AliasHistory:
    """Set the aliases to what the history says, until it says the same before and after.

    Two processes may draw at once, and a slow one may draw an old state over a new one. But each reads the history
    again after its last stroke, so whoever is last leaves the newest.
    """
    while True:
        found = _read(client, name)
        for alias, version in {CHAMPION: found.champion, CHALLENGER: found.challenger}.items():
            _set_alias(client, name, alias, version)
        if _read(client, name).head == found.head:
            return found


def _set_alias(client: MlflowClient, name: str, alias: str, version: str | None) -> None:
    from mlflow.exceptions import MlflowException

    there = _aliases(client, name).get(alias)
    if there == version:
        return
    if version is None:
        client.delete_registered_model_alias(name, alias)
    else:
        try:
            client.set_registered_model_alias(name, alias, version)
        except MlflowException as error:
            if is_missing(error):
                logger.warning("%s: version %s, its %s, was removed from the registry", name, version, alias)
                return
            if _aliases(client, name).get(alias) == there:
                raise
            # MLflow's store looks, then inserts: of two processes that make an alias at once, it refuses one.
            _set_alias(client, name, alias, version)
            return
    logger.info("%s: the alias %s is now at %s (it was at %s)", name, alias, version or "none", there or "none")


def _aliases(client: MlflowClient, name: str) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}
