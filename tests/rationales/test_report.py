"""The ingestion report: one expected page, and what must hold whatever the records say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from r2d.config.privacy import PrivacyConfig
from r2d.data.examples import Example, to_table
from r2d.rationales import report
from r2d.rationales.ingest import Ingestion
from r2d.rationales.provenance import PROVENANCE_SCHEMA, REJECTED_SCHEMA
from r2d.rationales.records import PHASES, Candidate, Reason, Record
from r2d.rationales.report import MAX_EXAMPLES, SHOWN_CHARACTERS, render_ingestion_report
from tests.reports.pages import Page, assert_accessible, assert_expected_page, assert_self_contained

STAGES = {
    "stage1": {
        "test": {"num_rows": 20, "num_with_rationale": 0, "sources": {}},
        "train": {"num_rows": 100, "num_with_rationale": 90, "sources": {"llm": 60, "nurse": 30}},
    },
    "stage2": {"train": {"num_rows": 100, "num_with_rationale": 30, "sources": {"nurse": 30}}},
}


def candidate(row: int, reason: Reason | None = None, *, flags: Sequence[str] = (), **record: Any) -> Candidate:
    """A record of a file, taken or rejected."""
    values: dict[str, Any] = {
        "source": "llm", "file": "output.jsonl", "row": row, "example_id": f"call-{row}",
        "content": f"Content of row {row}.",
    }  # fmt: skip
    return Candidate(
        record=Record(**values | record),
        example=Example(f"call-{row}", "Text of the note.", "same day", split="train"),
        rationale="" if reason in PHASES["No rationale in it"] else f"Rationale of row {row}.",
        label="self care" if reason == "disagrees_with_gold" else "same day",
        stated_label=True,
        parser="answer_patterns[0]",
        edits=["run-on cut"] if row % 10 == 0 else [],
        flags=list(flags),
        faults=[flag.split(":")[0] for flag in flags],
        reason=reason,
        detail="7 characters" if reason == "too_short" else "",
    )


def render(candidates: Mapping[str, list[Candidate]], **values: Any) -> str:
    ingestion = Ingestion(
        examples=to_table([Example("call-1", "Text of the note.", "same day")]),
        provenance=PROVENANCE_SCHEMA.empty_table(),
        rejected=REJECTED_SCHEMA.empty_table(),
        candidates=dict(candidates),
    )
    facts: dict[str, Any] = {"stages": STAGES, "privacy": PrivacyConfig()}
    page = render_ingestion_report(ingestion, **facts | values)
    assert_self_contained(page)
    assert_accessible(page)
    return page


def test_the_page_is_the_expected_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reason once, one of them often, two flags, and a source of which all is taken.

    Renew the page with `R2D_RENEW_PAGES=1 pytest tests/rationales/test_report.py`.
    """
    monkeypatch.setattr(report, "MAX_EXAMPLES", 2)
    llm = [candidate(row, reason) for row, reason in enumerate(get_args(Reason))]
    llm += [candidate(row, "too_short") for row in range(100, 135)]
    llm += [candidate(row) for row in range(200, 240)]
    llm += [candidate(row, flags=["ungrounded: 2 numbers", "leaks_label"]) for row in range(300, 325)]
    nurse = [candidate(row, source="nurse", file="nurse.csv") for row in range(5)]
    assert_expected_page(render({"llm": llm, "nurse": nurse}), Path(__file__).with_name("expected_report.html"))


def test_every_reason_lies_in_one_phase() -> None:
    assert Counter(reason for reasons in PHASES.values() for reason in reasons) == Counter(get_args(Reason))


@pytest.mark.parametrize("reason", ["too_short", None])
def test_at_most_ten_records_are_quoted_and_nobody_picks_them(reason: Reason | None) -> None:
    candidates = [candidate(row, reason, flags=["leaks_label"]) for row in range(100, 135)]
    pages = [render({"llm": several}) for several in (candidates, candidates[::-1], candidates[:7])]
    rows, backwards, few = (
        sorted(int(row) for row in re.findall(r"<dd>output\.jsonl:(\d+)</dd>", page)) for page in pages
    )
    assert len(rows) == MAX_EXAMPLES
    assert rows == backwards, "their order in the file does not matter"
    assert rows != list(range(100, 110)), "not simply the first ones"
    assert few == list(range(100, 107))


def test_a_long_text_is_cut_in_the_middle_and_that_is_said() -> None:
    long = candidate(1, "no_answer", content="BEGIN " + "~" * 5_000 + " END")
    text = Page(render({"llm": [long]})).text
    assert f"[…{5_010 - SHOWN_CHARACTERS:,} characters…]" in text
    assert re.search(r"BEGIN ~+ \[…", text)
    assert re.search(r"…\] ~+ END", text)
    assert text.count("~") < SHOWN_CHARACTERS


@pytest.mark.parametrize("policy", ["redact", "quarantine", "warn", "off"])
def test_what_identifies_a_person_is_quoted_only_where_the_search_is_off(policy: Any) -> None:
    told = "Call back at 416-555-0134, the patient is stable."
    rows = [candidate(1, "truncated", content=told), candidate(2, "privacy", content=told)]
    rows[1].rationale = told
    page = render({"llm": rows}, privacy=PrivacyConfig(policy=policy))
    assert (page.count("0134"), page.count("[PHONE_1]")) == ((2, 0) if policy == "off" else (0, 2))
    assert ("switched off" in page) == (policy == "off")


def test_hostile_content_stays_text_wherever_it_stands() -> None:
    evil = "</p><script>alert(1)</script><img src=x onerror=alert(1)>'\"{{ 7*7 }}{% raw %}"
    one = candidate(1, "not_a_label", file=evil, content=evil, label=evil)
    two = candidate(2, flags=[f"ungrounded: {evil}"])
    one.label = two.label = None
    one.detail = two.rationale = evil
    one.example = two.example = Example(evil, evil, evil, split="train")
    two.edits.append(evil)
    stages = {evil: {"train": {"num_rows": 1, "num_with_rationale": 1, "sources": {evil: 1}}}}
    page = render({evil: [one, two]}, stages=stages)
    assert Page(page).count("img") == 0
    assert "{{ 7*7 }}" in page


def test_a_source_without_records_is_shown_and_divides_nothing() -> None:
    text = Page(render({"llm": []}, stages={})).text
    assert "0 records = 0 taken + 0 rejected." in text
    assert "llm – – – 0 – – –" in text
