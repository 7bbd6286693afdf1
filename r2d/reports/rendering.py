"""Fills a report's template, which extends the base page `pages/page.html.j2`; every value is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from jinja2 import Environment
    from PIL.Image import Image


def render(package: str, template: str, **values: Any) -> str:
    """The page as HTML text, with style and pictures inside.

    Args:
        package: package in which the template lies, e.g. `r2d.evaluation`.
        values: what the template names; `title` always. A name that the template uses and nobody gave is an error.
    """
    return str(_environment(package).get_template(template).render(**values))


@cache
def _environment(package: str) -> Environment:
    """Templates of a package and the base page; kept, so that each is read and compiled once."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader(
            [
                PackageLoader(package, package_path="."),
                PrefixLoader({"pages": PackageLoader("r2d.reports", package_path=".")}),
            ]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (percent, figure, count, counted, sentence, written, between, data_uri)
    environment.filters |= {function.__name__: function for function in filters}
    return environment


def percent(value: float | None) -> str:
    """A share in percent; a dash for what was not measured."""
    return "–" if value is None else f"{100 * value:.1f} %"


def figure(value: float | None, digits: int = 3) -> str:
    """A figure with the same number of digits in every row of its table."""
    return "–" if value is None else f"{value:.{digits}f}"


Unit = Literal["share", "figure", "score", "grade", "points", "signed"]

_UNITS: dict[Unit, tuple[float, str, str]] = {
    "share": (100.0, ".1f", " %"),
    "figure": (1.0, ".3f", ""),
    "score": (1.0, ".1f", ""),
    "grade": (1.0, ".2f", ""),
    "points": (100.0, "+.1f", ""),
    "signed": (1.0, "+.3f", ""),
}
"""Unit -> factor, form and sign behind it. `points` are differences of shares in percentage points, `signed` other
differences, `score` runs to 100, `grade` over a few whole numbers."""


def written(value: float | None, unit: Unit) -> str:
    """A figure in its unit; a dash for what was not measured."""
    return "–" if value is None else _digits(value, unit) + _UNITS[unit][2]


def between(found: Mapping[str, Any], unit: Unit) -> str:
    """The interval of a figure with value, low and high, in its unit; in words where there is none."""
    if found["value"] is None:
        return "not defined"
    if found["low"] is None:
        return "no interval"
    return f"{_digits(found['low'], unit)} to {_digits(found['high'], unit)}{_UNITS[unit][2]}"


def _digits(value: float, unit: Unit) -> str:
    factor, form, _ = _UNITS[unit]
    # Rounded first and 0 added, so that a small negative number is not written as minus nought.
    return f"{round(factor * value, int(form[-2])) + 0.0:{form}}".replace("-", "−")


def count(value: object) -> str:
    """A fact as text: whole numbers with a narrow space between thousands."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}".replace(",", "\u202f") if isinstance(value, int) else str(value)


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number with the word in the form that it asks for: `1 row`, `2 rows`; `1 warns`, `2 warn`."""
    return f"{count(number)} {one if number == 1 else several or one + 's'}"


def sentence(text: str) -> str:
    """A text with a capital at its start; the rest keeps its own, as in `JSON`."""
    return text[:1].upper() + text[1:]


def data_uri(picture: Image) -> str:
    """A picture as an address that holds the picture itself."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
