"""The parser against 10,962 real outputs of an LLM, whose prompts and styles it does not know."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from r2d.config.rationales import ParseConfig, TextSource
from r2d.rationales.parsing import Parsed, parse
from r2d.rationales.sources import read_records
from r2d.text import normalise_label

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "raw" / "dss_cqa"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the real outputs are not here: no folder {FOLDER}")

Row = tuple[list[str], dict[str, Any], Parsed]
"""Choices, what the reference rule finds, and what we find."""


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").split("\n") if line]


def rows_of(part: str) -> list[Row]:
    source = TextSource(format="text", paths=(str(FOLDER / f"{part}_CoT_*.json"),), join="order")
    records = read_records("palm", source)
    questions, references = lines(f"cqa_{part}.json"), lines(f"expected_parse_{part}.jsonl")
    parsed = [
        parse(record.content or "", question["choices"], source.parse, stopped_at_limit=record.stopped_at_limit)
        for record, question in zip(records, questions, strict=True)
    ]
    assert source.parse == ParseConfig()
    return list(zip([question["choices"] for question in questions], references, parsed, strict=True))


@pytest.fixture(scope="module", params=["train", "test"])
def rows(request: pytest.FixtureRequest) -> list[Row]:
    return rows_of(request.param)


def is_choice(row: Row) -> bool:
    return normalise_label(row[1]["llm_label"]) in map(normalise_label, row[0])


def test_every_answer_that_is_a_choice_is_read_as_the_reference_reads_it(rows: list[Row]) -> None:
    usual = [row for row in rows if is_choice(row)]
    same = [row for row in usual if normalise_label(row[2].label or "") == normalise_label(row[1]["llm_label"])]
    assert len(usual) > 1_000
    assert len(same) == len(usual)
    texts = [row for row in usual if row[2].rationale == row[1]["rationale"].strip()]
    assert len(texts) >= 0.999 * len(usual)


def test_every_other_answer_is_a_recorded_repair_or_has_a_reason(rows: list[Row]) -> None:
    outcomes: Counter[str] = Counter()
    for choices, reference, parsed in (row for row in rows if not is_choice(row)):
        assert (parsed.label is None) == (parsed.reason is not None)
        assert parsed.label is None or parsed.label in choices
        if parsed.reason is not None:
            outcomes[parsed.detail or parsed.reason] += 1
        elif "repaired label" in parsed.edits:
            outcomes["repaired"] += 1
        else:  # the reference cuts off a last dot that belongs to the choice, or the choice itself ends in `and`
            assert (parsed.label or "").endswith((".", " and")), reference["id"]
            outcomes["as written"] += 1
    train = {
        "two answers stated": 284,
        "repaired": 21,
        "letter and text disagree": 9,
        "as written": 7,
        "not_a_label": 3,
    }
    test = {"two answers stated": 25, "repaired": 3, "letter and text disagree": 3}
    assert outcomes in (train, test)


def test_no_invented_question_is_left_in_a_rationale(rows: list[Row]) -> None:
    assert [row[1]["id"] for row in rows if "Answer Choices" in row[2].rationale or "\nQ:" in row[2].rationale] == []
