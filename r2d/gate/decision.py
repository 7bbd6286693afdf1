"""The decision of the gate as plain values: it is stored, shown, and read again when a person approves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from pydantic import TypeAdapter

from r2d.evaluation.looks import TestSetUse
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.gate.power import Power

Status = Literal["passed", "failed", "waiting", "not_applicable"]

COLD_START = "there is no champion: this is the first model, and it is compared with none"
NO_RULES = "no rule was asked for"
NO_POWER = "there is no interval, so how often it passes or refuses by chance alone is not known"
NEXT_STEPS = {
    "not_shown": "it may be better than the baseline, and these test rows are too few to show it: add labelled rows, "
    "or give more of them to the test (data.split.test_fraction)",
    "not_better": "the baseline does as well or better: add labelled rows, train for more steps while the validation "
    "loss still falls (stage1.max_steps, stage2.max_steps; see the curves), or start from a pretrained T5 "
    "(model.name: google-t5/t5-small, with the sizes of configs/paper.yaml)",
    "champion": "the champion stays; r2d diff of it and this version shows what changed, and by how much each metric "
    "moved. Where it is as good, these test rows may be too few to show it: r2d plan of its YAML says how many can",
    "limit": "a limit is not kept: read those rows in the report, and change the data or the training; what is "
    "tolerable is for clinicians to say",
}
"""Why a rule was not met -> what its owner can do."""
NEXT_STEPS_PAGE = "docs/tutorial.md#if-the-gate-refuses"
NO_SHARES = (
    "macro_f1", "weighted_f1", "net_benefit_gain", "bertscore_f1", "rouge_l", "bleu", "chrf", "ece_equal_mass", "brier",
)  # fmt: skip
"""Metrics that are not the share of something."""


def amount(figure: str, value: float, *, is_difference: bool = False, is_declared: bool = False) -> str:
    """A value of a metric as people say it: a share in percent, a difference of them in points, others as they are; one
    that was declared is not rounded."""
    if figure in NO_SHARES:
        return f"{value:.10g}" if is_declared else f"{value:.3f}".rstrip("0").rstrip(".")
    percent = f"{100 * value:.10g}" if is_declared else f"{100 * value:.1f}".removesuffix(".0")
    return percent + (" points" if is_difference or figure.endswith("_minus_raters") else " %")


@dataclass(frozen=True)
class ComparedSlice:
    """A slice in which this model was compared with the champion."""

    by: str
    value: str
    num_rows: int
    difference: IntervalEstimate
    """This model minus the champion."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The outcome of one rule."""

    rule: Mapping[str, object] = field(default_factory=dict)
    """As declared."""
    status: Status
    """`waiting`: a person is asked. `not_applicable`: there is nothing to compare with."""
    reason: str
    """One sentence with the numbers."""
    asks: str = ""
    """What the rule asks, in plain words; empty in an older decision."""
    tests: str = ""
    """What the rule asks, in the words of statistics where it is a test."""
    power: Power | None = None
    """None where nothing was compared, or there is no interval."""
    figure: str = ""
    """Name of the metric; empty where the rule has none."""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    """What the value, or the worse bound, is compared with; in the unit of the metric."""
    higher_is_better: bool = True
    full: float = 1.0
    """The whole, in the unit of the metric."""
    details: tuple[ComparedSlice, ...] = ()
    """Slices behind a rule on slices, the worst first."""

    @property
    def met(self) -> bool:
        return self.status in ("passed", "not_applicable")

    @property
    def next_step(self) -> str:
        """What to do about a rule that is not met, as a sentence; empty for others."""
        if self.status != "failed":
            return ""
        kind = "limit" if self.rule.get("rule") == "within_limit" else "champion"
        if self.rule.get("rule") == "better_than_baseline":
            is_above = None not in (self.value, self.limit) and (self.value or 0.0) > (self.limit or 0.0)
            kind = "not_shown" if is_above else "not_better"
        return NEXT_STEPS[kind]

    @property
    def measured(self) -> str:
        """What was measured, in plain words; `reason` where there is no figure, two figures stand side by side, or one
        is too near the limit to be told from it when rounded."""
        name = str(self.rule.get("rule"))
        beside = name == "better_than_baseline" and self.rule.get("by") == "value"
        figures = [figure for figure in (self.value, self.low, self.high) if figure is not None]
        is_near = self.limit is not None and any(0 < abs(figure - self.limit) < 0.001 for figure in figures)
        if self.value is None or not self.asks or beside or is_near:
            return self.reason
        headline = "accuracy" if self.figure.startswith("accuracy") else "macro_f1"
        figure = str(self.rule.get("figure", headline))

        def shown(value: float) -> str:
            if name == "within_limit":
                return amount(figure, value)
            gap = amount(figure, abs(value), is_difference=True)
            return (
                f"{gap} {'better' if (value > 0) == self.higher_is_better else 'worse'}" if value else "no difference"
            )

        ends = ""
        if self.low is not None and self.high is not None:
            ends = f"; interval {shown(self.low)} to {shown(self.high)}"
        worst = "".join(f"{part.by} = {part.value} ({part.num_rows:,} notes): " for part in self.details[:1])
        return f"{worst and 'the worst group, '}{worst}{shown(self.value)}{ends}"

    @property
    def power_text(self) -> str:
        """How sharp the rule is with these rows, as a sentence; empty where nothing was compared."""
        if self.power is not None:
            return self.power.sentence
        return "" if self.value is None else NO_POWER


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
    remarks: tuple[str, ...] = ()
    """As sentences: what is not measured on purpose, and what is known of the test rows: whether they had been seen in
    training, which labels are rare."""
    test_set: TestSetUse | None = None
    """How often the test set was looked at; None where nobody counts."""
    open_points: tuple[str, ...] = ()
    """What is to do whatever the outcome, as sentences: what the rules leave open, and what helps if no label is
    shown."""
    not_compared: str | None = None
    """Why the model could not be compared with `champion`."""

    @property
    def outcome(self) -> Literal["passed", "failed", "waiting"]:
        """`waiting`: every rule is met but the approval of a person."""
        if any(verdict.status == "failed" for verdict in self.verdicts):
            return "failed"
        return "passed" if all(verdict.met for verdict in self.verdicts) else "waiting"

    @property
    def next_steps(self) -> list[str]:
        """What the owner of a refused model can do, as sentences, and the page that leads through it."""
        steps = list(dict.fromkeys(verdict.next_step for verdict in self.verdicts if verdict.next_step))
        return [*steps, f"more in {NEXT_STEPS_PAGE}"] if steps else []

    @property
    def to_do(self) -> list[str]:
        """What its owner is asked to do, as sentences."""
        return [*self.next_steps, *self.open_points]

    @property
    def compared(self) -> str:
        """With what the model was compared, as a part of a sentence."""
        if self.champion is None:
            return "compared with no other model"
        return f"not compared with {self.champion}" if self.not_compared else f"compared with {self.champion}"

    @property
    def joint_power(self) -> tuple[float, float] | None:
        """Least and largest share of the models that are truly as good as the champion, and pass all rules but the yes
        of a person. Figures of one model rise and fall together, so that the rules pass together at least as often as
        if they were independent, and at most as often as the strictest. None where the share of a rule is not known."""
        compared = [verdict.power for verdict in self.verdicts if verdict.value is not None]
        shares = [power.champion_passes for power in compared if power and power.champion_passes is not None]
        if not shares or len(shares) < len(compared):
            return None
        return math.prod(shares), min(shares)

    @property
    def joint_power_text(self) -> str:
        """`joint_power` as a sentence; empty where it is not known."""
        if self.joint_power is None:
            return ""
        least, largest = (f"{100 * share:.0f}" if share >= 0.005 else "under 1" for share in self.joint_power)
        shown = least if least == largest else f"{least} to {largest}"
        return f"a model that is as good as the champion passes all rules together in {shown} %"

    def reasons(self) -> list[str]:
        """A sentence for each rule, and what a cold start means."""
        reasons = [verdict.reason for verdict in self.verdicts] or [NO_RULES]
        return reasons if self.champion is not None else [*reasons, COLD_START]

    def lines(self) -> list[str]:
        """`reasons`, each with how sharp its rule is; how sharp all rules are together, and how worn the test set."""
        lines = [
            f"{verdict.reason} [{verdict.power_text}]" if verdict.power_text else verdict.reason
            for verdict in self.verdicts
        ]
        lines += self.reasons()[len(lines) :]
        test_set = "" if self.test_set is None else self.test_set.sentence()
        return [*lines, *(line for line in (self.joint_power_text, test_set) if line)]

    def approved(self, approval: Approval) -> GateDecision:
        """The same decision once a person has said yes, in place of one who has said so before."""
        reason = f"approved by {approval.by}: {approval.reason}"
        verdicts = (
            replace(each, status="passed", reason=reason) if each.rule.get("rule") == "human_approval" else each
            for each in self.verdicts
        )
        return replace(self, verdicts=tuple(verdicts))

    def to_json(self) -> dict[str, object]:
        """JSON values; `from_json` reads them."""
        verdicts = TypeAdapter(tuple[Verdict, ...]).dump_python(self.verdicts, mode="json")
        values: dict[str, object] = {
            "outcome": self.outcome,
            "champion": self.champion,
            "remarks": list(self.remarks),
            "reasons": self.reasons(),
            "next_steps": self.next_steps,
            "open_points": list(self.open_points),
            "not_compared": self.not_compared,
            "joint_power": self.joint_power,
            "verdicts": verdicts,
        }
        if self.test_set is not None:
            values["test_set"] = asdict(self.test_set) | {
                "optimism": self.test_set.optimism,
                "sentence": self.test_set.sentence(),
            }
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> GateDecision:
        """Read what `to_json` wrote; an older decision counts no looks, has no open points, and calls the remarks
        `seen`."""
        verdicts = TypeAdapter(tuple[Verdict, ...]).validate_python(values["verdicts"])
        use = values.get("test_set")
        test_set = None if use is None else TypeAdapter(TestSetUse).validate_python(use)
        return cls(
            verdicts,
            values["champion"],
            tuple(values.get("remarks", values.get("seen", ()))),
            test_set,
            tuple(values.get("open_points", ())),
            values.get("not_compared"),
        )
