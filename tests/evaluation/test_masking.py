"""Sufficiency without the label's words, counted by hand with a model whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from r2d.evaluation.alignment import alignment_metrics
from r2d.evaluation.masking import mask_labels, masked_alignment, no_masked_alignment

LABELS = ("Emergency", "Urgent", "Home")


@pytest.mark.parametrize(
    ("text", "labels", "masked"),
    [
        ("This is an EMERGENCY.", LABELS, "This is an [LABEL]."),
        ("Urgently seen; the urgency is high", LABELS, "[LABEL] seen; the [LABEL] is high"),
        ("Two emergencies, one emergent.", LABELS, "Two [LABEL], one [LABEL]."),
        ("very  urgent case", ("Urgent", "Very-urgent"), "[LABEL] case"),  # the longest of those that overlap
        ("a non-urgent case", LABELS, "a non-[LABEL] case"),
        ("see a Doctor today", ("See a doctor today",), "[LABEL]"),
        ("See a doctor. Today?", ("See a doctor today",), "See a doctor. Today?"),  # not one label but two sentences
        ("homework, insurgent", LABELS, "homework, insurgent"),  # a word of its own, not a part of one
        ("grade A+ or A", ("A+", "B"), "grade [LABEL] or A"),
        ("no fever", ("yes", "no"), "[LABEL] fever"),  # short labels over-fire, and the docstring says so
        ("", LABELS, ""),
        ("chest pain", ("-", ""), "chest pain"),
    ],
)
def test_labels_and_their_close_forms_are_masked(text: str, labels: Sequence[str], masked: str) -> None:
    assert mask_labels(text, labels) == masked


def decide(texts: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
    """Reads the label where it is named, and chest pain as an emergency; else it says Home."""
    return [
        next(
            (label for label in some if label.casefold() in text.casefold()), "Emergency" if "chest" in text else "Home"
        )
        for text, some in zip(texts, options, strict=True)
    ]


ROWS: dict[str, Any] = {
    "gold_labels": ["Emergency", "Urgent", "Urgent", "Home"],
    "predicted_labels": ["Emergency", "Urgent", "Urgent", "Home"],
    "rationales": ["An emergency: chest pain.", "Urgent, I say.", "Urgent!", "A mild cold."],
    "gold_rationales": ["Chest pain.", "Urgent.", "", ""],
    "options": [LABELS] * 4,
}


def test_what_is_left_when_the_label_is_gone() -> None:
    assert alignment_metrics(decide, **ROWS)["sufficiency"] == 4 / 4
    figures = masked_alignment(decide, **ROWS)
    assert (
        figures["sufficiency"] == 2 / 4
    )  # the chest pain still argues, "I say" does not, and of "Urgent!" nothing is left
    assert figures["consistency"] == 2 / 4
    assert (figures["num_masked"], figures["num_nothing_left"], figures["num_empty_rationales"]) == (3, 1, 1)
    assert (figures["num_with_gold_rationale"], figures["gold_robustness"]) == (1, 0 / 1)  # "Chest" is not "chest"


def test_rationales_without_a_label_have_the_same_figures() -> None:
    rows = ROWS | {"rationales": ["chest pain", "cough", "?!", ""]}
    unmasked, masked = alignment_metrics(decide, **rows), masked_alignment(decide, **rows)
    assert (masked["num_masked"], masked["num_nothing_left"]) == (0, 0)
    assert masked["sufficiency"] == unmasked["sufficiency"]


def test_each_row_is_masked_by_its_own_options() -> None:
    rows = ROWS | {
        "rationales": ["aspirin", "aspirin", "aspirin", "aspirin"],
        "options": [("aspirin", "Emergency"), ("Urgent",), ("Urgent",), ("Home",)],
    }
    assert masked_alignment(decide, **rows)["num_masked"] == 1


def test_a_method_that_writes_no_rationale_has_the_same_keys() -> None:
    assert set(no_masked_alignment()) == set(masked_alignment(decide, **ROWS))
