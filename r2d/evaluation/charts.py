"""Charts of a report as inline SVG: no script, coloured by the page's variables, and each told in words too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup, escape

ROUND_RISKS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
"""Upper ends of the risk axis; the first that holds everything drawn is taken."""


@dataclass(frozen=True)
class Frame:
    """The plotting area of a chart, in the units of its view box; x runs from 0 to 1, y from 0 to `highest`."""

    width: float
    height: float
    highest: float = 1.0
    left: float = 46
    top: float = 24
    right: float = 14
    bottom: float = 42

    def x(self, value: float) -> float:
        return round(self.left + value * (self.width - self.left - self.right), 2)

    def y(self, value: float) -> float:
        return round(self.height - self.bottom - value / self.highest * (self.height - self.top - self.bottom), 2)


def whisker(figure: Mapping[str, Any], lowest: float, highest: float) -> Markup:
    """A figure as a point and its interval as a line, between two limits, with a mark at 0 where 0 lies between them.

    It stands beside the same figure in digits, so that it is hidden from a screen reader.

    Args:
        figure: value, low, high, as `statistics.intervals` returns them; without a value only the axis is drawn.
    """

    def at(value: float) -> str:
        return f"{100 * min(max((value - lowest) / (highest - lowest), 0), 1):.2f}%"

    parts = ['<line class="axis" x1="0%" x2="100%" y1="8" y2="8"/>']
    if lowest < 0 < highest:
        parts.append(f'<line class="zero" x1="{at(0)}" x2="{at(0)}" y1="0" y2="16"/>')
    if figure["low"] is not None:
        parts.append(f'<line class="span" x1="{at(figure["low"])}" x2="{at(figure["high"])}" y1="8" y2="8"/>')
    if figure["value"] is not None:
        parts.append(f'<circle class="point" cx="{at(figure["value"])}" cy="8" r="4.5"/>')
    return Markup(f'<svg class="whisker" height="16" aria-hidden="true">{"".join(parts)}</svg>')


def reliability_diagram(bins: Sequence[Mapping[str, Any]], name: str, title: str) -> Markup:
    """The share that was right against the confidence, bin by bin; on the diagonal the two are equal.

    The line from each point to the diagonal is the gap that the calibration error averages.

    Args:
        bins: an entry of `calibration_metrics(...)["reliability"]`.
        name: distinguishes the chart within its page.
    """
    frame = Frame(300, 300)
    drawn = _grid(frame, "confidence", "share right")
    drawn.append(_line(frame, (0, 0), (1, 1), "even"))
    places = [(entry["confidence"], entry["accuracy"]) for entry in bins]
    drawn += [_line(frame, (confidence, confidence), (confidence, share), "gap") for confidence, share in places]
    drawn += [_line(frame, one, other, "curve") for one, other in pairwise(places)]
    drawn += [_point(frame, place) for place in places]
    told = "; ".join(
        f"of {entry['num_rows']} notes with confidence {100 * entry['confidence']:.0f} % right: "
        f"{100 * entry['accuracy']:.0f} %"
        for entry in bins
    )
    return _chart(frame, drawn, name, title, f"{told}.")


def risk_coverage_curve(selective: Mapping[str, Any], harm: str, name: str, title: str) -> Markup:
    """The risk among the labels shown against the share of notes whose label is shown, with limit and threshold.

    Args:
        selective: `selective_metrics`; without a threshold the curve stands alone.
        harm: what the risk is a share of, in words.
    """
    points, test = selective["curve"]["points"], selective["test"]
    marked = test if test and test["risk"]["value"] is not None else None
    risks = [selective["max_risk"], *(point["risk"] for point in points)]
    if marked:
        risks.append(marked["risk"]["high"] or marked["risk"]["value"])
    frame = Frame(360, 270, highest=next(end for end in ROUND_RISKS if end >= min(max(risks), 1.0)))
    drawn = _grid(frame, "share of notes whose label is shown", harm)
    limit = selective["max_risk"]
    drawn.append(_line(frame, (0, limit), (1, limit), "limit"))
    drawn.append(_text(frame.left + 4, frame.y(limit) - 5, f"limit {100 * limit:g} %", "start", "strong"))
    way = " ".join(f"{frame.x(point['coverage'])},{frame.y(point['risk'])}" for point in points)
    drawn.append(f'<polyline class="curve" points="{way}"/>')
    told = f"All labels shown: risk {100 * selective['curve']['risk']:.1f} %."
    if marked:
        coverage, risk = marked["coverage"], marked["risk"]
        if coverage["low"] is not None:
            drawn.append(_line(frame, (coverage["low"], risk["value"]), (coverage["high"], risk["value"]), "span"))
        if risk["low"] is not None:
            drawn.append(_line(frame, (coverage["value"], risk["low"]), (coverage["value"], risk["high"]), "span"))
        drawn.append(_point(frame, (coverage["value"], risk["value"]), "chosen"))
        told += f" At the threshold: {100 * coverage['value']:.1f} % shown, risk {100 * risk['value']:.1f} %."
    return _chart(frame, drawn, name, title, f"{told} The table beside the chart gives the curve.")


def _chart(frame: Frame, drawn: Sequence[str], name: str, title: str, told: str) -> Markup:
    return Markup(
        f'<svg class="chart" viewBox="0 0 {frame.width:g} {frame.height:g}" role="img" '
        f'aria-labelledby="{escape(name)}-title {escape(name)}-told">'
        f'<title id="{escape(name)}-title">{escape(title)}</title>'
        f'<desc id="{escape(name)}-told">{escape(told)}</desc>{"".join(drawn)}</svg>'
    )


def _grid(frame: Frame, below: str, beside: str) -> list[str]:
    """Lines and percentages of both axes, and what they are."""
    drawn = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        drawn.append(_line(frame, (tick, 0), (tick, frame.highest), "grid"))
        drawn.append(_text(frame.x(tick), frame.height - frame.bottom + 16, f"{100 * tick:g}", "middle"))
    for tick in (0.0, frame.highest / 2, frame.highest):
        drawn.append(_line(frame, (0, tick), (1, tick), "grid"))
        drawn.append(_text(frame.left - 6, frame.y(tick) + 4, f"{100 * tick:g}", "end"))
    drawn.append(_text(frame.x(0.5), frame.height - 8, f"{below}, %", "middle", "name"))
    drawn.append(_text(2, 12, f"{beside}, %", "start", "name"))
    return drawn


def _line(frame: Frame, start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
    (x1, y1), (x2, y2) = start, end
    ends = f'x1="{frame.x(x1)}" y1="{frame.y(y1)}" x2="{frame.x(x2)}" y2="{frame.y(y2)}"'
    return f'<line class="{kind}" {ends}/>'


def _point(frame: Frame, place: tuple[float, float], kind: str = "point") -> str:
    return f'<circle class="{kind}" cx="{frame.x(place[0])}" cy="{frame.y(place[1])}" r="4.5"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'
