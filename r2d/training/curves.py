"""The training curves as one picture: losses, validation metrics, sampling schedule and speed over the steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from r2d.reports.plots import BLUE, GREEN, INK, PURPLE, QUIET, VERMILION, YELLOW, new_figure, style_axes, to_image

if TYPE_CHECKING:
    from pandas import DataFrame
    from PIL.Image import Image

WIDTH_INCHES = 9.0
PANEL_INCHES = 2.5
HEAD_INCHES = 0.75


class Line(NamedTuple):
    key: str
    """Of the records in the history."""
    name: str
    colour: str
    style: str = "-"
    marker: str = ""
    width: float = 1.8


class Panel(NamedTuple):
    """Lines that share an axis."""

    title: str
    unit: str
    lines: Sequence[Line]


FRACTION = "fraction"
"""Unit of a panel whose axis runs from 0 to 1."""
PANELS = (
    Panel("Loss", "nats per token", (
        Line("loss", "train", QUIET, width=1.2),
        Line("label_loss", "train, label", BLUE, width=1.2),
        Line("rationale_loss", "train, rationale", VERMILION, width=1.2),
        Line("eval_loss", "validation", INK, "--", "o"),
        Line("eval_label_loss", "validation, label", BLUE, "--", "o"),
        Line("eval_rationale_loss", "validation, rationale", VERMILION, "--", "s"),
    )),
    Panel("Labels", FRACTION, (
        Line("eval_macro_f1", "macro-F1", BLUE, "-", "o", 2.2),
        Line("eval_accuracy", "accuracy", GREEN, "--", "s"),
        Line("eval_invalid_label_rate", "no valid label", VERMILION, ":", "^"),
        Line("decoded_label_accuracy", "decoded labels right, train", QUIET, "none", "."),
    )),
    Panel("Rationales on validation", "sacreBLEU, 0-100", (
        Line("eval_rationale_bleu", "corpus BLEU", PURPLE, "-", "o", 2.2),
    )),
    Panel("Schedule", FRACTION, (
        Line("alpha", "alpha: weight of the label loss", BLUE),
        Line("pi", "pi: chance of the predicted label", VERMILION, "--"),
        Line("predicted_label_fraction", "predicted labels used", QUIET, "none", "."),
    )),
    Panel("Speed", "training rows/s", (Line("num_examples_per_second", "without evaluations", GREEN),)),
)  # fmt: skip


HEAD_SHARE = 0.1
"""Of the steps: losses of random weights, which would flatten what comes after them."""


def training_curves(
    history: Sequence[Mapping[str, float]],
    *,
    title: str,
    selected_step: int | None = None,
    armed_from_step: int | None = None,
) -> Image:
    """A panel for each group of metrics that the history holds, none for the others. Where the first values are far
    higher than those after a tenth of the steps, the axis ends above the later ones.

    Args:
        history: records with `step` and any of the keys of `PANELS`; a key may be missing and a value be NaN.
        selected_step: step whose weights are the output of the stage; marked.
        armed_from_step: step from which selection and early stopping count; shaded from there on.
    """
    import pandas as pd

    frame = pd.DataFrame(history).replace([math.inf, -math.inf], math.nan)
    shown = []
    for panel in PANELS:
        lines = {line: frame[["step", line.key]].dropna() for line in panel.lines if line.key in frame}
        if points := {line: values for line, values in lines.items() if len(values)}:
            shown.append((panel, points))
    figure = new_figure(WIDTH_INCHES, HEAD_INCHES + PANEL_INCHES * max(1, len(shown)), title)
    if not shown:
        figure.text(0.5, 0.45, "nothing was recorded", ha="center", color=QUIET, fontsize=12)
        return to_image(figure)
    last_step = max(record["step"] for record in history)
    end = 1.01 * last_step
    all_axes = list(figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0])
    for axes, (panel, points) in zip(all_axes, shown, strict=True):
        for line, values in points.items():
            marker = line.marker or ("o" if len(values) == 1 else None)
            axes.plot(
                *values.T.to_numpy(), color=line.colour, linestyle=line.style, marker=marker, markersize=4,
                linewidth=line.width, label=line.name,
            )  # fmt: skip
        style_axes(axes, title=panel.title, grid="y", spines=("left", "bottom"))
        axes.set_ylabel(panel.unit)
        axes.set_ylim(*((-0.03, 1.03) if panel.unit == FRACTION else (0.0, _top(list(points.values()), last_step))))
        axes.set_xlim(0, end)
        is_first = axes is all_axes[0]  # its legend names the marks of all panels
        if armed_from_step is not None and armed_from_step < last_step:
            name = "selection armed" if is_first else None
            axes.axvspan(armed_from_step, end, color=YELLOW, alpha=0.22, linewidth=0, label=name)
        if selected_step is not None:
            name = f"selected: step {selected_step:,}" if is_first else None
            axes.axvline(selected_step, color=INK, linewidth=1.2, linestyle=(0, (1, 1.5)), label=name)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=8.5, labelcolor=INK)
    all_axes[-1].xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    all_axes[-1].set_xlabel("optimiser step", color=INK)
    return to_image(figure)


def _top(curves: Sequence[DataFrame], last_step: float) -> float | None:
    """The upper end of an axis that a steep start must not stretch; None where all of the curves fit.

    Args:
        curves: tables of step and value.
    """
    highest = max(curve.iloc[:, 1].max() for curve in curves)
    late = [curve[curve["step"] >= HEAD_SHARE * last_step].iloc[:, 1].max() for curve in curves]
    top = 1.1 * max((value for value in late if not math.isnan(value)), default=highest)
    return top if 0.0 < 1.5 * top < highest else None
