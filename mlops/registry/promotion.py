"""What people do with champions: approve one, go back to the one before; and which one a run is compared with."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from mlops.registry.alias_history import WhatFollows
from mlops.registry.aliases import add_change, require_model, settled_history
from mlops.registry.registration import APPROVAL_TAG, DECISION_FILE, RUN_KEY_TAG, keep_decision
from mlops.registry.versions import (
    CHALLENGER,
    all_versions,
    connected,
    is_missing,
    place_of,
    version_numbers,
    version_of,
)
from r2d.errors import RegistryError
from r2d.gate import Approval, GateDecision


def champion_to_compare(name: str, run_key: str) -> str | None:
    """The champion of this moment as `name/version`, for a run to be compared with; None where there is none.

    A run that is repeated would find itself as champion, and be another run. So where the champion was made by a run
    of this key, it is what that champion was compared with; unless a run of this key has since made another model,
    which then is to be compared with the champion.

    Args:
        run_key: hash of everything that the weights and figures of a run depend on. Called on the client, before any
            step.

    Raises:
        RegistryError: the registry does not answer, or the champion was removed from it.
    """
    with connected(f"looking for the champion of {name!r}") as client:
        versions = version_numbers(client, name)
        if not versions:
            return None
        seen = settled_history(client, name)
        champion = seen.champion
        if champion is None:
            return None
        if champion not in versions:
            raise RegistryError(
                f"{name}: its champion, version {champion}, was removed from the registry; go back to the one before "
                f"it with `r2d rollback {name} --reason ...`"
            )
        made = seen.promotion_of(champion)
        if made is not None and made.run_key == run_key:
            same = all_versions(client, f"name = '{name}' and tags.`{RUN_KEY_TAG}` = '{run_key}'")
            repeated = max((int(one.version) for one in same), default=0) <= int(champion)
            if repeated and (made.before is None or made.before in versions):
                return None if made.before is None else f"{name}/{made.before}"
        return f"{name}/{champion}"


def rollback(name: str, *, by: str, reason: str) -> dict[str, Any]:
    """Make the champion before the present one the champion again, of those that are still registered.

    Returns:
        name, version (None: there was none before, so no version is champion any more), before, reason.

    Raises:
        RegistryError: there is no such model or no champion, the aliases were moved at the same moment, or the registry
            does not answer.
    """
    with connected(f"rolling back {name!r}", then=look_first(name)) as client:
        require_model(client, name)
        seen = settled_history(client, name)
        if seen.champion is None:
            raise RegistryError(f"{name} has no champion to go back from; look at `r2d history {name}`")
        previous = seen.previous_champion(version_numbers(client, name))
        add_change(client, name, seen, "rolled_back", previous, by=by, reason=reason)
        return {"name": name, "version": previous, "before": seen.champion, "reason": reason}


def approve(reference: str, *, by: str, reason: str) -> dict[str, Any]:
    """Approve a version that met every other rule of its gate, and make it the champion.

    Args:
        reference: `name/version`, `name@alias`, or `name`: its challenger.

    Returns:
        name, version, before, reason.

    Raises:
        RegistryError: there is no such version, it failed a rule, it is the champion already or was compared with
            another one, the aliases were moved at the same moment, or the registry does not answer.
    """
    from mlflow.exceptions import MlflowException

    place = place_of(reference, alias=CHALLENGER)
    name = place.split("@")[0].split("/")[0]
    with connected(f"approving {reference!r}", then=look_first(name)) as client:
        require_model(client, name)
        seen = settled_history(client, name)
        try:
            version = version_of(client, place)
        except MlflowException as error:
            if not is_missing(error):
                raise
            raise RegistryError(
                f"{reference}: there is no such version, or no challenger; the versions are "
                f"{', '.join(version_numbers(client, name))}: name one, as in `r2d approve {name}/1`"
            ) from error
        number = str(version.version)
        decision = _decision(version)
        champion = None if seen.champion is None else f"{name}/{seen.champion}"
        if seen.champion == number:
            raise RegistryError(f"{name}/{number} is the champion already")
        if decision.outcome == "failed":
            failed = "; ".join(one.reason for one in decision.verdicts if one.status == "failed")
            raise RegistryError(
                f"{name}/{number} did not meet its gate, and an approval does not replace a rule: {failed}"
            )
        if decision.champion != champion:
            raise RegistryError(
                f"{name}/{number} was compared with {decision.champion or 'no champion'}, and the champion is now "
                f"{champion or 'none'}: run again to compare it, then approve"
            )
        approval = Approval(by, reason, datetime.now(UTC).isoformat(timespec="seconds"), champion)
        client.set_model_version_tag(name, number, APPROVAL_TAG, json.dumps(asdict(approval)))
        run_key = version.tags.get(RUN_KEY_TAG)
        add_change(client, name, seen, "approved", number, by=by, reason=reason, run_key=run_key)
        follows = WhatFollows("promote", f"approved by {by}: it is the champion")
        keep_decision(client, name, version, decision.approved(approval), follows)
        return {"name": name, "version": number, "before": seen.champion, "reason": reason}


def look_first(name: str) -> str:
    """What to do after a change of which nobody knows whether it was made: a second rollback would go back further."""
    return f"then look at `r2d history {name}`: start the same command again only where the change is not in it"


def _decision(version: Any) -> GateDecision:
    import mlflow

    return GateDecision.from_facts(mlflow.artifacts.load_dict(f"runs:/{version.run_id}/{DECISION_FILE}"))
