"""The ledger of looks: every evaluation on a test set, and every decision of the gate by it.

A test set is known by the hash of its rows, whatever model is measured on it and wherever its file lies. Each look is a
version, with tags alone, of a model of its own in the registry, `test-set-HASH.looks`, as the changes of aliases are:
every store numbers new versions one at a time, so of two writers none overwrites the other. A look is written before
the figures are seen.
"""

from __future__ import annotations

import getpass
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlops.registry.versions import ensure_model, find_versions, registry_client, require_model
from r2d.evaluation.looks import CountLook, TestSetUse
from r2d.modeling.manifest import MANIFEST_FILE, model_hashes
from r2d.registered import LOOKS_SUFFIX

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOOK_TAG = "r2d.look."
Purpose = Literal["evaluation", "gate"]
"""`evaluation`: figures were measured, by a run or by `r2d evaluate`. `gate`: they decided about an alias."""


@dataclass(frozen=True)
class Look:
    """One look at a test set."""

    test_set: str
    """SHA-256, `hash_of_test_set`."""
    purpose: Purpose
    model: str
    """`name/version`, or what the person named; of a run before registration, the name it will have."""
    model_sha256: str
    by: str
    """The person; `gate` for a decision."""
    champion: str | None = None
    """What it was compared with, `name/version`; None too where it could not be compared."""
    outcome: str | None = None
    """Of the gate."""
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """Time in UTC, ISO 8601."""
    number: int = 0
    """Given by the registry, rising; 0 until it is written."""


def write_look(client: MlflowClient, look: Look) -> list[Look]:
    """Write a look down, and return every look at that test set. A decision of the gate that was written before, of the
    same version, champion and outcome, is not written again: a repeated run decides nothing new."""
    if look.purpose == "gate":
        looks = read_looks(client, look.test_set)
        if any(replace(earlier, at="", number=0) == replace(look, at="", number=0) for earlier in looks):
            return looks
    name = _ledger_name(look.test_set)
    ensure_model(client, name, "Looks at a test set, one a version. It holds no model.")
    values = {key: value for key, value in asdict(look).items() if value is not None and key != "number"}
    client.create_model_version(
        name,
        f"test-set:/{look.test_set}",
        tags={LOOK_TAG + key: str(value) for key, value in values.items()},
        description=f"{look.purpose} of {look.model} by {look.by}",
    )
    return read_looks(client, look.test_set)


def read_looks(client: MlflowClient, test_set: str | None = None) -> list[Look]:
    """The looks at one test set, or at all, the oldest first."""
    condition = f"name LIKE '%{LOOKS_SUFFIX}'" if test_set is None else f"name = '{_ledger_name(test_set)}'"
    looks = []
    for version in find_versions(client, condition):
        tags = {key.removeprefix(LOOK_TAG): tag for key, tag in version.tags.items() if key.startswith(LOOK_TAG)}
        values: dict[str, Any] = {"champion": None, "outcome": None} | tags
        looks.append(Look(**values, number=int(version.version)))
    return sorted(looks, key=lambda look: (look.at, look.test_set, look.number))


def use_of(test_set: str, looks: Sequence[Look]) -> TestSetUse:
    return TestSetUse(test_set, len(looks), len({look.model_sha256 for look in looks}))


def look_counter(model: str, folder: Path) -> CountLook:
    """A function that writes a look by the present user down, for `r2d.evaluation.evaluate`.

    Args:
        model: its name, and `folder` where it lies.
    """
    model_sha256 = weights_hash(folder)

    def count_look(test_set: str, compared_with: str | None) -> TestSetUse:
        with registry_client("writing down that the test set was looked at") as client:
            look = Look(test_set, "evaluation", model, model_sha256, user_name() or "unknown", compared_with)
            return use_of(test_set, write_look(client, look))

    return count_look


def weights_hash(folder: Path) -> str:
    """SHA-256 of a model folder without what an evaluation leaves in it, so that a model counts once."""
    from r2d.modeling.model_folder import CALIBRATION_FILE
    from r2d.modeling.reference import REFERENCE_FILE  # loads pyarrow, which a quick command must not

    left_behind = (CALIBRATION_FILE, REFERENCE_FILE, MANIFEST_FILE)
    hashes = {name: sha256 for name, sha256 in model_hashes(folder).items() if name not in left_behind}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def all_looks(name: str | None = None) -> list[Look]:
    """Every look at every test set, the oldest first.

    Args:
        name: of a registered model; then only test sets that a version of it was measured on.
    """
    with registry_client("reading the looks at test sets") as client:
        if name is not None:
            require_model(client, name)
        looks = read_looks(client)
    of_model = {look.test_set for look in looks if name is None or look.model.split("/")[0] == name}
    return [look for look in looks if look.test_set in of_model]


def user_name() -> str:
    """The user who is logged in; empty where the system knows none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _ledger_name(test_set: str) -> str:
    return f"test-set-{test_set[:16]}{LOOKS_SUFFIX}"
