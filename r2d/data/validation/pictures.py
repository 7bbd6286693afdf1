"""The data in pictures, for the report and for a dashboard: shares and counts, never a text."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from r2d.data.examples import SPLITS, split_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from r2d.data.validation.validate import Validation

DPI = 130
INK, QUIET, LINE = "#1b2228", "#53606b", "#d5dce2"
SPLIT_COLOURS = dict(zip(SPLITS, ("#1f6fb2", "#d9a400", "#1d6b45"), strict=True))
OUTCOME_COLOURS = {
    "error": "#a8330f", "quarantine": "#d9730d", "warn": "#d9a400", "not measured": "#8795a1", "ok": "#1d6b45",
}  # fmt: skip
MAX_DRAWN_LABELS = 12
"""Of more labels, the most frequent are drawn."""
LONGEST_SHARE = 0.995
"""Texts beyond this quantile of the lengths share the last bar: one joined note would press all others into one."""
NUM_BARS = 24


def data_picture(validation: Validation) -> Image:
    """Label shares by split, text lengths and outcomes of the checks side by side, on a ground of their own."""
    figure = _figure(12.0, 4.6)
    shares, lengths, outcomes = figure.subplots(1, 3, width_ratios=[1.25, 1.15, 0.8])
    _draw_label_shares(shares, validation)
    _draw_text_lengths(lengths, validation)
    _draw_outcomes(outcomes, validation)
    rows, valid, aside = validation.num_rows, len(validation.examples), len(validation.quarantined)
    title = f"{rows:,} rows: {valid:,} valid, {aside:,} quarantined"
    figure.suptitle(title, color=INK, fontsize=13, fontweight="bold", x=0.012, ha="left")
    return _drawn(figure)


def label_shares_picture(validation: Validation) -> Image:
    """How the labels are distributed in each split."""
    figure = _figure(5.8, 1.5 + 0.5 * max(2, len(_drawn_labels(validation))))
    _draw_label_shares(figure.subplots(), validation)
    return _drawn(figure)


def text_lengths_picture(validation: Validation) -> Image:
    """How long the texts of each split are."""
    figure = _figure(5.8, 3.6)
    _draw_text_lengths(figure.subplots(), validation)
    return _drawn(figure)


def _draw_label_shares(axes: Axes, validation: Validation) -> None:
    labels = _drawn_labels(validation)
    _bare(axes, "Label shares by split")
    if not labels:
        axes.text(0.5, 0.5, "every row has labels of its own", ha="center", color=QUIET, transform=axes.transAxes)
        axes.set_axis_off()
        return
    thickness, offset = 0.8 / len(SPLITS), (len(SPLITS) - 1) / 2
    for place, split in enumerate(SPLITS):
        rows = split_of(validation.examples, split)["label"].to_pylist()
        counts = Counter(rows)
        shares = [100 * counts[label] / max(1, len(rows)) for label in labels]
        heights = [number + (place - offset) * thickness for number in range(len(labels))]
        axes.barh(heights, shares, height=thickness * 0.92, color=SPLIT_COLOURS[split], label=split)
    axes.set_yticks(range(len(labels)), [textwrap.fill(textwrap.shorten(label, 36), 18) for label in labels])
    axes.invert_yaxis()
    axes.set_xlabel("% of the split's rows", color=QUIET)
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    _legend(axes)


def _draw_text_lengths(axes: Axes, validation: Validation) -> None:
    _bare(axes, "Text lengths")
    lengths = pc.utf8_length(validation.examples["text"]).to_numpy()
    if not len(lengths):
        axes.text(0.5, 0.5, "no row is left", ha="center", color=QUIET, transform=axes.transAxes)
        axes.set_axis_off()
        return
    last = max(float(np.quantile(lengths, LONGEST_SHARE)), lengths.min() + 1.0)
    edges = np.linspace(float(lengths.min()), last, NUM_BARS + 1)
    for split in SPLITS:
        own = pc.utf8_length(split_of(validation.examples, split)["text"]).to_numpy()
        if len(own):
            shares = 100 * np.histogram(np.minimum(own, last), edges)[0] / len(own)
            axes.stairs(shares, edges, color=SPLIT_COLOURS[split], linewidth=1.8, label=split)
            if split == SPLITS[0]:
                axes.stairs(shares, edges, color=SPLIT_COLOURS[split], fill=True, alpha=0.18)
    beyond = int((lengths > last).sum())
    more = f"\n({beyond:,} longer, up to {lengths.max():,}: in the last bar)" if beyond else ""
    axes.set_xlabel(f"characters{more}", color=QUIET)
    axes.set_ylabel("% of the split's rows", color=QUIET)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    _legend(axes)


def _draw_outcomes(axes: Axes, validation: Validation) -> None:
    counts = Counter(check.outcome for check in validation.checks)
    _bare(axes, f"{len(validation.checks)} expectations")
    names = list(OUTCOME_COLOURS)
    bars = axes.barh(names, [counts[name] for name in names], color=list(OUTCOME_COLOURS.values()), height=0.62)
    axes.bar_label(bars, labels=[str(counts[name]) for name in names], padding=4, color=INK, fontsize=11)
    axes.set_yticks(range(len(names)), ["passed" if name == "ok" else name for name in names])
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.margins(x=0.18)


def _legend(axes: Axes) -> None:
    """Between title and plot, where it hides nothing."""
    axes.legend(
        frameon=False, fontsize=9.5, labelcolor=INK, ncols=len(SPLITS), loc="lower left", bbox_to_anchor=(-0.02, 0.985),
        borderpad=0.2, handlelength=1.2, columnspacing=1.2,
    )  # fmt: skip


def _drawn_labels(validation: Validation) -> list[str]:
    """The declared labels in their order, or the most frequent of very many; none where each row has its own."""
    shares = validation.profile["labels"]
    frequent = sorted(shares, key=lambda label: -shares[label])[:MAX_DRAWN_LABELS]
    return [label for label in shares if label in frequent]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="#ffffff")


def _bare(axes: Any, title: str) -> None:
    """Nothing but what says something: no frame, quiet ticks, the grid behind."""
    axes.set_title(title, loc="left", color=INK, fontsize=11.5, pad=26)
    axes.tick_params(length=0, colors=INK, labelsize=10)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LINE)


def _drawn(figure: Figure) -> Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
