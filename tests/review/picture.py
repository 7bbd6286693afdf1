"""The picture of the review page in README.md: python -m tests.review.picture MODEL_FOLDER CALLS.csv

It shows the first case of the queue, after a label was given.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from r2d.config.jobs import CallsConfig
from r2d.config.review import ReviewConfig
from r2d.config.serving import ServingConfig
from r2d.inference.decide import Answerer
from r2d.review.pages import ReviewPages
from r2d.review.queue import fill_queue
from r2d.review.store import ReviewStore
from r2d.serving.batching import ServedModel
from r2d.serving.service import Service
from tests.serving.conftest import running

PICTURE = Path("docs/pictures/review.png")
VERSION = "reason2decide/1"


def main(folder: str, calls: str) -> None:
    model = ServedModel(VERSION, Answerer.of_model(Path(folder)))
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        config = ReviewConfig(database=f"{place}/reviews.db", cases=CallsConfig(path=calls))
        store = ReviewStore(config.database)
        fill_queue(store, config, model.answerer, VERSION)
        service = Service(ServingConfig(review=config), model)
        service.add_pages = ReviewPages(config, store, service).add_to
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with running(service) as served:
            page = browser.new_page(viewport={"width": 1100, "height": 940})
            page.goto(f"{served.address}/review")
            page.fill("#name", "nurse-7")
            page.click("text=Begin")
            page.click("text=Go on with case 1")
            page.wait_for_selector(".note")
            page.keyboard.press("2")
            page.keyboard.press("Enter")
            page.wait_for_selector("text=Similar cases")
            page.screenshot(path=PICTURE)
            with Image.open(PICTURE) as picture:
                picture.convert("RGB").quantize(96).save(PICTURE, optimize=True)
        browser.close()


if __name__ == "__main__":
    os.environ["PW_TEST_SCREENSHOT_NO_FONTS_READY"] = "1"
    main(*sys.argv[1:])
