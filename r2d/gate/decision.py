"""What the gate has decided, as plain values: it is stored, shown and read again when a person approves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Status = Literal["passed", "failed", "waiting", "not_applicable"]

COLD_START = "there is no champion: this is the first model, and it is compared with none"
NO_RULES = "no rule was asked for"


@dataclass(frozen=True)
class Verdict:
    """One rule, held against the figures."""

    rule: Mapping[str, Any]
    """As declared."""
    status: Status
    """`waiting`: a person is asked. `not_applicable`: there is nothing to compare with."""
    reason: str
    """One sentence with the figures."""
    figure: str = ""
    """Name of the figure; empty where the rule has none."""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    """What the value, or the worse bound, is held against; in the unit of the figure."""
    higher_is_better: bool = True
    full: float = 1.0
    """What stands for a whole in the unit of the figure."""
    details: tuple[Mapping[str, Any], ...] = ()
    """Of the slices: by, value, num_rows, difference."""

    @property
    def met(self) -> bool:
        return self.status in ("passed", "not_applicable")


@dataclass(frozen=True)
class Approval:
    """A person's yes to one version, held against one champion."""

    by: str
    reason: str
    at: str
    """Time in UTC, ISO 8601."""
    champion: str | None
    """The champion of that moment, `name/version`."""


@dataclass(frozen=True)
class GateDecision:
    """Every rule that was asked for; the model passes when all are met."""

    verdicts: tuple[Verdict, ...]
    champion: str | None = None
    """What the model was compared with, `name/version`; None at a cold start."""

    @property
    def outcome(self) -> Literal["passed", "failed", "waiting"]:
        """`waiting`: every rule is met but the approval of a person."""
        if any(verdict.status == "failed" for verdict in self.verdicts):
            return "failed"
        return "passed" if all(verdict.met for verdict in self.verdicts) else "waiting"

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"

    def reasons(self) -> list[str]:
        """A sentence for each rule, and what a cold start means."""
        said = [verdict.reason for verdict in self.verdicts] or [NO_RULES]
        return said if self.champion is not None else [*said, COLD_START]

    def approved(self, approval: Approval) -> GateDecision:
        """The same decision once a person has said yes."""
        reason = f"approved by {approval.by}: {approval.reason}"
        return replace(
            self,
            verdicts=tuple(
                replace(verdict, status="passed", reason=reason) if verdict.status == "waiting" else verdict
                for verdict in self.verdicts
            ),
        )

    def as_facts(self) -> dict[str, Any]:
        """JSON values; `from_facts` reads them."""
        verdicts = [asdict(verdict) | {"details": [dict(one) for one in verdict.details]} for verdict in self.verdicts]
        return {"outcome": self.outcome, "champion": self.champion, "reasons": self.reasons(), "verdicts": verdicts}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> GateDecision:
        return cls(
            tuple(Verdict(**{**one, "details": tuple(one["details"])}) for one in facts["verdicts"]),
            facts["champion"],
        )
