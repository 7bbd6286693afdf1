"""Evaluate the rules of the gate: metrics, rules and an approval in, a decision out.

A rule whose metric was not measured is not met.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from r2d.config.gate import (
    GATE_METRICS,
    AnyRule,
    BetterThanBaseline,
    GateConfig,
    GateMetric,
    HumanApproval,
    NoSliceWorseThanChampion,
    NotWorseThanChampion,
    WithinLimit,
)
from r2d.evaluation.metrics import HEADLINES, ChampionMetrics, Comparator, IntervalEstimate, Metrics
from r2d.gate.decision import Approval, ComparedSlice, GateDecision, Status, Verdict

BASELINES = {
    ("macro_f1", "simple"): Comparator.MAJORITY_CLASS,
    ("macro_f1", "learnt"): Comparator.LINEAR_MODEL,
    ("accuracy", "simple"): Comparator.RANDOM_OPTION,
    ("accuracy", "learnt"): Comparator.FREQUENT_OPTION,
}
"""Headline metric and `baseline` of a rule -> what it is."""


def evaluate_rules(metrics: Metrics, config: GateConfig, approval: Approval | None = None) -> GateDecision:
    """Hold the metrics of a model against the configured rules.

    Args:
        approval: what a person has said of this version; it counts only for the champion it was given against.
    """
    reference = None if metrics.champion is None else metrics.champion.reference
    decision = GateDecision(tuple(_verdict(rule, metrics) for rule in config.rules), reference)
    return decision if approval is None or approval.champion != reference else decision.approved(approval)


def _verdict(rule: AnyRule, metrics: Metrics) -> Verdict:
    if isinstance(rule, HumanApproval):
        return Verdict(_declared(rule), "waiting", "waits for the approval of a person (r2d approve)")
    if isinstance(rule, BetterThanBaseline):
        return _better_than_baseline(rule, metrics)
    if isinstance(rule, WithinLimit):
        return _within_limit(rule, metrics)
    champion, title = metrics.champion, _title(rule)
    if champion is None:
        return Verdict(_declared(rule), "not_applicable", f"{title}: there is no champion to compare with", title)
    if champion.not_compared:
        return _not_met(rule, title, f"cannot be compared with {champion.reference}: {champion.not_compared}")
    if isinstance(rule, NotWorseThanChampion):
        return _not_worse(rule, metrics, champion)
    return _no_slice_worse(rule, metrics, champion)


def _better_than_baseline(rule: BetterThanBaseline, metrics: Metrics) -> Verdict:
    headline = metrics.label.headline
    baseline, title = BASELINES[headline, rule.baseline], HEADLINES[headline]
    if baseline not in metrics.baselines:
        return _not_met(rule, title, f"that of {baseline.caption} was not measured: there are no training rows")
    if rule.by == "value":
        value, limit = metrics.label.headline_value, metrics.baselines[baseline].headline_value
        met = value > limit
        ours, theirs = format_comparably(value, limit)
        reason = f"{title} {ours} is {_not(met)}above that of {baseline.caption}, {theirs}"
        title = f"{title}, limit: {baseline.caption}"
        return Verdict(_declared(rule), _status(met), reason, title, value=value, limit=limit)
    differences = metrics.differences.get(baseline)
    difference = None if differences is None else _with_bounds(getattr(differences, headline))
    if difference is None or difference.low is None:
        return _not_met(rule, title, f"the difference to {baseline.caption} has no interval")
    met = difference.low > 0
    reason = f"{title} minus that of {baseline.caption}: {difference.text()}; its lower bound is {_not(met)}above 0"
    return Verdict(
        _declared(rule), _status(met), reason, f"{title} minus {baseline.caption}",
        value=difference.value, low=difference.low, high=difference.high, limit=0.0,
    )  # fmt: skip


def _within_limit(rule: WithinLimit, metrics: Metrics) -> Verdict:
    metric, title = GATE_METRICS[rule.figure], _title(rule)
    estimate = estimate_of(rule.figure, metrics, rule.label)
    if estimate is None or estimate.value is None:
        return _not_met(rule, title, "was not measured, so the limit cannot be kept")
    compared = _compared_bound(rule, estimate, metrics)
    if compared is None:
        return _not_met(rule, title, f"{estimate.value:.3f} has no interval to hold against the limit")
    met, side, worse_end = _keeps_limit(metric, compared, rule.limit)
    ours, limit = format_comparably(compared, rule.limit)
    what = "" if compared == estimate.value else f"{worse_end} bound "
    reason = f"{title} {estimate.text()}: {what}{ours} is {_not(met)}{side} {limit}"
    return _measured(rule, metric, title, met, reason, estimate, rule.limit)


def _not_worse(rule: NotWorseThanChampion, metrics: Metrics, champion: ChampionMetrics) -> Verdict:
    metric, title = GATE_METRICS[rule.figure], _title(rule)
    difference = _difference_to_champion(rule, metrics, champion)
    if difference is None or difference.value is None:
        return _not_met(rule, title, f"was not measured for both this model and {champion.reference}")
    compared = _compared_bound(rule, difference, metrics)
    if compared is None:
        return _not_met(rule, title, f"the difference to {champion.reference} has no interval")
    limit = 0.0 - rule.margin if metric.higher_is_better else rule.margin
    met, side, worse_end = _keeps_limit(metric, compared, limit)
    ours, limit_text = format_comparably(compared, limit, signed=True)
    what = "it" if compared == difference.value else f"{worse_end} bound {ours}"
    reason = (
        f"{title} minus that of {champion.reference}: {difference.text(signed=True)}; {what} is {_not(met)}{side} "
        f"{limit_text}"
    )
    return _measured(rule, metric, f"{title} minus champion's", met, reason, difference, limit)


def _no_slice_worse(rule: NoSliceWorseThanChampion, metrics: Metrics, champion: ChampionMetrics) -> Verdict:
    metric = GATE_METRICS[rule.figure]
    title = f"worst slice, {metric.name} minus champion's"
    if metrics.champion_slices is None:
        return _not_met(rule, title, "no slice was measured")
    sign = 1 if metric.higher_is_better else -1
    compared = []
    for part in metrics.champion_slices:
        difference = part.difference.get(rule.figure)
        if part.num_rows >= rule.min_rows and difference is not None and difference.value is not None:
            compared.append((sign * difference.value, part, difference))
    if not compared:
        reason = f"no slice of {rule.min_rows} rows or more has {metric.name} of both models"
        return Verdict(_declared(rule), "not_applicable", reason, title)
    compared.sort(key=lambda row: row[0])
    worse = [row for row in compared if row[0] < -rule.margin]
    _, worst, difference = compared[0]
    estimate = _with_bounds(difference)
    reason = (
        f"of {len(compared)} slices of {rule.min_rows} rows or more {len(worse) or 'none'} "
        f"{'is' if len(worse) < 2 else 'are'} worse than {champion.reference} by more than {rule.margin:.3f} in "
        f"{metric.name}; the worst is {worst.by} = {worst.value} ({worst.num_rows:,} rows): "
        f"{estimate.text(signed=True)}"
    )
    verdict = _measured(rule, metric, title, not worse, reason, estimate, 0.0 - sign * rule.margin)
    slices = (ComparedSlice(part.by, part.value, part.num_rows, gap) for _, part, gap in worse or compared[:1])
    return replace(verdict, details=tuple(slices))


def estimate_of(name: str, metrics: Metrics, label: str | None = None) -> IntervalEstimate | None:
    """A metric of the model by its name in `GATE_METRICS`; None where this run did not measure it.

    Args:
        label: of which label recall or precision is asked.
    """
    section, intervals, rationale = GATE_METRICS[name].section, metrics.intervals, metrics.rationale
    if section == "class":
        return None if intervals is None else intervals.per_class.get(label or "", {}).get(name)
    if section == "alignment":
        return IntervalEstimate(getattr(metrics.alignment, name))
    if section == "calibration":
        return None if metrics.calibration is None else IntervalEstimate(getattr(metrics.calibration.after, name))
    if section == "rationale":
        if rationale is None:
            return None
        estimate = rationale.intervals.get("all", {}).get(name)
        return _with_bounds(estimate) if estimate else IntervalEstimate(getattr(rationale.populations.all, name))
    estimate = getattr(intervals, name, None)
    return _with_bounds(estimate) if estimate else IntervalEstimate(getattr(metrics.label, name, None))


def _difference_to_champion(
    rule: NotWorseThanChampion, metrics: Metrics, champion: ChampionMetrics
) -> IntervalEstimate | None:
    """A metric of the model minus that of the champion, paired where both were resampled together."""
    name, section = rule.figure, GATE_METRICS[rule.figure].section
    paired = metrics.differences.get(Comparator.CHAMPION)
    if section == "class":
        difference = None if paired is None else paired.per_class.get(rule.label or "", {}).get(name)
        estimate = estimate_of(name, metrics, rule.label)
        # Few gold rows leave it undefined in many resamples, and without interval.
        defined = estimate is not None and estimate.low is not None
        return _with_bounds(difference) if difference is not None and defined else difference
    if paired is not None and section in ("label", "ordered"):
        difference = getattr(paired, name)
        return None if difference is None else _with_bounds(difference)
    overlap = None if metrics.rationale is None else metrics.rationale.populations.all
    ours, theirs = {
        "alignment": (metrics.alignment, champion.alignment),
        "rationale": (overlap, champion.rationale),
    }.get(section, (metrics.label, champion.label))
    value, other = getattr(ours, name, None), getattr(theirs, name, None)
    return None if value is None or other is None else IntervalEstimate(value - other)


def _with_bounds(estimate: IntervalEstimate) -> IntervalEstimate:
    """The estimate of a metric that every resample defines. If it still has no interval it was the same in all of them,
    as the difference of two models that decide alike is: then both bounds are the value."""
    return estimate if estimate.low is not None else replace(estimate, low=estimate.value, high=estimate.value)


def _compared_bound(
    rule: WithinLimit | NotWorseThanChampion, estimate: IntervalEstimate, metrics: Metrics
) -> float | None:
    """What is held against the limit: the value, or the worse bound; by default the bound, where this run measures
    intervals of the metric. None where there is no interval."""
    metric = GATE_METRICS[rule.figure]
    by_interval = rule.by == "interval"
    if rule.by is None and not (isinstance(rule, NotWorseThanChampion) and metric.section == "rationale"):
        by_interval = metric.has_interval and (metric.section == "rationale" or metrics.intervals is not None)
    if not by_interval:
        return estimate.value
    return estimate.low if metric.higher_is_better else estimate.high


def _measured(
    rule: AnyRule, metric: GateMetric, title: str, met: bool, reason: str, estimate: IntervalEstimate, limit: float
) -> Verdict:
    return Verdict(
        _declared(rule), _status(met), reason, title, estimate.value, estimate.low, estimate.high, limit,
        metric.higher_is_better, metric.full,
    )  # fmt: skip


def _keeps_limit(metric: GateMetric, value: float, limit: float) -> tuple[bool, str, str]:
    """Whether a value keeps a limit, how the limit is called, and which end of an interval is the worse one."""
    return (value >= limit, "at least", "lower") if metric.higher_is_better else (value <= limit, "at most", "upper")


def _not_met(rule: AnyRule, title: str, why: str) -> Verdict:
    return Verdict(_declared(rule), "failed", f"{title} {why}", title)


def _declared(rule: AnyRule) -> dict[str, Any]:
    return {"rule": rule.rule} | rule.model_dump(mode="json", exclude_none=True)


def _title(rule: AnyRule) -> str:
    metric, label = GATE_METRICS[getattr(rule, "figure", "macro_f1")], getattr(rule, "label", None)
    return metric.name if label is None else f"{metric.name} of {label}"


def _status(met: bool) -> Status:
    return "passed" if met else "failed"


def _not(met: bool) -> str:
    return "" if met else "NOT "


def format_comparably(value: float, other: float, *, signed: bool = False) -> tuple[str, str]:
    """Two numbers with the same digits: as many as it takes to see which is greater."""
    sign = "+" if signed else ""
    for digits in (3, 4, 6, 9):
        first, second = f"{value:{sign}.{digits}f}", f"{other:{sign}.{digits}f}"
        if first != second or value == other:
            break
    return first, second
