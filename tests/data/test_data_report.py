"""The data report: a verdict, every expectation, sums that add up, and no text of any note."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from r2d.config.privacy import PrivacyConfig, Recogniser
from r2d.data.deidentify import FINDINGS_SCHEMA
from r2d.data.examples import EXAMPLES_SCHEMA, Example, shown_splits, to_table
from r2d.data.validation.expectations import CHECKS, Check
from r2d.data.validation.measures import DatasetMetric
from r2d.data.validation.plots import data_picture
from r2d.data.validation.report import MAX_LABELS, render_data_report
from r2d.data.validation.validate import QUARANTINE_SCHEMA, Validation
from tests.reports.pages import Page, assert_accessible, assert_expected_page, assert_self_contained

EXPECTED = Path(__file__).parent
SENTINEL = "zebracrossing"
EVIL = "<img src=x onerror=alert(1)>"
LABELS = ("emergency now", "self care")
METRICS = (
    DatasetMetric("token_limit", "texts cut at 48 tokens", 0.125, high=0.05),
    DatasetMetric("token_limit", "texts never cut", 0.0, high=0.0),
    DatasetMetric("language", "texts in 'en'", 0.97, low=0.9),
    DatasetMetric("labels_in_every_split", "labels absent from test", 0, high=0),
    DatasetMetric("label_balance", "Jensen-Shannon divergence of the labels of train", 0.0042, high=0.1),
    DatasetMetric("rationale_coverage", "rows with a rationale of source 'llm'", 0.5, low=0.0),
    DatasetMetric("label_drift", "population stability index of labels", 1234.5, high=0.2),
    DatasetMetric("length_drift", "lengths", not_measured="the reference has no lengths"),
)


def example(number: int, label: str = "self care", split: str = "train") -> Example:
    return Example(
        id=f"call-{number:03d}",
        text=f"{SENTINEL} number {number} " + "and so on " * (number % 7),
        label=label,
        split=split,
        rationales={"llm": f"because of {SENTINEL}"},
        row=number,
        place=f"calls.csv: row {number + 1}",
    )


def quarantine_of(rows: dict[int, list[str]]) -> pa.Table:
    table = to_table(example(number) for number in rows)
    return table.append_column(QUARANTINE_SCHEMA.field("reasons"), pa.array(rows.values(), pa.list_(pa.string())))


def validation_of(**values: Any) -> Validation:
    """18 rows in: 15 valid, three set aside, one expectation of every outcome but error."""
    splits = ["train"] * 9 + ["validation"] * 3 + ["test"] * 3
    checks = {name: Check(name, "warn") for name in CHECKS}
    checks |= {
        "exact_duplicate": Check("exact_duplicate", "quarantine", 3, ("calls.csv: row 101",), (0, 1, 2)),
        "mojibake": Check("mojibake", "warn", 7, ("calls.csv: row 5",), tuple(range(7))),
        "token_limit": Check("token_limit", "warn", 1, (METRICS[0].line(),)),
        "label_drift": Check("label_drift", "warn", not_measured="the reference has no labels"),
    }
    phone = {"field": "text", "recogniser": "phone", "start": 3, "end": 9, "score": 0.9}
    findings = [{"id": name, **phone} for name in ("call-001", "call-001", "call-002")]
    facts: dict[str, Any] = {
        "examples": to_table(example(n, LABELS[n % 2], split) for n, split in enumerate(splits)),
        "quarantined": quarantine_of({row: ["exact_duplicate"] for row in (100, 101, 102)}),
        "findings": pa.Table.from_pylist(findings, schema=FINDINGS_SCHEMA),
        "checks": tuple(checks.values()),
        "metrics": METRICS,
        "profile": {"labels": dict.fromkeys(LABELS, 0.5), "text_characters": {}},
        "num_redacted": 2,
    }
    return Validation(**facts | values)


def page_of(validation: Validation, policy: str = "redact", **values: Any) -> str:
    return render_data_report(validation, privacy=PrivacyConfig(policy=policy), **values)


def usual() -> str:
    return page_of(validation_of(), source={"file": "calls.csv"})


def stopped() -> str:
    """Two errors, one not measured; expectations not asked; undeclared labels and unknown splits; hostile ids."""
    rows = [example(1, "zq-label"), example(2, "zq-other", "zq-split"), example(3, split="validation")]
    evil = to_table([replace(example(1), id=EVIL, place=EVIL)])
    checks = list(validation_of().checks)
    checks[0] = Check("id_present", "error", 2, (f"{EVIL}, id {EVIL}",), (2, 3))
    checks = [check for check in checks if check.name not in ("mojibake", "privacy", "language")]
    validation = validation_of(
        examples=to_table(rows),
        quarantined=evil.append_column(QUARANTINE_SCHEMA.field("reasons"), pa.array([["mojibake"]])),
        checks=(*checks, Check("language", "error", not_measured="texts are too short")),
        metrics=(replace(METRICS[0], name=EVIL),),
    )
    return page_of(validation, "off", source={EVIL: EVIL}, synthetic=True)


def own_labels() -> str:
    """Each row has labels of its own, so many are quarantined that not all are listed, nothing is measured."""
    profile = {"labels": {}, "text_characters": {}}
    many = quarantine_of({n: ["mojibake", "exact_duplicate"][: 1 + n % 2] for n in range(500, 530)})
    return page_of(validation_of(profile=profile, quarantined=many, metrics=METRICS[-1:]), "warn")


@pytest.mark.parametrize("case", [usual, stopped, own_labels])
def test_the_page_is_the_expected_one(case: Any) -> None:
    """`R2D_RENEW_PAGES=1 pytest tests/data/test_data_report.py` writes the expected pages anew."""
    html = case()
    assert_self_contained(html)
    assert_accessible(html)
    assert SENTINEL not in html, "neither note nor rationale is quoted"
    assert "zq-" not in html, "undeclared labels and unknown splits are counted, not repeated"
    assert html == case()
    assert_expected_page(html, EXPECTED / f"expected_{case.__name__}_data.html")


def test_every_expectation_is_there_and_bars_and_marks_lie_inside_their_track() -> None:
    page = usual()
    assert [name for name in CHECKS if f" {name} " not in Page(page).text] == []
    places = [float(place) for place in re.findall(r"--(?:bar|mark):([^;\"]+)", page)]
    assert len(places) == 2 * (len(METRICS) - 1)
    assert all(0.0 <= place <= 1.0 for place in places)


def test_data_without_rows_to_train_on_is_stopped_though_no_expectation_is_broken() -> None:
    rows = validation_of().examples
    text = Page(page_of(validation_of(examples=rows.filter(pc.equal(rows["split"], "test"))))).text
    assert "Stopped: no row" in text


def test_of_very_many_labels_the_rest_shares_a_row() -> None:
    names = [f"label {number}" for number in range(MAX_LABELS + 5)]
    rows = to_table(example(n, name, shown_splits(())[n % 3]) for n, name in enumerate(names))
    profile = {"labels": dict.fromkeys(names, 1 / len(names)), "text_characters": {}}
    text = Page(page_of(validation_of(examples=rows, profile=profile))).text
    assert "(5 further labels) 1 2 2 5 0 5 " in text
    assert f"All 15 15 15 45 3 {45 + 3} " in text


def test_every_recogniser_and_policy_has_its_words() -> None:
    policies = get_args(PrivacyConfig.model_fields["policy"].annotation)
    pages = {policy: Page(page_of(validation_of(), policy)).text for policy in policies}
    assert len(set(pages.values())) == len(policies)
    not_found = re.search(r"not found: (.*?)\.", pages["redact"])
    assert not_found
    assert len(not_found[1].split(", ")) >= len(get_args(Recogniser)) - 1
    assert "Redacted 2 " in pages["redact"]
    assert all("Redacted – " in page for policy, page in pages.items() if policy != "redact"), "not looked at is not 0"


def test_the_picture_is_large_enough_to_read_opaque_and_the_same_each_time() -> None:
    picture = data_picture(validation_of())
    assert picture.width >= 1200
    assert (picture.mode, picture.getpixel((0, 0))) == ("RGB", (255, 255, 255))  # opaque: right before a dark page too
    assert picture.tobytes() == data_picture(validation_of()).tobytes()
    without_labels = {"profile": {"labels": {}, "text_characters": {}}}
    for validation in (validation_of(**without_labels), validation_of(examples=EXAMPLES_SCHEMA.empty_table())):
        assert_self_contained(page_of(validation))
        assert data_picture(validation).size == picture.size
