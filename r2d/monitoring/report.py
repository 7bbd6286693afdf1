"""How decisions turned out, by version: shares of errors with intervals, a chart that alarms, facts and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from r2d.config.data import LabelsConfig
from r2d.config.jobs import MonitorConfig, MonitorLimits, Tolerance
from r2d.errors import ConfigError
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.files import write_json, write_text
from r2d.label_scores import label_indices
from r2d.modeling.model_folder import Calibration, read_calibration, read_model_facts
from r2d.monitoring.cusum import Chart, Cusum
from r2d.monitoring.outcomes import LEFT_OUT, Joined, JoinedCall, join_outcomes
from r2d.reports.plots import BLUE, INK, QUIET, VERMILION, new_figure, style_axes, to_svg
from r2d.reports.templates import render
from r2d.text import normalise_label

FORMAT_VERSION = 1
MEASURES = {"under_triage": "Under-triage", "error": "Wrong label"}
"""Key -> title. Under-triage only where labels are ordered."""
ODDS_RATIO = 2.0
"""Of the unacceptable share to the acceptable one, where only the latter is known, from the model."""
MAX_POINTS = 200
"""Of a rolling share."""
REPORT_FILE = "monitor.json"
NOT_KNOWN = IntervalEstimate(None)
Outcome = Literal["alarm", "above acceptable", "too few calls", "steady", "no limit", "no calls"]
"""Of one measure. `alarm`: the chart alarmed. Else the interval of the share speaks: `above acceptable` where it lies
above that rate as a whole, `too few calls` where it reaches the unacceptable rate, and `steady` where it lies below."""


class Alarm(NamedTuple):
    """A call at which a chart alarmed."""

    call: int
    """Its number among the labelled calls of the version that were shown a label, counted from 1."""
    time: str | None
    """When it was decided, ISO 8601."""


@dataclass(frozen=True)
class Measure:
    """One kind of error of one version."""

    outcome: Outcome
    sentence: str
    """The result in words."""
    share: IntervalEstimate
    """Over all its labelled calls that were shown a label; 95 % interval (Wilson), calls taken as independent."""
    num_errors: int = 0
    recent: IntervalEstimate = NOT_KNOWN
    """Over the last window."""
    tolerance: Mapping[str, float] = field(default_factory=dict)
    """acceptable and unacceptable; empty where there is no limit."""
    alarms: Sequence[Alarm] = ()
    sum: float | None = None
    """Where the chart stands, as a share of its threshold."""
    calls_between_false_alarms: float | None = None
    """Exact mean, for independent calls at the acceptable share."""
    calls_to_alarm: float | None = None
    """Exact mean at the unacceptable share."""


@dataclass(frozen=True)
class VersionReport:
    """What became of the decisions of one version."""

    model: str
    sha256: str | None
    """Of its folder; None where only an audit log names it."""
    num_decided: int
    num_labelled: int
    """Decisions with an outcome; `num_shown` of them were shown their label, the others handed over."""
    num_shown: int
    measures: Mapping[str, Measure]
    """Key of `MEASURES` -> measure."""

    @property
    def alarms(self) -> bool:
        return any(measure.outcome == "alarm" for measure in self.measures.values())


@dataclass(frozen=True, kw_only=True)
class MonitorReport:
    """The fields are those of `monitor.json`."""

    format_version: int = FORMAT_VERSION
    alarm: bool
    reasons: Sequence[str]
    """A sentence for each alarm."""
    num_decided: int
    num_labelled: int
    num_outcomes: int
    """Rows of the file of outcomes."""
    left_out: Mapping[str, int]
    """Key of `r2d.monitoring.outcomes.LEFT_OUT` -> number."""
    window: int
    calls_between_false_alarms: int
    """As declared."""
    versions: Sequence[VersionReport]

    @property
    def outcomes(self) -> set[Outcome]:
        """Of every measure of every version."""
        return {measure.outcome for version in self.versions for measure in version.measures.values()}

    def to_json(self) -> dict[str, object]:
        """The fields, as JSON values."""
        versions = [asdict(version) | {"alarm": version.alarms} for version in self.versions]
        return asdict(self) | {"versions": versions}


def report_outcomes(config: MonitorConfig, model_folder: Path) -> tuple[MonitorReport, str]:
    """Join decisions with outcomes, measure, and write `monitor.html` and, last, `monitor.json`.

    Args:
        model_folder: where the files of `config.model` lie.

    Returns:
        the report and its page.

    Raises:
        DataError: files cannot be read or joined.
        ConfigError: a limit does not fit the labels.
        ModelError: the folder holds no model.
    """
    labels = read_model_facts(model_folder).labels
    tolerances = tolerances_of(config.limits, labels, read_calibration(model_folder))
    joined = join_outcomes(config.decided, config.outcomes, labels, since=config.since)
    report, plots = measure_outcomes(joined, labels, tolerances, config)
    page = render_monitor_report(report, plots)
    out = Path(config.output)
    out.mkdir(parents=True, exist_ok=True)
    (out / REPORT_FILE).unlink(missing_ok=True)
    write_text(out / "monitor.html", page + "\n")
    write_json(out / REPORT_FILE, report.to_json())
    return report, page


def tolerances_of(limits: MonitorLimits, labels: LabelsConfig, calibration: Calibration | None) -> dict[str, Tolerance]:
    """Measure -> what is tolerable: as declared, else as the model declares it, else nothing.

    Raises:
        ConfigError: under-triage is limited, and the labels have no order.
    """
    declared = {name: limit for name in MEASURES if (limit := getattr(limits, name)) is not None}
    if "under_triage" in declared and not labels.ordered:
        raise ConfigError("limits.under_triage: the labels of the model have no order; give limits.error in its place")
    if declared or calibration is None:
        return declared
    selective = calibration.facts["selective"]
    risk, acceptable = selective.get("risk"), selective.get("max_risk")
    if risk not in MEASURES or acceptable is None or (risk == "under_triage" and not labels.ordered):
        return {}
    odds = ODDS_RATIO * acceptable / (1 - acceptable)
    return {risk: Tolerance(acceptable=acceptable, unacceptable=odds / (1 + odds))}


def measure_outcomes(
    joined: Joined, labels: LabelsConfig, tolerances: Mapping[str, Tolerance], config: MonitorConfig
) -> tuple[MonitorReport, dict[tuple[str, str], Markup]]:
    """The report, and (version, measure) -> its plot."""
    between = config.limits.calls_between_false_alarms
    charts = {name: Cusum.of(limit.acceptable, limit.unacceptable, between) for name, limit in tolerances.items()}
    versions, plots, reasons = [], dict[tuple[str, str], Markup](), list[str]()
    for number, (model, calls) in enumerate(joined.calls.items(), 1):
        shown = [call for call in calls if call.decision.is_shown]
        measures = {}
        for name, errors in errors_of(shown, labels).items():
            cusum = charts.get(name)
            chart = None if cusum is None else cusum.follow(errors.tolist())
            measures[name] = _measure(name, errors, shown, cusum, chart, config.window)
            if measures[name].outcome == "alarm":
                reasons.append(f"{model}: {measures[name].sentence}")
            if len(errors) > 1:
                plots[model, name] = _plot(f"{name}-{number}", name, errors, cusum, chart, config.window)
        versions.append(
            VersionReport(model, joined.hashes.get(model), joined.num_decided[model], len(calls), len(shown), measures)
        )
    report = MonitorReport(
        alarm=bool(reasons),
        reasons=reasons,
        num_decided=sum(joined.num_decided.values()),
        num_labelled=sum(version.num_labelled for version in versions),
        num_outcomes=joined.num_outcomes,
        left_out=dict(joined.left_out),
        window=config.window,
        calls_between_false_alarms=between,
        versions=versions,
    )
    return report, plots


def errors_of(calls: Sequence[JoinedCall], labels: LabelsConfig) -> dict[str, NDArray[np.bool_]]:
    """Measure -> whether each call is an error of that kind; under-triage only where labels are ordered."""
    given = [call.decision.label for call in calls]
    later = [call.outcome.label for call in calls]
    wrong = np.array(
        [normalise_label(a) != normalise_label(b) for a, b in zip(given, later, strict=True)], dtype=np.bool_
    )
    if not labels.ordered or labels.per_row:
        return {"error": wrong}
    options = [labels.names] * len(calls)
    return {"under_triage": label_indices(given, options) > label_indices(later, options), "error": wrong}


def render_monitor_report(report: MonitorReport, plots: Mapping[tuple[str, str], Markup]) -> str:
    """The page as HTML text: counts, shares and names of versions; no call and no id."""
    return render(
        "r2d.monitoring", "report.html.j2", title="Outcomes report", report=report, plots=plots, titles=MEASURES,
        left_out=LEFT_OUT,
    )  # fmt: skip


def wilson(num_errors: int, num_calls: int) -> IntervalEstimate:
    """A share and its 95 % interval (Wilson 1927)."""
    if not num_calls:
        return NOT_KNOWN
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    interval = binomtest(num_errors, num_calls).proportion_ci(method="wilson")
    return IntervalEstimate(num_errors / num_calls, float(interval.low), float(interval.high), "score")


def _measure(
    name: str,
    errors: NDArray[np.bool_],
    calls: Sequence[JoinedCall],
    cusum: Cusum | None,
    chart: Chart | None,
    window: int,
) -> Measure:
    num_errors, what = int(errors.sum()), MEASURES[name].lower()
    share = wilson(num_errors, len(errors))
    tolerance = {} if cusum is None else {"acceptable": cusum.acceptable, "unacceptable": cusum.unacceptable}
    if not len(errors):
        return Measure("no calls", "No call that was shown a label has an outcome yet.", share, tolerance=tolerance)
    latest = errors[-window:]
    recent = wilson(int(latest.sum()), len(latest))
    found = f"{num_errors:,} of {len(errors):,} calls ({100 * num_errors / len(errors):.1f} %)"
    if cusum is None or chart is None:
        return Measure("no limit", f"{what}: {found}; no limit is declared.", share, num_errors, recent)
    alarms = []
    for place in chart.alarms:
        time = calls[place].decision.time
        alarms.append(Alarm(place + 1, None if time is None else time.isoformat()))
    tolerable = f"{100 * cusum.acceptable:.1f} % is acceptable"
    outcome: Outcome = "steady"
    if alarms:
        outcome = "alarm"
        when = f", decided at {alarms[0].time}" if alarms[0].time else ""
        more = f", and {len(alarms) - 1} more alarm{'s' if len(alarms) > 2 else ''}" if len(alarms) > 1 else ""
        sentence = f"{what} rose above what is acceptable: alarm at call {alarms[0].call:,}{when}{more}; {found}."
    elif (share.low or 0) > cusum.acceptable:
        outcome = "above acceptable"
        sentence = (
            f"{what}: {found}; {tolerable}, and the whole interval of the share lies above that. The chart has not "
            "alarmed yet."
        )
    elif (share.high or 0) >= cusum.unacceptable:
        outcome = "too few calls"
        sentence = (
            f"{what}: {found}; these are too few calls to tell {100 * cusum.acceptable:.1f} %, which is acceptable, "
            f"from {100 * cusum.unacceptable:.1f} %, which is not."
        )
    else:
        sentence = f"{what}: {found}; {tolerable}, and the chart has not alarmed."
    return Measure(
        outcome,
        sentence,
        share,
        num_errors,
        recent,
        tolerance,
        alarms,
        chart.sums[-1] / cusum.threshold,
        cusum.run_length(cusum.acceptable),
        cusum.run_length(cusum.unacceptable),
    )


def _plot(
    key: str, name: str, errors: NDArray[np.bool_], cusum: Cusum | None, chart: Chart | None, window: int
) -> Markup:
    """The rolling share with its interval, and below it the chart with its threshold and alarms."""
    totals = np.concatenate([[0], np.cumsum(errors)])
    first = min(window, len(errors))
    ends = np.unique(np.linspace(first, len(errors), MAX_POINTS).astype(int))
    shares = [wilson(int(totals[end] - totals[end - first]), first) for end in ends]
    figure = new_figure(620 / 72, (360 if chart else 200) / 72)
    panels = figure.subplots(2 if chart else 1, 1, sharex=True, squeeze=False)[:, 0]
    rolling = panels[0]
    rolling.fill_between(
        ends, [100 * (s.low or 0) for s in shares], [100 * (s.high or 0) for s in shares], color=BLUE, alpha=0.18,
        linewidth=0, gid="interval",
    )  # fmt: skip
    marker = "o" if len(ends) < 2 else ""
    rolling.plot(ends, [100 * (s.value or 0) for s in shares], color=BLUE, linewidth=1.8, marker=marker, gid="share")
    highest = max([share.high or 0 for share in shares] + [0 if cusum is None else cusum.unacceptable])
    rolling.set_ylim(0, min(105, 110 * highest))
    rolling.set_xlim(0, len(errors))
    style_axes(rolling, title=f"{MEASURES[name]}: % of the last {first:,} calls", grid="y", font_size=11)
    if cusum is not None and chart is not None:
        for share, words, dash in (
            (cusum.acceptable, "acceptable", (0, (2, 3))),
            (cusum.unacceptable, "unacceptable", (0, (6, 4))),
        ):
            rolling.axhline(100 * share, color=VERMILION, linewidth=1.2, linestyle=dash)
            rolling.annotate(
                words, (0, 100 * share), (4, 3), textcoords="offset points", color=VERMILION, fontsize=10,
                annotation_clip=False,
            )  # fmt: skip
        chosen = np.unique(np.concatenate([np.linspace(0, len(errors) - 1, 4 * MAX_POINTS).astype(int), chart.alarms]))
        chosen = chosen.astype(int)
        sums = np.array(chart.sums)[chosen] / cusum.threshold
        panel = panels[1]
        panel.plot(chosen + 1, sums, color=INK, linewidth=1.2, gid="sum")
        panel.axhline(1.0, color=VERMILION, linewidth=1.4)
        alarms = np.array(chart.alarms, dtype=int)
        panel.plot(
            alarms + 1, np.ones(len(alarms)), color=VERMILION, marker="v", markersize=9, linewidth=0, gid="alarm"
        )
        panel.set_ylim(0, max(1.15, float(sums.max()) * 1.05))
        panel.set_yticks([0, 0.5, 1], ["0", "½", "alarm"])
        style_axes(panel, title="Cumulative sum", grid="y", font_size=11)
    panels[-1].set_xlabel("labelled calls, in the order of the decisions", color=QUIET, fontsize=11)
    description = f"Last {first} calls: {shares[-1].text()}."
    if chart is not None:
        description += f" Alarms at calls: {', '.join(str(place + 1) for place in chart.alarms) or 'none'}."
    return to_svg(figure, key, f"{MEASURES[name]} over the labelled calls", description)
