"""The real local ZenML dashboard in a real browser, after a real run: the DAG, and what its artifacts show.

`R2D_SCREENSHOTS=folder pytest tests/pipelines/test_dashboard.py` keeps the pictures of every page, for a person.
"""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright

from tests import warm
from tests.pipelines.conftest import BIN, Run, Workplace
from tests.pipelines.test_training import STEPS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WITH_BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
PATIENCE = 240
"""Seconds, for what takes one or two on a machine that does nothing else."""
PAGES = {
    "r2d_data_report": ("Data report", "The data may be trained on.", "120"),
    "r2d_ingestion_report": ("Rationales", "llm", "108"),
    "r2d_evaluation_report": ("Evaluation report", "Macro-F1", "Not a medical device"),
    "r2d_gate_page": ("Gate: toy-triage version 1", "The gate", "majority class"),
    "r2d_examples": ("120 rows", "train", "validation"),
}
"""Artifact -> what a reader sees on its page."""
PICTURES = (
    "r2d_data_picture", "r2d_stage1_curves", "r2d_stage2_curves", "r2d_confusion_matrix", "r2d_gate_picture",
)  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(workplace: Workplace, first_run: Run) -> Iterator[str]:
    """Of the dashboard, started as `make dashboard` does, but in the foreground, after a run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, folder = f"http://127.0.0.1:{port}", workplace.folder
    command = [str(BIN / "zenml"), "login", "--local", "--blocking", "--port", str(port)]
    server = warm.start(command, cwd=folder, environment=workplace.environment, folder=folder)
    try:
        give_up_at = time.monotonic() + PATIENCE
        while not answers(f"{address}/health"):
            assert server.is_alive(), (folder / "err").read_text()[-3000:]
            assert time.monotonic() < give_up_at, (folder / "err").read_text()[-3000:]
            time.sleep(0.3)
        yield address
    finally:
        server.terminate()
        server.join(timeout=60)


def answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=10) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("R2D_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    """A browser that reaches the dashboard and nothing else; the survey that greets a new user is answered."""
    os.environ["PW_TEST_SCREENSHOT_NO_FONTS_READY"] = "1"
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-3d-apis", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        context = browser.new_context(viewport={"width": 1600, "height": 1000}, reduced_motion="reduce")
        context.set_default_timeout(PATIENCE * 1000)
        context.route(lambda asked: not asked.startswith(address), lambda route: route.abort())
        answered = {
            "email_opted_in": False,
            "user_metadata": {"finished_onboarding_survey": True, "overview_tour_done": True},
        }
        assert context.request.put(f"{address}/api/v1/current-user", data=answered).ok
        yield context.new_page()
        browser.close()


@pytest.fixture(scope="module")
def dag(page: Page, address: str, pictures: Path, first_run: Run) -> Page:
    """The DAG of the run, reached as a person reaches it: pipelines, the pipeline, the run."""
    page.goto(f"{address}/projects/default/pipelines")
    page.get_by_role("link", name="reason2decide", exact=True).first.click()
    page.get_by_text(first_run.name).first.click()
    page.locator(".react-flow__node").first.wait_for()
    page.get_by_role("button", name="Fit view").click()
    node(page, "r2d_gate_page").wait_for()
    page.screenshot(path=pictures / "dag.png")
    return page


def node(page: Page, name: str) -> Locator:
    return page.locator(".react-flow__node").get_by_text(name, exact=True)


def opened(dag: Page, name: str) -> Locator:
    """What the dashboard shows of a node of the DAG, once it is clicked at."""
    if dag.get_by_role("dialog").count():
        dag.keyboard.press("Escape")
        dag.get_by_role("dialog").wait_for(state="detached")
    node(dag, name).click()
    sheet = dag.get_by_role("dialog")
    sheet.get_by_text(name, exact=True).first.wait_for()
    return sheet


def shown(dag: Page, name: str) -> Locator:
    """The visualisation of an artifact; that of a page waits for the word that its source is trusted."""
    sheet = opened(dag, name)
    sheet.get_by_role("tab", name="Visualization").click()
    sheet.locator("button:has-text('Load Preview'), img[alt^='Visualization'], iframe, table").first.wait_for()
    trusted = sheet.get_by_role("button", name="Load Preview")
    if trusted.count():
        trusted.click()
    return sheet


def test_the_installed_package_holds_the_dashboard() -> None:
    found = find_spec("zenml")
    assert found is not None
    folder = Path(found.origin or "").parent / "zen_server" / "dashboard"
    index = (folder / "index.html").read_text(encoding="utf-8")
    named = re.findall(r'(?:src|href)="/(assets/[^"]+)"', index)
    assert any(name.endswith(".js") for name in named)
    assert [name for name in named if not (folder / name).is_file()] == []


@WITH_BROWSER
def test_the_dag_of_a_run_tells_what_was_done_and_what_came_of_it(dag: Page) -> None:
    names = [text.split("\n")[0] for text in dag.locator(".react-flow__node").all_inner_texts()]
    assert set(STEPS) <= set(names)
    assert {*PAGES, *PICTURES, "r2d_model_card"} <= set(names)
    assert all(name in STEPS or name.startswith("r2d_") for name in names)
    heights = [node(dag, step).bounding_box()["y"] for step in STEPS]
    assert heights == sorted(heights), "the steps follow each other downwards"
    insights = dag.locator("body").inner_text()
    assert re.search(rf"Completed\s+{len(STEPS)}\s", insights)
    assert re.search(r"Failed\s+0\s", insights)


@WITH_BROWSER
def test_the_predictions_show_their_decisions(dag: Page, pictures: Path) -> None:
    sheet = shown(dag, "r2d_predictions")
    for heading in ("predicted_label", "probability", "right"):
        sheet.get_by_text(heading, exact=True).wait_for()
    dag.screenshot(path=pictures / "r2d_predictions.png")


@WITH_BROWSER
@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read_in_the_dashboard(dag: Page, pictures: Path, name: str) -> None:
    sheet = shown(dag, name)
    frame = sheet.frame_locator("iframe")
    frame.locator("body").wait_for()
    dag.screenshot(path=pictures / f"{name}.png")
    seen = frame.locator("body").inner_text()
    for text in PAGES[name]:
        assert text in seen, text
    assert "pt denies" not in seen or name == "r2d_evaluation_report", "only the evaluation quotes notes"


@WITH_BROWSER
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_can_be_seen_in_the_dashboard(dag: Page, pictures: Path, name: str) -> None:
    picture = shown(dag, name).locator("img[alt^='Visualization']")
    picture.wait_for()
    dag.screenshot(path=pictures / f"{name}.png")
    source = picture.get_attribute("src") or ""
    drawn = Image.open(io.BytesIO(base64.b64decode(source.partition("base64,")[2])))
    assert picture.evaluate("one => [one.naturalWidth, one.naturalHeight]") == list(drawn.size)
    assert len(drawn.convert("RGB").getcolors(maxcolors=1 << 24) or []) > 20, "it is not blank"
    assert picture.bounding_box()["width"] > 400


@WITH_BROWSER
def test_the_dashboard_shows_the_model_card_and_the_decision_of_the_gate(dag: Page, pictures: Path) -> None:
    card = shown(dag, "r2d_model_card")
    card.get_by_role("heading", name="toy-triage").wait_for()
    dag.screenshot(path=pictures / "r2d_model_card.png")
    assert "Intended use" in card.inner_text()
    changes = shown(dag, "r2d_alias_history")
    changes.get_by_role("heading", name="toy-triage: champion and challenger").wait_for()
    assert "passed the gate and became champion; by gate" in changes.inner_text()
    step = opened(dag, "register_model")
    step.get_by_role("tab", name="Metadata").click()
    step.get_by_text("gate_outcome", exact=True).wait_for()
    dag.screenshot(path=pictures / "register_model.png")
    metadata = step.inner_text()
    for text in ("gate_reasons", "toy-triage", "what_follows"):
        assert text in metadata, text
