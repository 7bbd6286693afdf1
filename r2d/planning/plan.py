"""The rows that a study needs, from what a model is expected to be: the work of `r2d plan`.

Whether a rule of the gate passes hangs on the standard error of its figure. Before there is a model it is that of the
expected table of reference, label and champion's label, by the delta method (the infinitesimal jackknife, Efron 1982)
on the figures of the evaluation themselves; what it means is said by the gate's own code.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import LABEL, OperatingPointsConfig, SelectiveConfig
from r2d.config.gate import (
    GATE_METRICS,
    BetterThanBaseline,
    GateConfig,
    HumanApproval,
    NoSliceWorseThanChampion,
    NotWorseThanChampion,
    Rule,
    WithinLimit,
)
from r2d.config.plan import ExpectedConfig, PlanConfig
from r2d.config.run import RunConfig
from r2d.config.section import list_faults
from r2d.config.training import MethodConfig
from r2d.data.examples import groups_of
from r2d.errors import ConfigError, DataError
from r2d.evaluation.label_metrics import LabelStatistics
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.threshold import FIRST_COVERAGE
from r2d.gate.power import Decided, power_of_difference, power_of_limit, z_of
from r2d.gate.rules import figure_name
from r2d.label_scores import FloatArray
from r2d.planning.sample_size import (
    MOST_ROWS,
    Clusters,
    Logits,
    groups_for_bound,
    rows_for_events,
    rows_for_rule,
    rows_for_slope,
)
from r2d.text import match_label

RowsOf = Literal["test", "calibration"]
STEP = 1e-6
"""Share of a cell that is added to the expected table, to see by how much a figure moves."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Rows that one aim of the study needs."""

    rows_of: RowsOf
    aim: str
    num_rows: int | None
    """None where the aim cannot be reached as expected, or cannot be planned."""
    num_groups: int | None
    """Patients or callers who bring them."""
    remark: str
    """What is assumed; or why there is no number."""


@dataclass(frozen=True, kw_only=True)
class RulePower:
    """What a rule of the gate can tell with the planned test rows."""

    rule: str
    figure: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The rows that a study needs, and what was assumed."""

    labels: dict[str, float]
    """Label -> its share of the rows, most urgent first where `ordered`."""
    ordered: bool
    num_known: dict[str, int]
    """Split -> rows of the data that were read; empty where the shares are declared."""
    rows_per_group: float
    correlation: float
    design_effect: float
    power: float
    confidence: float
    needs: tuple[Need, ...]
    test_rows: int
    """For which `gate` is given."""
    gate: tuple[RulePower, ...]

    def most(self, rows_of: RowsOf) -> int | None:
        """The rows that reach every aim that can be planned."""
        return max((need.num_rows for need in self.needs if need.rows_of == rows_of and need.num_rows), default=None)

    def lines(self) -> list[str]:
        """The plan as text for a terminal."""
        shares = ", ".join(f"{label} {100 * share:.3g} %" for label, share in self.labels.items())
        known = ", ".join(f"{count:,} {split}" for split, count in self.num_known.items())
        lines = [
            f"shares of the labels: {shares}",
            f"rows that were read: {known}" if known else "shares and rows of a patient are declared, no data was read",
            f"rows of a patient: {self.rows_per_group:.3g}, correlation of their errors {self.correlation:g}: design "
            f"effect {self.design_effect:.3g}",
        ]
        aims: dict[RowsOf, str] = {"test": "Test rows", "calibration": "Calibration rows"}
        for rows_of, title in aims.items():
            needs = [need for need in self.needs if need.rows_of == rows_of]
            if not needs:
                continue
            width = max(len(need.aim) for need in needs)
            lines += ["", f"{title:<{width}}  {'rows':>9}  {'patients':>9}"]
            for need in needs:
                numbers = ("-" if number is None else f"{number:,}" for number in (need.num_rows, need.num_groups))
                lines.append(f"{need.aim:<{width}}  {'  '.join(f'{number:>9}' for number in numbers)}  {need.remark}")
            if (most := self.most(rows_of)) is not None:
                every = "all of these" if all(need.num_rows for need in needs) else "all that have a number"
                lines.append(f"{every:<{width}}  {most:>9,}")
        if self.gate:
            lines += ["", f"The gate with {self.test_rows:,} test rows:"]
            lines += [f"  {power.rule}, {power.figure}: {power.sentence}" for power in self.gate]
        return lines


def plan(config: PlanConfig, run: RunConfig | None = None, examples: pa.Table | None = None) -> Plan:
    """The rows that a study needs.

    Args:
        run: what `config.run` names; examples: its rows, of `EXAMPLES_SCHEMA`, where shares or rows of a patient are
            not declared.

    Raises:
        ConfigError: a figure cannot be what is expected, or labels, gate and run do not fit together.
        DataError: the data have no row of a label.
    """
    labels = _labels(config, run, examples)
    ordered = (run is None or run.data.labels.is_ordered) if config.ordered is None else config.ordered
    clusters = _clusters(config, examples)
    expected, selective, gate = config.expected, config.selective, config.gate
    if run is not None:
        selective, gate = selective or run.evaluation.selective, gate or run.registration.gate
    selective, gate = selective or SelectiveConfig(), gate or GateConfig()
    of_labels = LabelsConfig(names=tuple(labels), ordered=ordered)
    if faults := gate.faults(of_labels, MethodConfig() if run is None else run.method):
        raise ConfigError(list_faults("r2d plan", [f"  {fault.removeprefix('registration.')}" for fault in faults]))
    if selective.risk == "under_triage" and not ordered:
        raise ConfigError("selective.risk 'under_triage' needs an order of the labels; use 'error', or ordered: true")
    table = ExpectedTable.of(labels, expected, ordered=ordered)
    needs = [
        *_of_under_triage(config, ordered, clusters),
        *_of_calibration(config, labels, ordered, clusters),
        *_of_threshold(config, selective, ordered, clusters, _parts(selective, table, examples)),
    ]
    rules = gate.for_labels(of_labels).rules
    asked = [_Asked.of(rule, table, config) for rule in rules if not isinstance(rule, HumanApproval)]
    needs += [each.need(config.power, clusters) for each in asked]
    known = Counter[str]() if examples is None else Counter(examples["split"].to_pylist())
    result = Plan(
        labels=labels, ordered=ordered, num_known=dict(known), rows_per_group=clusters.mean,
        correlation=clusters.correlation, design_effect=clusters.design_effect, power=config.power,
        confidence=config.confidence, needs=tuple(needs), test_rows=0, gate=(),
    )  # fmt: skip
    test_rows = config.test_rows or known["test"] or result.most("test") or 0
    powers = [each.power(test_rows, clusters) for each in asked if each.deviation is not None]
    return replace(result, test_rows=test_rows, gate=tuple(powers))


def _labels(config: PlanConfig, run: RunConfig | None, examples: pa.Table | None) -> dict[str, float]:
    if config.label_shares is not None and (run is None or run.data.labels.per_row):
        return dict(config.label_shares)
    if config.label_shares is not None and run is not None:  # the order of urgency is that of the run
        names = run.data.labels.names
        try:
            shares = OperatingPointsConfig(label_shares=config.label_shares).shares(names)
        except ValueError as error:
            raise ConfigError(f"{config.run}: {error}") from None
        return dict(zip(names, shares or (), strict=True))
    if run is None or examples is None:
        raise ValueError("label_shares are not declared, so a run and its rows are needed")
    if run.data.labels.per_row:
        raise ConfigError(
            f"{config.run}: each row has options of its own (data.labels.per_row), so that there are no shares of "
            "labels; r2d plan is for declared labels"
        )
    counts = Counter(examples["label"].to_pylist())
    num_rows = sum(counts[name] for name in run.data.labels.names)
    if missing := [repr(name) for name in run.data.labels.names if not counts[name]]:
        raise DataError(
            f"{config.run}: the data have no row of label {', '.join(missing)}; declare label_shares, as they will be"
        )
    return {name: counts[name] / num_rows for name in run.data.labels.names}


def _clusters(config: PlanConfig, examples: pa.Table | None) -> Clusters:
    if config.rows_per_group is None and examples is not None:
        return Clusters(sorted(Counter(groups_of(examples)).values()), config.correlation)
    mean = config.rows_per_group or 1.0
    larger = round(100 * (mean - math.floor(mean)))  # of 100 patients: those that have one row more
    return Clusters([math.floor(mean)] * (100 - larger) + [math.ceil(mean)] * larger, config.correlation)


def _scaled(num_rows: int, clusters: Clusters) -> tuple[int, int]:
    """Rows for independent ones -> rows and patients with the design effect."""
    rows = math.ceil(num_rows * clusters.design_effect)
    return rows, math.ceil(rows / clusters.mean)


def _of_under_triage(config: PlanConfig, ordered: bool, clusters: Clusters) -> list[Need]:
    rate = config.expected.under_triage + (0.0 if ordered else config.expected.over_triage)
    groups = groups_for_bound(config.max_under_triage, rate, config.confidence, config.power, clusters)
    remark = f"in {config.power:.0%} of the studies, if it is {rate:.3g}"
    if groups is None:
        keys = "expected.under_triage" + ("" if ordered else " + expected.over_triage")
        remark = _out_of_reach(rate, keys, "max_under_triage")
    return [
        Need(
            rows_of="test",
            aim=f"{'under-triage' if ordered else 'errors'}: upper {config.confidence:.0%} bound at most "
            f"{config.max_under_triage:.3g}",
            num_rows=None if groups is None else math.ceil(groups * clusters.mean),
            num_groups=groups,
            remark=remark,
        )
    ]


def _out_of_reach(rate: float, keys: str, limit: str) -> str:
    return (
        f"no number of rows up to {MOST_ROWS:,}: {rate:.3g} is expected ({keys}), which is not far enough below {limit}"
    )


def _of_calibration(config: PlanConfig, labels: dict[str, float], ordered: bool, clusters: Clusters) -> list[Need]:
    """Of each cut of the order; without one, of the confidence in the label."""
    z, expected = z_of(config.confidence), config.expected
    cuts = {"the label is right": 1 - expected.under_triage - expected.over_triage}
    if ordered:
        shares = np.cumsum(list(labels.values()))[:-1].tolist()
        cuts = {f"at least {label}": share for label, share in zip(labels, shares, strict=False)}
    needs = []
    for name, prevalence in cuts.items():
        logits = Logits.binormal(prevalence, expected.c_statistic)
        aims = {
            f"observed to expected, {name}: width {config.oe_width:g}": rows_for_events(prevalence, config.oe_width, z),
            f"calibration slope, {name}: width {config.slope_width:g}": rows_for_slope(logits, config.slope_width, z),
        }
        for aim, rows in aims.items():
            num_rows, num_groups = _scaled(rows, clusters)
            remark = f"{round(num_rows * prevalence):,} events" + (
                f", C {expected.c_statistic:g}" if aim.startswith("calibration") else ""
            )
            needs.append(Need(rows_of="test", aim=aim, num_rows=num_rows, num_groups=num_groups, remark=remark))
    return needs


def _of_threshold(
    config: PlanConfig, selective: SelectiveConfig, ordered: bool, clusters: Clusters, parts: Mapping[str, float]
) -> list[Need]:
    """Of all rows, or of each part of them, whose bounds hold at once.

    Args:
        parts: part -> its share of the rows, `_parts`.
    """
    joint = selective.for_parts(max(1, len(parts)))
    if selective.bound_confidence is None or joint.bound_confidence is None:
        return []
    rate, per = config.expected.risk_of_surest, selective.per
    groups = groups_for_bound(selective.max_risk, rate, joint.bound_confidence, config.power, clusters)
    risk = selective.risk or ("under_triage" if ordered else "error")
    limit = f"{risk} of the labels shown at most {selective.max_risk:g}, with confidence {selective.bound_confidence:g}"
    remark = (
        f"that shows the surest {FIRST_COVERAGE:.0%}{' of them' if per else ''}, if {rate:.3g} of these are wrong; the "
        "rows of a patient are shown together"
    )
    if groups is None:
        remark = _out_of_reach(rate, "expected.risk_of_surest", "selective.max_risk")
    if not parts:
        aim = f"a threshold for each {per}: {limit}"
        remark = f"how many rows have which {per} is not known: no data of a run was read, or none has this attribute"
        return [Need(rows_of="calibration", aim=aim, num_rows=None, num_groups=None, remark=remark)]
    needs = []
    for name, share in parts.items():
        of_part = "" if per is None else f" for {per} {name}, {share:.3g} of the rows"
        all_groups = None if groups is None else groups / FIRST_COVERAGE / share
        needs.append(
            Need(
                rows_of="calibration",
                aim=f"a threshold{of_part}: {limit}{' for all at once' if per else ''}",
                num_rows=None if all_groups is None else math.ceil(all_groups * clusters.mean),
                num_groups=None if all_groups is None else math.ceil(all_groups),
                remark=remark,
            )
        )
    return needs


def _parts(selective: SelectiveConfig, table: ExpectedTable, examples: pa.Table | None) -> dict[str, float]:
    """Part of the rows that has a threshold of its own -> its share; empty where the shares are not known."""
    if selective.per is None:
        return {"all": 1.0}
    if selective.per == LABEL:
        return table.predicted_shares
    rows = [] if examples is None else [dict(pairs).get(selective.per) for pairs in examples["attributes"].to_pylist()]
    return {name: count / len(rows) for name, count in sorted(Counter(filter(None, rows)).items())}


@dataclass(frozen=True, eq=False)
class ExpectedTable:
    """How often each reference, label and champion's label are expected together, one cell a triple."""

    labels: Sequence[str]
    statistics: LabelStatistics
    alike: FloatArray
    """[cells], shares that sum to 1: of two models as good, that differ as often as expected."""
    unlike: FloatArray
    """Of two that err independently of each other, given the reference."""
    first: FloatArray
    """[cells, columns], the sums of one row of each cell by the model; second: by the other."""
    second: FloatArray

    @classmethod
    def of(cls, labels: dict[str, float], expected: ExpectedConfig, *, ordered: bool) -> ExpectedTable:
        """Errors go to the next label, as often from each label that has one; without an order to all others.

        Raises:
            ConfigError: two models cannot differ as often as expected.
        """
        names, shares = list(labels), np.array(list(labels.values()))
        num = len(names)
        given = np.zeros((num, num))  # reference -> label
        if ordered:
            given[range(num - 1), range(1, num)] = expected.under_triage / (1 - shares[-1])
            given[range(1, num), range(num - 1)] = expected.over_triage / (1 - shares[0])
        else:
            given[:] = (expected.under_triage + expected.over_triage) / (num - 1)
            np.fill_diagonal(given, 0.0)
        if (wrong := given.sum(axis=1)).max() >= 1:
            raise ConfigError(
                f"expected: under_triage {expected.under_triage:g} and over_triage {expected.over_triage:g} leave no "
                f"right label for {names[int(wrong.argmax())]!r}; lower them"
            )
        given[range(num), range(num)] = 1 - wrong
        apart = float(shares @ (1 - (given**2).sum(axis=1)))
        if expected.differing > apart + 1e-9:
            raise ConfigError(
                f"expected.differing: found {expected.differing:g}; two models with these errors differ on {apart:.3g} "
                "of the rows where they err independently, and on no more; lower it"
            )
        together = np.einsum("k,ki,kj->kij", shares, given, given)
        copied = np.einsum("k,ki,ij->kij", shares, given, np.eye(num))
        free = expected.differing / apart
        cells = np.argwhere(together > 0)
        gold, first, second = ([names[place] for place in column] for column in cells.T.tolist())
        statistics, ids = LabelStatistics(num, ordered), [f"{place:09}" for place in range(len(gold))]  # in this order
        sums = [
            statistics.sums(Predictions(ids=ids, gold_labels=gold, predicted_labels=predicted, labels=names))
            for predicted in (first, second)
        ]
        at = tuple(cells.T)
        return cls(names, statistics, (free * together + (1 - free) * copied)[at], together[at], sums[0], sums[1])

    @property
    def predicted_shares(self) -> dict[str, float]:
        """Label -> share of the rows that are expected to be given it."""
        num = len(self.labels)
        given = self.alike @ self.first[:, 2 * num : 3 * num]
        return dict(zip(self.labels, given.tolist(), strict=True))

    def value(self, figure: str) -> float:
        return float(self.statistics(self.alike @ self.first)[figure])

    def deviation(self, figure: str, *, minus: Literal["champion", "baseline"] | None = None) -> float:
        """Standard error of the figure, or of its difference to the other system, times the root of the rows."""
        shares = self.unlike if minus == "baseline" else self.alike

        def moved(sums: FloatArray) -> FloatArray:
            """[cells]: by how much the figure moves with each cell."""
            total = shares @ sums
            nudged = self.statistics((1 - STEP) * total + STEP * sums)[figure]
            moves: FloatArray = (nudged - self.statistics(total)[figure]) / STEP
            return moves

        moves = moved(self.first) - (moved(self.second) if minus else 0.0)
        return math.sqrt(float(shares @ moves**2) - float(shares @ moves) ** 2)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A rule of the gate, and what of it is known before a first run."""

    rule: Rule
    figure: str
    decided: Decided
    truth: float = 0.0
    deviation: float | None = None
    """Standard error times the root of the rows; None where it cannot be foreseen, for the reason in `remark`."""
    remark: str

    @classmethod
    def of(cls, rule: Rule, table: ExpectedTable, config: PlanConfig) -> _Asked:
        gain = config.expected.gain
        if isinstance(rule, BetterThanBaseline):
            z = z_of(config.confidence) if rule.by == "interval" else 0.0
            return cls(
                rule=rule, figure="macro-F1", decided=Decided(0.0, True, z), truth=gain,
                deviation=table.deviation("macro_f1", minus="baseline"), remark=f"if it is better by {gain:g}",
            )  # fmt: skip
        if isinstance(rule, NoSliceWorseThanChampion | HumanApproval):
            nothing = Decided(0.0, True, 0.0)
            return cls(rule=rule, figure=rule.rule, decided=nothing, remark="hangs on the slices of a first run")
        metric = GATE_METRICS[rule.figure]
        by_interval = metric.has_interval and rule.by != "value"
        sign, z = (1 if metric.higher_is_better else -1), z_of(config.confidence) if by_interval else 0.0
        known = rule.figure
        if metric.section == "class":
            known = f"{rule.figure}/{table.labels.index(match_label(str(rule.label), table.labels) or '')}"
        elif metric.section not in ("label", "ordered"):
            known = ""
        if isinstance(rule, NotWorseThanChampion):
            truth = sign * gain if rule.margin == 0.0 else 0.0
            asked = cls(
                rule=rule, figure=f"{figure_name(rule)} minus champion's",
                decided=Decided(0.0 - sign * rule.margin, metric.higher_is_better, z), truth=truth,
                remark=f"if it is better by {gain:g}" if truth else "if it is as good",
            )  # fmt: skip
            deviation = table.deviation(known, minus="champion") if known else None
        else:
            decided = Decided(rule.limit, metric.higher_is_better, z)
            truth = table.value(known) if known else 0.0
            asked = cls(
                rule=rule, figure=figure_name(rule), decided=decided, truth=truth, remark=f"if it is {truth:.3g}"
            )
            deviation = table.deviation(known) if known else None
        if deviation is None:
            return replace(asked, remark="its standard error is known after a first run: see the page of the gate")
        return replace(asked, deviation=deviation)

    def need(self, power: float, clusters: Clusters) -> Need:
        aim = f"gate: {self.rule.rule}, {self.figure}"
        if self.deviation is None:
            return Need(rows_of="test", aim=aim, num_rows=None, num_groups=None, remark=self.remark)
        deviation = self.deviation
        if isinstance(self.rule, WithinLimit):  # the gate takes the error of a share at its limit
            deviation *= self._at_limit()
        rows = rows_for_rule(self.decided, self.truth, deviation, power)
        if rows is None:
            remark = f"no number of rows: {self.remark}, it is not on the side of the limit that passes"
            return Need(rows_of="test", aim=aim, num_rows=None, num_groups=None, remark=remark)
        num_rows, num_groups = _scaled(rows, clusters)
        return Need(rows_of="test", aim=aim, num_rows=num_rows, num_groups=num_groups,
                    remark=f"to pass in {power:.0%}, {self.remark}")  # fmt: skip

    def _at_limit(self) -> float:
        limit, truth = self.decided.limit, self.truth
        return math.sqrt(limit * (1 - limit) / (truth * (1 - truth))) if 0 < limit < 1 and 0 < truth < 1 else 1.0

    def power(self, num_rows: int, clusters: Clusters) -> RulePower:
        """What the rule tells with that many rows, in the words of the gate."""
        error = (self.deviation or 0.0) * math.sqrt(clusters.design_effect / num_rows)
        if isinstance(self.rule, WithinLimit):
            power = power_of_limit(self.decided, self.truth, error, num_rows, None)
        else:
            power = power_of_difference(self.decided, error, num_rows, None)
        return RulePower(rule=self.rule.rule, figure=self.figure, sentence=power.sentence)
