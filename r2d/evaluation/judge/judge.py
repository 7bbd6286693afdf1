"""Asks a language model to score rationales by a rubric, and says what came of it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from r2d.config.evaluation import IntervalsConfig, JudgeConfig
from r2d.config.validation import PrivacyConfig
from r2d.errors import DataError, GenerationError
from r2d.evaluation.judge.figures import SCORES_SCHEMA, judge_figures, parse_rate, row_scores, scores_table
from r2d.evaluation.judge.human import human_agreement, read_human_scores
from r2d.evaluation.judge.questions import Questions
from r2d.evaluation.judge.rows import JudgedRow, chosen_rows, shielded_rows
from r2d.evaluation.judge.rubric import Rubric
from r2d.evaluation.judge.votes import Vote, read_votes
from r2d.llm.answers import Tokens
from r2d.llm.runner import run_requests

ANSWERS_NAME = "judge_answers.jsonl"
NO_ENDPOINT = "no judge is configured"


@dataclass(frozen=True)
class Judgement:
    """Scores of rationales, or why there are none."""

    scores: pa.Table
    """Table of `SCORES_SCHEMA`."""
    facts: dict[str, Any]

    def as_facts(self) -> dict[str, Any]:
        """The figures as JSON values, without NaN and without text of a row; equal answers give equal facts."""
        return copy.deepcopy(self.facts)


def not_judged(reason: str = NO_ENDPOINT) -> Judgement:
    """What stands in a report where no endpoint was asked."""
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

    An answer belongs to the row's id and the hash of the whole request: model, rubric, note, decision, rationale and
    order. What stands in `work_dir` is not asked again, so a run that was killed goes on where it was, and a second one
    with the same rows asks for nothing. Scores that cannot be read are missing; they are counted, never guessed.

    Args:
        privacy: the policy of the examples; by default identifying text is replaced before it is sent.

    Raises:
        ConfigError: the address or the key is faulty; nothing was sent.
        DataError: there is no row, an id occurs twice, or a file of answers or of human scores is faulty.
        GenerationError: a budget is spent, another process writes the answers, or the endpoint fails or refuses every
            request. What was answered is kept.
    """
    if not rows:
        raise DataError("no rationale to judge: give at least one row")
    human = None if config.human_scores is None else read_human_scores(Path(config.human_scores), rubric)
    chosen = chosen_rows(rows, config.max_rows)
    sent, not_sent = shielded_rows(chosen, privacy)
    questions = Questions(sent, rubric, config)
    answers = work_dir / ANSWERS_NAME
    run_requests(questions, answers)
    votes = read_votes(questions, answers)
    _require_an_answer(votes, config, answers)
    scored = row_scores(chosen, not_sent, rubric, votes)
    facts = {
        "status": "judged",
        "reason": None,
        **_asked(config, rubric),
        "num_rows": len(rows),
        "num_chosen": len(chosen),
        "not_sent": dict(Counter(not_sent.values())),
        "requests": _requests(votes, config),
        "parse": parse_rate(scored),
        "confidence": interval.confidence,
        "criteria": judge_figures(scored, rubric, interval),
        "human_agreement": None if human is None else human_agreement(human, scored, rubric, interval),
    }
    return Judgement(scores_table(scored), facts)


def _require_an_answer(votes: Sequence[Vote], config: JudgeConfig, answers: Path) -> None:
    """An endpoint that answers nothing at all has judged nothing; a report without figures would hide that."""
    if not votes or any(vote.answered for vote in votes):
        return
    refused = sum("refused" in vote.scores.values() for vote in votes)
    raise GenerationError(
        f"base_url: none of {len(votes)} requests has an answer, {refused} were refused ({answers} holds the codes). "
        f"Check the context length of {config.model!r} and what it takes: response_format {config.response_format!r} "
        "and temperature can be null, max_tokens_field can be max_completion_tokens. Then run again"
    )


def _asked(config: JudgeConfig, rubric: Rubric) -> dict[str, Any]:
    return {
        "model": config.model,
        "temperature": config.temperature,
        "seed": config.seed,
        "votes": config.votes,
        "rubric": {"name": rubric.name, "hash": rubric.hash},
    }


def _requests(votes: Sequence[Vote], config: JudgeConfig) -> dict[str, Any]:
    """Of the questions that these figures rest on, whichever run asked them; failed tries cost nothing here."""
    states = Counter(next(iter(vote.scores.values())) if not vote.answered else "answered" for vote in votes)
    tokens = sum((vote.tokens for vote in votes), Tokens())
    prices = (config.input_price_per_million, config.output_price_per_million)
    return {
        "num": len(votes),
        "num_answered": states["answered"],
        "num_refused": states["refused"],
        "num_without_answer": states["no_answer"],
        "num_read_whole": sum(all(isinstance(score, int) for score in vote.scores.values()) for vote in votes),
        "prompt_tokens": tokens.prompt,
        "output_tokens": tokens.output,
        "cost": (tokens.prompt * prices[0] + tokens.output * prices[1]) / 1e6 if any(prices) else None,
    }
