"""The comparison as one picture: variants with seeds, mean and interval; below, what the rationale source changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL.Image import Image

PANELS = {
    "macro_f1": "macro-F1",
    "accuracy": "accuracy",
    "under_triage_rate": "under-triage (less is better)",
    "consistency": "consistency",
    "sufficiency": "sufficiency",
    "bertscore_f1": "BERTScore F1",
}
"""Figure -> title. Accuracy is drawn only where no model has a macro-F1, under-triage only where labels are ordered."""
DPI = 130
WIDTH_INCHES = 12.0
HEAD_INCHES = 1.5
ROW_INCHES = 0.42
SPREAD = 0.17
"""Seeds of a variant, and sources of a method, lie up to that far above and below its line, so that equal values are
told apart."""
INK, FAINT, GREY = "#222222", "#d9d9d9", "#8c8c8c"
BLUE = "#0072B2"
SOURCE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")  # Okabe and Ito
SOURCE_MARKERS = ("o", "s", "^", "D", "v", "P")  # so that nothing hangs on colour alone

DrawPanel = Callable[[Any, str], None]


def comparison_picture(comparison: Mapping[str, Any], runs: pa.Table) -> Image:
    """Draw what `compare` and `comparison_runs` gave, in their order; a second part where methods have several sources.

    Axes do not start at 0.
    """
    from PIL import Image

    rows = runs.to_pylist()
    panels = _panels(rows)
    names = [row["variant"] for row in comparison["variants"]]
    confidence = f"{comparison['confidence']:.0%}"
    parts = [
        _drawn(
            f"Variants on the test split; * differs from {comparison['reference']} (axes do not start at 0)",
            panels,
            names,
            partial(_draw_variants, comparison["variants"], rows, confidence),
        )
    ]
    if comparison["sources"]:
        methods = [group["method"] for group in comparison["sources"]]
        draw = partial(_draw_sources, comparison["sources"], {row["variant"]: row for row in comparison["variants"]})
        parts.append(_drawn("Sources of rationales: the nearer, the more robust", panels, methods, draw))
    whole = Image.new("RGB", (max(part.width for part in parts), sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    return whole


def _panels(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The figures that are drawn, with their titles."""
    there = {key for key in PANELS if any(row[key] is not None for row in rows)}
    left_out = {"accuracy"} if "macro_f1" in there else {"macro_f1"}
    left_out |= {"under_triage_rate"} - there
    return {key: title for key, title in PANELS.items() if key not in left_out}


def _drawn(title: str, panels: Mapping[str, str], names: Sequence[str], draw: DrawPanel) -> Image:
    """One part: a panel for each figure, a line for each name."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(WIDTH_INCHES, HEAD_INCHES + ROW_INCHES * len(names)), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=13, fontweight="bold")
    all_axes = figure.subplots(1, len(panels), sharey=True)
    for axes, (key, heading) in zip(all_axes, panels.items(), strict=True):
        draw(axes, key)
        _dress(axes, heading)
    all_axes[0].set_yticks(range(len(names)), names)
    all_axes[0].set_ylim(len(names) - 0.5, -0.5)
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=max(1, len(labels)), frameon=False, fontsize=9)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _draw_variants(
    variants: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]], confidence: str, axes: Any, key: str
) -> None:
    """A line a variant: its interval, its mean, a dot for each seed, and the mark."""
    dots: list[tuple[float, float]] = []
    means: list[tuple[float, float]] = []
    for line, variant in enumerate(variants):
        there = [run[key] for run in runs if run["variant"] == variant["variant"] and run[key] is not None]
        if not there:
            _none(axes, line)
            continue
        dots += zip(there, _offsets(line, len(there)), strict=True)
        means.append((variant["figures"][key]["mean"], line))
        label = f"{confidence} interval of the mean" if not axes.lines else None
        _draw_interval(axes, variant["intervals"].get(key), line, GREY, label)
        if variant["differences"].get(key, {}).get("marked"):
            axes.annotate("*", (means[-1][0], line), (0, 5), textcoords="offset points", ha="center", fontsize=13)
    _plot(axes, means, marker="|", markersize=18, markeredgewidth=2.6, color=INK, label="mean of the seeds")
    _plot(axes, dots, marker="o", markersize=5.5, markeredgecolor="white", color=BLUE, label="one seed")


def _draw_sources(
    groups: Sequence[Mapping[str, Any]], variants: Mapping[str, Mapping[str, Any]], axes: Any, key: str
) -> None:
    """A line a method: its mean with each source, and the interval of that mean."""
    sources = list(dict.fromkeys(place["source"] for group in groups for place in group["rows"]))
    for number, source in enumerate(sources):
        colour = SOURCE_COLOURS[number % len(SOURCE_COLOURS)]
        points = []
        for line, group in enumerate(groups):
            height = _offsets(line, len(sources))[number]
            for place in group["rows"]:
                variant = variants[place["variant"]]
                mean = variant["figures"][key]["mean"]
                if place["source"] == source and mean is not None:
                    points.append((mean, height))
                    _draw_interval(axes, variant["intervals"].get(key), height, colour, None)
        marker = SOURCE_MARKERS[number % len(SOURCE_MARKERS)]
        _plot(axes, points, marker=marker, markersize=7, markeredgecolor="white", color=colour, label=source)


def _offsets(line: float, count: int) -> list[float]:
    """Heights of several points on a line."""
    step = 2 * SPREAD / max(1, count - 1)
    return [line + step * (place - (count - 1) / 2) for place in range(count)]


def _draw_interval(axes: Any, found: Mapping[str, Any] | None, line: float, colour: str, label: str | None) -> None:
    if found is not None and found["low"] is not None:
        axes.plot([found["low"], found["high"]], [line, line], color=colour, linewidth=1.6, alpha=0.7, label=label)


def _none(axes: Any, line: int) -> None:
    place = axes.get_yaxis_transform()
    axes.text(0.5, line, "none", transform=place, color=GREY, fontsize=9, ha="center", va="center_baseline")


def _dress(axes: Any, title: str) -> None:
    if not axes.lines:
        axes.set_xticks([])
    axes.margins(x=0.12)
    axes.set_title(title, loc="left", color=INK, fontsize=10.5)
    axes.grid(axis="both", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0, labelsize=9.5)
    axes.locator_params(axis="x", nbins=4)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _plot(axes: Any, points: Sequence[tuple[float, float]], **style: Any) -> None:
    if points:
        axes.plot(*zip(*points, strict=True), linestyle="none", **style)
