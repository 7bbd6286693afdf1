"""Asks a language model to score rationales by a rubric, and sums up its scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from r2d.config.evaluation import IntervalsConfig, JudgeConfig
from r2d.config.privacy import PrivacyConfig
from r2d.errors import GenerationError
from r2d.evaluation.judge.agreement import HumanScore, human_agreement, read_human_scores, score_controls
from r2d.evaluation.judge.questions import JudgedRow, Questions, deidentify_rows, sample_rows
from r2d.evaluation.judge.rubric import Rubric
from r2d.evaluation.judge.scores import (
    SCORES_SCHEMA,
    criterion_metrics,
    parse_rate,
    read_votes,
    row_scores,
    scores_table,
)
from r2d.llm.answers import Tokens
from r2d.llm.runner import run_requests

ANSWERS_NAME = "judge_answers.jsonl"


@dataclass(frozen=True)
class Judgement:
    """Scores of rationales, or why there are none."""

    scores: pa.Table
    """Table of `SCORES_SCHEMA`."""
    metrics: Mapping[str, Any]
    """JSON values without text of a row, key `judge` of metrics.json: `status` (`judged` or `not judged`), `reason`
    (why nothing was judged), and where rationales were judged what `judge_rationales` sums up."""


def not_judged(reason: str = "no judge is configured") -> Judgement:
    """The judgement where no endpoint was asked."""
    return Judgement(SCORES_SCHEMA.empty_table(), {"status": "not judged", "reason": reason})


def judge_rationales(
    rows: Sequence[JudgedRow],
    rubric: Rubric,
    config: JudgeConfig,
    work_dir: Path,
    *,
    privacy: PrivacyConfig = PrivacyConfig(),
    interval: IntervalsConfig = IntervalsConfig(),
) -> Judgement:
    """Score each rationale by each criterion, `votes` times, each time with the criteria in another order.

    An answer belongs to the row's id and the hash of the whole request; what `work_dir` holds is not asked again.

    Args:
        privacy: the policy of the examples.

    Raises:
        ConfigError: the address or the key is faulty; nothing was sent.
        DataError: an id occurs twice, or a file of answers or of human scores is faulty.
        GenerationError: a budget is spent, another process writes the answers, or the endpoint fails or refuses every
            request. What was answered is kept.
    """
    human = None if config.human_scores is None else read_human_scores(Path(config.human_scores), rubric)
    sample = sample_rows(rows, config.max_rows)
    sent, not_sent = deidentify_rows(sample, privacy)
    questions = Questions(sent, rubric, config)
    answers = work_dir / ANSWERS_NAME
    run_requests(questions, answers)
    votes = read_votes(questions, answers)
    outcomes = Counter("answered" if vote.is_answered else next(iter(vote.scores.values())) for vote in votes)
    if votes and not outcomes["answered"]:  # a report without scores would hide that
        raise GenerationError(
            f"base_url: none of {len(votes)} requests has an answer, {outcomes['refused']} were refused ({answers} "
            f"holds the codes). Check the context length of {config.model!r} and what it takes: response_format "
            f"{config.response_format!r} and temperature can be null, max_tokens_field can be max_completion_tokens. "
            "Then run again"
        )
    tokens = sum((vote.tokens for vote in votes), Tokens())
    has_prices = bool(config.input_price_per_million or config.output_price_per_million)
    scored = row_scores(sample, not_sent, rubric, votes)
    metrics = {
        "status": "judged",
        "reason": None,
        "model": config.model,
        "temperature": config.temperature,
        "seed": config.seed,
        "votes": config.votes,
        "rubric": {"name": rubric.name, "hash": rubric.hash},
        "num_rows": len(rows),
        "num_chosen": len(sample),
        "not_sent": dict(Counter(not_sent.values())),
        # What the scores rest on, whichever run asked; failed tries cost nothing here, and there may be no prices.
        "requests": {
            "num": len(votes),
            "num_answered": outcomes["answered"],
            "num_refused": outcomes["refused"],
            "num_without_answer": outcomes["no_answer"],
            "num_read_whole": sum(all(isinstance(score, int) for score in vote.scores.values()) for vote in votes),
            "prompt_tokens": tokens.prompt,
            "output_tokens": tokens.output,
            "cost": tokens.cost(config) if has_prices else None,
        },
        "parse": parse_rate(scored),
        "confidence": interval.confidence,
        "criteria": criterion_metrics(scored, rubric, interval),
        "controls": score_controls(scored, rubric, interval),
        "human_agreement": None if human is None else human_agreement(human, scored, rubric, interval),
        "second_judge": None,
    }
    if (second := config.second_judge()) is not None:
        judged = judge_rationales(rows, rubric, second, work_dir, privacy=privacy, interval=interval)
        metrics["second_judge"] = {
            "model": second.model,
            "requests": judged.metrics["requests"],
            "agreement": human_agreement(
                _as_scores(judged.scores, second.model), scored, rubric, interval, others="the second judge"
            ),
        }
    return Judgement(scores_table(scored), metrics)


def _as_scores(table: pa.Table, rater: str) -> list[HumanScore]:
    """The median over the votes of a judge, as one score of a rater: votes of one judge are not several raters."""
    return [
        HumanScore(row["id"], row["criterion"], row["median"], rater)
        for row in table.to_pylist()
        if row["median"] is not None
    ]
