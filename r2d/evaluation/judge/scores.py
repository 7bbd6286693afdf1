"""From the judge's answers to scores of each rationale and criterion, and to metrics over all of them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.bootstrap import bootstrap_intervals
from r2d.evaluation.judge.questions import JudgedRow, Question, Questions
from r2d.evaluation.judge.rubric import Criterion, Rubric
from r2d.evaluation.predictions import group_numbers
from r2d.label_scores import IntArray
from r2d.llm.answers import Answer, Tokens, read_answers
from r2d.rationales.json_answer import json_forms
from r2d.rationales.marks import without_reasoning
from r2d.rationales.parsing import LONGEST_TEXT

WhyMissing = Literal["refused", "no_answer", "no_json", "not_in_answer", "ambiguous", "no_number", "out_of_scale"]
"""Refused by the endpoint; out of retries; no JSON object in the answer; the criterion is not in it; two different
scores for it; its score is no whole number; the number is no anchor."""
Score: TypeAlias = int | WhyMissing

SCORES_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("criterion", pa.string(), nullable=False),
        pa.field("median", pa.float64()),
        pa.field("mean", pa.float64()),
        pa.field("num_votes", pa.int64(), nullable=False),
        pa.field("num_missing", pa.int64(), nullable=False),
        pa.field("votes", pa.list_(pa.int64()), nullable=False),
        pa.field("why_missing", pa.list_(pa.string()), nullable=False),
    ]
)
"""One row for each rationale and criterion, without text. `votes` holds the scores in order, null where one is missing;
`median` and `mean` are null without a score; `why_missing` names each reason once."""


@dataclass(frozen=True, slots=True)
class Vote:
    """The scores of one answer, without text."""

    row_id: str
    scores: Mapping[str, Score]
    """Id of each criterion, in the order in which they were asked -> its score, or why there is none."""
    tokens: Tokens

    @property
    def is_answered(self) -> bool:
        return not any(score in ("refused", "no_answer") for score in self.scores.values())


def read_votes(questions: Questions, answers: Path) -> list[Vote]:
    """One vote for each question, in order; of several lines for one question the last counts."""
    places = {key: place for place, key in enumerate(questions.hashes())}
    votes = [_vote(question, None, ()) for question in questions.all]
    for answer in read_answers(answers):
        place = places.get(answer.key)
        if place is not None:
            votes[place] = _vote(questions.all[place], answer, questions.source.reasoning_tags)
    return votes


def _vote(question: Question, answer: Answer | None, reasoning_tags: tuple[str, ...]) -> Vote:
    tokens = Tokens() if answer is None else answer.tokens
    if answer is None or not answer.is_answered:
        why: WhyMissing = "refused" if answer is not None and answer.is_settled else "no_answer"
        return Vote(question.row.id, {criterion.id: why for criterion in question.criteria}, tokens)
    content = answer.values["response"]["body"]["choices"][0]["message"].get("content")
    text = content if isinstance(content, str) else ""
    return Vote(question.row.id, parse_scores(text, question.criteria, reasoning_tags), tokens)


def parse_scores(text: str, criteria: Sequence[Criterion], reasoning_tags: tuple[str, ...] = ()) -> dict[str, Score]:
    """The scores that an answer states: `{"id": {"score": 4}}`, or in short `{"id": 4}`, wherever it stands. Keys match
    without regard to case; a whole number written as a text counts."""
    text = without_reasoning(text, reasoning_tags)[0][:LONGEST_TEXT]
    has_object = False
    stated: dict[str, set[float | None]] = {criterion.id: set() for criterion in criteria}
    for objects, _ in json_forms(text):
        has_object = has_object or bool(objects)
        for key, value in ((key.strip().casefold(), value) for item in objects for key, value in item.items()):
            if key in stated:
                value = value.get("score") if isinstance(value, dict) else value
                if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,9}\s*", value):
                    value = int(value)
                stated[key].add(value if isinstance(value, int | float) and not isinstance(value, bool) else None)
        if any(stated.values()):
            break
    scores: dict[str, Score] = {}
    for criterion in criteria:
        numbers = list(stated[criterion.id])
        if not numbers:
            scores[criterion.id] = "not_in_answer" if has_object else "no_json"
        elif len(numbers) > 1:
            scores[criterion.id] = "ambiguous"
        elif numbers[0] is None:
            scores[criterion.id] = "no_number"
        else:
            scores[criterion.id] = int(numbers[0]) if numbers[0] in criterion.anchors else "out_of_scale"
    return scores


@dataclass(frozen=True, slots=True)
class RowScores:
    """The scores that all votes gave to one rationale by one criterion."""

    row: JudgedRow
    criterion: Criterion
    scores: tuple[Score, ...]
    """One for each vote; empty where nothing was asked."""
    why_not_asked: str | None = None
    places: tuple[int, ...] = ()
    """Of the criterion among those of each vote, from 0."""

    @property
    def numbers(self) -> list[int]:
        return [score for score in self.scores if isinstance(score, int)]

    @property
    def median(self) -> float | None:
        return float(median(self.numbers)) if self.numbers else None

    @property
    def mean(self) -> float | None:
        return fmean(self.numbers) if self.numbers else None

    @property
    def missing(self) -> list[WhyMissing]:
        return [score for score in self.scores if not isinstance(score, int)]


def row_scores(
    rows: Sequence[JudgedRow], not_sent: Mapping[str, str], rubric: Rubric, votes: Sequence[Vote]
) -> list[RowScores]:
    """The scores of every row and criterion, in order.

    Args:
        not_sent: row id -> why it was not sent.
    """
    given: dict[tuple[str, str], list[tuple[int, Score]]] = defaultdict(list)
    for vote in votes:
        for place, (name, score) in enumerate(vote.scores.items()):
            given[vote.row_id, name].append((place, score))
    return [
        RowScores(
            row,
            criterion,
            tuple(score for _, score in scores),
            None if scores else not_sent.get(row.id, "no_reference"),
            tuple(place for place, _ in scores),
        )
        for row in rows
        for criterion in rubric.criteria
        for scores in [given[row.id, criterion.id]]
    ]


def scores_table(scored: Sequence[RowScores]) -> pa.Table:
    """Table of `SCORES_SCHEMA`."""
    rows = [
        {
            "id": item.row.id,
            "criterion": item.criterion.id,
            "median": item.median,
            "mean": item.mean,
            "num_votes": len(item.numbers),
            "num_missing": len(item.missing),
            "votes": [score if isinstance(score, int) else None for score in item.scores],
            "why_missing": sorted({*item.missing, *filter(None, [item.why_not_asked])}),
        }
        for item in scored
    ]
    return pa.Table.from_pylist(rows, schema=SCORES_SCHEMA)


def parse_rate(scored: Sequence[RowScores]) -> dict[str, Any]:
    """How many scores of the answers could be read: num_answered, num_read, and rate, None without an answer."""
    num_read = sum(len(item.numbers) for item in scored)
    num_answered = sum(score not in ("refused", "no_answer") for item in scored for score in item.scores)
    return {
        "num_answered": num_answered, "num_read": num_read, "rate": num_read / num_answered if num_answered else None,
    }  # fmt: skip


def vote_agreement(scored: Sequence[RowScores]) -> dict[str, Any]:
    """How far the votes on one rationale differ, which is what the order of the criteria does: num_rows with two votes
    or more; shares of them, all_equal and within_one, and mean_range (highest minus lowest vote), None without a row.
    """
    ranges = [max(item.numbers) - min(item.numbers) for item in scored if len(item.numbers) > 1]
    return {
        "num_rows": len(ranges),
        "all_equal": fmean(width == 0 for width in ranges) if ranges else None,
        "within_one": fmean(width <= 1 for width in ranges) if ranges else None,
        "mean_range": fmean(ranges) if ranges else None,
    }


def criterion_metrics(scored: Sequence[RowScores], rubric: Rubric, config: IntervalsConfig) -> list[dict[str, Any]]:
    """The scores of all rationales by each criterion, as JSON values; all intervals are from the same draws of groups.

    `mean` (over rows, of their mean over votes) and `passing` (the share of rows whose median is at least
    `passes_from`) are None without a row.
    """
    groups = group_of_rows([item.row for item in scored])
    metrics = []
    for criterion in rubric.criteria:
        of_criterion = [item for item in scored if item.criterion.id == criterion.id]
        with_score = [item for item in of_criterion if item.numbers]
        numbers = [number for item in of_criterion for number in item.numbers]
        sums = np.zeros((int(groups.max()) + 1, 3))  # of means, of rows that pass, of rows
        for group, item in zip(groups, scored, strict=True):
            if item.criterion.id == criterion.id and item.mean is not None and item.median is not None:
                sums[group] += (item.mean, item.median >= criterion.passes_from, 1)
        with np.errstate(invalid="ignore"):  # draws without a score
            estimates = bootstrap_intervals(
                sums,
                lambda sums: {"mean": sums[..., 0] / sums[..., 2], "passing": sums[..., 1] / sums[..., 2]},
                config,
                {"passing": int((sums[:, 2] > 0).sum())},
            )
        metrics.append(
            {
                "id": criterion.id,
                "question": criterion.question.strip(),
                "sees": criterion.sees,
                "low": min(criterion.anchors),
                "high": max(criterion.anchors),
                "passes_from": criterion.passes_from,
                "num_rows": len(with_score),
                "num_rows_without": len(of_criterion) - len(with_score),
                # Reason -> rows, and reason -> votes
                "not_asked": dict(Counter(item.why_not_asked for item in of_criterion if item.why_not_asked)),
                "missing": dict(Counter(reason for item in of_criterion for reason in item.missing)),
                # Those with a score, and score -> votes
                "num_votes": len(numbers),
                "votes": {str(score): numbers.count(score) for score in criterion.anchors},
                "parse": parse_rate(of_criterion),
                "vote_agreement": vote_agreement(with_score),
                "mean": asdict(estimates["mean"]) if with_score else None,
                "passing": asdict(estimates["passing"]) if with_score else None,
            }
        )
    return metrics


def group_of_rows(rows: Sequence[JudgedRow]) -> IntArray:
    """[rows]: the patient or caller of each row, numbered from 0."""
    return group_numbers([row.id for row in rows], [row.group for row in rows])
