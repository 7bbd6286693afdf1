"""Plots of an evaluation: pictures for dashboards and trackers, and SVG diagrams for the report."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from r2d.evaluation.metrics import Metrics
from r2d.evaluation.sections.calibration import CalibrationPoint, ReliabilityBin
from r2d.evaluation.sections.labels import LabelMetrics
from r2d.evaluation.sections.operating_points import UrgencyCut
from r2d.evaluation.sections.selective import SelectiveMetrics
from r2d.reports.plots import BLUE, GREEN, INK, LINE, PAPER, QUIET, VERMILION, new_figure, style_axes, to_image, to_svg

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_ANNOTATED_LABELS = 20
"""A matrix of more labels is shaded without numbers."""
QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
RISK_AXIS_ENDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
"""Upper ends of the risk axis: the first that holds everything drawn is used."""


def decisions_picture(metrics: Metrics, labels: Sequence[str]) -> Image:
    """The confusion matrix; accuracies where each row has options of its own and `labels` is empty."""
    return confusion_matrix_picture(metrics.label, labels) if labels else accuracy_picture(metrics)


def confusion_matrix_picture(metrics: LabelMetrics, labels: Sequence[str]) -> Image:
    """The confusion matrix: rows gold, columns predicted, each cell shaded by its share of the row."""
    import numpy as np

    counts = np.asarray(metrics.confusion_matrix, dtype=int)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    annotated = len(labels) <= MAX_ANNOTATED_LABELS
    cell = 0.78 if annotated else 0.25
    scores = f"accuracy {metrics.accuracy:.1%}, macro-F1 {metrics.macro_f1:.3f}"
    title = f"Decisions on {metrics.num_rows:,} rows: {scores}"
    figure = new_figure(3.4 + cell * counts.shape[1], 2.6 + cell * counts.shape[0], title)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="equal")
    if annotated:
        for (row, column), count in np.ndenumerate(counts):
            colour = PAPER if shares[row, column] > 0.55 else INK if count else QUIET
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=10)
    names = [textwrap.fill(label, 18) for label in labels]
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(len(names) + 1), [*names, "(no label)"], rotation=40, ha="right", rotation_mode="anchor")
    axes.set_ylabel("gold label")
    axes.set_xlabel("predicted label")
    style_axes(axes)
    axes.set_xticks(np.arange(len(names)) + 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(names)) - 0.5, minor=True)
    axes.grid(which="minor", color=PAPER, linewidth=1.5)
    axes.axvline(len(names) - 0.5, color=INK, linewidth=1.0)  # sets the column "(no label)" apart
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, ticks=QUARTERS)
    bar.ax.set_yticklabels(["0", "25", "50", "75", "100 %"])
    bar.set_label("share of the gold label's rows", color=INK)
    bar.outline.set_visible(False)
    return to_image(figure)


def accuracy_picture(metrics: Metrics) -> Image:
    """Bars of accuracy of the baselines and the model, for rows with options of their own: they have no matrix."""
    accuracies = {baseline.value: label.accuracy for baseline, label in metrics.baselines.items()}
    accuracies["this model"] = metrics.label.accuracy
    names = [textwrap.fill(name, 24) for name in accuracies]
    figure = new_figure(7.5, 1.6 + 0.55 * len(names), f"Decisions on {metrics.num_rows:,} rows")
    axes = figure.subplots()
    bars = axes.barh(names, list(accuracies.values()), height=0.6, color=[*[QUIET] * (len(names) - 1), BLUE])
    axes.bar_label(bars, [f"{accuracy:.1%}" for accuracy in accuracies.values()], padding=4, color=INK)
    axes.invert_yaxis()
    axes.set_xlim(0.0, 1.12)
    axes.set_xticks(QUARTERS, ["0", "25", "50", "75", "100 %"])
    axes.set_xlabel("accuracy; there is no confusion matrix, because each row has options of its own")
    style_axes(axes, spines=("left", "bottom"))
    return to_image(figure)


def reliability_diagram(
    bins: Sequence[ReliabilityBin], name: str, title: str, curve: Sequence[CalibrationPoint] = ()
) -> Markup:
    """Accuracy against confidence, a point for each bin, and its gap to the diagonal, where the two are equal; and the
    smooth curve, if there is one, in place of lines between the points."""
    confidences, accuracies = [one.confidence for one in bins], [one.accuracy for one in bins]
    figure = new_figure(300 / 72, 300 / 72)
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), color=QUIET, linewidth=1.2, linestyle=(0, (4, 4)), gid="diagonal")
    axes.vlines(confidences, confidences, accuracies, colors=VERMILION, linewidth=2.5, alpha=0.75, gid="gaps")
    if curve:
        axes.plot(
            [point.confidence for point in curve], [point.accuracy for point in curve], color=BLUE, linewidth=1.8,
            gid="curve",
        )  # fmt: skip
    line = 0.0 if curve else 1.8
    axes.plot(confidences, accuracies, color=BLUE, linewidth=line, marker="o", markersize=8, gid="points")
    _percent_axes(axes, "confidence", "share right", 1.0, QUARTERS)
    description = "; ".join(
        f"of {one.num_rows} notes with confidence {100 * one.confidence:.0f} % right: {100 * one.accuracy:.0f} %"
        for one in bins
    )
    return to_svg(figure, name, title, f"{description}.")


def risk_coverage_curve(selective: SelectiveMetrics, risk_name: str, name: str, title: str) -> Markup:
    """Risk among the labels shown against the share of notes whose label is shown, with the limit and, where there is
    one, the threshold. `risk_name` is what the risk is a share of, such as `under-triage`."""
    points, test, limit = selective.curve.points, selective.test, selective.max_risk
    threshold = None if test is None or test.risk.value is None else (test.coverage.value or 0.0, test.risk.value)
    risks = [limit, *(point.risk for point in points)]
    if test and threshold:
        risks.append(test.risk.high or threshold[1])
    highest = next(end for end in RISK_AXIS_ENDS if end >= min(max(risks), 1.0))
    figure = new_figure(360 / 72, 270 / 72)
    axes = figure.subplots()
    axes.axhline(limit, color=VERMILION, linewidth=1.4, linestyle=(0, (6, 4)), gid="limit")
    axes.annotate(
        f"limit {100 * limit:g} %", (0, limit), (4, 4 if limit < 0.9 * highest else -14), textcoords="offset points",
        color=VERMILION, fontsize=12, fontweight="bold", annotation_clip=False,
    )  # fmt: skip
    coverages = [point.coverage for point in points]
    axes.plot(coverages, [point.risk for point in points], color=BLUE, linewidth=1.8, gid="curve")
    description = f"All labels shown: risk {100 * selective.curve.risk:.1f} %."
    if test and threshold:
        draw = partial(axes.plot, color=BLUE, linewidth=3, solid_capstyle="round", gid="interval")
        if test.coverage.low is not None and test.coverage.high is not None:
            draw((test.coverage.low, test.coverage.high), [threshold[1]] * 2)
        if test.risk.low is not None and test.risk.high is not None:
            draw([threshold[0]] * 2, (test.risk.low, test.risk.high))
        axes.plot(
            *threshold, "o", markersize=9, markerfacecolor=PAPER, markeredgecolor=BLUE, markeredgewidth=3,
            gid="threshold",
        )  # fmt: skip
        description += f" At the threshold: {100 * threshold[0]:.1f} % shown, risk {100 * threshold[1]:.1f} %."
    _percent_axes(axes, "share of notes whose label is shown", risk_name, highest, (0.0, highest / 2, highest))
    return to_svg(figure, name, title, f"{description} The table beside the chart gives the curve.")


def decision_curve(cut: UrgencyCut, name: str, title: str) -> Markup:
    """Net benefit in notes per 1,000 against the threshold probability: of the predicted labels with intervals, of the
    probabilities, and of treating all or none."""
    points = cut.points
    decided = [point.as_decided["net_benefit"] for point in points]
    values, by_probability = (
        [1000 * (estimate.value or 0.0) for estimate in estimates]
        for estimates in (decided, [point.by_probability["net_benefit"] for point in points])
    )
    ends = [(1000 * (row.low or 0.0), 1000 * (row.high or 0.0)) for row in decided if row.low is not None]
    top = 1.1 * max(1000 * cut.prevalence, *values, *(high for _, high in ends), 1.0)
    bottom = min(-0.25 * top, *values, *(low for low, _ in ends))
    treat_all = [(float(place), 1000 * point.treat_all) for place, point in enumerate(points)]
    for place, ((_, before), (_, after)) in enumerate(pairwise(treat_all)):
        if after < bottom <= before:  # the line leaves the picture here
            treat_all = [*treat_all[: place + 1], (place + (before - bottom) / (before - after), bottom)]
            break
    places = range(len(points))
    figure = new_figure(360 / 72, 270 / 72)
    axes = figure.subplots()
    axes.axhline(0, color=QUIET, linewidth=1.2, gid="none")
    axes.plot(*zip(*treat_all, strict=True), color=QUIET, linestyle=(0, (2, 3)), gid="all")
    axes.plot(places, by_probability, color=GREEN, linestyle=(0, (6, 3)), gid="probability")
    for place, end in enumerate(ends):
        axes.plot((place, place), end, color=BLUE, linewidth=3, gid="interval")
    axes.plot(places, values, color=BLUE, marker="o", markersize=7, gid="decided")
    axes.set_ylim(bottom, top)
    axes.set_xticks(list(places), [f"{100 * point.threshold_probability:g}" for point in points])
    axes.set_xlabel("act from this probability on, %")
    axes.set_title("net benefit, notes per 1,000", loc="left", color=INK, fontsize=12.5)
    style_axes(axes, grid="both", font_size=12)
    axes.tick_params(colors=QUIET)
    axes.grid(color=LINE)
    description = "; ".join(
        f"from {100 * point.threshold_probability:g} % on: labels {value:.0f}, probabilities {other:.0f}, all "
        f"{1000 * point.treat_all:.0f}"
        for point, value, other in zip(points, values, by_probability, strict=True)
    )
    return to_svg(figure, name, title, f"Net benefit per 1,000 notes {description}; none 0.")


def _percent_axes(axes: Any, below: str, left: str, highest: float, heights: Sequence[float]) -> None:
    """Axes of two shares in percent: x from 0 to 1, y from 0 to `highest`."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, highest)
    axes.set_xticks(QUARTERS, [f"{100 * share:g}" for share in QUARTERS])
    axes.set_yticks(heights, [f"{100 * share:g}" for share in heights])
    axes.set_xlabel(f"{below}, %")
    axes.set_title(f"{left}, %", loc="left", color=INK, fontsize=12.5)
    style_axes(axes, grid="both", font_size=12)
    axes.tick_params(colors=QUIET)
    axes.grid(color=LINE)
