"""The decision of the gate as a page and as a picture."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from r2d.evaluation.metrics import Metrics
from r2d.evaluation.summary import champion_sentence, safety_facts
from r2d.gate.decision import NO_RULES, GateDecision
from r2d.reports.plots import AMBER, BLUE, INK, QUIET, VERMILION, new_figure, style_axes, to_image, to_svg
from r2d.reports.templates import render

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

COLOURS = {"passed": BLUE, "failed": VERMILION, "waiting": AMBER, "not_applicable": QUIET}
WORDS = {"passed": "met", "failed": "NOT met", "waiting": "waits", "not_applicable": "does not apply"}
TITLES = {"passed": "The gate lets it pass", "failed": "The gate stops it", "waiting": "It waits for a person"}
WHY = {
    "better_than_baseline": "A model that counting words equals is not worth its risk.",
    "within_limit": "A limit declared for this use, whatever other models do.",
    "not_worse_than_champion": "What people use today must not be replaced by something worse.",
    "no_slice_worse_than_champion": "A gain on average must not hide a group that loses.",
    "human_approval": "A person answers for the decision, by name.",
    "defaults": "These labels have no such figure.",
}
"""Name of a rule -> why there is one."""
NEXT = {
    "passed": (("Try it", "r2d predict --model {model} NOTE"),),
    "failed": (
        ("See what changed since the version before", "r2d diff {champion} {model}"),
        ("Mend data or configuration, and train again", "zenml pipeline run reason2decide --config CONFIG"),
    ),
    "waiting": (("Read the report, then say yes, by name", "r2d approve {model} --reason WHY"),),
}
"""Outcome -> what people do next, and the command for it."""
LINKS = (
    ("Data, code, settings and artifacts behind it", "r2d lineage {model}"),
    ("Who changed the champion, and why", "r2d history {name}"),
)


def gate_page(
    decision: GateDecision,
    *,
    model_name: str,
    version: str,
    next_step: str,
    metrics: Metrics | None = None,
    rollback: str | None = None,
) -> str:
    """The page as HTML text: what was decided, how safe the model is, each rule with its metric, what to do next, and
    the slices behind a rule on slices.

    Args:
        next_step: what the decision has done to the aliases, as a sentence.
        metrics: of the version; None where they cannot be read.
        rollback: the command that takes the version back, where it is the champion.
    """
    names = {"model": f"{model_name}/{version}", "name": model_name, "champion": decision.champion or ""}
    taken_back = (("Take it back, if it disappoints", rollback),) if rollback else ()
    steps = [(words, command.format(**names)) for words, command in (*NEXT[decision.outcome], *taken_back, *LINKS)]
    # The metrics are those of the first registration; since then there may be another champion.
    beside = ""
    if metrics is not None and metrics.champion is not None and metrics.champion.reference == decision.champion:
        beside = champion_sentence(metrics)
    plot = None
    if any(verdict.value is not None for verdict in decision.verdicts):
        about = " ".join(decision.reasons())
        plot = to_svg(_figure(decision), "distances", "Distance of each metric to its limit", about)
    return render(
        "r2d.gate",
        "page.html.j2",
        title=f"Gate: {model_name} version {version}",
        decision=decision,
        verdict_title=_title(decision),
        verdict_tone=_tone(decision),
        next_step=next_step,
        steps=[step for step in steps if decision.champion or not step[1].startswith("r2d diff")],
        safety=None if metrics is None else safety_facts(metrics),
        beside=beside,
        words=WORDS,
        why=WHY,
        no_rules=NO_RULES,
        plot=plot,
    )


def _title(decision: GateDecision) -> str:
    """The outcome, and with what the model was compared."""
    return f"{TITLES[decision.outcome] if decision.verdicts else NO_RULES}, {decision.compared}"


def _tone(decision: GateDecision) -> str:
    """How the box of the outcome looks: only a model that was held against rules and a champion, and of which nothing
    is left to do, gets the colour of what is well."""
    if decision.outcome == "failed":
        return "stop"
    is_well = decision.outcome == "passed" and decision.verdicts and decision.champion and not decision.not_compared
    return "go" if is_well and not decision.to_do else ""


def gate_picture(decision: GateDecision) -> Image:
    """The decision as a picture, for a dashboard."""
    return to_image(_figure(decision))


def _figure(decision: GateDecision) -> Figure:
    """A row for each rule: metric and interval as distance to the limit; right of the limit the rule is met."""
    verdicts = decision.verdicts
    num_rows = max(1, len(verdicts))
    figure = new_figure(8.6, 1.7 + 0.62 * num_rows, _title(decision))
    axes = figure.subplots()
    # Value, low and high of each metric as distances to its limit, shares of a whole; above 0 is better.
    distances: list[list[float]] = []
    for verdict in verdicts:
        ends = (verdict.value, verdict.low, verdict.high) if verdict.value is not None else ()
        scale = (1 if verdict.higher_is_better else -1) / verdict.full
        limit = verdict.limit
        distances.append([scale * (end - limit) for end in ends if end is not None and limit is not None])
    reach = 1.12 * max([0.02, *(abs(distance) for row in distances for distance in row)])
    axes.set_xlim(-reach, reach)
    axes.set_ylim(num_rows - 0.4, -0.6)
    axes.axvspan(0, reach, color=BLUE, alpha=0.07, linewidth=0, zorder=0)
    axes.axvline(0, color=INK, linewidth=1.2)
    for row, (verdict, places) in enumerate(zip(verdicts, distances, strict=True)):
        colour = COLOURS[verdict.status]
        if places:
            axes.plot(places[1:], [row] * len(places[1:]), color=colour, linewidth=2.4, solid_capstyle="butt")
            axes.plot(places[0], row, "o", color=colour, markersize=7)
        else:
            axes.text(0.02 * reach, row, "no metric", color=QUIET, va="center", fontsize=9)
    names = [textwrap.fill(verdict.figure or str(verdict.rule["rule"]).replace("_", " "), 34) for verdict in verdicts]
    axes.set_yticks(range(len(verdicts)), names)
    axes.xaxis.set_major_formatter(lambda place, _: f"{100 * place:+.3g}" if place else "limit")
    axes.set_xlabel("distance to the limit, in points of 100 (shaded: the rule is met)")
    style_axes(axes)
    outcomes = axes.secondary_yaxis("right")
    outcomes.set_yticks(range(len(verdicts)), [WORDS[verdict.status] for verdict in verdicts])
    outcomes.tick_params(length=0, labelsize=10)
    outcomes.spines[:].set_visible(False)
    for label, verdict in zip(outcomes.get_yticklabels(), verdicts, strict=True):
        label.set_color(COLOURS[verdict.status])
        label.set_fontweight("bold")
    return figure
