"""What a person sees while rationales are asked for: a line every few seconds. Never a word of a note or an answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from r2d.llm.answers import Answers
from r2d.llm.ledger import Ledger

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 5.0


@dataclass(frozen=True, slots=True)
class GenerationSummary:
    """How far the asking has come; figures of this run, but for those that say otherwise."""

    total: int
    """Examples in the source's splits."""
    num_reused: int
    """Of them, settled by earlier runs: not asked again."""
    num_answered: int
    """Of them, with an answer, of this run or an earlier one."""
    num_failed: int
    """Of them, refused by the endpoint for what they say (4xx), in this run or an earlier one: not asked again."""
    num_gave_up: int
    """Of them, out of retries in this run: the next run asks them again."""
    num_requests: int
    num_retries: int
    num_requests_ever: int
    """Over all runs that share the answers, retries included."""
    prompt_tokens_ever: int
    output_tokens_ever: int
    cost_ever: float
    """At the configured prices."""
    expected_cost: float | None
    """Of everything, once all are answered; None before the first answer of this run."""
    seconds: float

    @property
    def num_done(self) -> int:
        return self.num_answered + self.num_failed + self.num_gave_up

    @property
    def num_left(self) -> int:
        return self.total - self.num_done


OnProgress = Callable[[GenerationSummary], None]
"""Receives the figures every few seconds and at the end; for a tracker such as MLflow."""


class Progress:
    """Counts, and says every few seconds how far the asking has come."""

    def __init__(self, name: str, total: int, answers: Answers, ledger: Ledger, on_progress: OnProgress | None) -> None:
        self.name, self.total, self.ledger, self.answers = name, total, ledger, answers
        self.on_progress = on_progress
        self.reused_answers = self.reused_failures = 0
        self.answered = self.failed = self.gave_up = self.retries = 0
        self.first_request, self.first_cost = ledger.requests, ledger.cost()
        self.started_at = time.monotonic()

    def summary(self) -> GenerationSummary:
        """The figures of this moment."""
        reused = self.reused_answers + self.reused_failures
        done_now = self.answered + self.failed + self.gave_up
        left = self.total - reused - done_now
        cost = self.ledger.cost()
        expected = cost + (cost - self.first_cost) / self.answered * left if self.answered else None
        return GenerationSummary(
            total=self.total,
            num_reused=reused,
            num_answered=self.reused_answers + self.answered,
            num_failed=self.reused_failures + self.failed,
            num_gave_up=self.gave_up,
            num_requests=self.ledger.requests - self.first_request,
            num_retries=self.retries,
            num_requests_ever=self.ledger.requests,
            prompt_tokens_ever=self.answers.tokens.prompt,
            output_tokens_ever=self.answers.tokens.output,
            cost_ever=cost,
            expected_cost=expected,
            seconds=time.monotonic() - self.started_at,
        )

    def show(self) -> None:
        """Log one line, and hand the figures on."""
        now = self.summary()
        logger.info("%s: %s", self.name, _line(now, priced=bool(now.cost_ever)))
        if self.on_progress is not None:
            self.on_progress(now)


def _line(now: GenerationSummary, *, priced: bool) -> str:
    parts = [
        f"{now.num_done}/{now.total}",
        f"{now.num_requests / max(now.seconds, 1e-3):.1f} requests/s",
        f"{now.prompt_tokens_ever:,} + {now.output_tokens_ever:,} tokens",
    ]
    if priced:
        expected = f" of about {now.expected_cost:,.2f}" if now.expected_cost is not None else ""
        parts.append(f"cost {now.cost_ever:,.2f}{expected}")
    done_now = now.num_done - now.num_reused
    if done_now and now.num_left:
        left = round(now.seconds / done_now * now.num_left)
        parts.append(f"about {left // 60}:{left % 60:02d} left")
    parts.append(f"{now.num_retries} retries, {now.num_failed + now.num_gave_up} failures")
    return ", ".join(parts)
