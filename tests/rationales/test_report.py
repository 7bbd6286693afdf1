"""The ingestion report: what came in was taken or rejected, and every reason has its words and its examples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any, get_args

import pytest

from r2d.config.validation import PrivacyConfig
from r2d.data.examples import Example, to_table
from r2d.rationales.ingest import Ingestion
from r2d.rationales.provenance import PROVENANCE_SCHEMA, REJECTED_SCHEMA
from r2d.rationales.records import PHASES, REASONS, Candidate, Reason, Record
from r2d.rationales.report import MAX_EXAMPLES, SHOWN_CHARACTERS, render_ingestion_report
from tests.reports.pages import Page, assert_accessible, assert_self_contained

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


def ingestion_of(candidates: Mapping[str, list[Candidate]]) -> Ingestion:
    return Ingestion(
        examples=to_table([Example("call-1", "Text of the note.", "same day")]),
        provenance=PROVENANCE_SCHEMA.empty_table(),
        rejected=REJECTED_SCHEMA.empty_table(),
        candidates=dict(candidates),
    )


def every_reason() -> dict[str, list[Candidate]]:
    """A source with each reason at least once, one of them often, and a source of which all is taken."""
    llm = [candidate(row, reason) for row, reason in enumerate(get_args(Reason))]
    llm += [candidate(row, "too_short") for row in range(100, 135)]
    llm += [candidate(row) for row in range(200, 240)]
    llm += [candidate(row, flags=["ungrounded: 2 numbers", "leaks_label"]) for row in range(300, 325)]
    return {"llm": llm, "nurse": [candidate(row, source="nurse", file="nurse.csv") for row in range(5)]}


def page_of(candidates: Mapping[str, list[Candidate]], **values: Any) -> str:
    facts: dict[str, Any] = {"stages": STAGES, "privacy": PrivacyConfig()}
    return render_ingestion_report(ingestion_of(candidates), **facts | values)


@cache
def usual_page() -> str:
    return page_of(every_reason())


def section(page: str, source: str) -> Page:
    """What the page says of one source."""
    (found,) = re.findall(
        rf'<section aria-labelledby="source-\d+">\s*<h2[^>]*>Source {source}<.*?</section>', page, re.S
    )
    return Page(found)


def details(page: str, source: str, heading: str) -> dict[str, tuple[int, int]]:
    """Reason -> records, examples shown, of those under a heading."""
    (found,) = re.findall(
        rf'<section aria-labelledby="source-\d+">\s*<h2[^>]*>Source {source}<.*?</section>', page, re.S
    )
    (part,) = re.findall(rf"<h3>{heading}</h3>(.*?)(?=<h3>|</section>)", found, re.S)
    return {
        name: (int(number), block.count("<article"))
        for block in re.findall(r"<details>.*?</details>", part, re.S)
        for name, number in re.findall(r"<summary>.*?<code>(.*?)</code>.*?<em>(.*?)</em></summary>", block, re.S)
    }


def test_the_page_asks_nothing_of_the_network_and_can_be_followed_by_a_screen_reader() -> None:
    assert_self_contained(usual_page())
    assert_accessible(usual_page())


def test_it_says_at_the_top_that_it_quotes_clinical_text() -> None:
    top = usual_page().partition("</header>")[0]
    assert "This page quotes clinical text." in top
    assert "it is a net with" in top
    assert "switched off" in page_of(every_reason(), privacy=PrivacyConfig(policy="off")).partition("</header>")[0]


def test_every_reason_lies_in_one_phase() -> None:
    assert Counter(reason for reasons in PHASES.values() for reason in reasons) == Counter(get_args(Reason))


def test_every_reason_is_explained_in_words_also_where_nothing_was_rejected_for_it() -> None:
    text = Page(page_of({"nurse": every_reason()["nurse"]})).text
    for name, words in REASONS.items():
        assert f"{words} {name} –" in text


def test_records_are_the_sum_of_what_was_taken_and_what_was_rejected() -> None:
    page, candidates = usual_page(), every_reason()
    for source, several in candidates.items():
        taken = sum(one.accepted for one in several)
        rejected = len(several) - taken
        text = section(page, source).text
        assert f"{len(several)} records = {taken} taken + {rejected} rejected" in text
        assert f"Records read {len(several)} " in text
        assert f"Rationales taken {taken} " in text
        losses = [int(number) for number in re.findall(r"− (\d+)", text)]
        assert sum(losses) == rejected
    rejected = details(page, "llm", "Rejected, by reason")
    assert {name: number for name, (number, _) in rejected.items()} == Counter(
        one.reason for one in candidates["llm"] if one.reason
    )
    assert "Taken: 65 train." in section(page, "llm").text


def test_the_bars_of_the_flow_fill_what_is_left() -> None:
    page = usual_page()
    shares = [
        [float(share) for share in re.findall(r"--share:([\d.]+)", bar)]
        for bar in re.findall(r'<i class="track" aria-hidden="true"><b[^>]*></b><s.*?</i>', page)
    ]
    assert len(shares) == len(PHASES)
    left = 1.0
    for kept, lost in shares:
        assert kept + lost == pytest.approx(left, abs=2e-4)
        left = kept


@pytest.mark.parametrize("heading", ["Rejected, by reason", "Taken, but flagged"])
def test_at_most_ten_examples_of_a_reason_are_shown(heading: str) -> None:
    shown = details(usual_page(), "llm", heading)
    assert shown
    for number, articles in shown.values():
        assert articles == min(number, MAX_EXAMPLES)
    assert max(number for number, _ in shown.values()) > MAX_EXAMPLES


def test_nobody_picks_the_examples_and_their_order_in_the_file_does_not_matter() -> None:
    candidates = every_reason()
    backwards = {name: several[::-1] for name, several in candidates.items()}
    usual, other = (
        sorted(re.findall(r"<article.*?</article>", page, re.S)) for page in (usual_page(), page_of(backwards))
    )
    assert usual == other
    rows = {int(row) for row in re.findall(r"<dd>output\.jsonl:(\d+)</dd>", usual_page())}
    assert not set(range(100, 110)) <= rows  # not simply the first ones
    assert page_of(every_reason()) == usual_page()


def test_an_example_says_where_it_stands_and_what_both_labels_are() -> None:
    one = candidate(7, "disagrees_with_gold")
    text = section(page_of({"llm": [one]}), "llm").text
    expected = (
        "Place output.jsonl:7 Example call-7 Gold label same day Stated label self care Rationale Rationale of row 7."
    )
    assert expected in text
    without = candidate(8, "no_answer")
    assert "Record as delivered Content of row 8." in section(page_of({"llm": [without]}), "llm").text
    assert "Detail 2 numbers" in section(usual_page(), "llm").text
    assert "Detail 7 characters" in section(usual_page(), "llm").text


def test_a_long_text_is_cut_in_the_middle_and_that_is_said() -> None:
    long = candidate(1, "no_answer", content="BEGIN " + "x" * 5_000 + " END")
    text = section(page_of({"llm": [long]}), "llm").text
    assert "BEGIN" in text
    assert " END" in text
    assert f"[…{5_010 - SHOWN_CHARACTERS:,} characters…]" in text
    assert text.count("x") < SHOWN_CHARACTERS


@pytest.mark.parametrize("policy", ["redact", "quarantine", "warn"])
def test_what_identifies_a_person_is_not_quoted(policy: Any) -> None:
    told = "Call back at 416-555-0134, the patient is stable."
    rows = [candidate(1, "truncated", content=told), candidate(2, "privacy", content=told)]
    rows[1].rationale = told
    page = page_of({"llm": rows}, privacy=PrivacyConfig(policy=policy))
    assert "0134" not in page
    assert page.count("[PHONE_1]") == 2
    assert page_of({"llm": rows}, privacy=PrivacyConfig(policy="off")).count("0134") == 2


def test_hostile_content_stays_text_wherever_it_stands() -> None:
    evil = "</p><script>alert(1)</script><img src=x onerror=alert(1)>'\"{{ 7*7 }}{% raw %}"
    one = candidate(1, "not_a_label", file=evil, content=evil, label=evil)
    two = candidate(2, flags=[f"ungrounded: {evil}"])
    one.label = two.label = None
    one.detail = two.rationale = evil
    one.example = two.example = Example(evil, evil, evil, split="train")
    two.edits.append(evil)
    stages = {evil: {"train": {"num_rows": 1, "num_with_rationale": 1, "sources": {evil: 1}}}}
    page = page_of({evil: [one, two]}, stages=stages, title=evil, notes=[evil])
    assert_self_contained(page)
    assert_accessible(page)
    assert Page(page).count("img") == 0
    assert "{{ 7*7 }}" in page


def test_each_stage_is_shown_by_split_and_source() -> None:
    text = Page(usual_page()).text
    assert "train 60 30 10 100 90.0 % test 0 0 20 20 0.0 %" in text  # train first
    assert "train 30 70 100 30.0 %" in text


def test_agreement_leakage_flags_and_lengths_are_side_by_side() -> None:
    text = Page(usual_page()).text
    counts = asdict(ingestion_of(every_reason()).counts()["llm"])
    agreeing = 1 - counts["num_disagreeing"] / counts["num_stated_labels"]
    leaking = counts["num_leaking"] / counts["num_read"]
    lengths = " ".join(str(counts["characters"][place]) for place in ("p5", "p50", "p95"))
    assert f"llm {100 * agreeing:.1f} % {100 * leaking:.1f} % 25 {lengths} " in text
    assert "run-on cut 7 " in section(usual_page(), "llm").text


def test_a_source_without_records_is_shown_and_divides_nothing() -> None:
    page = page_of({"llm": []}, stages={})
    assert_accessible(page)
    assert "0 records = 0 taken + 0 rejected." in section(page, "llm").text
    assert "llm – – 0 – – –" in Page(page).text
