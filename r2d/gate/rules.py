"""Evaluate the rules of the gate: metrics, rules and an approval in, a decision out.

A rule whose metric was not measured is not met.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from r2d.config.gate import (
    GATE_METRICS,
    BetterThanBaseline,
    GateMetric,
    HumanApproval,
    NoSliceWorseThanChampion,
    NotWorseThanChampion,
    Rule,
    RulesOfRun,
    WithinLimit,
)
from r2d.evaluation.metrics import ChampionMetrics, Metrics
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.labels import HEADLINES, Comparator
from r2d.evaluation.summary import no_label_shown
from r2d.gate.decision import Approval, ComparedSlice, GateDecision, Verdict, amount
from r2d.gate.power import Decided, Power, power_of_difference, power_of_limit, power_of_slices, z_of
from r2d.text import match_label

BASELINES = {
    ("macro_f1", "simple"): Comparator.MAJORITY_CLASS,
    ("macro_f1", "learnt"): Comparator.LINEAR_MODEL,
    ("accuracy", "simple"): Comparator.RANDOM_OPTION,
    ("accuracy", "learnt"): Comparator.FREQUENT_OPTION,
    **dict.fromkeys((("macro_f1", "encoder"), ("accuracy", "encoder")), Comparator.ENCODER),
}
"""Headline metric and `baseline` of a rule -> what it is."""
PLAIN_BASELINES = {
    "simple": "the simplest guess",
    "learnt": "a simple model that counts words",
    "encoder": "a small model that writes no rationale (evaluation.encoder_baseline)",
}
"""`baseline` of a rule -> in plain words."""
NO_TEST = "compared on these rows alone, no test"


def evaluate_rules(metrics: Metrics, rules: RulesOfRun, approval: Approval | None = None) -> GateDecision:
    """Hold the metrics of a model against the rules of its gate.

    Args:
        rules: `GateConfig.for_labels`.
        approval: what a person has said of this version; it counts only for the champion it was given against.
    """
    reference = None if metrics.champion is None else metrics.champion.reference
    verdicts = [
        replace(
            _verdict(rule, metrics),
            rule={"rule": rule.rule} | rule.model_dump(mode="json", exclude_none=True),
            asks=_what_is_asked(rule, metrics),
            tests=_what_is_tested(rule, metrics),
        )
        for rule in rules.rules
    ]
    verdicts += [
        Verdict(rule={"rule": "defaults"}, status="not_applicable", reason=reason, tests="default rules left out")
        for reason in rules.left_out
    ]
    remarks = (*rules.remarks, *metrics.seen_sentences(), *metrics.rare_label_sentences())
    decision = GateDecision(
        tuple(verdicts),
        reference,
        remarks,
        open_points=(*rules.advice, *no_label_shown(metrics)),
        not_compared=None if metrics.champion is None else metrics.champion.not_compared,
    )
    return decision if approval is None or approval.champion != reference else decision.approved(approval)


def _what_is_asked(rule: Rule, metrics: Metrics) -> str:
    """What a rule asks, in plain words."""
    if isinstance(rule, HumanApproval):
        return "a person says yes, by name"
    if isinstance(rule, BetterThanBaseline):
        by_chance = ", beyond chance" if rule.by == "interval" else ", on these notes"
        return f"better than {PLAIN_BASELINES[rule.baseline]} in {HEADLINES[metrics.label.headline]}{by_chance}"
    if isinstance(rule, NoSliceWorseThanChampion):
        shown = "is shown to be" if rule.by == "interval" else "is, on these notes,"
        gap = amount(rule.figure, rule.margin, is_difference=True, is_declared=True)
        worse = f"served worse than by the champion, by more than {gap} of {GATE_METRICS[rule.figure].name}"
        return f"no group of notes {shown} {worse}"
    name, by_interval = figure_name(rule), _is_by_interval(rule, metrics)
    at_worst = ", even at the bad end of the interval" if by_interval else ", on these notes"
    if isinstance(rule, WithinLimit):
        side = "at least" if GATE_METRICS[rule.figure].higher_is_better else "at most"
        return f"{name} {side} {amount(rule.figure, rule.limit, is_declared=True)}{at_worst}"
    if rule.margin == 0.0:
        return f"{name} {'better than' if by_interval else 'not worse than'} the champion's{at_worst}"
    gap = amount(rule.figure, rule.margin, is_difference=True, is_declared=True)
    return f"{name} at most {gap} worse than the champion's{at_worst}"


def _what_is_tested(rule: Rule, metrics: Metrics) -> str:
    """What a rule asks, in the words of statistics."""
    if isinstance(rule, HumanApproval):
        return "a person says yes"
    if isinstance(rule, BetterThanBaseline):
        asked = f"better than the {rule.baseline} baseline"
        return f"shown {asked} (superiority)" if rule.by == "interval" else f"{asked} ({NO_TEST})"
    if isinstance(rule, NoSliceWorseThanChampion):
        asked = f"worse than the champion by more than {rule.margin:g} in {GATE_METRICS[rule.figure].name}"
        return f"no slice shown {asked}" if rule.by == "interval" else f"no slice {asked} ({NO_TEST})"
    name, by_interval = figure_name(rule), _is_by_interval(rule, metrics)
    if isinstance(rule, WithinLimit):
        return f"{name} shown to keep its limit" if by_interval else f"{name} keeps its limit ({NO_TEST})"
    if rule.margin == 0.0:
        asked = f"{name} shown better than the champion's (superiority, as the margin is 0)"
        return asked if by_interval else f"{name} not worse than the champion's ({NO_TEST})"
    asked = f"not worse than the champion's by more than {rule.margin:g}"
    return f"{name} shown {asked} (non-inferiority)" if by_interval else f"{name} {asked} ({NO_TEST})"


def figure_name(rule: WithinLimit | NotWorseThanChampion) -> str:
    """What a rule is about, such as `recall of emergency now`."""
    name = GATE_METRICS[rule.figure].name
    if rule.threshold_probability is not None:
        return f"{name}, of notes at least as urgent as {rule.label}, at {rule.threshold_probability:.0%}"
    if rule.edits is not None:
        return f"{name}, edits of {rule.edits}"
    if rule.attribute is not None:
        return f"{name} {rule.attribute}" if rule.figure.startswith("next") else f"{name}, by {rule.attribute}"
    return name if rule.label is None else f"{name} of {rule.label}"


def _is_by_interval(rule: WithinLimit | NotWorseThanChampion, metrics: Metrics) -> bool:
    """Whether the worse bound is held against the limit; by default, where this run measures intervals of the
    metric."""
    if rule.by is not None:
        return rule.by == "interval"
    metric = GATE_METRICS[rule.figure]
    if metric.section == "rationale":
        return metric.has_interval and isinstance(rule, WithinLimit)
    return metric.has_interval and (metrics.intervals is not None or metric.section in (
        "claims", "reader", "stress", "parts", "raters",
    ))  # fmt: skip


def _verdict(rule: Rule, metrics: Metrics) -> Verdict:
    if isinstance(rule, HumanApproval):
        return Verdict(status="waiting", reason="waits for the approval of a person (r2d approve)")
    if isinstance(rule, BetterThanBaseline):
        return _better_than_baseline(rule, metrics)
    metric, champion = GATE_METRICS[rule.figure], metrics.champion
    title = metric.name if isinstance(rule, NoSliceWorseThanChampion) else figure_name(rule)
    if isinstance(rule, WithinLimit):
        estimate = estimate_of(rule.figure, metrics, rule.part, rule.threshold_probability)
        if estimate is None or estimate.value is None:
            return _not_met(title, "was not measured, so the limit cannot be kept")
        return _against_limit(rule, metrics, estimate, _Limit(rule.limit, title, title))
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
    return _against_limit(rule, metrics, difference, _Limit(limit, f"{title} minus champion's", compared))


def _better_than_baseline(rule: BetterThanBaseline, metrics: Metrics) -> Verdict:
    headline = metrics.label.headline
    baseline, title, metric = BASELINES[headline, rule.baseline], HEADLINES[headline], GATE_METRICS[headline]
    if baseline not in metrics.baselines:
        return _not_met(title, f"that of {baseline} was not measured: there are no training rows")
    differences = metrics.differences.get(baseline)
    difference = None if differences is None else getattr(differences, headline)
    decided, champion = Decided(0.0, True, _z(metrics) if rule.by == "interval" else 0.0), metrics.champion
    above = None  # how far the champion is above the baseline
    if champion is not None and champion.label is not None:
        above = champion.label.headline_value - metrics.baselines[baseline].headline_value
    power = _power_of_difference(metrics, difference, decided, above)
    if rule.by == "value":
        value, limit = metrics.label.headline_value, metrics.baselines[baseline].headline_value
        (ours, theirs), met = format_comparably(value, limit), value > limit
        reason = f"{title} {ours} is {'' if met else 'NOT '}above that of {baseline}, {theirs}"
        verdict = _compared(met, reason, f"{title}, limit: {baseline}", IntervalEstimate(value), limit, metric)
        return replace(verdict, power=power)
    if difference is None or difference.low is None:
        return _not_met(title, f"the difference to {baseline} has no interval")
    met, compared = difference.low > 0, f"minus that of {baseline}: {difference.text()}"
    reason = f"{title} {compared}; its lower bound is {'' if met else 'NOT '}above 0"
    return replace(_compared(met, reason, f"{title} minus {baseline}", difference, 0.0, metric), power=power)


@dataclass(frozen=True)
class _Limit:
    value: float
    title: str
    """Of the verdict."""
    compared: str
    """What the estimate is of, in the reason."""


def _against_limit(
    rule: WithinLimit | NotWorseThanChampion, metrics: Metrics, estimate: IntervalEstimate, limit: _Limit
) -> Verdict:
    """Hold a metric, or a difference to the champion, against a limit: its value, or the worse bound."""
    metric, is_difference = GATE_METRICS[rule.figure], isinstance(rule, NotWorseThanChampion)
    by_interval = _is_by_interval(rule, metrics)
    worse_end, side = ("low", "at least") if metric.higher_is_better else ("high", "at most")
    value = getattr(estimate, worse_end) if by_interval else estimate.value
    if value is None or estimate.value is None:
        return _not_met(limit.compared, f"{estimate.value:.3f} has no interval to hold against the limit")
    met = value >= limit.value if metric.higher_is_better else value <= limit.value
    held, bound = format_comparably(value, limit.value, signed=is_difference)
    name = {"low": "lower", "high": "upper"}[worse_end]
    measured = f"{estimate.text(signed=is_difference)}, {name} bound {held}" if by_interval else held
    wanted = f"{side} {bound}"
    if isinstance(rule, NotWorseThanChampion) and rule.margin == 0.0 and by_interval:
        wanted += " (margin 0: it must be shown to be better)"
    reason = f"{limit.compared}: {measured} is {'' if met else 'NOT '}{wanted}"
    decided = Decided(limit.value, metric.higher_is_better, _z(metrics) if by_interval else 0.0)
    power = _power_of_difference(metrics, estimate, decided, 0.0) if is_difference else None
    if not is_difference and metrics.intervals is not None and metric.section not in ("parts", "raters"):
        error = estimate.standard_error(metrics.intervals.confidence)
        difference = None if metrics.champion is None else _difference_to_champion(rule, metrics, metrics.champion)
        champion = None if difference is None or difference.value is None else estimate.value - difference.value
        power = None if error is None else power_of_limit(decided, estimate.value, error, metrics.num_rows, champion)
    return replace(_compared(met, reason, limit.title, estimate, limit.value, metric), power=power)


def _z(metrics: Metrics) -> float:
    """Standard errors from a figure to a bound of its interval."""
    return 0.0 if metrics.intervals is None else z_of(metrics.intervals.confidence)


def _power_of_difference(
    metrics: Metrics, difference: IntervalEstimate | None, decided: Decided, champion: float | None
) -> Power | None:
    if metrics.intervals is None or difference is None:
        return None
    error = difference.standard_error(metrics.intervals.confidence)
    return None if error is None else power_of_difference(decided, error, metrics.num_rows, champion)


@dataclass(frozen=True)
class _SliceTest:
    slice: ComparedSlice
    """With its corrected interval."""
    room: float
    """From what is held against the margin to the margin; negative where the slice is worse."""
    error: float | None
    """Standard error of the difference."""


def _no_slice_worse(rule: NoSliceWorseThanChampion, metrics: Metrics, champion: ChampionMetrics) -> Verdict:
    """By interval a slice fails where even the better bound of its difference is worse than the margin. The bounds hold
    for all slices at once: each lies as many standard errors further out as Bonferroni asks for."""
    metric = GATE_METRICS[rule.figure]
    title = f"worst slice, {metric.name} minus champion's"
    if metrics.champion_slices is None or metrics.intervals is None:
        return _not_met(title, "no slice was measured")
    by_interval, confidence = rule.by == "interval", metrics.intervals.confidence
    parts = [
        (part, part.difference[rule.figure])
        for part in metrics.champion_slices
        if part.num_rows >= rule.min_rows and part.difference.get(rule.figure, IntervalEstimate(None)).value is not None
    ]
    parts = [(part, found) for part, found in parts if found.low is not None or not by_interval]
    if not parts:
        reason = f"no slice of {rule.min_rows} rows or more has {metric.name} of both models"
        return Verdict(status="not_applicable", reason=reason, figure=title)
    z = z_of(1 - (1 - confidence) / len(parts))
    widened = z / z_of(confidence) if by_interval else 1.0
    decided = Decided(0.0 - rule.margin if metric.higher_is_better else rule.margin, metric.higher_is_better, z)
    if not by_interval:
        decided = replace(decided, z=0.0)
    tests = []
    for part, difference in parts:
        estimate = _widened(difference, widened)
        better_end = estimate.high if metric.higher_is_better else estimate.low
        held = better_end if by_interval else estimate.value
        tests.append(
            _SliceTest(
                ComparedSlice(part.by, part.value, part.num_rows, estimate),
                decided.sign * ((held or 0.0) - decided.limit),
                difference.standard_error(confidence),
            )
        )
    tests.sort(key=lambda test: test.room)
    worse, worst = [test.slice for test in tests if test.room < 0], tests[0].slice
    shown = "shown to be " if by_interval else ""
    reason = (
        f"of {len(tests)} slices of {rule.min_rows} rows or more {len(worse) or 'none'} "
        f"{'is' if len(worse) < 2 else 'are'} {shown}worse than {champion.reference} by more than {rule.margin:.3f} in "
        f"{metric.name}; the worst is {worst.by} = {worst.value} ({worst.num_rows:,} rows): "
        f"{worst.difference.text(signed=True)}"
    )
    hangs_on = {(part.by, part.value): part.hangs_on for part, _ in parts}[worst.by, worst.value]
    if rule.figure == "macro_f1" and hangs_on:
        reason += f", which {hangs_on}"
    if by_interval:
        reason += f", interval widened to {len(tests)} looks (Bonferroni)"
    errors = [test.error for test in tests if test.error is not None]
    verdict = _compared(not worse, reason, title, worst.difference, decided.limit, metric)
    return replace(
        verdict,
        details=tuple(worse or [worst]),
        power=power_of_slices(decided, errors) if len(errors) == len(tests) else None,
    )


def _widened(estimate: IntervalEstimate, factor: float) -> IntervalEstimate:
    """The estimate with each end of its interval that many times as far from the value."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        return estimate
    return replace(estimate, low=value - factor * (value - low), high=value + factor * (high - value))


def estimate_of(
    name: str, metrics: Metrics, part: str | None = None, threshold_probability: float | None = None
) -> IntervalEstimate | None:
    """A metric of the model by its name in `GATE_METRICS`; None where this run did not measure it.

    Args:
        part: of which label recall or precision is asked, or at which cut, of which group of edits, or of which
            attribute's values; threshold_probability: of net benefit.
    """
    section, intervals, rationale = GATE_METRICS[name].section, metrics.intervals, metrics.rationale
    if section == "class":
        return None if intervals is None else intervals.per_class.get(part or "", {}).get(name)
    if section == "cut":
        cuts = () if metrics.operating_points is None else metrics.operating_points.cuts
        points = [cut.point(threshold_probability or 0.0) for cut in cuts if match_label(part, [cut.label])]
        return points[0].as_decided[name] if points and points[0] is not None else None
    if section == "set":
        sets = {} if metrics.label_sets is None else metrics.label_sets.coverage_of_label
        return next((estimate for name, estimate in sets.items() if match_label(part, [name])), None)
    if section == "stress":
        return None if metrics.stress is None else metrics.stress.broken_by_group.get(part or "")
    if section == "parts":
        return _of_parts(name, metrics, part)
    if section == "raters":
        people = () if metrics.raters is None else metrics.raters.ceiling
        figure = {"accuracy_minus_raters": "accuracy"}.get(name, "under_triage_rate")
        return next((row.difference.get(figure) for row in people if row.rater is None), None)
    if section == "worst":
        worst = None if metrics.slices is None else metrics.slices.worst
        return None if worst is None else IntervalEstimate(worst.rate, None, worst.bound)
    if section == "alignment":
        return IntervalEstimate(getattr(metrics.alignment, name))
    if section == "claims":
        return None if metrics.claims is None else metrics.claims["model"].intervals[name]
    if section == "reader":
        reader = metrics.outside_reader
        return None if reader is None else reader.intervals[name.removesuffix("_by_outside_reader")]
    if section == "calibration":
        return None if metrics.calibration is None else IntervalEstimate(getattr(metrics.calibration.after, name))
    if section == "rationale":
        if rationale is None:
            return None
        estimate = rationale.intervals.get("all", {}).get(name)
        return estimate or IntervalEstimate(getattr(rationale.populations.all, name))
    return getattr(intervals, name, None) or IntervalEstimate(getattr(metrics.label, name, None))


def _of_parts(name: str, metrics: Metrics, attribute: str | None) -> IntervalEstimate | None:
    """What differs between the values of an attribute; None where fewer than two could be pooled."""
    results = () if metrics.slices is None else metrics.slices.heterogeneity
    figures = next((result.figures for result in results if result.by == attribute), {})
    if name == "next_part_under_triage_rate":
        return figures["under_triage_rate"].next_part if "under_triage_rate" in figures else None
    pooled = figures.get("under_triage_rate") or figures.get("accuracy")
    return None if pooled is None else IntervalEstimate(pooled.i_squared)


def _difference_to_champion(
    rule: WithinLimit | NotWorseThanChampion, metrics: Metrics, champion: ChampionMetrics
) -> IntervalEstimate | None:
    """A metric of the model minus that of the champion, paired where both were resampled together."""
    name, section = rule.figure, GATE_METRICS[rule.figure].section
    paired = metrics.differences.get(Comparator.CHAMPION)
    if section == "class":
        return None if paired is None else paired.per_class.get(rule.label or "", {}).get(name)
    if section == "claims":
        return champion.claims_difference.get(name)
    if section == "reader":
        return champion.outside_reader_difference.get(name.removesuffix("_by_outside_reader"))
    if paired is not None and section in ("label", "ordered"):
        estimate: IntervalEstimate | None = getattr(paired, name)
        return estimate
    overlap = None if metrics.rationale is None else metrics.rationale.populations.all
    ours, theirs = {
        "alignment": (metrics.alignment, champion.alignment),
        "rationale": (overlap, champion.rationale),
    }.get(section, (metrics.label, champion.label))
    value, other = getattr(ours, name, None), getattr(theirs, name, None)
    return None if value is None or other is None else IntervalEstimate(value - other)


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
