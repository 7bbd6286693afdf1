"""Plots of the data: label shares, text lengths and outcomes of the checks. Counts and shares only, never a text."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
from markupsafe import Markup

from r2d.data.examples import SPLITS, shown_splits, split_of
from r2d.data.validation.validate import Validation
from r2d.reports import plots
from r2d.reports.plots import new_figure, style_axes, to_image, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

SPLIT_COLOURS = dict(zip(SPLITS, (plots.BLUE, plots.ORANGE, plots.VERMILION, plots.GREEN), strict=True))
OUTCOME_COLOURS = {
    "error": plots.VERMILION,
    "quarantine": plots.ORANGE,
    "warn": plots.YELLOW,
    "not measured": plots.QUIET,
    "ok": plots.GREEN,
}
MAX_LABELS = 12  # of more labels, the most frequent are drawn
LONGEST_SHARE = 0.995
"""Texts beyond this quantile of the lengths share the last bar, so that one joined note does not squeeze the others."""
NUM_BINS = 24


def data_picture(validation: Validation) -> Image:
    """Label shares by split, text lengths and outcomes of the checks, side by side, for a dashboard."""
    rows, valid, quarantined = validation.num_rows, len(validation.examples), len(validation.quarantined)
    figure = new_figure(12.0, 4.6, f"{rows:,} rows: {valid:,} valid, {quarantined:,} quarantined")
    shares, lengths, outcomes = figure.subplots(1, 3, width_ratios=[1.25, 1.15, 0.8])
    _draw_label_shares(shares, validation)
    _draw_text_lengths(lengths, validation)
    counts = Counter(check.outcome for check in validation.checks)
    names = list(OUTCOME_COLOURS)
    bars = outcomes.barh(names, [counts[name] for name in names], color=list(OUTCOME_COLOURS.values()), height=0.62)
    outcomes.bar_label(bars, labels=[str(counts[name]) for name in names], padding=4, color=plots.INK, fontsize=11)
    outcomes.set_yticks(range(len(names)), ["passed" if name == "ok" else name for name in names])
    outcomes.invert_yaxis()
    outcomes.set_xticks([])
    outcomes.margins(x=0.18)
    style_axes(outcomes, title=f"{len(validation.checks)} expectations", title_pad=26)
    return to_image(figure)


def label_shares_plot(validation: Validation) -> Markup:
    """How the labels are distributed in each split, as SVG."""
    figure = new_figure(5.8, 1.5 + 0.5 * max(2, len(_drawn_labels(validation))))
    _draw_label_shares(figure.subplots(), validation)
    description = "Share of each label in each split, as bars; the counts stand in the table above."
    return to_svg(figure, "label-shares", "Label shares by split", description)


def text_lengths_plot(validation: Validation) -> Markup:
    """How long the texts of each split are, as SVG."""
    figure = new_figure(5.8, 3.6)
    _draw_text_lengths(figure.subplots(), validation)
    return to_svg(figure, "text-lengths", "Text lengths", "Distribution of the text lengths in each split.")


def _drawn_labels(validation: Validation) -> list[str]:
    """The declared labels in their order, the most frequent of very many; none where each row has its own."""
    shares = validation.profile["labels"]
    frequent = sorted(shares, key=lambda label: -shares[label])[:MAX_LABELS]
    return [label for label in shares if label in frequent]


def _draw_label_shares(axes: Axes, validation: Validation) -> None:
    labels = _drawn_labels(validation)
    style_axes(axes, title="Label shares by split", title_pad=26, spines=("bottom",), grid="x")
    if not labels:
        _draw_nothing(axes, "every row has labels of its own")
        return
    splits = shown_splits(validation.examples["split"].to_pylist())
    thickness, offset = 0.8 / len(splits), (len(splits) - 1) / 2
    for place, split in enumerate(splits):
        rows = split_of(validation.examples, split)["label"].to_pylist()
        counts = Counter(rows)
        shares = [100 * counts[label] / max(1, len(rows)) for label in labels]
        heights = [number + (place - offset) * thickness for number in range(len(labels))]
        axes.barh(heights, shares, height=thickness * 0.92, color=SPLIT_COLOURS[split], label=split)
    axes.set_yticks(range(len(labels)), [textwrap.fill(textwrap.shorten(label, 36), 18) for label in labels])
    axes.invert_yaxis()
    axes.set_xlabel("% of the split's rows")
    _add_legend(axes)


def _draw_text_lengths(axes: Axes, validation: Validation) -> None:
    style_axes(axes, title="Text lengths", title_pad=26, spines=("bottom",), grid="y")
    lengths = pc.utf8_length(validation.examples["text"]).to_numpy()
    if not len(lengths):
        _draw_nothing(axes, "no row is left")
        return
    last = max(float(np.quantile(lengths, LONGEST_SHARE)), lengths.min() + 1.0)
    edges = np.linspace(float(lengths.min()), last, NUM_BINS + 1)
    for split, colour in SPLIT_COLOURS.items():
        of_split = pc.utf8_length(split_of(validation.examples, split)["text"]).to_numpy()
        if len(of_split):
            shares = 100 * np.histogram(np.minimum(of_split, last), edges)[0] / len(of_split)
            axes.stairs(shares, edges, color=colour, linewidth=1.8, label=split)
            if split == SPLITS[0]:
                axes.stairs(shares, edges, color=colour, fill=True, alpha=0.18)
    num_beyond = int((lengths > last).sum())
    beyond = f"\n({num_beyond:,} longer, up to {lengths.max():,}: in the last bar)" if num_beyond else ""
    axes.set_xlabel(f"characters{beyond}")
    axes.set_ylabel("% of the split's rows")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_ylim(bottom=0)
    _add_legend(axes)


def _draw_nothing(axes: Axes, reason: str) -> None:
    axes.text(0.5, 0.5, reason, ha="center", color=plots.QUIET, transform=axes.transAxes)
    axes.set_axis_off()


def _add_legend(axes: Axes) -> None:
    """A legend between title and plot, where it covers no data."""
    splits = axes.get_legend_handles_labels()[1]
    axes.legend(
        frameon=False, fontsize=9.5, labelcolor=plots.INK, ncols=len(splits), loc="lower left",
        bbox_to_anchor=(-0.02, 0.985), borderpad=0.2, handlelength=1.2, columnspacing=1.2,
    )  # fmt: skip
