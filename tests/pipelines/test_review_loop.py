"""The whole loop in a real browser: the champion is served, ten of its decisions are reviewed, three are corrected, the
service is killed on the way, and the next training takes what was said."""

from __future__ import annotations

import copy
import csv
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Page, sync_playwright

from tests import warm
from tests.pipelines.conftest import BIN, Run, Workplace

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH; install it, e.g. the package chromium"),
]
NAME = "toy-reviewed"
SYMPTOMS = ("dizziness", "nausea", "back pain", "headache", "earache", "sore throat")
CORRECTED = {2, 5, 8}
"""Of the ten reviews, counted from 1: these are corrected, the others accepted."""
RATIONALE = "the nurse says why, in review"


@pytest.fixture(scope="module")
def config(tiny_config: dict[str, Any], workplace: Workplace, first_run: Run) -> dict[str, Any]:
    """The first run under another name and with a gate that lets all pass: its steps come from the cache."""
    config = copy.deepcopy(tiny_config)
    config["registration"] = {"model_name": NAME, "gate": {"rules": []}}
    champion = workplace.run(config)
    assert champion.returncode == 0, champion.output[-2000:]
    return config


@contextmanager
def served(place: Workplace, config: str) -> Iterator[str]:
    """The address of the review page of `r2d serve`, which is killed at the end."""
    command = [str(BIN / "r2d"), "serve", "--config", config]
    with warm.running(command, num_lines=3, cwd=place.folder, environment=place.environment) as (_, lines):
        assert lines[0].startswith(f"{2 * len(SYMPTOMS)} cases to review, "), lines
        assert lines[2].startswith("review at "), lines
        yield lines[2].split()[-1]


def sign_in(page: Page, address: str) -> None:
    page.goto(address)
    page.fill("#name", "nurse-7")
    page.click("text=Begin")
    page.wait_for_selector("text=waiting for you")


def review(page: Page, number: int) -> tuple[str, str]:
    """One case by the keyboard alone, from the label to the next case: the note, and the label that stands."""
    page.wait_for_selector("body:not(.fresh)")
    note = page.inner_text(".note")
    case = page.url
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Its rationale")
    page.wait_for_selector("body:not(.fresh)")
    model_label = page.inner_text(".of-judgement .label strong")
    if number in CORRECTED:
        page.keyboard.press("1" if model_label == "self care" else "2")
        page.keyboard.press("n")
        page.keyboard.type(f"{RATIONALE} {number}")
        page.keyboard.press("Control+Enter")
    else:
        page.keyboard.press("a")
    page.wait_for_url(lambda url: url != case)
    other = "emergency now" if model_label == "self care" else "self care"
    return note, other if number in CORRECTED else model_label


def test_what_ten_reviews_said_is_trained_on_and_traced_to_the_reviewer(
    workplace: Workplace, config: dict[str, Any]
) -> None:
    with (workplace.folder / "to_review.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        notes = [f"pt reports {symptom} for {days} hours since a fall" for symptom in SYMPTOMS for days in (2, 7)]
        writer.writerows([("id", "text"), *((f"call-{n}", note) for n, note in enumerate(notes))])
    served_by = {
        "model": f"{NAME}@champion", "port": 0,
        "review": {"database": "reviews.db", "cases": {"path": "to_review.csv"}, "queue": {"audit": 1.0}},
    }  # fmt: skip
    serve_config = workplace.write_config("serve_reviews.yaml", served_by)

    said: dict[str, str] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for numbers in (range(1, 5), range(5, 11)):
            with served(workplace, serve_config) as address:
                page = browser.new_page()
                sign_in(page, address)
                done = page.inner_text(".tiles div:nth-child(2) dd")
                assert int(done) == len(said), "all that was said before the service was killed is there"
                page.keyboard.press("Enter")
                page.wait_for_selector(".note")
                said |= dict(review(page, number) for number in numbers)
            page.close()
        browser.close()
    assert len(said) == 10

    exported = workplace.type("r2d", "review", "export", "reviews.db", "--out", "reviewed").stdout
    assert "10 labels, 0 cases on which reviewers differ" in exported
    keys = yaml.safe_load(exported.partition(" names:\n")[2])
    with (workplace.folder / "reviewed" / "reviewed.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["text"]: row["label"] for row in rows} == said
    corrected = [row for row in rows if row["outcome"] == "corrected"]
    assert len(corrected) == 3

    retraining = copy.deepcopy(config)
    retraining["data"] |= keys["data"]
    retraining["rationales"] = {"stage1_source": ["nurse", "llm"], **keys["rationales"]}
    retraining["retraining"] = {"min_new_rows": 10}
    path = workplace.write_config("retrain_reviews.yaml", retraining)
    output = workplace.type("r2d", "retrain", "--config", path).stdout
    assert "training: 10 new rows, at least 10 are asked for" in output
    assert f"{NAME} version 2 (new), compared with {NAME}/1" in output

    version = workplace.type("r2d", "lineage", f"{NAME}/2", "--all").stdout
    assert re.search(r"nurse: 3 taken from nurse\.csv", version), version
    row = corrected[0]
    lineage = " ".join(workplace.type("r2d", "lineage", NAME, "--row", row["id"]).stdout.split())
    for text in (
        f"{NAME} version 2", f"by nurse-7, {row['time']}", "rationale of nurse: taken by Stage 1 and Stage 2",
        "author: nurse-7", f"label: {row['label']}",
    ):  # fmt: skip
        assert text in lineage, text
    assert Path(workplace.folder / "reviews.db").stat().st_mode & 0o077 == 0, "it holds notes"
