"""Where a figure of a rule stands in the metrics of a run, and how it is written in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r2d.config.gate import FIGURES, GateFigure, NotWorseThanChampion, WithinLimit


@dataclass(frozen=True)
class Measured:
    """A figure or a difference, with its interval where it has one."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, found: Mapping[str, Any] | None, *, always_defined: bool = True) -> Measured | None:
        """From value, low and high of `r2d.evaluation.statistics`.

        A figure that every resample defines and that still has no interval was the same in all of them, as the
        difference of two models that decide alike is: then both bounds are the value.
        """
        if not found:
            return None
        if found["low"] is None and always_defined:
            return cls(found["value"], found["value"], found["value"])
        return cls(found["value"], found["low"], found["high"])

    def worse_bound(self, known: GateFigure) -> float | None:
        return self.low if known.higher_is_better else self.high

    def shown(self, *, signed: bool = False) -> str:
        """`0.520 (0.500 to 0.540)`"""
        sign = "+" if signed else ""
        if self.low is None or self.high is None:
            return f"{self.value:{sign}.3f}"
        if self.low == self.high:
            return f"{self.value:{sign}.3f} (the same in every resample)"
        return f"{self.value:{sign}.3f} ({self.low:{sign}.3f} to {self.high:{sign}.3f})"


def figure_of(rule: WithinLimit, metrics: Mapping[str, Any]) -> Measured | None:
    """The figure of the model; None where this run did not measure it."""
    section, name = FIGURES[rule.figure].section, rule.figure
    intervals = metrics.get("intervals") or {}
    if section == "class":
        return Measured.of(_of_label(intervals, rule), always_defined=False)
    if section == "alignment":
        return Measured((metrics.get("alignment") or {}).get(name))
    if section == "calibration":
        calibration = metrics.get("calibration")
        return None if calibration is None else Measured(calibration["after"][name])
    if section == "rationale":
        rationale = metrics.get("rationale")
        if rationale is None:
            return None
        with_interval = rationale.get("intervals", {}).get("all", {}).get(name)
        return Measured.of(with_interval) or Measured(rationale["populations"]["all"].get(name))
    return Measured.of(intervals.get(name)) or Measured(metrics["label"].get(name))


def difference_of(
    rule: NotWorseThanChampion, metrics: Mapping[str, Any], champion: Mapping[str, Any]
) -> Measured | None:
    """The figure of the model minus that of the champion, paired where both were resampled together."""
    section, name = FIGURES[rule.figure].section, rule.figure
    paired = (metrics.get("differences") or {}).get("champion") or {}
    if section == "class":
        defined = (_of_label(metrics.get("intervals") or {}, rule) or {}).get("low") is not None
        return Measured.of(_of_label(paired, rule), always_defined=defined)
    if section in ("alignment", "rationale"):
        own = metrics.get(section) or {}
        one = own["populations"]["all"].get(name) if section == "rationale" and own else own.get(name)
        other = (champion.get(section) or {}).get(name)
        return None if one is None or other is None else Measured(one - other)
    if paired:
        return Measured.of(paired.get(name))
    one, other = metrics["label"].get(name), (champion.get("label") or {}).get(name)
    return None if one is None or other is None else Measured(one - other)


def _of_label(figures: Mapping[str, Any], rule: WithinLimit | NotWorseThanChampion) -> Mapping[str, Any] | None:
    """Recall or precision of one label; few gold rows leave it undefined in many resamples, and without interval."""
    found: Mapping[str, Any] | None = figures.get("per_class", {}).get(rule.label, {}).get(rule.figure)
    return found


def alike(one: float, other: float, *, signed: bool = False) -> tuple[str, str]:
    """Two figures with the same digits: as many as it takes to see which is greater."""
    sign = "+" if signed else ""
    for digits in (3, 4, 6, 9):
        first, second = f"{one:{sign}.{digits}f}", f"{other:{sign}.{digits}f}"
        if first != second or one == other:
            break
    return first, second
