"""The one style of all plots: colours, figures and axes; a figure becomes a picture (PNG) or an inline SVG of a page.

matplotlib is used without pyplot: no window, no global figure. A picture goes to a dashboard, on white ground. An SVG
stands in a page, takes the page's font and, by CSS variables, its colours, so that it follows light, dark and print.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

DPI = 130
INK, QUIET, LINE, PAPER = "#222222", "#666666", "#d9d9d9", "#ffffff"
# Okabe and Ito (2008): told apart by colour-blind readers.
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
SKY, ORANGE, YELLOW = "#56b4e9", "#e69f00", "#f0e442"
AMBER = "#8a6d00"
"""A dark yellow for text."""
SERIES = (BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE)
MARKERS = ("o", "s", "^", "D", "v", "P")
"""Colours and markers of several series: used together, so that nothing depends on colour alone."""

PAGE_COLOURS = {
    INK: "var(--ink)", QUIET: "var(--quiet)", LINE: "var(--line)", PAPER: "var(--page)",
    BLUE: "var(--accent)", VERMILION: "var(--wrong)", ORANGE: "var(--mix-2)", GREEN: "var(--mix-3)",
    AMBER: "var(--aside)",
}  # fmt: skip
"""Colour of an SVG plot -> the variable of `style.css.j2` that takes its place; an SVG may use no other."""


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """An empty figure of this size in inches, its title bold at the upper left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor=PAPER)
    if title:
        figure.suptitle(title, x=0.012, ha="left", color=INK, fontsize=13, fontweight="bold")
    return figure


def style_axes(
    axes: Axes,
    *,
    title: str = "",
    title_pad: float = 6.0,
    grid: Literal["x", "y", "both", ""] = "",
    spines: Sequence[str] = (),
    font_size: float = 10.0,
) -> None:
    """Plain axes: quiet tick labels, no tick marks, only the named spines, the grid behind the data."""
    if title:
        axes.set_title(title, loc="left", color=INK, fontsize=11, pad=title_pad)
    axes.tick_params(which="both", length=0, colors=INK, labelsize=font_size)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(INK)
        axis.label.set_fontsize(font_size)
    for side, spine in axes.spines.items():
        spine.set_visible(side in spines)
        spine.set_color(LINE)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=LINE, linewidth=0.8)


def to_image(figure: Figure) -> Image:
    """The figure as an RGB picture."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def to_svg(figure: Figure, name: str, title: str, description: str) -> Markup:
    """The figure as an inline SVG, with the same bytes each time.

    Texts stay texts, and colours become those of `PAGE_COLOURS`. An artist's `gid` becomes its class. `name`
    distinguishes the plot within its page; `title` and `description` tell a screen reader what it is and shows.
    """
    import matplotlib as mpl

    for artist in figure.findobj():
        artist.set_clip_on(False)  # clip paths are `url(...)` addresses, which no page may hold
    for ground in (figure.patch, *(axes.patch for axes in figure.axes)):
        ground.set_visible(False)
    buffer = io.StringIO()
    metadata: Any = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata=metadata)
    whole = buffer.getvalue()
    body = whole[whole.index("<g id=") : whole.rindex("</svg>")]
    body = re.sub(r"\s*\n\s*", " ", body).replace("> <", "><").replace("xlink:href", "href")
    body = re.sub(r" font-family: [^;\"]+(;|(?=\"))| transform=\"rotate\(-0 [^\"]*\"", "", body)
    body = re.sub(r"#[0-9a-f]{6}\b(?=[;\"])", lambda colour: PAGE_COLOURS[colour[0]], body)
    referenced = set(re.findall(r'href="#([^"]+)"', body))

    def without_id(found: re.Match[str]) -> str:
        if found[1] in referenced:
            return found[0]
        return "" if re.fullmatch(r".*_\d+", found[1]) else f' class="{found[1]}"'

    body = re.sub(r' id="([^"]+)"', without_id, body)
    width, height = (72 * inches for inches in figure.get_size_inches())
    return Markup(  # nosec B704 # matplotlib's own drawing; the texts of others are escaped
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-labelledby="{escape(name)}-title {escape(name)}-desc">'
        f'<title id="{escape(name)}-title">{escape(title)}</title>'
        f'<desc id="{escape(name)}-desc">{escape(description)}</desc>{body}</svg>'
    )
