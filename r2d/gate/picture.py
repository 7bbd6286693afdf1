"""The decision of the gate as a picture: how far each figure is from its limit, and on which side."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from r2d.gate.decision import GateDecision, Verdict

if TYPE_CHECKING:
    from PIL.Image import Image

DPI = 130
INK, QUIET = "#222222", "#767676"
COLOURS = {"passed": "#0072B2", "failed": "#D55E00", "waiting": "#8a6d00", "not_applicable": QUIET}
WORDS = {"passed": "met", "failed": "NOT met", "waiting": "waits", "not_applicable": "does not apply"}
TITLES = {"passed": "The gate lets it pass", "failed": "The gate stops it", "waiting": "It waits for a person"}


def gate_picture(decision: GateDecision) -> Image:
    """A row for each rule: the figure and its interval, as distance to the limit; on the right the rule is met."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    verdicts = decision.verdicts
    figure = Figure(figsize=(8.6, 1.7 + 0.62 * max(1, len(verdicts))), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    reach = max([0.02, *(abs(end) for verdict in verdicts for end in _distances(verdict))]) * 1.12
    axes.set_xlim(-reach, reach)
    axes.set_ylim(max(1, len(verdicts)) - 0.4, -0.6)
    axes.axvspan(0, reach, color="#eef4f8", zorder=0)
    axes.axvline(0, color=INK, linewidth=1.2)
    for row, verdict in enumerate(verdicts):
        _draw(axes, row, verdict, reach)
    names = [textwrap.fill(verdict.figure or str(verdict.rule["rule"]).replace("_", " "), 34) for verdict in verdicts]
    axes.set_yticks(range(len(verdicts)), names)
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(verdicts)), [WORDS[verdict.status] for verdict in verdicts])
    for label, verdict in zip(right.get_yticklabels(), verdicts, strict=True):
        label.set_color(COLOURS[verdict.status])
        label.set_fontweight("bold")
    axes.xaxis.set_major_formatter(lambda place, _: f"{100 * place:+.3g}" if place else "limit")
    axes.set_xlabel("distance to the limit, in points of 100 (shaded: the rule is met)", color=INK)
    for side in (axes, right):
        side.tick_params(length=0, colors=INK)
    for spine in [*axes.spines.values(), *right.spines.values()]:
        spine.set_visible(False)
    for label, verdict in zip(right.get_yticklabels(), verdicts, strict=True):
        label.set_color(COLOURS[verdict.status])
    beside = f", compared with {decision.champion}" if decision.champion else ", no champion to compare with"
    figure.suptitle(TITLES[decision.outcome] + beside, color=INK, fontsize=11)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _distances(verdict: Verdict) -> list[float]:
    """Value, low, high as distance to the limit, as a share of a whole; above 0 is better. Empty without a figure."""
    if verdict.value is None or verdict.limit is None:
        return []
    sign = 1 if verdict.higher_is_better else -1
    known = [end for end in (verdict.value, verdict.low, verdict.high) if end is not None]
    return [sign * (end - verdict.limit) / verdict.full for end in known]


def _draw(axes: Any, row: int, verdict: Verdict, reach: float) -> None:
    colour = COLOURS[verdict.status]
    distances = _distances(verdict)
    if not distances:
        axes.text(0.02 * reach, row, "no figure", color=QUIET, va="center", fontsize=9)
        return
    value, *ends = distances
    if ends:
        axes.plot(ends, [row, row], color=colour, linewidth=2.4, solid_capstyle="butt")
    axes.plot([value], [row], "o", color=colour, markersize=7)
