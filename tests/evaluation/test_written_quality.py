"""What is written, without a reference: every figure of a few rows counted by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from r2d.config.rationales import QualityConfig
from r2d.evaluation.written_quality import NUM_IDS, written_quality

LABELS = ("Very urgent", "Urgent", "Within 3 days")


def measured(*rationales: str, **changed: Any) -> dict[str, Any]:
    rows: dict[str, Any] = {
        "ids": [f"r{number}" for number in range(len(rationales))],
        "texts": [f"Note {'abcdefghi'[number]}: cough for two weeks, no fever." for number in range(len(rationales))],
        "rationales": rationales,
        "predicted_labels": ["Urgent"] * len(rationales),
        "options": [LABELS] * len(rationales),
    }
    found, of_rows = written_quality(**(rows | changed))
    json.dumps(found, allow_nan=False)
    for name, rows_with_it in found["faults"].items():
        assert sum(name in names for names in of_rows) == rows_with_it["rows"], name
    return found


def fault(name: str, *rationales: str, **changed: Any) -> tuple[int, int, list[str]]:
    found = measured(*rationales, **changed)["faults"][name]
    assert found["share"] == (found["rows"] / found["of"] if found["of"] else None)
    return found["rows"], found["of"], found["ids"]


def test_empty_rationales_are_counted_and_are_no_part_of_the_other_figures() -> None:
    assert fault("empty", "a b", "", " \n") == (2, 3, ["r1", "r2"])
    found = measured("a b", "", "c d e f")
    assert found["num_written"] == 2
    assert found["lengths"] == {"words": {"mean": 3.0, "median": 3.0, "min": 2, "max": 4}, "tokens": None}


def test_tokens_are_counted_by_the_tokenizer_and_tell_what_was_cut() -> None:
    def count(texts: Any) -> list[int]:
        return [len(text.split()) + 1 for text in texts]  # and end-of-sequence

    limit: dict[str, Any] = {"count_tokens": count, "max_tokens": 3}
    assert measured("a b", "a b c", "", **limit)["lengths"]["tokens"] == {
        "mean": 3.5, "median": 3.5, "min": 3, "max": 4,
    }  # fmt: skip
    assert fault("cut", "a b", "a b c", "", **limit) == (1, 2, ["r1"])
    assert fault("cut", "a b", "a b c", count_tokens=count) == (0, 0, [])


def test_a_run_of_four_words_twice_is_a_repetition() -> None:
    assert fault(
        "repeats_itself",
        "rest at home today, rest at home today",
        "rest at home, rest at home, rest",
        "rest rest rest rest",
    ) == (2, 3, ["r0", "r1"])  # "rest at home rest" twice; four times "rest" is one run of four


def test_distinct_runs_are_over_all_that_is_written() -> None:
    found = measured("rest at home", "rest at work")
    assert found["distinct_1"] == 4 / 6  # rest, at, home, work
    assert found["distinct_2"] == 3 / 4  # rest at, at home, at work
    assert measured("rest")["distinct_2"] is None


def test_the_same_rationale_for_other_notes_is_counted_and_not_for_the_same_note() -> None:
    rationales = ("Rest at home.", "rest  at home.", "Drink.", "Drink.")
    texts = ["x1", "x2", "x3", "x3"]
    assert fault("same_as_another", *rationales, texts=texts) == (2, 4, ["r0", "r1"])


def test_copies_of_the_note_and_the_longest_run_of_its_words() -> None:
    found = measured("Cough for two weeks.", "It is a cough for two days.")
    # triples: 2 of 2; and of (it is a)(is a cough)(a cough for)(cough for two)(for two days) one
    assert found["copied"] == {"mean_share": pytest.approx((1 + 1 / 5) / 2), "mean_longest_run": 3.5, "longest_run": 4}
    assert found["faults"]["copies_text"]["ids"] == ["r0"]
    assert fault("copies_text", "It is a cough for two.", limits=QualityConfig(max_copied_share=0.2))[0] == 1


def test_numbers_and_findings_that_the_note_does_not_hold() -> None:
    rationales = ("Two weeks of cough.", "Three weeks of cough.", "Chest pain.")
    assert fault("ungrounded_numbers", *rationales) == (1, 3, ["r1"])
    assert fault("ungrounded_findings", *rationales) == (1, 3, ["r2"])


def test_a_number_of_the_given_label_is_no_claim_about_the_patient() -> None:
    own = {"predicted_labels": ["within 3 days"]}
    assert fault("ungrounded_numbers", "To be seen within 3 days.", **own)[0] == 0
    assert fault("ungrounded_numbers", "To be seen within 3 days.")[0] == 1


def test_labels_that_stand_word_for_word_and_the_longer_one_of_two() -> None:
    rationales = ("This is URGENT.", "This is very urgent.", "Urgently!", "Urgent, not very-urgent.")
    assert fault("names_own_label", *rationales) == (2, 4, ["r0", "r3"])
    assert fault("names_other_label", *rationales) == (2, 4, ["r1", "r3"])
    assert fault("names_own_label", "nonsense", predicted_labels=["nonsense"]) == (0, 1, [])


def test_only_the_first_few_rows_are_named_and_no_text_is() -> None:
    found = measured(*["Three falls and stridor."] * 9)
    assert found["faults"]["ungrounded_numbers"]["ids"] == [f"r{number}" for number in range(NUM_IDS)]
    assert "stridor" not in json.dumps(found).casefold()


def test_nothing_written_has_no_figure() -> None:
    def never(texts: Any) -> list[int]:
        return pytest.fail("there was nothing to count")

    for found in (measured("", ""), measured(), measured("", count_tokens=never, max_tokens=3)):
        assert found["num_written"] == 0
        assert found["distinct_1"] is found["lengths"]["words"] is found["copied"]["mean_share"] is None
        assert found["faults"]["copies_text"] == {"rows": 0, "of": 0, "share": None, "ids": []}


def test_uneven_columns_are_refused() -> None:
    with pytest.raises(ValueError, match=r"columns of \[1, 2\] rows"):
        measured("a", "b", texts=["x"])
