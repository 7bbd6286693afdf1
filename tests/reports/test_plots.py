"""One style for all plots; an SVG belongs to its page: its colours, its font, its ids, and the same bytes each time."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from r2d.reports.plots import BLUE, INK, PAGE_COLOURS, VERMILION, new_figure, style_axes, to_image, to_svg


def plot(colour: str = BLUE) -> Figure:
    figure = new_figure(3, 2, "A title")
    axes = figure.subplots()
    axes.plot([0, 1, 2], [0, 3, 1], marker="o", color=colour, gid="curve")
    axes.axhline(2, color=VERMILION, gid="limit")
    axes.set_xlabel("notes < 3 & more")
    style_axes(axes, title="Panel", grid="both", spines=("left",))
    return figure


def svg(name: str = "plot", **values: Any) -> str:
    return to_svg(plot(**values), name, "Risk <b>", "It rises & falls.")


def test_an_svg_is_named_and_described_and_its_texts_stay_texts() -> None:
    root = ElementTree.fromstring(svg())
    assert (root.get("role"), root.get("aria-labelledby")) == ("img", "plot-title plot-desc")
    described = {part.get("id"): part.text for part in root if part.get("id")}
    assert described == {"plot-title": "Risk <b>", "plot-desc": "It rises & falls."}
    assert {"A title", "Panel", "notes < 3 & more"} <= {part.text for part in root.iter("text")}


def test_an_svg_takes_colours_and_font_of_its_page_and_needs_no_address() -> None:
    content = svg()
    assert not re.search(r"#[0-9a-f]{6}|font-family|url\(|<style|<metadata", content)
    assert {"var(--accent)", "var(--wrong)", "var(--ink)", "var(--line)"} <= set(re.findall(r"var\(.*?\)", content))
    with pytest.raises(KeyError, match="#123456"):
        svg(colour="#123456")


def test_two_svgs_share_no_id_and_marks_have_classes() -> None:
    ids = [re.findall(r' id="([^"]+)"', svg(name)) for name in ("first", "second")]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    assert len(set(ids[0])) == len(ids[0])
    assert re.findall(r'class="(\w+)"', svg()) == ["chart", "curve", "limit"]
    assert set(re.findall(r'href="#([^"]+)"', svg())) <= set(re.findall(r' id="([^"]+)"', svg()))


def test_the_same_plot_has_the_same_bytes_and_they_are_few() -> None:
    assert svg() == svg()
    assert len(svg()) < 10_000
    assert to_image(plot()).tobytes() == to_image(plot()).tobytes()


def test_every_variable_of_a_plot_is_declared_in_the_style_of_the_pages() -> None:
    from jinja2 import PackageLoader

    style = PackageLoader("r2d.reports", ".").get_source(None, "style.css.j2")[0]
    for variable in PAGE_COLOURS.values():
        assert style.count(f"{variable[4:-1]}:") >= 2, f"{variable} in light and dark"


def test_a_picture_is_opaque_on_white_and_leaves_no_global_figure_open() -> None:
    before = pyplot.get_fignums()
    picture = to_image(plot())
    assert (picture.mode, picture.size, picture.getpixel((0, 0))) == ("RGB", (390, 260), (255, 255, 255))
    assert (np.abs(np.asarray(picture).astype(int) - [0, 114, 178]).sum(axis=2) < 12).any()
    assert pyplot.get_fignums() == before


def test_axes_show_only_the_spines_that_were_named() -> None:
    (axes,) = plot().axes
    assert [side for side, spine in axes.spines.items() if spine.get_visible()] == ["left"]
    assert axes.xaxis.label.get_color() == INK
