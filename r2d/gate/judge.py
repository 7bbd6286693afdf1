"""Hold the metrics of a model against the rules of the gate. Pure: metrics, rules and an approval in, a decision out.

A rule whose figure was not measured is not met: a gate that cannot see must not open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from r2d.config.gate import (
    FIGURES,
    AnyRule,
    BetterThanBaseline,
    GateConfig,
    GateFigure,
    HumanApproval,
    NoSliceWorseThanChampion,
    NotWorseThanChampion,
    WithinLimit,
)
from r2d.evaluation.baselines import FREQUENT_OPTION, LINEAR_BASELINE, MAJORITY_CLASS, RANDOM_OPTION
from r2d.evaluation.label_metrics import HEADLINES, headline_of
from r2d.gate.decision import Approval, GateDecision, Status, Verdict
from r2d.gate.measured import Measured, alike, difference_of, figure_of

BASELINES = {
    ("macro_f1", "simple"): MAJORITY_CLASS,
    ("macro_f1", "learnt"): LINEAR_BASELINE,
    ("accuracy", "simple"): RANDOM_OPTION,
    ("accuracy", "learnt"): FREQUENT_OPTION,
}
NO_CHAMPION = "there is no champion to compare with"


def judge(metrics: Mapping[str, Any], config: GateConfig, approval: Approval | None = None) -> GateDecision:
    """Hold the metrics of `r2d.evaluation.evaluate` against the configured rules.

    Args:
        approval: what a person has said of this version; it counts only for the champion it was given against.
    """
    champion = metrics.get("champion")
    reference = None if champion is None else str(champion["reference"])
    if approval is not None and approval.champion != reference:
        approval = None
    verdicts = [_verdict(rule, metrics) for rule in config.rules]
    decision = GateDecision(tuple(verdicts), reference)
    return decision if approval is None else decision.approved(approval)


def _verdict(rule: AnyRule, metrics: Mapping[str, Any]) -> Verdict:
    if isinstance(rule, HumanApproval):
        return Verdict(_declared(rule), "waiting", "waits for the approval of a person (r2d approve)")
    if isinstance(rule, BetterThanBaseline):
        return _better_than_baseline(rule, metrics)
    if isinstance(rule, WithinLimit):
        return _within_limit(rule, metrics)
    champion = metrics.get("champion")
    title = _title(rule)
    if champion is None:
        return Verdict(_declared(rule), "not_applicable", f"{title}: {NO_CHAMPION}", title)
    if champion.get("not_compared"):
        return _not_met(rule, title, f"cannot be compared with {champion['reference']}: {champion['not_compared']}")
    if isinstance(rule, NotWorseThanChampion):
        return _not_worse(rule, metrics, champion)
    return _no_slice_worse(rule, metrics, champion)


def _better_than_baseline(rule: BetterThanBaseline, metrics: Mapping[str, Any]) -> Verdict:
    key = headline_of(metrics["label"])
    name, title = BASELINES[key, rule.baseline], HEADLINES[key]
    if name not in metrics["baselines"]:
        return _not_met(rule, title, f"that of {name} was not measured: there are no training rows")
    value, other = float(metrics["label"][key]), float(metrics["baselines"][name][key])
    if rule.by == "value":
        met = value > other
        one, two = alike(value, other)
        reason = f"{title} {one} is {_not(met)}above that of {name}, {two}"
        return Verdict(_declared(rule), _status(met), reason, f"{title}, limit: {name}", value=value, limit=other)
    difference = Measured.of((metrics.get("differences") or {}).get(name, {}).get(key))
    if difference is None or difference.low is None or difference.value is None:
        return _not_met(rule, title, f"the difference to {name} has no interval")
    met = difference.low > 0
    reason = f"{title} minus that of {name}: {difference.shown()}; its lower bound is {_not(met)}above 0"
    return Verdict(
        _declared(rule), _status(met), reason, f"{title} minus {name}",
        value=difference.value, low=difference.low, high=difference.high, limit=0.0,
    )  # fmt: skip


def _within_limit(rule: WithinLimit, metrics: Mapping[str, Any]) -> Verdict:
    known, title = FIGURES[rule.figure], _title(rule)
    measured = figure_of(rule, metrics)
    if measured is None or measured.value is None:
        return _not_met(rule, title, "was not measured, so the limit cannot be kept")
    held: float | None = measured.value
    if _by_interval(rule, measured, metrics):
        held = measured.worse_bound(known)
    if held is None:
        return _not_met(rule, title, f"{measured.value:.3f} has no interval to hold against the limit")
    met = held >= rule.limit if known.higher_is_better else held <= rule.limit
    one, two = alike(held, rule.limit)
    what = "" if held == measured.value else f"{'lower' if known.higher_is_better else 'upper'} bound "
    side = "at least" if known.higher_is_better else "at most"
    said = f"{title} {measured.shown()}: {what}{one} is {_not(met)}{side} {two}"
    return _judged(rule, known, title, met, said, measured, rule.limit)


def _not_worse(rule: NotWorseThanChampion, metrics: Mapping[str, Any], champion: Mapping[str, Any]) -> Verdict:
    known, title = FIGURES[rule.figure], _title(rule)
    difference = difference_of(rule, metrics, champion)
    named = f"{title} minus that of {champion['reference']}"
    if difference is None or difference.value is None:
        return _not_met(rule, title, f"was not measured for both this model and {champion['reference']}")
    held: float | None = difference.value
    if _by_interval(rule, difference, metrics):
        held = difference.worse_bound(known)
    if held is None:
        return _not_met(rule, title, f"the difference to {champion['reference']} has no interval")
    limit = 0.0 - rule.margin if known.higher_is_better else rule.margin
    met = held >= limit if known.higher_is_better else held <= limit
    one, two = alike(held, limit, signed=True)
    what = "it" if held == difference.value else f"{'lower' if known.higher_is_better else 'upper'} bound {one}"
    side = "at least" if known.higher_is_better else "at most"
    said = f"{named}: {difference.shown(signed=True)}; {what} is {_not(met)}{side} {two}"
    return _judged(rule, known, f"{title} minus champion's", met, said, difference, limit)


def _no_slice_worse(rule: NoSliceWorseThanChampion, metrics: Mapping[str, Any], champion: Mapping[str, Any]) -> Verdict:
    known, title = FIGURES[rule.figure], f"worst slice, {FIGURES[rule.figure].name} minus champion's"
    if metrics.get("champion_slices") is None:
        return _not_met(rule, title, "no slice was measured")
    compared = [
        {name: one[name] for name in ("by", "value", "num_rows")} | {"difference": one["difference"][rule.figure]}
        for one in metrics["champion_slices"]
        if one["num_rows"] >= rule.min_rows and (one["difference"].get(rule.figure) or {}).get("value") is not None
    ]
    if not compared:
        reason = f"no slice of {rule.min_rows} rows or more has {known.name} of both models"
        return Verdict(_declared(rule), "not_applicable", reason, title)
    sign = 1 if known.higher_is_better else -1
    compared.sort(key=lambda one: sign * one["difference"]["value"])
    worse = [one for one in compared if sign * one["difference"]["value"] < -rule.margin]
    worst = compared[0]
    difference = Measured.of(worst["difference"])
    assert difference is not None  # slices without a value were left out
    said = (
        f"of {len(compared)} slices of {rule.min_rows} rows or more {len(worse) or 'none'} "
        f"{'is' if len(worse) < 2 else 'are'} worse than {champion['reference']} by more than {rule.margin:.3f} in "
        f"{known.name}; the worst is {worst['by']} = {worst['value']} ({worst['num_rows']:,} rows): "
        f"{difference.shown(signed=True)}"
    )
    verdict = _judged(rule, known, title, not worse, said, difference, 0.0 - sign * rule.margin)
    return replace(verdict, details=tuple(worse or compared[:1]))


def _by_interval(rule: WithinLimit | NotWorseThanChampion, measured: Measured, metrics: Mapping[str, Any]) -> bool:
    """As declared; by default by the interval, where this run measures intervals of the figure."""
    if rule.by is not None:
        return rule.by == "interval"
    known = FIGURES[rule.figure]
    if isinstance(rule, NotWorseThanChampion) and known.section == "rationale":
        return False
    return known.has_interval and (known.section == "rationale" or bool(metrics.get("intervals")))


def _judged(
    rule: AnyRule, known: GateFigure, title: str, met: bool, reason: str, measured: Measured, limit: float
) -> Verdict:
    return Verdict(
        _declared(rule), _status(met), reason, title, measured.value, measured.low, measured.high, limit,
        known.higher_is_better, known.full,
    )  # fmt: skip


def _not_met(rule: AnyRule, title: str, why: str) -> Verdict:
    return Verdict(_declared(rule), "failed", f"{title} {why}", title)


def _declared(rule: AnyRule) -> dict[str, Any]:
    return {"rule": rule.rule} | rule.model_dump(mode="json", exclude_none=True)


def _title(rule: AnyRule) -> str:
    figure, label = FIGURES[getattr(rule, "figure", "macro_f1")], getattr(rule, "label", None)
    return figure.name if label is None else f"{figure.name} of {label}"


def _status(met: bool) -> Status:
    return "passed" if met else "failed"


def _not(met: bool) -> str:
    return "" if met else "NOT "
