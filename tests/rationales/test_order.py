"""Outputs that are joined by order: one that is missing or one too many is found by the words of the notes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from r2d.config.rationales import TextSource
from r2d.errors import DataError
from r2d.rationales.order import CLEAR, MOST_READ, find_shift
from tests.rationales.test_ingest import DataConfig, Example, PrivacyConfig, RationalesConfig, ingest, texts, to_table
from tests.rationales.test_real_sources import RAW, lines, needs_shared, read_records

FINDINGS = [
    f"{a}{b}{c}" for a in ("card", "derm", "neur", "oste", "gast") for b in "aeiou" for c in ("lgia", "itis", "osis")
]


def study(num_rows: int, seed: int = 5) -> tuple[list[str], list[str]]:
    """Notes, and outputs that each repeat two of the three findings of their note."""
    draw = random.Random(seed)
    notes, outputs = [], []
    for _ in range(num_rows):
        findings = draw.sample(FINDINGS, 3)
        notes.append(f"The caller has {findings[0]}, {findings[1]} and {findings[2]} since today.")
        outputs.append(f"With {findings[1]} and {findings[2]} the caller can wait since nothing is new.")
    return notes, outputs


@pytest.mark.parametrize("num_rows", [0, 1, 2, 30, 400])
def test_outputs_in_their_order_are_left_alone(num_rows: int) -> None:
    notes, outputs = study(num_rows)
    assert find_shift(outputs, notes) is None


@pytest.mark.parametrize("place", [0, 150, 250])
@pytest.mark.parametrize("step", [1, -1])
def test_an_output_that_is_missing_or_one_too_many_is_found_where_it_is(place: int, step: int) -> None:
    notes, outputs = study(400)
    moved = [*outputs[:place], *outputs[place + 1 :], ""] if step > 0 else [*outputs[:place], "", *outputs[place:-1]]
    shift = find_shift(moved, notes)
    assert shift is not None
    assert shift.step == step
    assert place <= shift.first <= place + 3
    assert shift.num_shifted > 0.8 * (400 - place)


def test_a_few_rows_and_outputs_without_words_of_their_note_prove_nothing() -> None:
    notes, outputs = study(CLEAR)
    assert find_shift([*outputs[1:], ""], notes) is None
    notes, _ = study(400)
    assert find_shift([*study(400, seed=6)[1]], notes) is None
    assert find_shift(["The caller can wait since nothing is new."] * 400, notes) is None


def test_a_note_that_is_not_known_counts_for_nothing() -> None:
    notes, outputs = study(400)
    known = [note if place % 3 else None for place, note in enumerate(notes)]
    assert find_shift(outputs, known) is None
    assert find_shift([*outputs[1:], ""], known) is not None
    assert find_shift([*outputs[1:], ""], [None] * 400) is None


def test_of_very_many_outputs_some_are_read() -> None:
    notes, outputs = study(MOST_READ + 400)
    assert find_shift(outputs, notes) is None
    assert find_shift([*outputs[1:], ""], notes) is not None


def test_the_ingestion_refuses_outputs_that_are_shifted(tmp_path: Path) -> None:
    notes, outputs = study(60)
    examples = to_table(
        Example(f"c{row}", note, "self care", split="train", row=row, place=f"notes.csv: row {row + 1}")
        for row, note in enumerate(notes)
    )
    data = DataConfig(format="csv", path="notes.csv", labels={"names": ("same day", "self care")})

    def run(contents: list[str]) -> None:
        source = texts(tmp_path / "llm.jsonl", [f"{content} So the answer is self care." for content in contents])
        config = RationalesConfig(stage1_source="llm", sources={"llm": source | {"join": "order"}})
        ingest(examples, config, data=data, privacy=PrivacyConfig(policy="redact"), work_dir=tmp_path)

    run(outputs)
    with pytest.raises(DataError) as refusal:
        run([*outputs[:10], *outputs[11:], ""])
    assert "rationales.sources.llm: from output 11 on (llm.jsonl), " in str(refusal.value)
    assert "outputs share more words with the note behind theirs than with their own" in str(refusal.value)
    assert not any(finding in str(refusal.value) for finding in FINDINGS)


@needs_shared
def test_real_outputs_are_found_shifted_and_not_in_their_order() -> None:
    source = TextSource(format="text", paths=(str(RAW / "test_CoT_*.json"),), join="order")
    outputs = [record.content or "" for record in read_records("palm", source)]
    notes = [question["question"] for question in lines("cqa_test.json")]
    assert find_shift(outputs, notes) is None
    for place in (0, 700, 1_150):
        shift = find_shift([*outputs[:place], *outputs[place + 1 :], ""], notes)
        assert shift is not None
        assert abs(shift.first - place) < 10
