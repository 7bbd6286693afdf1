"""The base of every page: one look, nothing from the network, nothing unescaped, nothing silently left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import TemplateNotFound, UndefinedError

from r2d.reports.templates import render
from tests.reports.pages import Page, assert_accessible, assert_self_contained

R2D = Path(__file__).resolve().parents[2] / "r2d"
PAGES = sorted(path for path in R2D.rglob("*.html.j2") if path.parent.name != "reports")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with one small page."""
    folder = tmp_path / "small_report"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "small.html.j2").write_text(
        '{% extends "reports/page.html.j2" %}{% block main %}<p>{{ text }}</p>{% endblock %}'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "small_report"


def test_a_page_is_whole_escapes_its_values_and_forbids_what_it_does_not_need(package: str) -> None:
    evil = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>"
    html = render(package, "small.html.j2", title=evil, text=evil)
    assert_self_contained(html)
    assert_accessible(html)
    assert Page(html).count("img") == 0
    assert "default-src 'none'" in html


def test_a_missing_value_or_template_is_an_error(package: str) -> None:
    with pytest.raises(UndefinedError, match="text"):
        render(package, "small.html.j2", title="Small")
    with pytest.raises(TemplateNotFound):
        render(package, "other.html.j2", title="Small")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(R2D)))
def test_a_page_has_the_common_look_and_switches_no_escaping_off(path: Path) -> None:
    """Colours and fonts are decided once: a page names them only by the variables of the base."""
    content = path.read_text(encoding="utf-8")
    assert re.findall(r"#[0-9a-f]{3,8}\b|font-family|font:", content) == []
    assert "| safe" not in content
    has_base = (path.parent / "base.html.j2").exists()  # a service has pages of its own, in the style of the reports
    if "{% block main %}" in content and path.name != "base.html.j2":
        assert f'{{% extends "{"base.html.j2" if has_base else "reports/page.html.j2"}" %}}' in content
    if has_base:
        assert "reports/style.css.j2" in "".join(css.read_text("utf-8") for css in path.parent.glob("*.css.j2"))
