"""Takes the pictures of README and tutorial anew, from the newest run and its champion: `make pictures`.

Needs Debian's package chromium. `python docs/pictures/renew.py dashboard` takes that one alone.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, sync_playwright

from mlops.pages import dashboard, find_page, find_runs

HERE = Path(__file__).parent
CALLS = HERE.parent / "delivery" / "calls.csv"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MODEL = "reason2decide@champion"
PORT = 8237
SCREEN = """<body style="margin:0; padding:14px 18px; background:#12171c; color:#e7ecf0; display:inline-block">
<pre style="margin:0; font:13px/1.45 'DejaVu Sans Mono', monospace">{}</pre>"""


def last_screen() -> str:
    """What `register_model` of the newest run printed at its end, with ZenML's usual place in the path."""
    from zenml.client import Client

    (stream,) = (log for log in find_runs()[0].steps["register_model"].log_collection or () if log.source == "step")
    entries = Client().active_stack.log_store.fetch(stream).items
    screen = next(entry.message for entry in reversed(entries) if "\n  report  " in entry.message)
    return re.sub(r"\S+(?=/local_stores/)", "~/.config/zenml", screen.strip("\n"))


@contextmanager
def review_page() -> Iterator[str]:
    """The address of a service whose reviewers see every call of the example delivery."""
    with TemporaryDirectory(prefix="r2d-pictures-") as folder:
        review = {"database": f"{folder}/reviews.db", "cases": {"path": str(CALLS)}, "queue": {"audit": 1.0}}
        config = Path(folder) / "serve.yaml"
        config.write_text(json.dumps({"parameters": {"config": {"model": MODEL, "port": 0, "review": review}}}))
        command = [str(Path(sys.executable).with_name("r2d")), "serve", "--config", str(config)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
            try:
                assert service.stdout is not None
                yield next(line.split()[-1] for line in service.stdout if line.startswith("review at "))
            finally:
                service.terminate()


def evaluation_report(browser: Browser, path: Path) -> None:
    page = browser.new_page(viewport={"width": 1100, "height": 940})
    page.goto(find_page("report").path.as_uri())
    page.screenshot(path=path)


def screen(browser: Browser, path: Path) -> None:
    page = browser.new_page()
    page.set_content(SCREEN.format(html.escape(last_screen())))
    page.locator("body").screenshot(path=path)


def run(browser: Browser, path: Path) -> None:
    """The graph of the run alone, without the panel beside it and the bar above it."""
    with dashboard(PORT) as address:
        page = browser.new_page(viewport={"width": 1540, "height": 920}, reduced_motion="reduce")
        page.goto(address)
        page.locator(".react-flow__node").first.wait_for(timeout=120_000)
        page.get_by_text("Run Insights").locator("xpath=preceding::button[1]").click()
        page.wait_for_timeout(1_000)
        page.get_by_role("button", name="Fit view").click()
        page.wait_for_timeout(1_000)
        page.screenshot(path=path, clip={"x": 0, "y": 48, "width": 1540, "height": 872})


def review(browser: Browser, path: Path) -> None:
    """A case once the reviewer has judged it, so that the model's answer is there."""
    with review_page() as address:
        page = browser.new_page(viewport={"width": 1100, "height": 940})
        page.goto(address)
        page.fill("#name", "nurse-7")
        page.click("text=Begin")
        page.wait_for_selector("text=waiting for you")
        page.keyboard.press("Enter")
        page.wait_for_selector(".note")
        page.keyboard.press("2")
        page.wait_for_selector("body:not(.fresh)")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Similar cases")
        page.screenshot(path=path)


PICTURES = {"evaluation_report": evaluation_report, "last_screen": screen, "dashboard": run, "review": review}


def main(*names: str) -> None:
    if CHROMIUM is None:
        sys.exit("Chromium is needed, and there is none: install Debian's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for name in names or PICTURES:
            PICTURES[name](browser, HERE / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
