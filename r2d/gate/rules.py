"""Evaluate the rules of the gate: metrics, rules and an approval in, a decision out.

A rule whose metric was not measured is not met.
"""

from __future__ import annotations

from dataclasses import replace

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
from r2d.gate.decision import Approval, ComparedSlice, GateDecision, Verdict

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
    verdicts = tuple(
        replace(_verdict(rule, metrics), rule={"rule": rule.rule} | rule.model_dump(mode="json", exclude_none=True))
        for rule in config.rules
    )
    decision = GateDecision(verdicts, reference)
    return decision if approval is None or approval.champion != reference else decision.approved(approval)


def _verdict(rule: AnyRule, metrics: Metrics) -> Verdict:
    if isinstance(rule, HumanApproval):
        return Verdict(status="waiting", reason="waits for the approval of a person (r2d approve)")
    if isinstance(rule, BetterThanBaseline):
        return _better_than_baseline(rule, metrics)
    metric, label, champion = GATE_METRICS[rule.figure], getattr(rule, "label", None), metrics.champion
    title = metric.name if label is None else f"{metric.name} of {label}"
    if isinstance(rule, WithinLimit):
        estimate = estimate_of(rule.figure, metrics, label)
        if estimate is None or estimate.value is None:
            return _not_met(title, "was not measured, so the limit cannot be kept")
        return _within_limit(rule, metrics, estimate, rule.limit, title, title)
    if champion is None:
        reason = f"{title}: there is no champion to compare with"
        return Verdict(status="not_applicable", reason=reason, figure=title)
    if champion.not_compared:
        return _not_met(title, f"cannot be compared with {champion.reference}: {champion.not_compared}")
    if isinstance(rule, NoSliceWorseThanChampion):
        return _no_slice_worse(rule, metrics, champion)
    difference = _difference_to_champion(rule, metrics, champion)
    if difference is None or difference.value is None:
        return _not_met(title, f"was not measured for both this model and {champion.reference}")
    limit = 0.0 - rule.margin if metric.higher_is_better else rule.margin
    compared = f"{title} minus that of {champion.reference}"
    return _within_limit(rule, metrics, difference, limit, f"{title} minus champion's", compared)


def _better_than_baseline(rule: BetterThanBaseline, metrics: Metrics) -> Verdict:
    headline = metrics.label.headline
    baseline, title = BASELINES[headline, rule.baseline], HEADLINES[headline]
    if baseline not in metrics.baselines:
        return _not_met(title, f"that of {baseline} was not measured: there are no training rows")
    if rule.by == "value":
        value, limit = metrics.label.headline_value, metrics.baselines[baseline].headline_value
        (ours, theirs), met = format_comparably(value, limit), value > limit
        reason = f"{title} {ours} is {'' if met else 'NOT '}above that of {baseline}, {theirs}"
        return _compared(
            met, reason, f"{title}, limit: {baseline}", IntervalEstimate(value), limit, GATE_METRICS[headline]
        )
    differences = metrics.differences.get(baseline)
    difference = None if differences is None else _with_bounds(getattr(differences, headline))
    if difference is None or difference.low is None:
        return _not_met(title, f"the difference to {baseline} has no interval")
    met, compared = difference.low > 0, f"minus that of {baseline}: {difference.text()}"
    reason = f"{title} {compared}; its lower bound is {'' if met else 'NOT '}above 0"
    return _compared(met, reason, f"{title} minus {baseline}", difference, 0.0, GATE_METRICS[headline])


def _within_limit(
    rule: WithinLimit | NotWorseThanChampion,
    metrics: Metrics,
    estimate: IntervalEstimate,
    limit: float,
    title: str,
    compared: str,
) -> Verdict:
    """Hold a metric, or a difference to the champion, against a limit: its value, or the worse bound; by default the
    bound, where this run measures intervals of the metric.

    Args:
        title: of the verdict; compared: what the estimate is of, in its reason.
    """
    metric, is_difference = GATE_METRICS[rule.figure], isinstance(rule, NotWorseThanChampion)
    by_interval = rule.by == "interval"
    if rule.by is None and not (is_difference and metric.section == "rationale"):
        by_interval = metric.has_interval and (metric.section == "rationale" or metrics.intervals is not None)
    worse_end, side = ("low", "at least") if metric.higher_is_better else ("high", "at most")
    value = getattr(estimate, worse_end) if by_interval else estimate.value
    if value is None:
        return _not_met(compared, f"{estimate.value:.3f} has no interval to hold against the limit")
    met = value >= limit if metric.higher_is_better else value <= limit
    ours, theirs = format_comparably(value, limit, signed=is_difference)
    bound = "" if value == estimate.value else f"{'lower' if worse_end == 'low' else 'upper'} bound "
    reason = (
        f"{compared} {estimate.text(signed=is_difference)}: {bound}{ours} is {'' if met else 'NOT '}{side} {theirs}"
    )
    return _compared(met, reason, title, estimate, limit, metric)


def _no_slice_worse(rule: NoSliceWorseThanChampion, metrics: Metrics, champion: ChampionMetrics) -> Verdict:
    metric = GATE_METRICS[rule.figure]
    title = f"worst slice, {metric.name} minus champion's"
    if metrics.champion_slices is None:
        return _not_met(title, "no slice was measured")
    sign = 1 if metric.higher_is_better else -1
    compared = []
    for part in metrics.champion_slices:
        difference = part.difference.get(rule.figure)
        if part.num_rows >= rule.min_rows and difference is not None and difference.value is not None:
            compared.append((sign * difference.value, ComparedSlice(part.by, part.value, part.num_rows, difference)))
    if not compared:
        reason = f"no slice of {rule.min_rows} rows or more has {metric.name} of both models"
        return Verdict(status="not_applicable", reason=reason, figure=title)
    compared.sort(key=lambda row: row[0])
    worse = [part for gap, part in compared if gap < -rule.margin]
    worst = compared[0][1]
    estimate = _with_bounds(worst.difference)
    reason = (
        f"of {len(compared)} slices of {rule.min_rows} rows or more {len(worse) or 'none'} "
        f"{'is' if len(worse) < 2 else 'are'} worse than {champion.reference} by more than {rule.margin:.3f} in "
        f"{metric.name}; the worst is {worst.by} = {worst.value} ({worst.num_rows:,} rows): "
        f"{estimate.text(signed=True)}"
    )
    verdict = _compared(not worse, reason, title, estimate, 0.0 - sign * rule.margin, metric)
    return replace(verdict, details=tuple(worse or [worst]))


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


def _not_met(title: str, why: str) -> Verdict:
    return Verdict(status="failed", reason=f"{title} {why}", figure=title)


def _compared(
    met: bool, reason: str, title: str, estimate: IntervalEstimate, limit: float, metric: GateMetric
) -> Verdict:
    """The verdict on a metric that was measured; `metric` tells its direction and unit."""
    return Verdict(
        status="passed" if met else "failed",
        reason=reason,
        figure=title,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        limit=limit,
        higher_is_better=metric.higher_is_better,
        full=metric.full,
    )


def format_comparably(value: float, other: float, *, signed: bool = False) -> tuple[str, str]:
    """Two numbers with the same digits: as many as it takes to see which is greater."""
    sign = "+" if signed else ""
    for digits in (3, 4, 6, 9):
        first, second = f"{value:{sign}.{digits}f}", f"{other:{sign}.{digits}f}"
        if first != second or value == other:
            break
    return first, second
