"""The record of erasures: who was forgotten, as keyed hashes, what was removed, and what stays and why.

Each erasure is a version, with tags alone, of a model of its own in the registry, as the looks at a test set are. Every
run and command that reads data adds the hashes to `data.forgotten`, so that the rows stay out from then on. A version
that stays holds a retraining open: `r2d retrain` trains where it is the champion.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops.registry.versions import ensure_model, find_versions, registry_client
from r2d.data.forgotten import Forgotten, forgotten_entry, new_key
from r2d.registered import FORGOTTEN_SUFFIX

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from r2d.config.run import RunConfig

ERASURES = f"groups{FORGOTTEN_SUFFIX}"
ERASURE_TAG = "r2d.erasure."


@dataclass(frozen=True)
class Erasure:
    """What was done for one person, without the name."""

    entries: tuple[str, ...]
    """Of the group and of the ids of its rows (`r2d.data.forgotten.forgotten_entry`)."""
    num_rows: int
    removed: Mapping[str, int]
    """Kind, as in `mlops.kept.Kind`, -> how many."""
    versions_removed: tuple[str, ...]
    """`name/version`."""
    versions_kept: tuple[str, ...]
    kept: Mapping[str, str]
    """Place -> why it stays, versions among them."""
    by: str
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """Time in UTC, ISO 8601."""
    number: int = 0
    """Given by the registry, rising; 0 until it is written."""


def write_erasure(client: MlflowClient, erasure: Erasure) -> None:
    ensure_model(client, ERASURES, "People that were forgotten, as keyed hashes, one a version. It holds no model.")
    values = {key: value for key, value in asdict(erasure).items() if key != "number"}
    client.create_model_version(
        ERASURES,
        f"erasure:/{erasure.at}",
        tags={ERASURE_TAG + key: json.dumps(value) for key, value in values.items()},
        description=f"{sum(erasure.removed.values())} removed, {len(erasure.kept)} kept",
    )


def read_erasures(client: MlflowClient) -> list[Erasure]:
    """Every erasure, the oldest first."""
    erasures = []
    for version in find_versions(client, f"name = '{ERASURES}'"):
        values: dict[str, Any] = {
            key.removeprefix(ERASURE_TAG): json.loads(tag)
            for key, tag in version.tags.items()
            if key.startswith(ERASURE_TAG)
        }
        for name in ("entries", "versions_removed", "versions_kept"):
            values[name] = tuple(values[name])
        erasures.append(Erasure(**values, number=int(version.version)))
    return erasures


def forgotten_entries(erasures: list[Erasure]) -> tuple[str, ...]:
    return tuple(sorted({entry for erasure in erasures for entry in erasure.entries}))


def entries_of(names: list[str], erasures: list[Erasure]) -> tuple[str, ...]:
    """The entries of some names, by the key of the earlier ones, so that a name has one entry."""
    known = forgotten_entries(erasures)
    key = known[0].partition(":")[0] if known else new_key()
    return tuple(sorted(forgotten_entry(name, key) for name in names))


def entries_of_person(name: str, erasures: list[Erasure]) -> tuple[str, ...]:
    """Every entry of the erasures in which a group, or the id of a row, stands."""
    own = [erasure for erasure in erasures if Forgotten(frozenset(erasure.entries)).holds(name)]
    return forgotten_entries(own)


def all_erasures() -> list[Erasure]:
    """Every erasure in the registry, the oldest first."""
    with registry_client("reading whose data must not be used any more") as client:
        return read_erasures(client)


def without_forgotten(run: RunConfig) -> RunConfig:
    """`run` with the forgotten of the registry in `data.forgotten`. Called on the client, before anything is read."""
    entries = tuple(sorted({*run.data.forgotten, *forgotten_entries(all_erasures())}))
    return run.model_copy(update={"data": run.data.model_copy(update={"forgotten": entries})})
