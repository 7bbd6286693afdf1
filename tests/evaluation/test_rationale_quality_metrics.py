"""What is written, without a reference: every metric of a few rows counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from r2d.evaluation.rationale_quality_metrics import NUM_IDS, rationale_quality
from r2d.evaluation.sections.rationales import CopiedWords, FaultCount, RationaleQuality, Spread
from tests.evaluation.predicted import predictions_of

LABELS = ("Very urgent", "Urgent", "Within 3 days")


def measured(
    *rationales: str, texts: list[str] | None = None, labels: list[str] | None = None, **more: Any
) -> RationaleQuality:
    notes = texts or [f"Note {'abcdefghi'[row]}: cough for two weeks, no fever." for row in range(len(rationales))]
    predicted = labels or ["Urgent"] * len(rationales)
    predictions = predictions_of(["Urgent"] * len(rationales), predicted, labels=LABELS, rationales=rationales)
    quality, flags = rationale_quality(predictions, notes, **more)
    for name, fault in quality.faults.items():
        assert sum(name in of_row for of_row in flags) == fault.rows, name
        assert fault.share == (fault.rows / fault.of if fault.of else None)
    return quality


def fault(name: str, *rationales: str, **more: Any) -> tuple[int, int, tuple[str, ...]]:
    count = measured(*rationales, **more).faults[name]
    return count.rows, count.of, count.ids


def test_empty_rationales_are_counted_and_are_no_part_of_the_other_metrics() -> None:
    assert fault("empty", "a b", "", " \n") == (2, 3, ("r1", "r2"))
    quality = measured("a b", "", "c d e f")
    assert quality.num_written == 2
    assert quality.lengths == {"words": Spread(mean=3.0, median=3.0, min=2, max=4), "tokens": None}


def test_tokens_are_counted_by_the_tokenizer_and_tell_what_was_cut() -> None:
    def count(texts: Any) -> list[int]:
        return [len(text.split()) + 1 for text in texts]  # and end-of-sequence

    limit: dict[str, Any] = {"count_tokens": count, "max_tokens": 3}
    assert measured("a b", "a b c", "", **limit).lengths["tokens"] == Spread(mean=3.5, median=3.5, min=3, max=4)
    assert fault("cut", "a b", "a b c", "", **limit) == (1, 2, ("r1",))
    assert fault("cut", "a b", "a b c", count_tokens=count) == (0, 0, ())


def test_a_run_of_four_words_twice_is_a_repetition() -> None:
    rationales = ("rest at home today, rest at home today", "rest at home, rest at home, rest", "rest rest rest rest")
    # "rest at home rest" twice; four times "rest" is one run of four
    assert fault("repeats_itself", *rationales) == (2, 3, ("r0", "r1"))


def test_distinct_runs_are_over_all_that_is_written() -> None:
    quality = measured("rest at home", "rest at work")
    assert quality.distinct_1 == 4 / 6  # rest, at, home, work
    assert quality.distinct_2 == 3 / 4  # rest at, at home, at work
    assert measured("rest").distinct_2 is None


def test_the_same_rationale_for_other_notes_is_counted_and_not_for_the_same_note() -> None:
    rationales = ("Rest at home.", "rest  at home.", "Drink.", "Drink.")
    assert fault("same_as_another", *rationales, texts=["x1", "x2", "x3", "x3"]) == (2, 4, ("r0", "r1"))


def test_copies_of_the_note_and_the_longest_run_of_its_words() -> None:
    quality = measured("Cough for two weeks.", "It is a cough for two days.")
    # triples: 2 of 2; and of (it is a)(is a cough)(a cough for)(cough for two)(for two days) one
    mean_share = pytest.approx((1 + 1 / 5) / 2)
    assert quality.copied == CopiedWords(mean_share=mean_share, mean_longest_run=3.5, longest_run=4)
    assert quality.faults["copies_text"].ids == ("r0",)
    assert fault("copies_text", "It is a cough for two.", max_copied_share=0.2)[0] == 1


def test_numbers_and_findings_that_the_note_does_not_hold() -> None:
    rationales = ("Two weeks of cough.", "Three weeks of cough.", "Chest pain.")
    assert fault("ungrounded_numbers", *rationales) == (1, 3, ("r1",))
    assert fault("ungrounded_findings", *rationales) == (1, 3, ("r2",))


def test_a_number_of_the_given_label_is_no_claim_about_the_patient() -> None:
    assert fault("ungrounded_numbers", "To be seen within 3 days.", labels=["within 3 days"])[0] == 0
    assert fault("ungrounded_numbers", "To be seen within 3 days.")[0] == 1


def test_labels_that_stand_word_for_word_and_the_longer_one_of_two() -> None:
    rationales = ("This is URGENT.", "This is very urgent.", "Urgently!", "Urgent, not very-urgent.")
    assert fault("names_own_label", *rationales) == (2, 4, ("r0", "r3"))
    assert fault("names_other_label", *rationales) == (2, 4, ("r1", "r3"))
    assert fault("names_own_label", "nonsense", labels=["nonsense"]) == (0, 1, ())


def test_only_the_first_few_rows_are_named_and_no_text_is() -> None:
    quality = measured(*["Three falls and stridor."] * 9)
    assert quality.faults["ungrounded_numbers"].ids == tuple(f"r{row}" for row in range(NUM_IDS))
    assert "stridor" not in str(quality).casefold()


def test_nothing_written_has_no_metric() -> None:
    def never(texts: Any) -> list[int]:
        return pytest.fail("there was nothing to count")

    for quality in (measured("", ""), measured("", count_tokens=never, max_tokens=3)):
        assert quality.num_written == 0
        assert quality.distinct_1 is quality.lengths["words"] is quality.copied.mean_share is None
        assert quality.faults["copies_text"] == FaultCount(rows=0, of=0, share=None, ids=())
