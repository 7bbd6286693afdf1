"""The gate: what a model must beat before it is given an alias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r2d.config import GateConfig
from r2d.evaluation.baselines import LINEAR_BASELINE, MAJORITY_CLASS


@dataclass(frozen=True)
class Rule:
    """One rule of the gate with the figures that decided it."""

    name: str
    value: float
    threshold: float

    @property
    def passed(self) -> bool:
        return self.value > self.threshold

    def sentence(self) -> str:
        verb = "is above" if self.passed else "is NOT above"
        return f"macro-F1 {self.value:.3f} {verb} that of {self.name}, {self.threshold:.3f}"


@dataclass(frozen=True)
class GateDecision:
    """Every rule that was asked for; the model passes when all do."""

    rules: tuple[Rule, ...]

    @property
    def passed(self) -> bool:
        return all(rule.passed for rule in self.rules)

    def reasons(self) -> list[str]:
        return [rule.sentence() for rule in self.rules] or ["no rule was asked for"]


def judge(metrics: Mapping[str, Any], config: GateConfig) -> GateDecision:
    """Hold the metrics of `r2d.evaluation.evaluate` against the configured rules."""
    asked = {MAJORITY_CLASS: config.beat_majority_class, LINEAR_BASELINE: config.beat_linear_baseline}
    value = float(metrics["label"]["macro_f1"])
    return GateDecision(
        tuple(
            Rule(name, value, float(metrics["baselines"][name]["macro_f1"])) for name, wanted in asked.items() if wanted
        )
    )
