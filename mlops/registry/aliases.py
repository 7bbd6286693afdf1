"""Champion and challenger of a registered model: which version each is, who made it so, when and why.

MLflow cannot set an alias or a tag on the condition that nobody else has set it meanwhile, but every store numbers new
versions one at a time. So each change of the aliases of NAME is a version of a second model, `NAME.alias-history`, with
tags alone. A change names the last one that its writer had read; of two that name the same one, the first counts, and
the writer of the second gets an error. MLflow's aliases are set from this history after each change, and by the next
run or command if a process died in between.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mlops.alerts import send
from mlops.page_origin import of_version
from mlops.registry.versions import (
    CHALLENGER,
    CHAMPION,
    MODEL_TAG,
    Reference,
    ensure_model,
    find_version,
    find_versions,
    is_missing,
    registered_file,
    registry_client,
    require_model,
    set_tag,
    tagged_versions,
    version_numbers,
)
from r2d.config.gate import HISTORY_SUFFIX
from r2d.errors import ConfigError, RegistryError
from r2d.evaluation.metrics import Metrics
from r2d.gate.decision import Approval, GateDecision
from r2d.gate.page import gate_page, gate_picture
from r2d.reports.origin import pages_of
from r2d.signing import PRIVATE_KEY_VARIABLE, Keys, Signature, record_signature, sign_record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from PIL.Image import Image

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
RUN_KEY_TAG, APPROVAL_TAG = "r2d.run_key", "r2d.approval"
DECISION_FILE, PAGE_FILE = "gate/decision.json", "gate/page.html"


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
    seen = _read_history(client, name)
    if not seen.changes and (champion := _current_aliases(client, name).get(CHAMPION)) is not None:
        reason = "the alias was there before this history"
        _write_change(client, name, seen.change("found", champion, by="unknown", reason=reason))
    while True:
        seen = _read_history(client, name)
        for alias, version in {CHAMPION: seen.champion, CHALLENGER: seen.challenger}.items():
            _set_alias(client, name, alias, version)
        if _read_history(client, name).last_number == seen.last_number:
            return seen


def recorded_aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """Alias -> version as the history has them, without setting anything."""
    seen = _read_history(client, name)
    recorded = {CHAMPION: seen.champion, CHALLENGER: seen.challenger}
    return {alias: version for alias, version in recorded.items() if version is not None}


def _read_history(client: MlflowClient, name: str) -> AliasHistory:
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


# --- the decisions of people ---


class Decided(NamedTuple):
    """What a person did, and what the signature of the gate's decision on the new champion is."""

    change: AliasChange
    signature: Signature | None
    """None where there is no champion any more, or no decision can be read."""


def rollback(name: str, *, by: str, reason: str, to_none: bool = False) -> Decided:
    """Make the champion before the present one the champion again, of those that are still registered.

    Args:
        to_none: leave the model without a champion where there was none before.

    Raises:
        RegistryError: it has no champion, or none before it and not `to_none`.
        SignatureError: the gate's decision on it was changed since it was signed. One without a signature goes.
    """
    from mlflow.exceptions import MlflowException

    with registry_client(f"rolling back {name!r}", then=_look_first(name)) as client:
        require_model(client, name)
        seen = reconcile_aliases(client, name)
        if seen.champion is None:
            raise RegistryError(f"{name} has no champion to go back from; look at `r2d history {name}`")
        previous, signature = seen.previous_champion(version_numbers(client, name)), None
        if previous is None and not to_none:
            raise RegistryError(
                f"{name}/{seen.champion} has no champion before it to go back to, so nothing was changed. To leave "
                f"{name} without a champion, which `{name}@champion` and all that uses it would then not find, add "
                f"--to-none; `r2d history {name}` names the versions"
            )
        if previous is not None:
            with suppress(MlflowException, OSError, RegistryError):  # a rollback is what helps then, a record or not
                file, keys = decision_file(client.get_model_version(name, previous)), Keys.declared()
                _, signature = read_decision(file, f"{name}/{previous}", keys)
                if signature.fault is not None:
                    signature.require(f"the gate's decision on {name}/{previous}", keys)
        return Decided(
            append_change(client, name, seen.change("rolled_back", previous, by=by, reason=reason)), signature
        )


def challenger_page(text: str) -> tuple[str, str]:
    """The version that waits for a person, as `name/version`, and the page of its gate.

    Args:
        text: `name/version`, `name@alias`, or `name`: its challenger.
    """
    import mlflow

    reference = Reference.parse(text, alias=CHALLENGER)
    with registry_client(f"looking for the challenger {text!r}") as client:
        require_model(client, reference.name)
        reconcile_aliases(client, reference.name)
        version = find_version(client, reference, "Nothing waits for an approval; name a version")
        page = mlflow.artifacts.load_text(f"runs:/{version.run_id}/{PAGE_FILE}")
    return f"{version.name}/{version.version}", page


def approve(text: str, *, by: str, reason: str) -> Decided:
    """Approve a version that met every other rule of its gate, and make it the champion.

    Args:
        text: `name/version`, `name@alias`, or `name`: its challenger.

    Raises:
        RegistryError: it failed a rule, is the champion already, or was compared with another champion.
        SignatureError: public keys are declared, and the gate's decision is not signed by one of them.
    """
    keys = Keys.declared()
    keys.require()
    reference = Reference.parse(text, alias=CHALLENGER)
    name = reference.name
    with registry_client(f"approving {text!r}", then=_look_first(name)) as client:
        require_model(client, name)
        seen = reconcile_aliases(client, name)
        version = find_version(client, reference, f"Name one of them, as in `r2d approve {name}/1`")
        number = str(version.version)
        record, signature = read_decision(decision_file(version), f"{name}/{number}", keys)
        signature.require(f"the gate's decision on {name}/{number}", keys)
        if keys.public and keys.private is None:
            raise ConfigError(
                f"public keys are declared, so an approval counts only if it is signed: set {PRIVATE_KEY_VARIABLE}"
            )
        decision = GateDecision.from_json(record)
        champion = None if seen.champion is None else f"{name}/{seen.champion}"
        if seen.champion == number:
            raise RegistryError(f"{name}/{number} is the champion already")
        if decision.outcome == "failed":
            failed = "; ".join(verdict.reason for verdict in decision.verdicts if verdict.status == "failed")
            raise RegistryError(
                f"{name}/{number} did not meet its gate, and an approval does not replace a rule: {failed}"
            )
        if decision.champion != champion:
            raise RegistryError(
                f"{name}/{number} was compared with {decision.champion or 'no champion'}, and the champion is now "
                f"{champion or 'none'}: run again to compare it, then approve"
            )
        approval = Approval(by, reason, datetime.now(UTC).isoformat(timespec="seconds"), champion)
        signed = sign_record({"model": f"{name}/{number}", **asdict(approval)}, keys)
        client.set_model_version_tag(name, number, APPROVAL_TAG, json.dumps(signed))
        change = seen.change("approved", number, by=by, reason=reason, run_key=version.tags.get(RUN_KEY_TAG))
        append_change(client, name, change)
        store_decision(client, version, decision.approved(approval), f"approved by {by}: it is the champion", keys)
        return Decided(change, read_decision(decision_file(version), f"{name}/{number}", keys)[1])


def _look_first(name: str) -> str:
    """What to do where it is not known whether a change was made; a second rollback would go back further."""
    return f"then look at `r2d history {name}`: start the same command again only where the change is not in it"


def approval_of(version: Any, keys: Keys) -> Approval | None:
    """The approval that a person gave to a version; None where nobody did, and where public keys are declared and none
    of them has signed it."""
    tag = version.tags.get(APPROVAL_TAG)
    if tag is None:
        return None
    record, reference = json.loads(tag), f"{version.name}/{version.version}"
    signature = _signature_of(record, reference, keys)
    if keys.public and not signature.is_checked:
        logger.warning("%s: the approval by %s does not count: %s", reference, record["by"], signature)
        return None
    return Approval(**{name: record[name] for name in ("by", "reason", "at", "champion")})


def decision_file(version: Any) -> Path:
    """Path of the record of the gate's decision on a version, copied here if it is remote."""
    import mlflow

    place = mlflow.MlflowClient().get_run(version.run_id).info.artifact_uri  # of `runs:/` even a local file is copied
    return Path(mlflow.artifacts.download_artifacts(f"{place}/{DECISION_FILE}"))


def read_decision(path: Path, reference: str, keys: Keys) -> tuple[dict[str, Any], Signature]:
    """The record of the gate's decision on the version `name/version`, and what its signature is.

    Raises:
        RegistryError: the file holds no such record.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        GateDecision.from_json(record)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RegistryError(f"{path}: this is no record of the gate's decision on {reference}") from error
    return record, _signature_of(record, reference, keys)


def _signature_of(record: Mapping[str, object], reference: str, keys: Keys) -> Signature:
    """What the signature of a record about a version is; one of another version's record is wrong."""
    signature = record_signature(record, keys)
    if signature.key_id is not None and record.get("model") != reference:
        return replace(signature, is_checked=False, fault=f"it is of {record.get('model')}")
    return signature


def store_decision(
    client: MlflowClient, version: Any, decision: GateDecision, consequence: str, keys: Keys
) -> tuple[str, Image]:
    """Store the decision of the gate with the run of a version as JSON, signed where a private key is declared, as page
    and as picture; return page and picture.

    Args:
        consequence: what the decision has done to the aliases, in a sentence.
    """
    name, number = version.name, str(version.version)
    picture = gate_picture(decision)
    metrics = Metrics.from_json(json.loads(registered_file(version, "metrics").read_text(encoding="utf-8")))
    seen = _read_history(client, name)
    rollback = seen.rollback_command(name, version_numbers(client, name)) if seen.champion == number else None
    with pages_of(of_version(version)):
        page = gate_page(
            decision, model_name=name, version=number, next_step=consequence, metrics=metrics, rollback=rollback
        )
    about = {"model": f"{name}/{number}", "model_sha256": version.tags.get(MODEL_TAG), "what_follows": consequence}
    client.log_dict(version.run_id, sign_record(decision.to_json() | about, keys), DECISION_FILE)
    client.log_text(version.run_id, page, PAGE_FILE)
    client.log_image(version.run_id, picture, "gate/picture.png")
    set_tag(client, version, "r2d.gate", "; ".join(decision.reasons()))
    return page, picture
