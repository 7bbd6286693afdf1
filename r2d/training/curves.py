"""The course of a training run as one picture: losses, validation figures and the sampling schedule over the steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

DPI = 130
WIDTH_INCHES = 9.0
PANEL_INCHES = 2.5
HEAD_INCHES = 0.75
INK, FAINT = "#222222", "#d9d9d9"
# Okabe and Ito: told apart by colour-blind readers, and by line style besides.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#666666"


@dataclass(frozen=True, slots=True)
class _Line:
    key: str
    name: str
    colour: str
    style: str = "-"
    marker: str = ""
    width: float = 1.8


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    unit: str
    lines: tuple[_Line, ...]
    is_fraction: bool = False


_PANELS = (
    _Panel(
        "Loss",
        "nats per token",
        (
            _Line("loss", "train", GREY, width=1.2),
            _Line("label_loss", "train, label", BLUE, width=1.2),
            _Line("rationale_loss", "train, rationale", ORANGE, width=1.2),
            _Line("eval_loss", "validation", INK, "--", "o"),
            _Line("eval_label_loss", "validation, label", BLUE, "--", "o"),
            _Line("eval_rationale_loss", "validation, rationale", ORANGE, "--", "s"),
        ),
    ),
    _Panel(
        "Labels",
        "fraction",
        (
            _Line("eval_macro_f1", "macro-F1", BLUE, "-", "o", 2.2),
            _Line("eval_accuracy", "accuracy", GREEN, "--", "s"),
            _Line("eval_invalid_label_rate", "no valid label", ORANGE, ":", "^"),
            _Line("decoded_label_accuracy", "own labels right, train", GREY, "", "."),
        ),
        is_fraction=True,
    ),
    _Panel(
        "Rationales on validation",
        "sacreBLEU, 0-100",
        (_Line("eval_rationale_bleu", "corpus BLEU", PURPLE, "-", "o", 2.2),),
    ),
    _Panel(
        "Schedule",
        "fraction",
        (
            _Line("alpha", "alpha: weight of the label loss", BLUE),
            _Line("pi", "pi: chance of the predicted label", ORANGE, "--"),
            _Line("predicted_label_fraction", "predicted labels used", GREY, "", "."),
        ),
        is_fraction=True,
    ),
    _Panel("Speed", "training rows/s", (_Line("num_examples_per_second", "without evaluations", GREEN),)),
)


def training_curves(
    history: Sequence[Mapping[str, float]],
    *,
    title: str,
    selected_step: int | None = None,
    armed_from_step: int | None = None,
) -> Image:
    """Draw what `history` holds: one panel for each group of figures that occurs in it, none for the others.

    Args:
        history: records with `step` and any of the keys of `_PANELS`; a key may be missing and a value be NaN.
        title: of the whole picture, e.g. `Stage 2: joint training`.
        selected_step: the step whose weights are the stage's output; marked.
        armed_from_step: where selection and early stopping begin; shaded from there on.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    drawn = [(panel, lines) for panel in _PANELS if (lines := [line for line in panel.lines if _points(history, line)])]
    figure = Figure(
        figsize=(WIDTH_INCHES, HEAD_INCHES + PANEL_INCHES * max(1, len(drawn))), dpi=DPI, layout="constrained"
    )
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=13, fontweight="bold")
    if not drawn:
        figure.text(0.5, 0.45, "nothing was recorded", ha="center", color=GREY, fontsize=12)
    else:
        last_step = max(record["step"] for record in history)
        all_axes = np.atleast_1d(figure.subplots(len(drawn), 1, sharex=True))
        for axes, (panel, lines) in zip(all_axes, drawn, strict=True):
            _draw_panel(axes, panel, lines, history)
            named = axes is all_axes[0]
            _mark_phases(axes, last_step, selected_step, armed_from_step, named=named)
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=8.5, labelcolor=INK)
        all_axes[-1].set_xlabel("optimiser step", color=INK)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _points(history: Sequence[Mapping[str, float]], line: _Line) -> list[tuple[float, float]]:
    return [
        (record["step"], record[line.key])
        for record in history
        if record.get(line.key) is not None and math.isfinite(record[line.key])
    ]


def _draw_panel(axes: Any, panel: _Panel, lines: Sequence[_Line], history: Sequence[Mapping[str, float]]) -> None:
    for line in lines:
        steps, values = zip(*_points(history, line), strict=True)
        axes.plot(
            steps,
            values,
            color=line.colour,
            linestyle=line.style or "none",
            marker=line.marker or ("o" if len(steps) == 1 else None),
            markersize=4,
            linewidth=line.width,
            label=line.name,
        )
    axes.set_title(panel.title, loc="left", color=INK, fontsize=10.5)
    axes.set_ylabel(panel.unit, color=INK)
    if panel.is_fraction:
        axes.set_ylim(-0.03, 1.03)
    else:
        axes.set_ylim(bottom=0.0)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=3, labelsize=9)
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _mark_phases(
    axes: Any, last_step: float, selected_step: int | None, armed_from_step: int | None, *, named: bool
) -> None:
    """Shade the armed phase and mark the selected step; `named` in one panel's legend only."""
    axes.set_xlim(0, last_step * 1.01)
    if armed_from_step is not None and armed_from_step < last_step:
        name = "selection armed" if named else None
        axes.axvspan(armed_from_step, last_step * 1.01, color="#F0E442", alpha=0.22, linewidth=0, label=name)
    if selected_step is not None:
        name = f"selected: step {selected_step:,}" if named else None
        axes.axvline(selected_step, color=INK, linewidth=1.2, linestyle=(0, (1, 1.5)), label=name)
