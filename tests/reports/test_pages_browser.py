"""Expected pages and the papers of a version in a real browser: axe's rules, all folds open, on a phone and a desk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from r2d.papers.papers import write_papers
from r2d.reports.templates import templates_of
from tests.evaluation.test_report_browser import AXE, CHROMIUM, DESK, PHONE, opened
from tests.papers.test_papers import records

TESTS = Path(__file__).resolve().parents[1]
TEMPLATES = {
    "evaluation": ("r2d.evaluation", "report.html.j2"),
    "gate": ("r2d.gate", "page.html.j2"),
    "drift": ("r2d.drift", "report.html.j2"),
    "monitoring": ("r2d.monitoring", "report.html.j2"),
    "rationales": ("r2d.rationales", "report.html.j2"),
    "data": ("r2d.data.validation", "report.html.j2"),
}
"""Folder of the tests -> package and template of its expected pages, which are kept without their style."""
PAGES = sorted(path for folder in TEMPLATES for path in (TESTS / folder).rglob("expected_*.html"))
PAGES += sorted((TESTS / "evaluation" / "expected_reports").glob("*.html"))
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on the PATH; install it, e.g. the package chromium"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("page", PAGES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_axe_finds_no_violation_and_no_page_scrolls_sideways(
    browser: Browser, tmp_path: Path, page: Path, width: int
) -> None:
    package, name = TEMPLATES[page.relative_to(TESTS).parts[0]]
    environment = templates_of(package)
    template = environment.get_template(name)
    style = environment.get_template("reports/style.css.j2").render()
    style += "".join(template.blocks["style"](template.new_context()))
    styled = tmp_path / "page.html"
    styled.write_text(page.read_text(encoding="utf-8").replace("<style></style>", f"<style>{style}</style>"))
    assert_good_to_read(browser, styled, width)


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_axe_finds_no_violation_in_the_papers_of_a_version(browser: Browser, tmp_path: Path, width: int) -> None:
    write_papers(tmp_path, records())
    pages = sorted(tmp_path.glob("*.html"))
    assert len(pages) == 5
    for page in pages:
        assert_good_to_read(browser, page, width)


def assert_good_to_read(browser: Browser, page: Path, width: int) -> None:
    shown, asked, complaints = opened(browser, page, width, "dark" if width == PHONE else "light", bypass_csp=True)
    assert (asked, complaints) == ([page.as_uri()], [])
    assert shown.evaluate("document.documentElement.scrollWidth") == width, "the page itself scrolls sideways"
    shown.add_script_tag(path=AXE)
    shown.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    found = shown.evaluate("axe.run().then(result => result.violations)")
    assert [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in found] == []
    shown.context.close()
