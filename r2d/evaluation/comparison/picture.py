"""The comparison as one picture: variants with seeds, mean and interval; below, the effect of the rationale source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from r2d.evaluation.comparison.compare import Comparison, VariantResult, is_marked
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.reports.plots import BLUE, INK, MARKERS, QUIET, SERIES, new_figure, style_axes, to_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

PANELS = {
    "macro_f1": "macro-F1",
    "accuracy": "accuracy",
    "under_triage_rate": "under-triage\n(less is better)",
    "consistency": "consistency",
    "sufficiency": "sufficiency",
    "bertscore_f1": "BERTScore F1",
}
"""Key of a column -> title. Drawn where a variant has a value; accuracy only without macro-F1."""
WIDTH_INCHES = 12.0
HEAD_INCHES = 1.5
ROW_INCHES = 0.42
SPREAD = 0.17
"""Seeds of a variant, and sources of a method, lie up to that far above and below its line: equal values stay apart."""


def comparison_picture(comparison: Comparison) -> Image:
    """All variants in their order; a second part where methods have several sources. Axes do not start at 0."""
    import numpy as np
    from PIL import Image

    variants, sources = comparison.variants, comparison.sources
    measured = {key for variant in variants for key in PANELS if variant.metrics[key].values}
    measured -= {"accuracy"} if "macro_f1" in measured else set()
    panels = {key: title for key, title in PANELS.items() if key in measured}
    label = f"{comparison.confidence:.0%} interval of the mean"
    marks = f"; * differs from {comparison.reference}, seeds included" if comparison.can_mark else ""
    title = f"Variants on the test split{marks} (axes do not start at 0)"
    names = [variant.facts.variant for variant in variants]
    parts = [_part(title, panels, names, lambda axes, key: _draw_variants(axes, key, variants, label))]
    if sources:
        title = "Sources of rationales: the nearer, the more robust"
        parts.append(_part(title, panels, list(sources), lambda axes, key: _draw_sources(axes, key, sources)))
    return Image.fromarray(np.vstack([np.asarray(part) for part in parts]))


def _part(title: str, panels: Mapping[str, str], names: Sequence[str], draw: Callable[[Axes, str], None]) -> Image:
    """A panel for each metric, a line for each name."""
    figure = new_figure(WIDTH_INCHES, HEAD_INCHES + ROW_INCHES * len(names), title)
    [all_axes] = figure.subplots(1, len(panels), sharey=True, squeeze=False)
    for axes, (key, heading) in zip(all_axes, panels.items(), strict=True):
        draw(axes, key)
        axes.margins(x=0.12)
        axes.locator_params(axis="x", nbins=4)
        style_axes(axes, title=heading, grid="both", spines=("bottom",))
    all_axes[0].set_yticks(range(len(names)), names)
    all_axes[0].set_ylim(len(names) - 0.5, -0.5)
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=max(1, len(labels)), frameon=False, fontsize=9)
    return to_image(figure)


def _draw_variants(axes: Axes, key: str, variants: Sequence[VariantResult], interval_label: str) -> None:
    """A line for each variant: its interval, its mean, a dot for each seed, and the mark of a difference."""
    dots: list[tuple[float, float]] = []
    means: list[tuple[float, float]] = []
    for line, variant in enumerate(variants):
        summary, difference = variant.metrics[key], variant.differences.get(key)
        if summary.mean is None:
            place = axes.get_yaxis_transform()
            axes.text(0.5, line, "none", transform=place, color=QUIET, fontsize=9, ha="center", va="center_baseline")
            continue
        dots += zip(summary.values, _heights(line, len(summary.values)), strict=True)
        means.append((summary.mean, line))
        _draw_interval(axes, variant.intervals.get(key), line, QUIET, None if axes.lines else interval_label)
        if difference is not None and is_marked(difference):
            axes.annotate("*", means[-1], (0, 5), textcoords="offset points", ha="center", fontsize=13)
    _draw_points(axes, means, marker="|", markersize=18, markeredgewidth=2.6, color=INK, label="mean of the seeds")
    _draw_points(axes, dots, marker="o", markersize=5.5, markeredgecolor="white", color=BLUE, label="one seed")


def _draw_sources(axes: Axes, key: str, by_method: Mapping[str, Sequence[VariantResult]]) -> None:
    """A line for each method: its mean with each source, and the interval of that mean."""
    sources = list(dict.fromkeys(variant.facts.source for rows in by_method.values() for variant in rows))
    for number, source in enumerate(sources):
        colour, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
        points = []
        for line, variants in enumerate(by_method.values()):
            height = _heights(line, len(sources))[number]
            for variant in variants:
                mean = variant.metrics[key].mean
                if variant.facts.source == source and mean is not None:
                    points.append((mean, height))
                    _draw_interval(axes, variant.intervals.get(key), height, colour, None)
        _draw_points(axes, points, marker=marker, markersize=7, markeredgecolor="white", color=colour, label=source)


def _heights(line: float, count: int) -> list[float]:
    """Heights of several points around a line."""
    step = 2 * SPREAD / max(1, count - 1)
    return [line + step * (place - (count - 1) / 2) for place in range(count)]


def _draw_interval(axes: Axes, estimate: IntervalEstimate | None, line: float, colour: str, label: str | None) -> None:
    if estimate is not None and estimate.low is not None and estimate.high is not None:
        ends = (estimate.low, estimate.high)
        axes.plot(ends, (line, line), color=colour, linewidth=1.6, alpha=0.7, label=label)


def _draw_points(axes: Axes, points: Sequence[tuple[float, float]], **style: Any) -> None:
    if points:
        axes.plot(*zip(*points, strict=True), linestyle="none", **style)
