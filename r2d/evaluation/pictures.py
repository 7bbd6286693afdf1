"""The decisions as a picture, for trackers and slides: the confusion matrix, or accuracies without classes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

DPI = 130
MAX_ANNOTATED_LABELS = 20
"""Above this, cells are shaded but not written in."""
INK = "#222222"


def confusion_matrix_picture(metrics: Mapping[str, Any], labels: Sequence[str]) -> Image:
    """Draw `metrics["confusion_matrix"]` of `label_metrics`: rows gold, columns predicted, shaded by share of the row.

    Each cell says its rows; the shade is the share of that gold label, so a rare label reads as well as a frequent one.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    counts = np.asarray(metrics["confusion_matrix"], dtype=int)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    annotated = len(labels) <= MAX_ANNOTATED_LABELS
    cell = 0.78 if annotated else 0.25
    figure = Figure(figsize=(3.4 + cell * counts.shape[1], 2.6 + cell * counts.shape[0]), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="equal")
    _name_axes(axes, labels)
    if annotated:
        for (row, column), count in np.ndenumerate(counts):
            colour = "#ffffff" if shares[row, column] > 0.55 else INK if count else "#8a8a8a"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=10)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, ticks=[0.0, 0.25, 0.5, 0.75, 1.0])
    bar.ax.set_yticklabels(["0", "25", "50", "75", "100 %"])
    bar.set_label("share of the gold label's rows", color=INK)
    bar.outline.set_visible(False)
    figures = f"accuracy {metrics['accuracy']:.1%}, macro-F1 {metrics['macro_f1']:.3f}"
    figure.suptitle(f"Decisions on {metrics['num_rows']:,} rows: {figures}", color=INK, fontsize=11)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def accuracy_picture(systems: Mapping[str, Mapping[str, Any]]) -> Image:
    """A bar for each system's accuracy, for rows with options of their own; `systems` are `option_metrics` by name.

    The last system is drawn as the model.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    names = [textwrap.fill(name, 24) for name in systems]
    values = [metrics["accuracy"] for metrics in systems.values()]
    figure = Figure(figsize=(7.5, 1.6 + 0.55 * len(names)), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bars = axes.barh(names, values, height=0.6, color=["#9a9a9a"] * (len(names) - 1) + ["#0072B2"])
    axes.bar_label(bars, [f"{value:.1%}" for value in values], padding=4, color=INK)
    axes.invert_yaxis()
    axes.set_xlim(0.0, 1.12)
    axes.set_xticks(np.linspace(0.0, 1.0, 5), ["0", "25", "50", "75", "100 %"])
    axes.set_xlabel("accuracy; there is no confusion matrix, because each row has options of its own", color=INK)
    axes.tick_params(length=0, colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    num_rows = next(iter(systems.values()))["num_rows"]
    figure.suptitle(f"Decisions on {num_rows:,} rows", color=INK, fontsize=11)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _name_axes(axes: Any, labels: Sequence[str]) -> None:
    gold = [textwrap.fill(label, 18) for label in labels]
    axes.set_yticks(range(len(labels)), gold)
    axes.set_xticks(range(len(labels) + 1), [*gold, "(no label)"], rotation=40, ha="right", rotation_mode="anchor")
    axes.set_ylabel("gold label", color=INK)
    axes.set_xlabel("predicted label", color=INK)
    axes.tick_params(length=0, colors=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks([position - 0.5 for position in range(1, len(labels) + 1)], minor=True)
    axes.set_yticks([position - 0.5 for position in range(1, len(labels))], minor=True)
    axes.grid(which="minor", color="#ffffff", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    # What is no label stands apart from what is one.
    axes.axvline(len(labels) - 0.5, color=INK, linewidth=1.0)
