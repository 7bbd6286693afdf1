"""Fills templates: pages, which extend `reports/page.html.j2` and escape every value, and Markdown (`.md.j2`)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from r2d.reports import formatting
from r2d.reports.origin import current_origin
from r2d.text import plural

if TYPE_CHECKING:
    from jinja2 import Environment


def render(package: str, template: str, **values: Any) -> str:
    """The page, with its style and pictures inside, or the Markdown text.

    Args:
        package: package that holds the template, e.g. `r2d.evaluation`.
        values: variables of the template; of a page `title` always. A missing one is an error.
    """
    return str(templates_of(package).get_template(template).render(origin=current_origin(), **values))


@cache
def templates_of(package: str) -> Environment:
    """Jinja environment with the templates of a package and the shared ones; cached, so that each compiles once."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined

    shared = PrefixLoader({"reports": PackageLoader("r2d.reports", package_path=".")})
    environment = Environment(  # nosec B701 # every page is escaped; the others are no HTML
        loader=ChoiceLoader([PackageLoader(package, package_path="."), shared]),
        autoescape=lambda name: not (name or "").endswith((".md.j2", ".yaml.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (
        formatting.percent, formatting.decimal, formatting.in_unit, formatting.interval, formatting.count,
        plural, formatting.sentence, formatting.plain, formatting.with_interval,
        formatting.as_yaml, formatting.visible,
    )  # fmt: skip
    environment.filters |= {function.__name__: function for function in filters}
    return environment
