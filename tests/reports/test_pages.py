"""The base of every report: one look, nothing from the network, nothing unescaped, nothing silently left out."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import TemplateNotFound, UndefinedError
from PIL import Image

from r2d.reports import render
from r2d.reports.rendering import between, count, counted, data_uri, figure, percent, sentence, written

ROOT = Path(__file__).resolve().parents[2]
REPORTS = ("r2d/evaluation", "r2d/data/validation", "r2d/rationales")


class Page(HTMLParser):
    """A page as its tags and the text that is read; it must be well formed."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def count(self, tag: str) -> int:
        return [name for name, _ in self.tags].count(tag)


def assert_self_contained(html: str) -> None:
    """Nothing is fetched, nothing runs, no event is listened to."""
    for tag, attributes in Page(html).tags:
        assert tag not in ("link", "script", "iframe", "object", "form")
        for name, value in attributes.items():
            assert not name.startswith("on"), f"<{tag} {name}>"
            if name in ("src", "href", "srcset", "action"):
                assert (value or "").startswith(("data:", "#"))
    assert "url(" not in html
    assert "@import" not in html


def assert_accessible(html: str) -> None:
    """Landmarks once, every table cell with a heading of its scope, every reference to something that is there."""
    page = Page(html)
    assert [page.count(tag) for tag in ("main", "header", "footer", "h1")] == [1, 1, 1, 1]
    assert all(attributes.get("scope") in ("row", "col", "rowgroup") for tag, attributes in page.tags if tag == "th")
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [attributes.get("aria-labelledby") or "" for _, attributes in page.tags]
    assert {name for some in named for name in some.split()} <= set(ids)
    linked = {(attributes.get("href") or "#")[1:] for tag, attributes in page.tags if tag == "a"}
    assert linked <= set(ids)


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with one small report."""
    package = tmp_path / "small_report"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "small.html.j2").write_text(
        '{% extends "pages/page.html.j2" %}{% block main %}<p>{{ said }}</p>{% endblock %}'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "small_report"


def test_a_page_is_whole_escapes_what_it_is_given_and_forbids_what_it_does_not_need(template: str) -> None:
    evil = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>"
    html = render(template, "small.html.j2", title=evil, said=evil)
    assert_self_contained(html)
    assert_accessible(html)
    assert Page(html).count("img") == 0
    assert "default-src 'none'" in html


def test_what_nobody_gave_is_an_error_and_no_gap(template: str) -> None:
    with pytest.raises(UndefinedError, match="said"):
        render(template, "small.html.j2", title="Small")
    with pytest.raises(TemplateNotFound):
        render(template, "other.html.j2", title="Small")


def test_no_report_brings_a_look_of_its_own() -> None:
    """Colours and fonts are decided once: a report names them only by the variables of the base."""
    for folder in REPORTS:
        assert (ROOT / folder / "report.html.j2").read_text().startswith('{% extends "pages/page.html.j2" %}')
        for template in (ROOT / folder).glob("report*.html.j2"):
            content = template.read_text()
            assert re.findall(r"#[0-9a-f]{3,8}\b|font-family|font:", content) == []
            assert "| safe" not in content


def test_figures_are_written_alike_on_every_page() -> None:
    assert [count(1234567), count(True), count(None), count("x")] == ["1\u202f234\u202f567", "yes", "None", "x"]
    assert [percent(0.1234), percent(None), figure(0.5), figure(2.0, 1), figure(None)] == [
        "12.3 %", "–", "0.500", "2.0", "–",
    ]  # fmt: skip
    assert [counted(1, "row"), counted(1200, "row"), counted(0, "warns", "warn")] == [
        "1 row", "1\u202f200 rows", "0 warn",
    ]  # fmt: skip
    assert [sentence("the JSON object"), sentence("")] == ["The JSON object", ""]


def test_a_figure_and_its_interval_are_written_in_one_unit() -> None:
    found = {"value": -0.0312, "low": -0.1, "high": 0.00001}
    assert [written(found["value"], unit) for unit in ("share", "figure", "score", "grade", "points", "signed")] == [
        "−3.1 %", "−0.031", "0.0", "−0.03", "−3.1", "−0.031",
    ]  # fmt: skip
    assert [between(found, unit) for unit in ("share", "points", "signed")] == [
        "−10.0 to 0.0 %", "−10.0 to +0.0", "−0.100 to +0.000",
    ]  # fmt: skip
    assert written(None, "share") == "–"
    assert between({"value": 0.5, "low": None, "high": None}, "share") == "no interval"
    assert between({"value": None, "low": None, "high": None}, "share") == "not defined"


def test_a_picture_travels_inside_the_page() -> None:
    uri = data_uri(Image.new("RGB", (8, 4), "#123456"))
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(content)).getpixel((3, 3)) == (0x12, 0x34, 0x56)
