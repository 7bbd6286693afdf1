"""`r2d retention`: removes what is older than declared, kind by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mlops.kept import KINDS, Kept, kept_artifacts, kept_cases, kept_versions, kept_work, weights_in_use
from mlops.registry.versions import registry_client
from r2d.config.jobs import RetentionConfig


@dataclass(frozen=True)
class Kindwise:
    """What is kept of one kind."""

    kind: str
    days: float | None
    """As declared; None: kept for ever."""
    num_kept: int
    expired: Sequence[Kept]
    in_use: Sequence[Kept]
    """Old enough, and kept all the same."""

    def line(self, *, is_done: bool) -> str:
        if self.days is None:
            return f"{self.kind}: {self.num_kept:,} kept, no period is declared"
        verb = "removed" if is_done else "would be removed"
        used = f", {len(self.in_use):,} older ones in use" if self.in_use else ""
        return f"{self.kind}: {len(self.expired):,} of {self.num_kept:,} {verb}, older than {self.days:g} days{used}"


def what_expires(config: RetentionConfig, now: datetime) -> list[Kindwise]:
    """Of each kind what is too old at this time."""
    with registry_client("looking for what is too old") as client:
        versions = list(kept_versions(client))
        pieces = [*versions, *kept_artifacts(weights_in_use(versions)), *kept_cases(client), *kept_work()]
    kinds = []
    for kind in KINDS:
        days = getattr(config, kind)
        own = [piece for piece in pieces if piece.kind == kind]
        old = [piece for piece in own if days is not None and now - piece.made_at > timedelta(days=days)]
        expired = [piece for piece in old if piece.in_use is None]
        kinds.append(Kindwise(kind, days, len(own), expired, [piece for piece in old if piece.in_use is not None]))
    return kinds


def remove_expired(kinds: Sequence[Kindwise]) -> None:
    with registry_client("removing what is too old"):
        for kind in kinds:
            for piece in kind.expired:
                piece.remove()
