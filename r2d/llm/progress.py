"""How far a run of requests has come: a log line every few seconds. It never holds a word of a note or an answer."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from r2d.llm.answers import Answers, CostLedger

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 5.0


@dataclass(frozen=True, slots=True)
class RequestSummary:
    """Counts of a run of requests. They are of this run alone, but for those that say otherwise."""

    total: int
    """Requests to be answered."""
    num_reused: int
    """Of them, settled by earlier runs: not asked again."""
    num_answered: int
    """Of them, with an answer, of this run or an earlier one."""
    num_failed: int
    """Of them, refused by the endpoint for what they say (4xx), in this run or an earlier one: not asked again."""
    num_gave_up: int
    """Of them, out of retries in this run: the next run asks them again."""
    num_requests: int
    """Sent, retries included."""
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


class Progress:
    """Counts outcomes of requests and logs how far a run has come."""

    def __init__(self, name: str, total: int, answers: Answers, ledger: CostLedger) -> None:
        self.name, self.total, self.ledger, self.answers = name, total, ledger, answers
        self.reused_answers = self.reused_failures = 0
        self.answered = self.failed = self.gave_up = self.retries = 0
        self.first_request, self.first_cost = ledger.num_requests, ledger.cost()
        self.started_at = time.monotonic()

    def summary(self) -> RequestSummary:
        """The counts at this moment."""
        reused = self.reused_answers + self.reused_failures
        left = self.total - reused - self.answered - self.failed - self.gave_up
        cost = self.ledger.cost()
        return RequestSummary(
            total=self.total,
            num_reused=reused,
            num_answered=self.reused_answers + self.answered,
            num_failed=self.reused_failures + self.failed,
            num_gave_up=self.gave_up,
            num_requests=self.ledger.num_requests - self.first_request,
            num_retries=self.retries,
            num_requests_ever=self.ledger.num_requests,
            prompt_tokens_ever=self.answers.tokens.prompt,
            output_tokens_ever=self.answers.tokens.output,
            cost_ever=cost,
            expected_cost=cost + (cost - self.first_cost) / self.answered * left if self.answered else None,
            seconds=time.monotonic() - self.started_at,
        )

    def log(self) -> None:
        """Log one line: requests done, speed, tokens, cost, time left, failures."""
        now = self.summary()
        parts = [
            f"{now.num_done}/{now.total}",
            f"{now.num_requests / max(now.seconds, 1e-3):.1f} requests/s",
            f"{now.prompt_tokens_ever:,} + {now.output_tokens_ever:,} tokens",
        ]
        if now.cost_ever:
            expected = f" of about {now.expected_cost:,.2f}" if now.expected_cost is not None else ""
            parts.append(f"cost {now.cost_ever:,.2f}{expected}")
        done_now = now.num_done - now.num_reused
        if done_now and now.num_left:
            left = round(now.seconds / done_now * now.num_left)
            parts.append(f"about {left // 60}:{left % 60:02d} left")
        parts.append(f"{now.num_retries} retries, {now.num_failed + now.num_gave_up} failures")
        logger.info("%s: %s", self.name, ", ".join(parts))
