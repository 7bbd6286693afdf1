"""Runs requests against an endpoint: a bounded number at a time, with retries, budgets and a clean stop on signals."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import signal
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from r2d.errors import GenerationError
from r2d.llm.answers import Answers, BudgetSpent
from r2d.llm.endpoint import MAX_RETRY_AFTER_SECONDS, Endpoint, Reply, TransientFault
from r2d.llm.requests import Request, RequestList, request_hash
from r2d.reports.progress import Progress
from r2d.signals import leave, signals_caught

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""The pause before a retry is drawn from 0 to a bound that doubles from the first to the longest."""
DRAIN_SECONDS = 20.0
"""How long requests in flight are waited for on a signal; below the 30 seconds that Kubernetes grants a pod."""
SECONDS_BETWEEN_LINES = 5.0  # of the progress in the log
ACCOUNT_STATUSES = frozenset({401, 402, 407})  # they say nothing about the request: every other one would fail alike
ADDRESS_STATUSES = frozenset({403, 404, 405})
"""So do these before the first answer; later they are taken to be about the request, such as a moderation's 403."""


class Interrupted(Exception):  # noqa: N818 -- a signal, not a fault
    """SIGINT or SIGTERM arrived."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Stopped(Exception):  # noqa: N818 -- it unwinds a request that waits for its next try
    """A stop was asked for while a request waited."""


@dataclass
class RunCounts:
    """How far a run of requests has come."""

    total: int
    num_reused: int = 0  # settled by earlier runs: not asked again
    num_answered: int = 0  # with an answer, of this run or an earlier one
    num_failed: int = 0
    """Refused by the endpoint for what they say (4xx), in this run or an earlier one: not asked again."""
    num_gave_up: int = 0  # out of retries in this run: the next run asks them again
    num_sent: int = 0  # of this run, retries included
    num_retries: int = 0

    @property
    def num_done(self) -> int:
        return self.num_answered + self.num_failed + self.num_gave_up

    @property
    def num_left(self) -> int:
        return self.total - self.num_done


def run_requests(requests: RequestList, answers: Path) -> RunCounts:
    """Send every request that `answers` does not settle yet; each answer is appended at once.

    A request is known by its id and the hash of its body: an edited prompt, model or note asks anew, and going back to
    an earlier one costs nothing. Killed at any point, a run loses at most the requests in flight.

    Args:
        answers: JSON Lines; a lock (`.lock`) and the count of requests (`.ledger.json`) are kept beside it.

    Raises:
        ConfigError: prompt file, address or key are faulty; nothing was sent.
        DataError: a request cannot be made, or the answers file is faulty; nothing was sent.
        GenerationError: another process writes this file, a budget is spent, or the endpoint fails.
        KeyboardInterrupt, SystemExit: SIGINT or SIGTERM, once the requests in flight are answered.
    """
    stop_reason = None
    with Answers(answers, requests.source) as file:
        settled = [file.settled.get(key) for key in requests.hashes()]  # makes every prompt: a faulty one shows unpaid
        missing = [place for place, is_answered in enumerate(settled) if is_answered is None]
        counts = RunCounts(
            len(settled), len(settled) - len(missing), num_answered=settled.count(True), num_failed=settled.count(False)
        )
        if counts.num_reused:
            logger.info("%s: %d of %d are settled already", answers, counts.num_reused, counts.total)
        if missing:
            stop_reason = asyncio.run(RequestRunner(requests, file, counts).run(missing))
    if stop_reason is not None:
        reached = f"{counts.num_answered} of {counts.total} have an answer in {answers}, {counts.num_left} are left"
        if isinstance(stop_reason, BudgetSpent):
            raise GenerationError(
                f"{stop_reason.key}: the budget of {stop_reason.limit:,} is spent ({stop_reason.spent:,} over all "
                f"runs); {reached}. Raise {stop_reason.key} and run again: it goes on where it stopped"
            )
        if isinstance(stop_reason, Interrupted):
            logger.warning("interrupted by %s; %s. Run again: it goes on where it stopped", stop_reason, reached)
            leave(stop_reason.number)
        raise stop_reason
    if counts.num_failed or counts.num_gave_up:
        logger.warning(
            "%s: %d requests were refused and %d ran out of retries; running again asks the latter again",
            answers, counts.num_failed, counts.num_gave_up,
        )  # fmt: skip
    return counts


class RequestRunner:
    """The workers of one run, and what they share."""

    def __init__(self, requests: RequestList, answers: Answers, counts: RunCounts) -> None:
        self.requests, self.answers, self.counts = requests, answers, counts
        self.source = requests.source
        self.endpoint = Endpoint(self.source)
        self.progress = Progress(
            self.source.model,
            counts.total,
            unit="requests",
            already_done=counts.num_done,
            seconds_between_lines=SECONDS_BETWEEN_LINES,
        )
        self.workers: list[asyncio.Task[None]] = []
        self.stopping = asyncio.Event()
        """Set by a stop: no more is sent."""
        self.stop_reason: Exception | None = None
        self.open_at = 0.0
        """No request is sent before this time: a server's Retry-After holds for all workers."""
        self.gave_up_in_a_row = 0
        self.first_cost, self.first_answered = answers.tokens.cost(self.source), counts.num_answered

    async def run(self, places: Sequence[int]) -> Exception | None:
        """Ask the requests at these places; return why the run ended early, or None."""
        queue = iter(places)
        loop = asyncio.get_running_loop()

        def stop_on_signal(number: int) -> None:
            loop.call_soon_threadsafe(self.stop, Interrupted(number))

        with self.progress, signals_caught(stop_on_signal):
            async with self.endpoint:
                num_workers = min(self.source.max_concurrency, len(places))
                self.workers = [asyncio.create_task(self._work(queue)) for _ in range(num_workers)]
                await asyncio.wait(self.workers)
            self._show_progress(always=self.counts.num_left > 0)
        return self.stop_reason

    def stop(self, reason: Exception) -> None:
        """Send nothing more, and wait a while for requests in flight, but not on a second signal.

        The first reason counts.
        """
        if not self.stopping.is_set():
            self.stop_reason = reason
            self.stopping.set()
            seconds = self.source.timeout_seconds + 1.0  # requests in flight are paid for, and end by then
            if isinstance(reason, Interrupted):
                seconds = min(seconds, DRAIN_SECONDS)
            logger.warning("stopping: waiting at most %.0f s for requests in flight", seconds)
            asyncio.get_running_loop().call_later(seconds, self._give_up)
        elif isinstance(reason, Interrupted):
            self._give_up()

    def _give_up(self) -> None:
        for worker in self.workers:
            worker.cancel()

    async def _work(self, queue: Iterator[int]) -> None:
        try:
            for place in queue:
                await self._settle(self.requests[place])
                self._show_progress()
                if self.stopping.is_set():
                    return
        except Stopped:
            return
        except Exception as error:  # whatever one worker cannot go on from stops them all, and is raised at the end
            self.stop(error)

    async def _settle(self, request: Request) -> None:
        """Send a request until it is answered, refused or out of retries; write which."""
        num_attempts = 0
        try:
            async for attempt in AsyncRetrying(
                stop=stop_after_attempt(self.source.max_retries + 1),
                wait=wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS),
                retry=retry_if_exception_type(TransientFault),
                sleep=self._pause,
                reraise=True,
            ):
                with attempt:
                    num_attempts = attempt.retry_state.attempt_number
                    while (seconds := self.open_at - time.monotonic()) > 0:
                        await self._pause(seconds * random.uniform(1.0, 1.1))
                    if self.stopping.is_set():
                        raise Stopped
                    self.answers.count_request()
                    self.counts.num_sent += 1
                    self.counts.num_retries += num_attempts > 1
                    try:
                        reply = await self.endpoint.post(request.body)
                    except TransientFault as fault:
                        self._hold_back(fault)
                        raise
        except TransientFault as fault:
            self._append(request, Reply(fault.status or 0, None, None, fault.code), num_attempts, is_final=False)
            self.counts.num_gave_up += 1
            self.gave_up_in_a_row += 1
            if self.gave_up_in_a_row >= max(10, 2 * self.source.max_concurrency):
                raise GenerationError(
                    f"base_url: {self.endpoint.host} fails: {self.gave_up_in_a_row} requests in a row ran out of "
                    f"retries, the last with {fault.code}. Look at the server, then run again: it goes on where it "
                    "stopped"
                ) from None
            return
        if reply.body is not None:
            self._append(request, reply, num_attempts)
            self.counts.num_answered += 1
            self.gave_up_in_a_row = 0
            return
        is_about_address = reply.status in ADDRESS_STATUSES and not self.counts.num_answered
        if reply.status < 400 or reply.status in ACCOUNT_STATUSES or is_about_address:
            raise GenerationError(
                f"base_url: {self.endpoint.host} answered {reply.status} ({reply.code}), as it would to every request. "
                f"Check base_url, model {self.source.model!r} and api_key_env {self.source.api_key_env or '(none)'}, "
                "then run again: it goes on where it stopped"
            )
        self._append(request, reply, num_attempts)
        self.counts.num_failed += 1

    def _hold_back(self, fault: TransientFault) -> None:
        """Let all workers wait as long as the server asks for, and say so where a person would wonder."""
        open_at = time.monotonic() + fault.retry_after_seconds
        if fault.retry_after_seconds >= SECONDS_BETWEEN_LINES and open_at > self.open_at + SECONDS_BETWEEN_LINES:
            logger.warning(
                "%s answers %s and asks to wait: nothing is sent for %.0f s (never more than %.0f s)",
                self.endpoint.host, fault.code, fault.retry_after_seconds, MAX_RETRY_AFTER_SECONDS,
            )  # fmt: skip
        self.open_at = max(self.open_at, open_at)

    async def _pause(self, seconds: float) -> None:
        """Sleep; raises `Stopped` as soon as a stop is asked for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        if self.stopping.is_set():
            raise Stopped

    def _append(self, request: Request, reply: Reply, num_attempts: int, *, is_final: bool = True) -> None:
        tokens, error = {"prompt": 0, "output": 0}, None
        if reply.body is None:
            message = "refused; not asked again" if is_final else "out of retries; the next run asks again"
            error = {"code": reply.code, "message": message}
        else:
            usage = reply.body.get("usage")
            usage = usage if isinstance(usage, dict) else {}
            tokens = {
                "prompt": _token_count(usage.get("prompt_tokens"), request.body["messages"]),
                "output": _token_count(usage.get("completion_tokens"), reply.body["choices"]),
            }
        response = {"status_code": reply.status, "request_id": reply.request_id, "body": reply.body}
        line = {
            "id": f"r2d-{uuid.uuid4().hex}",
            "custom_id": request.custom_id,
            "response": response if reply.status else None,
            "error": error,
            "prompt_hash": self.requests.prompt_hash,
            "request_hash": request_hash(request.body),
            "attempts": num_attempts,
            "final": is_final,
            "tokens": tokens,
        }
        self.answers.append(self.endpoint.without_key(json.dumps(line)))

    def _show_progress(self, *, always: bool = False) -> None:
        tokens = self.answers.tokens
        cost = tokens.cost(self.source)
        facts = [f"{tokens.prompt:,} + {tokens.output:,} tokens"]
        if cost:
            num_answered = self.counts.num_answered - self.first_answered
            expected = cost + (cost - self.first_cost) / num_answered * self.counts.num_left if num_answered else None
            facts.append(f"cost {cost:,.2f}" + (f" of about {expected:,.2f}" if expected is not None else ""))
        num_failures = self.counts.num_failed + self.counts.num_gave_up
        facts.append(f"{self.counts.num_retries} retries, {num_failures} failures")
        self.progress.update(self.counts.num_done, detail=", ".join(facts), always=always)


def _token_count(counted: Any, content: Any) -> int:
    """Tokens as the server counted them; where it did not, one for every four characters."""
    return counted if isinstance(counted, int) and counted >= 0 else len(json.dumps(content)) // 4
