"""Every call has a row; what the model cannot be asked, or is not sure of, goes to a person with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from r2d.inference.calls import Call
from r2d.inference.decide import decide_calls
from r2d.inference.output import DECISIONS_SCHEMA, DEFERRAL_REASONS
from tests.inference.keyword_predictor import KeywordPredictor


def decided(calls: list[Call], predictor: KeywordPredictor, first_row: int = 0) -> list[dict[str, Any]]:
    table = decide_calls(calls, predictor, first_row=first_row, model_name="toy/1", batch_size=8)
    assert table.schema == DECISIONS_SCHEMA
    return table.to_pylist()


def test_a_sure_label_is_shown_and_an_unsure_one_handed_over_with_the_label_as_a_second_opinion() -> None:
    sure, unsure = decided([Call("a", "chest pain"), Call("b", "cough")], KeywordPredictor(0.7), first_row=40)
    assert sure == {
        "row": 40, "id": "a", "label": "emergency now", "label_probability": 0.9,
        "label_probabilities": [("emergency now", 0.9), ("self care", pytest.approx(0.1))], "rationale": "because",
        "handed_over": False, "why": None, "text_characters": 10, "model": "toy/1",
    }  # fmt: skip
    assert (unsure["row"], unsure["label"], unsure["handed_over"], unsure["why"]) == (
        41, "self care", True, "below_threshold",
    )  # fmt: skip


def test_a_call_without_a_text_does_not_fail_the_others_and_the_model_never_sees_it() -> None:
    predictor = KeywordPredictor()
    calls = [Call("a", None), Call("b", " \n"), Call(None, "chest pain"), Call("d", "half \ud83d")]
    rows = decided(calls, predictor)
    assert predictor.asked == ["chest pain"]
    assert [row["why"] for row in rows] == ["no_text", "no_text", None, "damaged_text"]
    for row in (rows[0], rows[1], rows[3]):
        assert row["handed_over"]
        assert [row[name] for name in ("label", "label_probability", "rationale")] == [None] * 3
        assert row["label_probabilities"] == []
    assert decided([Call("a", "")], predictor)[0]["why"] == "no_text"


def test_without_a_threshold_everything_is_handed_over() -> None:
    predictors = {"no_threshold": KeywordPredictor(None), "never_evaluated": KeywordPredictor(evaluated=False)}
    for why, predictor in predictors.items():
        (row,) = decided([Call("a", "chest pain")], predictor)
        assert (row["why"], row["handed_over"]) == (why, True)


def test_what_is_no_declared_label_has_no_probability_and_goes_to_a_person() -> None:
    (row,) = decided([Call("a", "nonsense")], KeywordPredictor(0.0))
    assert (row["label"], row["label_probability"], row["why"]) == ("nonsense", None, "no_declared_label")


def test_options_of_a_row_are_judged_one_by_one() -> None:
    calls = [
        Call("a", "pain", ["yes", "no"]),
        Call("b", "pain", ["yes", " YES"]),
        Call("c", "pain", None),
        Call("d", "pain", ["yes", "unwritable"]),
    ]
    rows = decided(calls, KeywordPredictor(per_row=True))
    assert [row["why"] for row in rows] == [None, "no_options", "no_options", "unusable_options"]
    assert dict(rows[0]["label_probabilities"]).keys() == {"yes", "no"}


def test_every_reason_is_explained() -> None:
    assert all(text and text[0].islower() for text in DEFERRAL_REASONS.values())
