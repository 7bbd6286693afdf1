"""Which version is the champion, and how it came to be: a history of changes from which the aliases follow.

The registry appends changes one by one and numbers them, so that two writers always see them in one order. A change
names the last one that its writer had seen. Where two writers build on the same change, the first of them counts and
the other never happened: nobody moves an alias in ignorance of another move. The aliases are drawn from the history,
and may be drawn again at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from r2d.gate.decision import GateDecision

CHAMPION, CHALLENGER = "champion", "challenger"

Action = Literal["found", "promoted", "approved", "rolled_back", "challenged"]
"""`found`: the alias was there before the history began. `promoted` by the gate, `approved` by a person: the new
champion. `rolled_back`: the champion before it again. `challenged`: met the rules, and waits as challenger."""


@dataclass(frozen=True)
class AliasChange:
    """One change, in the order of the registry."""

    number: int
    after: int
    """Number of the change that its writer had seen last; 0 at the beginning."""
    action: Action
    version: str | None
    """The version that has the alias from now on; None: no version is champion any more."""
    before: str | None
    """The champion of the moment before."""
    by: str
    reason: str
    at: str
    """Time in UTC, ISO 8601."""
    run_key: str | None = None
    """Of the run that made the version, where a run or its approval was the cause."""


@dataclass(frozen=True)
class AliasHistory:
    """The changes that count, oldest first."""

    changes: tuple[AliasChange, ...] = ()

    @classmethod
    def of(cls, written: Iterable[AliasChange]) -> AliasHistory:
        """Leaves out each change whose writer had not seen the one before it."""
        counted: list[AliasChange] = []
        for change in sorted(written, key=lambda one: one.number):
            if change.after == (counted[-1].number if counted else 0):
                counted.append(change)
        return cls(tuple(counted))

    @property
    def head(self) -> int:
        """Number of the last change; 0 where there is none."""
        return self.changes[-1].number if self.changes else 0

    @property
    def champion(self) -> str | None:
        moves = [change for change in self.changes if change.action != "challenged"]
        return moves[-1].version if moves else None

    @property
    def challenger(self) -> str | None:
        """The last version that met the rules and waits; none once it, or a later version, is the champion."""
        last = next((change for change in reversed(self.changes) if change.action != "rolled_back"), None)
        return last.version if last is not None and last.action == "challenged" else None

    @cached_property
    def _line(self) -> list[str]:
        """The champions that a rollback goes back through, the present one last."""
        line: list[str] = []
        for change in self.changes:
            if change.action == "rolled_back":
                while line and line[-1] != change.version:
                    line.pop()
            elif change.action != "challenged" and change.version is not None:
                line.append(change.version)
        return line

    def previous_champion(self, existing: Iterable[str]) -> str | None:
        """The champion before the present one, of those that are still registered; None: there was none."""
        known = set(existing)
        return next((version for version in reversed(self._line[:-1]) if version in known), None)

    def rolled_back(self, version: str) -> AliasChange | None:
        """The change that took the alias from this version because a person went back; None where its last loss of it
        was to a better one, or it never had it."""
        losses = [c for c in self.changes if c.before == version != c.version and c.action != "challenged"]
        last = losses[-1] if losses else None
        return last if last is not None and last.action == "rolled_back" else None

    def promotion_of(self, version: str | None) -> AliasChange | None:
        """The last change that made this version the champion by a run."""
        made = [c for c in self.changes if c.version == version and c.action in ("promoted", "approved")]
        return made[-1] if made else None

    def as_facts(self) -> list[dict[str, Any]]:
        """The changes as JSON values, oldest first."""
        return [vars(change) for change in self.changes]


@dataclass(frozen=True)
class WhatFollows:
    """What a decision of the gate means for a version."""

    action: Literal["promote", "challenge", "none"]
    reason: str


def what_follows(decision: GateDecision, history: AliasHistory, *, name: str, version: str) -> WhatFollows:
    """Whether a version gets an alias, and why: the gate must be passed, against the champion of this moment."""
    champion = None if history.champion is None else f"{name}/{history.champion}"
    compared = decision.champion or "no champion"
    withdrawn = history.rolled_back(version)
    if history.champion == version:
        return WhatFollows("none", "it is the champion already; nothing moves")
    if decision.outcome == "failed":
        return WhatFollows("none", f"it did not pass the gate; {_stays(champion)}")
    if withdrawn is not None:
        return WhatFollows(
            "none",
            f"{withdrawn.by} rolled it back ({withdrawn.reason}); only a person brings it back, by r2d approve",
        )
    if decision.champion != champion:
        return WhatFollows(
            "challenge",
            f"it was compared with {compared}, and the champion is now {champion or 'none'}: it is the challenger; "
            "run again to compare it",
        )
    if decision.outcome == "waiting":
        return WhatFollows("challenge", f"it is the challenger until a person approves it; {_stays(champion)}")
    instead = "it is the first champion" if champion is None else f"it is the champion in place of {champion}"
    return WhatFollows("promote", f"it passed the gate: {instead}")


def _stays(champion: str | None) -> str:
    return "there is no champion" if champion is None else f"{champion} stays champion"
