"""The comparison as one picture: a dot for each seed and a bar at the mean, a panel for each figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL.Image import Image

PANELS = {
    "macro_f1": "macro-F1",
    "consistency": "consistency",
    "sufficiency": "sufficiency",
    "bertscore_f1": "BERTScore F1",
}
"""Figure -> title. Where no model has a macro-F1, because each row has options of its own, accuracy takes its place."""
DPI = 130
WIDTH_INCHES = 11.0
HEAD_INCHES = 1.5
ROW_INCHES = 0.42
SPREAD = 0.17
"""Seeds of a variant lie up to that far above and below its line, so that equal values are told apart."""
INK, FAINT, GREY = "#222222", "#d9d9d9", "#666666"
BLUE = "#0072B2"  # Okabe and Ito; dot and bar differ in shape too


def comparison_picture(runs: pa.Table) -> Image:
    """Draw the table of `comparison_runs`, variants from top to bottom in its order. Axes do not start at 0."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    rows = runs.to_pylist()
    names = list(dict.fromkeys(row["variant"] for row in rows))
    figure = Figure(figsize=(WIDTH_INCHES, HEAD_INCHES + ROW_INCHES * len(names)), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    title = "Comparison on the test split (axes do not start at 0)"
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=13, fontweight="bold")
    panels = PANELS
    if all(row["macro_f1"] is None for row in rows):
        panels = {"accuracy": "accuracy"} | {key: title for key, title in PANELS.items() if key != "macro_f1"}
    all_axes = figure.subplots(1, len(panels), sharey=True)
    for axes, (key, title) in zip(all_axes, panels.items(), strict=True):
        _draw_panel(axes, title, [[row[key] for row in rows if row["variant"] == name] for name in names])
    all_axes[0].set_yticks(range(len(names)), names)
    all_axes[0].set_ylim(len(names) - 0.5, -0.5)
    figure.legend(
        *all_axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False, fontsize=9
    )
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _draw_panel(axes: Any, title: str, values_of: Sequence[Sequence[float | None]]) -> None:
    """One line a variant; `values_of` are its values, a seed each."""
    dots: list[tuple[float, float]] = []
    means: list[tuple[float, float]] = []
    for line, values in enumerate(values_of):
        there = [value for value in values if value is not None]
        if not there:
            place = axes.get_yaxis_transform()
            axes.text(0.5, line, "none", transform=place, color=GREY, fontsize=9, ha="center", va="center_baseline")
            continue
        step = 2 * SPREAD / max(1, len(there) - 1)
        first = line - step * (len(there) - 1) / 2
        dots += [(value, first + step * place) for place, value in enumerate(there)]
        means.append((sum(there) / len(there), line))
    if dots:
        _plot(axes, means, marker="|", markersize=20, markeredgewidth=2.6, color=INK, label="mean of the seeds")
        _plot(axes, dots, marker="o", markersize=6, markeredgecolor="white", color=BLUE, label="one seed")
    else:
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
    axes.plot(*zip(*points, strict=True), linestyle="none", **style)
