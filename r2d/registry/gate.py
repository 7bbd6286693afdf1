"""The gate: what a model must beat before it is given an alias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r2d.config import GateConfig
from r2d.evaluation.baselines import FREQUENT_OPTION, LINEAR_BASELINE, MAJORITY_CLASS, RANDOM_OPTION
from r2d.evaluation.label_metrics import HEADLINES, headline_of


@dataclass(frozen=True)
class Rule:
    """One rule of the gate with the figures that decided it."""

    name: str
    value: float
    threshold: float
    figure: str = "macro-F1"

    @property
    def passed(self) -> bool:
        return self.value > self.threshold

    def sentence(self) -> str:
        verb = "is above" if self.passed else "is NOT above"
        return f"{self.figure} {self.value:.3f} {verb} that of {self.name}, {self.threshold:.3f}"


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
    """Hold the metrics of `r2d.evaluation.evaluate` against the configured rules.

    Where each row has options of its own, the figure is accuracy and the baselines are those of options.
    """
    key = headline_of(metrics["label"])
    simple, learnt = (MAJORITY_CLASS, LINEAR_BASELINE) if key == "macro_f1" else (RANDOM_OPTION, FREQUENT_OPTION)
    asked = {simple: config.beat_majority_class, learnt: config.beat_linear_baseline}
    value = float(metrics["label"][key])
    return GateDecision(
        tuple(
            Rule(name, value, float(metrics["baselines"][name][key]), HEADLINES[key])
            for name, wanted in asked.items()
            if wanted
        )
    )
