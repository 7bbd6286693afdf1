"""The gate: which rules a model has met, on which figures, and whether it may have the alias `champion`."""

from r2d.gate.decision import Approval, GateDecision, Verdict
from r2d.gate.judge import judge

__all__ = ["Approval", "GateDecision", "Verdict", "judge"]
