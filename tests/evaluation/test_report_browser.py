"""The report in a real browser, from disk: on a phone and a desk, light and dark, on paper, and by axe's rules."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.evaluation.report_cases import CASES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on the PATH; install it, e.g. the package chromium"
)
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
PHONE, DESK = 390, 1400
VIEWS = [("whole", width, scheme) for width in (PHONE, DESK) for scheme in ("light", "dark")]
VIEWS += [(case, width, scheme) for case in list(CASES)[1:] for width, scheme in ((PHONE, "dark"), (DESK, "light"))]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    os.environ["PW_TEST_SCREENSHOT_NO_FONTS_READY"] = "1"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Case -> the page on disk."""
    folder = tmp_path_factory.mktemp("reports")
    for name, case in CASES.items():
        (folder / f"{name}.html").write_text(case().html(), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in CASES}


def opened(browser: Browser, path: Path, width: int, scheme: Any, **context: Any) -> tuple[Page, list[str], list[str]]:
    """The page, every address that it asked for, and every complaint of the browser."""
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **context).new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(path.as_uri())
    return page, asked, complaints


@pytest.mark.parametrize(("case", "width", "scheme"), VIEWS)
def test_a_page_asks_for_nothing_and_fits_its_window(
    browser: Browser, pages: dict[str, Path], tmp_path: Path, case: str, width: int, scheme: str
) -> None:
    page, asked, complaints = opened(browser, pages[case], width, scheme)
    assert (asked, complaints) == ([pages[case].as_uri()], [])
    assert page.evaluate("document.documentElement.scrollWidth") == width, "the page itself scrolls sideways"
    picture = tmp_path / f"{case}_{width}_{scheme}.png"
    page.screenshot(path=picture)
    assert picture.stat().st_size > 10_000
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    page.context.close()


@pytest.mark.parametrize(
    ("case", "width", "scheme"), [("whole", PHONE, "light"), ("whole", DESK, "dark"), ("per_row", DESK, "light")]
)
def test_axe_finds_no_violation(browser: Browser, pages: dict[str, Path], case: str, width: int, scheme: str) -> None:
    page, _, _ = opened(browser, pages[case], width, scheme, bypass_csp=True)
    page.add_script_tag(path=AXE)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    found = page.evaluate("axe.run().then(result => result.violations)")
    assert [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in found] == []
    page.context.close()


def test_a_link_opens_the_fold_that_it_leads_into_and_a_wide_table_scrolls_with_its_row_names_in_sight(
    browser: Browser, pages: dict[str, Path]
) -> None:
    page, _, _ = opened(browser, pages["whole"], PHONE, "light")
    assert not page.get_by_role("region", name="Figures of slices").is_visible(), "for the reviewer, behind a fold"
    page.get_by_role("heading", name="Does it serve everyone equally?").click()
    box = page.get_by_role("region", name="Figures of slices")
    box.evaluate("box => { box.scrollLeft = 200 }")
    assert box.evaluate("box => box.scrollLeft") == 200
    edge = box.evaluate("box => box.getBoundingClientRect().left")
    assert page.get_by_role("rowheader", name="harbour clinic").first.bounding_box()["x"] == pytest.approx(edge, abs=1)
    page.context.close()


@pytest.mark.parametrize("case", CASES)
def test_on_paper_it_is_one_page_without_notes_and_all_of_it_where_the_folds_are_open(
    browser: Browser, pages: dict[str, Path], tmp_path: Path, case: str
) -> None:
    page, _, _ = opened(browser, pages[case], DESK, "dark")
    one_page = printed(page, tmp_path / "closed.pdf")
    assert one_page.count("\f") == 1
    assert all(row["text"] not in one_page for row in CASES[case]().rows.missed)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    page.set_viewport_size({"width": 680, "height": 960})  # the width of A4 within its margins
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    too_wide = """[...document.querySelectorAll("main table, main svg, main article")]
        .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
        .map(one => one.closest("section").getAttribute("aria-labelledby"))"""
    assert page.evaluate(too_wide) == [], "cut off at the edge of the paper"
    whole = printed(page, tmp_path / "open.pdf")
    assert all(row["id"] in whole for row in CASES[case]().rows.examples)
    page.context.close()


def printed(page: Page, paper: Path) -> str:
    """The text of the page on A4, with a form feed after each sheet."""
    page.pdf(path=paper, format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "12mm"))
    if not shutil.which("pdftotext"):
        pytest.skip("no pdftotext on the PATH; install it, e.g. the package poppler-utils")
    return subprocess.run(["pdftotext", paper, "-"], check=True, capture_output=True, text=True).stdout
