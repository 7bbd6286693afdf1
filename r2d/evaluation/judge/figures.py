"""Scores of each row and criterion, and the figures over all rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import numpy as np
import pyarrow as pa

from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.decided_rows import FloatArray, IntArray, group_numbers
from r2d.evaluation.judge.rows import JudgedRow
from r2d.evaluation.judge.rubric import Criterion, Rubric
from r2d.evaluation.judge.votes import Score, Vote
from r2d.evaluation.statistics import intervals

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
class RowScores:
    """What all votes gave to one rationale, by one criterion."""

    row: JudgedRow
    criterion: Criterion
    scores: tuple[Score, ...]
    """One for each vote; empty where nothing was asked."""
    why_not_asked: str | None = None

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
    def missing(self) -> list[str]:
        return [score for score in self.scores if isinstance(score, str)]


def row_scores(
    rows: Sequence[JudgedRow], not_sent: Mapping[str, str], rubric: Rubric, votes: Sequence[Vote]
) -> list[RowScores]:
    """Every row beside every criterion, in order."""
    given: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for vote in votes:
        for name, score in vote.scores.items():
            given[vote.row_id, name].append(score)
    return [
        RowScores(
            row,
            criterion,
            tuple(given[row.id, criterion.id]),
            None if given[row.id, criterion.id] else not_sent.get(row.id, "no_reference"),
        )
        for row in rows
        for criterion in rubric.criteria
    ]


def scores_table(scored: Sequence[RowScores]) -> pa.Table:
    """Table of `SCORES_SCHEMA`."""
    return pa.Table.from_pylist(
        [
            {
                "id": one.row.id,
                "criterion": one.criterion.id,
                "median": one.median,
                "mean": one.mean,
                "num_votes": len(one.numbers),
                "num_missing": len(one.missing),
                "votes": [score if isinstance(score, int) else None for score in one.scores],
                "why_missing": sorted({*one.missing, *([one.why_not_asked] if one.why_not_asked else [])}),
            }
            for one in scored
        ],
        schema=SCORES_SCHEMA,
    )


def judge_figures(scored: Sequence[RowScores], rubric: Rubric, config: IntervalsConfig) -> list[dict[str, Any]]:
    """The figures of each criterion.

    Returns:
        id, question, sees, low, high, passes_from, num_rows (with a score), num_rows_without,
        not_asked: reason -> rows, missing: reason -> votes, num_votes (with a score), votes: score -> votes,
        mean (over rows, of their mean over votes) and passing (share of rows whose median is at least `passes_from`):
        value, low, high, method; None without a row,
        parse: see `parse_rate`, vote_agreement: see `vote_agreement`.
    """
    over_rows = _over_rows(scored, rubric, config)
    return [
        _of_criterion(criterion, [one for one in scored if one.criterion.id == criterion.id]) | over_rows[criterion.id]
        for criterion in rubric.criteria
    ]


def _of_criterion(criterion: Criterion, own: Sequence[RowScores]) -> dict[str, Any]:
    with_score = [one for one in own if one.numbers]
    numbers = [number for one in own for number in one.numbers]
    missing = Counter(reason for one in own for reason in one.missing)
    return {
        "id": criterion.id,
        "question": criterion.question.strip(),
        "sees": list(criterion.sees),
        "low": criterion.low,
        "high": criterion.high,
        "passes_from": criterion.passes_from,
        "num_rows": len(with_score),
        "num_rows_without": len(own) - len(with_score),
        "not_asked": dict(Counter(one.why_not_asked for one in own if one.why_not_asked)),
        "missing": dict(missing),
        "num_votes": len(numbers),
        "votes": {str(score): numbers.count(score) for score in criterion.anchors},
        "parse": parse_rate(own),
        "vote_agreement": vote_agreement(with_score),
    }


def parse_rate(scored: Sequence[RowScores]) -> dict[str, Any]:
    """Of the scores that came answers should hold, how many could be read: num_answered, num_read, rate (or None)."""
    read = sum(len(one.numbers) for one in scored)
    unanswered = sum(reason in ("refused", "no_answer") for one in scored for reason in one.missing)
    answered = sum(len(one.scores) for one in scored) - unanswered
    return {"num_answered": answered, "num_read": read, "rate": read / answered if answered else None}


def vote_agreement(with_score: Sequence[RowScores]) -> dict[str, Any]:
    """How far the votes on one rationale differ, which is what the order of the criteria does to them.

    Returns:
        num_rows (with two votes or more), all_equal and within_one (shares of them), mean_range (highest minus lowest
        vote, over rows); None without such a row.
    """
    ranges = [max(one.numbers) - min(one.numbers) for one in with_score if len(one.numbers) > 1]
    return {
        "num_rows": len(ranges),
        "all_equal": fmean(width == 0 for width in ranges) if ranges else None,
        "within_one": fmean(width <= 1 for width in ranges) if ranges else None,
        "mean_range": fmean(ranges) if ranges else None,
    }


def groups_of(rows: Sequence[JudgedRow]) -> IntArray:
    """[rows]: the patient or caller of each row, numbered from 0."""
    return group_numbers([row.id for row in rows], [row.group for row in rows])


def _over_rows(
    scored: Sequence[RowScores], rubric: Rubric, config: IntervalsConfig
) -> dict[str, dict[str, dict[str, Any] | None]]:
    """Criterion -> `mean` and `passing`, all on the same draws of groups."""
    groups = groups_of([one.row for one in scored])
    place = {criterion.id: index for index, criterion in enumerate(rubric.criteria)}
    sums = np.zeros((int(groups.max()) + 1, len(place), 3))
    for group, one in zip(groups, scored, strict=True):
        if one.mean is not None and one.median is not None:
            sums[group, place[one.criterion.id]] += (one.mean, one.median >= one.criterion.passes_from, 1)

    def figures(some: FloatArray) -> dict[str, FloatArray]:
        of = some.reshape(*some.shape[:-1], len(place), 3)
        return {
            f"{name}/{id_}": of[..., index, column] / of[..., index, 2]
            for id_, index in place.items()
            for column, name in enumerate(("mean", "passing"))
        }

    num_groups = {id_: int((sums[:, index, 2] > 0).sum()) for id_, index in place.items()}
    trials = {f"passing/{id_}": number for id_, number in num_groups.items()}
    with np.errstate(invalid="ignore"):  # a criterion without a score, or a single group left out
        found = intervals(sums.reshape(len(sums), -1), figures, config, trials)
    return {
        id_: {name: found[f"{name}/{id_}"] if num_groups[id_] else None for name in ("mean", "passing")}
        for id_ in place
    }
