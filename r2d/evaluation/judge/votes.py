"""From the judge's answers to votes. What cannot be read without guessing is missing, and says why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from r2d.evaluation.judge.questions import Question, Questions
from r2d.evaluation.judge.rubric import Criterion
from r2d.llm.answers import Answer, Tokens, read_answers
from r2d.rationales.parsing import LONGEST_TEXT, json_forms, without_reasoning

WhyMissing = Literal["refused", "no_answer", "no_json", "not_in_answer", "ambiguous", "no_number", "out_of_scale"]
"""Refused by the endpoint; out of retries; no JSON object in the answer; the criterion is not in it; two different
scores for it; its score is no whole number; the number is no anchor."""
Score: TypeAlias = int | WhyMissing

_WHOLE_NUMBER = re.compile(r"\s*-?[0-9]{1,9}\s*")


@dataclass(frozen=True, slots=True)
class Vote:
    """The scores of one answer: a number for each criterion that was asked, or why there is none. No text."""

    row_id: str
    vote: int
    order: tuple[str, ...]
    """Ids of the criteria, as they were asked."""
    scores: dict[str, Score]
    tokens: Tokens

    @property
    def answered(self) -> bool:
        return not any(score in ("refused", "no_answer") for score in self.scores.values())


def read_votes(questions: Questions, answers: Path) -> list[Vote]:
    """One vote for each question, in order; of several lines for one question the last counts.

    Raises:
        DataError: a line of the file is no answer.
    """
    place_of = {key: place for place, key in enumerate(questions.hashes())}
    votes = [_vote(question, "no_answer", Tokens()) for question in questions.all]
    for line in read_answers(answers) if answers.exists() else ():
        place = place_of.get(line.key)
        if place is not None:
            votes[place] = _vote_of(line, questions.all[place], questions.source.reasoning_tags)
    return votes


def scores_in(text: str, criteria: Sequence[Criterion], reasoning_tags: tuple[str, ...] = ()) -> dict[str, Score]:
    """The scores that an answer states: `{"id": {"score": 4}}`, or in short `{"id": 4}`, wherever it stands."""
    said = without_reasoning(text, reasoning_tags)[0][:LONGEST_TEXT]
    ids = [criterion.id for criterion in criteria]
    found = False
    stated: dict[str, list[Any]] = {}
    for objects, _ in json_forms(said):
        found = found or bool(objects)
        stated = {id_: list(_stated(objects, id_)) for id_ in ids}
        if any(stated.values()):
            break
    if not found:
        return dict.fromkeys(ids, "no_json")
    return {criterion.id: _score(stated[criterion.id], criterion) for criterion in criteria}


def _vote(question: Question, why: Literal["refused", "no_answer"], tokens: Tokens) -> Vote:
    order = tuple(criterion.id for criterion in question.criteria)
    return Vote(question.row.id, question.vote, order, dict.fromkeys(order, why), tokens)


def _vote_of(line: Answer, question: Question, reasoning_tags: tuple[str, ...]) -> Vote:
    if not line.is_answered:
        return _vote(question, "refused" if line.is_settled else "no_answer", line.tokens)
    content = line.values["response"]["body"]["choices"][0]["message"].get("content")
    scores = scores_in(content if isinstance(content, str) else "", question.criteria, reasoning_tags)
    order = tuple(criterion.id for criterion in question.criteria)
    return Vote(question.row.id, question.vote, order, scores, line.tokens)


def _stated(objects: Sequence[dict[str, Any]], criterion_id: str) -> Iterator[Any]:
    """What each object says of the criterion; keys match without regard to case."""
    for item in objects:
        for key, value in item.items():
            if key.strip().casefold() == criterion_id:
                yield value.get("score") if isinstance(value, dict) else value


def _score(stated: Sequence[Any], criterion: Criterion) -> Score:
    """The one anchor that was stated; a number written as a text counts, a fraction such as 4/5 does not."""
    if not stated:
        return "not_in_answer"
    numbers = [_number(value) for value in stated]
    if len(set(numbers)) > 1:
        return "ambiguous"
    number = numbers[0]
    if number is None:
        return "no_number"
    return int(number) if number in criterion.anchors else "out_of_scale"


def _number(value: Any) -> float | None:
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        return int(value)
    return None if isinstance(value, bool) or not isinstance(value, int | float) else value
