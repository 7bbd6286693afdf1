"""The decision of the gate as a page for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from r2d.gate.decision import COLD_START, NO_RULES, GateDecision
from r2d.gate.picture import TITLES, WORDS
from r2d.reports import render

if TYPE_CHECKING:
    from PIL.Image import Image


def gate_page(decision: GateDecision, picture: Image, *, model_name: str, version: str, what_follows: str) -> str:
    """The page as HTML text: what was decided, each rule with its figures, and the slices behind a rule on slices.

    Args:
        picture: `gate_picture` of the decision.
        what_follows: what the decision has done to the aliases, as a sentence.
    """
    return render(
        "r2d.gate",
        "page.html.j2",
        title=f"Gate: {model_name} version {version}",
        decision=decision,
        verdict_title=TITLES[decision.outcome],
        what_follows=what_follows,
        words=WORDS,
        rules=[_declared(verdict.rule) for verdict in decision.verdicts],
        cold_start=COLD_START,
        no_rules=NO_RULES,
        picture=picture if decision.verdicts else None,
    )


def _declared(rule: Mapping[str, Any]) -> str:
    """The rule as it stands in the YAML, on one line."""
    return "{" + ", ".join(f"{name}: {value}" for name, value in rule.items()) + "}"
