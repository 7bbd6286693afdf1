"""What the gate and people decided about a version: the record with its signature, approvals and rollbacks."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mlops.registry.aliases import RUN_KEY_TAG, AliasChange, append_change, read_history, reconcile_aliases
from mlops.registry.versions import (
    CHALLENGER,
    MODEL_TAG,
    Reference,
    find_version,
    registered_file,
    registry_client,
    require_model,
    set_tag,
    version_numbers,
)
from r2d.errors import ConfigError, RegistryError
from r2d.gate.decision import Approval, GateDecision
from r2d.signing import PRIVATE_KEY_VARIABLE, Keys, Signature, record_signature, sign_record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from PIL.Image import Image

logger = logging.getLogger(__name__)

APPROVAL_TAG = "r2d.approval"
DECISION_FILE, PAGE_FILE = "gate/decision.json", "gate/page.html"


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
    from mlops.page_origin import of_version
    from r2d.evaluation.metrics import Metrics
    from r2d.gate.page import gate_page, gate_picture
    from r2d.reports.origin import pages_of

    name, number = version.name, str(version.version)
    picture = gate_picture(decision)
    metrics = Metrics.from_json(json.loads(registered_file(version, "metrics").read_text(encoding="utf-8")))
    seen = read_history(client, name)
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
