"""What a label rests on in a note, and similar cases."""

from __future__ import annotations

import pytest

from r2d.data.examples import Example, to_table
from r2d.review.evidence import MOST_PARTS, PARTS_AT_A_TIME, SimilarCases, parts_of, sentence_effects
from r2d.serving.batching import ServedModel


class TestSentences:
    def test_an_effect_is_what_the_label_loses_without_the_sentence(self, model: ServedModel) -> None:
        predictor = model.answerer.predictor
        first, second = "Pt reports fever for 3 days.", "Pt denies rash."
        note = parts_of(predictor, f"{first} {second}")
        parts = list(sentence_effects(predictor, note, "self care"))
        assert [part.text for part in parts] == [first, second]
        whole, *without = predictor.decide([f"{first} {second}", second, f"{first} "], explain=False)
        expected = [
            whole.label_probabilities["self care"] - decision.label_probabilities["self care"] for decision in without
        ]
        assert [part.effect for part in parts] == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize(("text", "label"), [("Only one sentence.", "self care"), ("One. Two.", "no such label")])
    def test_nothing_is_measured_where_nothing_can_be_told(self, model: ServedModel, text: str, label: str) -> None:
        predictor = model.answerer.predictor
        assert list(sentence_effects(predictor, parts_of(predictor, text), label)) == []

    def test_is_decided_as_it_is_asked_for_so_that_calls_come_in_between(
        self, model: ServedModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        predictor, asked = model.answerer.predictor, list[int]()
        decide = predictor.decide
        monkeypatch.setattr(
            predictor, "decide", lambda texts, *a, **k: asked.append(len(texts)) or decide(texts, *a, **k)
        )
        parts = parts_of(predictor, "Fever. " * 9)
        effects = sentence_effects(predictor, parts, "self care")
        assert asked == []
        next(effects)
        assert sum(asked) <= 1 + PARTS_AT_A_TIME
        assert 1 + len(list(effects)) == len(parts.spans) == 9

    def test_of_a_long_note_what_the_model_reads_is_measured_in_few_parts(self, model: ServedModel) -> None:
        predictor = model.answerer.predictor
        note = " ".join(f"Sentence {'abcdefghij'[n % 10]} is here." for n in range(95))
        prompt = predictor.prompts.label_prompts
        for text in (note, note * 200):
            parts = parts_of(predictor, text)
            assert len(parts.spans) <= MOST_PARTS
            assert "".join(text[start:end] for start, end in parts.spans) == parts.read
            assert text.startswith(parts.read)
            assert prompt([parts.read]) == prompt([text])
            assert (parts.read == text) == (prompt([text]) != prompt([text[:-3]]))


def test_similar_cases_share_words_and_are_not_the_case_itself() -> None:
    texts = ["fever and a cough", "fever and a wet cough", "a cut on the thumb", "a sprained ankle"]
    examples = [Example(id=f"r{n}", text=text, label=f"label {n}") for n, text in enumerate(texts)]
    [found] = SimilarCases(to_table(examples)).to("fever and a cough", but="r0")
    assert (found.row_id, found.label) == ("r1", "label 1")
    assert 0.3 < found.similarity < 1.0
