"""What a label rests on in a note, and similar cases."""

from __future__ import annotations

import pytest

from r2d.data.examples import Example, to_table
from r2d.review.evidence import MOST_PARTS, SimilarCases, sentence_effects
from r2d.serving.batching import ServedModel


class TestSentences:
    def test_an_effect_is_what_the_label_loses_without_the_sentence(self, model: ServedModel) -> None:
        predictor = model.answerer.predictor
        first, second = "Pt reports fever for 3 days.", "Pt denies rash."
        parts = sentence_effects(predictor, f"{first} {second}", "self care")
        assert [part.text for part in parts] == [first, second]
        whole, *without = predictor.decide([f"{first} {second}", second, f"{first} "], explain=False)
        expected = [
            whole.label_probabilities["self care"] - decision.label_probabilities["self care"] for decision in without
        ]
        assert [part.effect for part in parts] == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize(("text", "label"), [("Only one sentence.", "self care"), ("One. Two.", "no such label")])
    def test_nothing_is_measured_where_nothing_can_be_told(self, model: ServedModel, text: str, label: str) -> None:
        assert sentence_effects(model.answerer.predictor, text, label) == []

    def test_a_long_note_is_measured_in_few_parts_that_are_the_note(self, model: ServedModel) -> None:
        note = " ".join(f"Sentence {'abcdefghij'[n % 10]} is here." for n in range(95))
        parts = sentence_effects(model.answerer.predictor, note, "self care")
        assert len(parts) <= MOST_PARTS
        assert " ".join(part.text for part in parts) == note


def test_similar_cases_share_words_and_are_not_the_case_itself() -> None:
    texts = ["fever and a cough", "fever and a wet cough", "a cut on the thumb", "a sprained ankle"]
    examples = [Example(id=f"r{n}", text=text, label=f"label {n}") for n, text in enumerate(texts)]
    [found] = SimilarCases(to_table(examples)).to("fever and a cough", but="r0")
    assert (found.row_id, found.label) == ("r1", "label 1")
    assert 0.3 < found.similarity < 1.0
