"""Champion and challenger of a registered model: which version each is, who made it so, when and why.

MLflow cannot set an alias or a tag on the condition that nobody else has set it meanwhile, but every store numbers new
versions one at a time. So each change of the aliases of NAME is a version of a second model, `NAME.alias-history`, with
tags alone. A change names the last one that its writer had read; of two that name the same one, the first counts, and
the writer of the second gets an error. MLflow's aliases are set from this history after each change, and by the next
run or command if a process died in between.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from mlops.alerts import send
from mlops.registry.versions import (
    CHALLENGER,
    CHAMPION,
    ensure_model,
    find_versions,
    is_missing,
    registry_client,
    require_model,
    tagged_versions,
    version_numbers,
)
from r2d.errors import RegistryError
from r2d.registered import HISTORY_SUFFIX

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from r2d.gate.decision import GateDecision

logger = logging.getLogger(__name__)

Action = Literal["found", "promoted", "approved", "rolled_back", "challenged"]
"""`promoted` by the gate or `approved` by a person: the new champion. `rolled_back`: an earlier champion again.
`challenged`: met the rules and waits as challenger. `found`: was champion before the history began."""
ACTIONS: dict[Action, str] = {
    "found": "was champion before the history began",
    "promoted": "passed the gate and became champion",
    "approved": "was approved and became champion",
    "rolled_back": "became champion again by a rollback",
    "challenged": "became challenger",
}
CHANGE_TAG = "r2d.change."
RUN_KEY_TAG = "r2d.run_key"


class AliasesMovedError(RegistryError):
    """Another process changed the aliases between reading and writing; this one changed nothing."""


# --- the history ---


@dataclass(frozen=True)
class AliasChange:
    number: int
    """Given by the registry, rising; 0 until the change is written."""
    after: int
    """Number of the last change that its writer had read; 0 where there was none."""
    action: Action
    version: str | None
    """The version that has the alias from now on; None where no version is champion any more."""
    before: str | None
    by: str
    reason: str
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """Time in UTC, ISO 8601."""
    run_key: str | None = None
    """Of the run that made the version, where a run or its approval was the cause."""

    def sentence(self) -> str:
        """What happened, by whom and why."""
        what = f"version {self.version} {ACTIONS[self.action]}"
        if self.version is None:
            what = f"version {self.before} was rolled back, and no version is champion"
        elif self.action != "challenged" and self.before not in (None, self.version):
            what += f", in place of version {self.before}"
        return f"{what}; by {self.by}: {self.reason}"


@dataclass(frozen=True)
class AliasHistory:
    """The changes that count, oldest first, and what follows from them."""

    changes: tuple[AliasChange, ...] = ()

    @property
    def last_number(self) -> int:
        """Number of the last change; 0 where there is none."""
        return self.changes[-1].number if self.changes else 0

    @property
    def champion(self) -> str | None:
        moves = [change for change in self.changes if change.action != "challenged"]
        return moves[-1].version if moves else None

    @property
    def challenger(self) -> str | None:
        """The last version that met the rules and waits; None once it, or a later version, is the champion."""
        last = next((change for change in reversed(self.changes) if change.action != "rolled_back"), None)
        return last.version if last is not None and last.action == "challenged" else None

    def previous_champion(self, existing: Iterable[str]) -> str | None:
        """The champion that a rollback goes back to, of the versions that still exist; None where there was none."""
        line: list[str] = []  # champions, the present one last; a rollback removes those after the one it went back to
        for change in self.changes:
            if change.action == "rolled_back":
                while line and line[-1] != change.version:
                    line.pop()
            elif change.action != "challenged" and change.version is not None:
                line.append(change.version)
        known = set(existing)
        return next((version for version in reversed(line[:-1]) if version in known), None)

    def rollback_command(self, name: str, existing: Iterable[str]) -> str:
        """What a person types to take the champion back; where there was none before, that is said by an option."""
        to_none = "" if self.previous_champion(existing) else " --to-none"
        return f"r2d rollback {name}{to_none} --reason WHY"

    def withdrawal_of(self, version: str) -> AliasChange | None:
        """The rollback by which this version last lost the alias; None where it lost it to a better one, or never had
        it."""
        losses = [c for c in self.changes if c.before == version != c.version and c.action != "challenged"]
        return losses[-1] if losses and losses[-1].action == "rolled_back" else None

    def promotion_of(self, version: str) -> AliasChange | None:
        """The last change by which a run made this version the champion."""
        promotions = [c for c in self.changes if c.version == version and c.action in ("promoted", "approved")]
        return promotions[-1] if promotions else None

    def change(
        self, action: Action, version: str | None, *, by: str, reason: str, run_key: str | None = None
    ) -> AliasChange:
        """A change on top of this history, to be written by `append_change`."""
        return AliasChange(0, self.last_number, action, version, self.champion, by, reason, run_key=run_key)


def history(name: str) -> list[AliasChange]:
    """Every change of the aliases of a model, oldest first."""
    with registry_client(f"reading the history of {name!r}") as client:
        require_model(client, name)
        return list(reconcile_aliases(client, name).changes)


def append_change(client: MlflowClient, name: str, change: AliasChange) -> AliasChange:
    """Write a change, set the aliases, and return the change; where another process was first, `AliasesMovedError`."""
    number = _write_change(client, name, change)
    now = reconcile_aliases(client, name)
    if number not in {change.number for change in now.changes}:
        raise AliasesMovedError(
            f"{name}: the aliases were moved by another process at the same moment (its champion is now "
            f"{now.champion or 'none'}), so this change was not made; look at `r2d history {name}` and start again"
        )
    # Without the reason, which a person has written.
    alias = CHALLENGER if change.action == "challenged" else CHAMPION
    send(
        "alias_moved", f"{name}: the {alias} is now {change.version or 'none'}", model=name, action=change.action,
        version=change.version or "none", before=change.before or "none", by=change.by,
    )  # fmt: skip
    return change


def reconcile_aliases(client: MlflowClient, name: str) -> AliasHistory:
    """Read the history, set the aliases in MLflow as it says, and return it.

    A slow process may set an old state over a new one, so each reads the history again afterwards, and repeats where it
    has changed.
    """
    seen = read_history(client, name)
    if not seen.changes and (champion := _current_aliases(client, name).get(CHAMPION)) is not None:
        reason = "the alias was there before this history"
        _write_change(client, name, seen.change("found", champion, by="unknown", reason=reason))
    while True:
        seen = read_history(client, name)
        for alias, version in {CHAMPION: seen.champion, CHALLENGER: seen.challenger}.items():
            _set_alias(client, name, alias, version)
        if read_history(client, name).last_number == seen.last_number:
            return seen


def recorded_aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """Alias -> version as the history has them, without setting anything."""
    seen = read_history(client, name)
    recorded = {CHAMPION: seen.champion, CHALLENGER: seen.challenger}
    return {alias: version for alias, version in recorded.items() if version is not None}


def read_history(client: MlflowClient, name: str) -> AliasHistory:
    """The changes whose writers had read the change before theirs; the others do not count."""
    history = AliasHistory()
    for version in find_versions(client, f"name = '{name}{HISTORY_SUFFIX}'"):
        values: dict[str, Any] = dict.fromkeys(("version", "before", "run_key"))
        values |= {key.removeprefix(CHANGE_TAG): tag for key, tag in version.tags.items() if key.startswith(CHANGE_TAG)}
        if int(values["after"]) == history.last_number:
            values |= {"number": int(version.version), "after": history.last_number}
            history = AliasHistory((*history.changes, AliasChange(**values)))
    return history


def _write_change(client: MlflowClient, name: str, change: AliasChange) -> int:
    """Number of the change, which may not count."""
    values = {key: value for key, value in asdict(change).items() if value is not None and key != "number"}
    history_name = name + HISTORY_SUFFIX
    ensure_model(client, history_name, f"Changes of the aliases of {name}, one a version. It holds no model.")
    created = client.create_model_version(
        history_name,
        f"alias-history:/{name}",
        tags={CHANGE_TAG + key: str(value) for key, value in values.items()},
        description=f"{change.action}: {change.reason}",
    )
    return int(created.version)


def _set_alias(client: MlflowClient, name: str, alias: str, version: str | None) -> None:
    from mlflow.exceptions import MlflowException

    while (current := _current_aliases(client, name).get(alias)) != version:
        try:
            if version is None:
                client.delete_registered_model_alias(name, alias)
            else:
                client.set_registered_model_alias(name, alias, version)
        except MlflowException as error:
            if is_missing(error) and version is not None:
                logger.warning("%s: version %s, its %s, was removed from the registry", name, version, alias)
                return
            # MLflow's store looks, then inserts: of two processes that set a new alias at once, it refuses one.
            if _current_aliases(client, name).get(alias) == current:
                raise
        else:
            logger.info(
                "%s: the alias %s is now at %s (it was at %s)", name, alias, version or "none", current or "none"
            )
            return


def _current_aliases(client: MlflowClient, name: str) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}


# --- the champion ---


def existing_champion(client: MlflowClient, name: str) -> AliasHistory:
    """The history of a model, empty where there is no model; its champion, where it has one, is registered.

    Raises:
        RegistryError: the champion was removed from the registry.
    """
    versions = version_numbers(client, name)
    seen = reconcile_aliases(client, name) if versions else AliasHistory()
    if seen.champion is not None and seen.champion not in versions:
        raise RegistryError(
            f"{name}: its champion, version {seen.champion}, was removed from the registry; take it back with "
            f"`{seen.rollback_command(name, versions)}`"
        )
    return seen


def champion_to_compare(name: str, run_key: str) -> str | None:
    """The champion that a run is compared with, as `name/version`; None where there is none.

    A repeated run would find itself as champion, and be another run. So where a run of this key made the champion, it
    is what that champion was compared with; unless a run of this key has since made another model.

    Args:
        run_key: `mlops.run_record.RunRecord.key`.
    """
    with registry_client(f"looking for the champion of {name!r}") as client:
        seen = existing_champion(client, name)
        champion = seen.champion
        promotion = None if champion is None else seen.promotion_of(champion)
        if champion is not None and promotion is not None and promotion.run_key == run_key:
            same_run = tagged_versions(client, name, RUN_KEY_TAG, run_key)
            is_newest = not same_run or int(same_run[-1].version) <= int(champion)
            if is_newest and promotion.before in (None, *version_numbers(client, name)):
                champion = promotion.before
        return None if champion is None else f"{name}/{champion}"


@dataclass(frozen=True)
class AliasTransition:
    """What a decision of the gate means for the aliases of a version."""

    action: Action | None
    """`promoted` or `challenged`; None where nothing moves."""
    reason: str


def next_alias(
    decision: GateDecision, seen: AliasHistory, *, name: str, version: str, existing: Iterable[str]
) -> AliasTransition:
    """The alias that a version gets by a decision of the gate, and why.

    It becomes champion only if it passed against the champion of this moment.

    Args:
        existing: the registered versions.
    """
    champion = None if seen.champion is None else f"{name}/{seen.champion}"
    stays = "there is no champion" if champion is None else f"{champion} stays champion"
    withdrawal = seen.withdrawal_of(version)
    if seen.champion == version and decision.outcome == "failed":
        return AliasTransition(
            None,
            "it is the champion, and does not pass the gate as it is declared now; it stays the champion until another "
            f"model passes, or a person takes it back: {seen.rollback_command(name, existing)}",
        )
    if seen.champion == version:
        return AliasTransition(None, "it is the champion already; nothing moves")
    if decision.outcome == "failed":
        return AliasTransition(None, f"it did not pass the gate; {stays}")
    if withdrawal is not None:
        return AliasTransition(
            None, f"{withdrawal.by} rolled it back ({withdrawal.reason}); only a person brings it back, by r2d approve"
        )
    if decision.champion != champion:
        return AliasTransition(
            "challenged",
            f"it was compared with {decision.champion or 'no champion'}, and the champion is now {champion or 'none'}: "
            "it is the challenger; run again to compare it",
        )
    if decision.outcome == "waiting":
        return AliasTransition("challenged", f"it is the challenger until a person approves it; {stays}")
    place = "it is the first champion" if champion is None else f"it is the champion in place of {champion}"
    return AliasTransition("promoted", f"it passed the gate: {place}")


def move_aliases(
    client: MlflowClient, name: str, version: str, decision: GateDecision, run_key: str
) -> AliasTransition:
    """Change the aliases as a decision of the gate says; where another process changes them first, decide again."""
    while True:
        seen = reconcile_aliases(client, name)
        existing = version_numbers(client, name)
        transition = next_alias(decision, seen, name=name, version=version, existing=existing)
        if transition.action is None or (transition.action == "challenged" and seen.challenger == version):
            return transition
        change = seen.change(transition.action, version, by="gate", reason=transition.reason, run_key=run_key)
        try:
            append_change(client, name, change)
        except AliasesMovedError:
            continue
        return transition
