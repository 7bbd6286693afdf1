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
from pathlib import Path
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from r2d.errors import GenerationError
from r2d.llm.answers import Answers, BudgetSpent, CostLedger, Tokens
from r2d.llm.endpoint import Endpoint, Reply, TransientFault
from r2d.llm.progress import SECONDS_BETWEEN_LINES, Progress, RequestSummary
from r2d.llm.requests import Request, RequestList
from r2d.signals import leave, signals_caught

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""The pause before a retry is drawn from 0 to a bound that doubles from the first to the longest."""
DRAIN_SECONDS = 20.0
"""How long requests in flight are waited for on a signal; below the 30 seconds that Kubernetes grants a pod."""
ACCOUNT_STATUSES = frozenset({401, 402, 407})
"""They say nothing about the request: every other one would fail alike."""
ADDRESS_STATUSES = frozenset({403, 404, 405})
"""So do these before the first answer; later they are taken to be about the request, such as a moderation's 403."""


class Interrupted(Exception):  # noqa: N818 -- a signal, not a fault
    """SIGINT or SIGTERM arrived."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Stopped(Exception):  # noqa: N818 -- it unwinds a request that waits for its next try
    """A stop was asked for while a request waited."""


def run_requests(requests: RequestList, answers: Path) -> RequestSummary:
    """Send every request that `answers` does not settle yet; each answer is appended at once.

    A request is known by its id and the hash of its body: an edited prompt, model or note asks anew, and going back to
    an earlier one costs nothing. Killed at any point, a run loses at most the requests in flight.

    Args:
        answers: JSON Lines; beside it stand a lock and the count of requests, `.lock` and `.ledger.json`.

    Raises:
        ConfigError: prompt file, address or key are faulty; nothing was sent.
        DataError: a request cannot be made, or the answers file is faulty; nothing was sent.
        GenerationError: another process writes this file, a budget is spent, or the endpoint fails.
        KeyboardInterrupt, SystemExit: SIGINT or SIGTERM, once the requests in flight are answered.
    """
    with Answers(answers) as file:
        ledger = CostLedger(file, requests.source)
        progress = Progress(requests.source.model, len(requests), file, ledger)
        missing = []
        for place, key in enumerate(requests.hashes()):  # makes every prompt, so that a faulty one shows unpaid
            is_answered = file.settled.get(key)
            if is_answered is None:
                missing.append(place)
            elif is_answered:
                progress.reused_answers += 1
            else:
                progress.reused_failures += 1
        if len(missing) < len(requests):
            logger.info("%s: %d of %d are settled already", answers, len(requests) - len(missing), len(requests))
        stop_reason = asyncio.run(RequestRunner(requests, file, ledger, progress).run(missing)) if missing else None
        progress.log()
        summary = progress.summary()
    if stop_reason is not None:
        reached = f"{summary.num_answered} of {summary.total} have an answer in {answers}, {summary.num_left} are left"
        if isinstance(stop_reason, BudgetSpent):
            raise GenerationError(
                f"{stop_reason.key}: the budget of {stop_reason.limit:,} is spent ({stop_reason.spent:,} over all "
                f"runs); {reached}. Raise {stop_reason.key} and run again: it goes on where it stopped"
            )
        if isinstance(stop_reason, Interrupted):
            logger.warning("interrupted by %s; %s. Run again: it goes on where it stopped", stop_reason, reached)
            leave(stop_reason.number)
        raise stop_reason
    if summary.num_failed or summary.num_gave_up:
        logger.warning(
            "%s: %d requests were refused and %d ran out of retries; running again asks the latter again",
            answers, summary.num_failed, summary.num_gave_up,
        )  # fmt: skip
    return summary


class RequestRunner:
    """The workers of one run, and what they share."""

    def __init__(self, requests: RequestList, answers: Answers, ledger: CostLedger, progress: Progress) -> None:
        self.requests, self.answers, self.ledger, self.progress = requests, answers, ledger, progress
        self.source = requests.source
        self.endpoint = Endpoint(requests.source)
        self.stopping, self.hurry = asyncio.Event(), asyncio.Event()
        """Set by a stop: no more is sent; set by a second signal: requests in flight are given up."""
        self.stop_reason: Exception | None = None
        self.open_at = 0.0
        """No request is sent before this time: a server's Retry-After holds for all workers."""
        self.gave_up_in_a_row = 0

    async def run(self, places: Sequence[int]) -> Exception | None:
        """Ask the requests at these places; return why the run ended early, or None."""
        queue = iter(places)
        loop = asyncio.get_running_loop()

        def stop_on_signal(number: int) -> None:
            loop.call_soon_threadsafe(self.stop, Interrupted(number))

        async with self.endpoint:
            with signals_caught(stop_on_signal):
                num_workers = min(self.source.max_concurrency, len(places))
                workers = [asyncio.create_task(self._work(queue)) for _ in range(num_workers)]
                others = [asyncio.create_task(self._log_progress()), asyncio.create_task(self.stopping.wait())]
                try:
                    working = asyncio.gather(*workers)
                    either: set[asyncio.Future[Any]] = {working, others[-1]}
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                    if self.stopping.is_set() and not working.done():
                        await self._drain(working)
                    else:
                        working.result()
                finally:
                    for task in (*workers, *others):
                        task.cancel()
                    await asyncio.gather(*workers, *others, return_exceptions=True)
        return self.stop_reason

    def stop(self, reason: Exception) -> None:
        """Send nothing more; the first reason counts."""
        if not self.stopping.is_set():
            self.stop_reason = reason
            self.stopping.set()
        elif isinstance(reason, Interrupted):
            self.hurry.set()

    async def _drain(self, working: asyncio.Future[Any]) -> None:
        """Wait for the requests in flight, which are paid for."""
        seconds = self.source.timeout_seconds + 1.0  # they end by then
        if isinstance(self.stop_reason, Interrupted):
            seconds = min(seconds, DRAIN_SECONDS)
        logger.warning("stopping: waiting at most %.0f s for requests in flight", seconds)
        hurry = asyncio.create_task(self.hurry.wait())
        either: set[asyncio.Future[Any]] = {working, hurry}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()

    async def _log_progress(self) -> None:
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_LINES)
            self.progress.log()

    async def _work(self, queue: Iterator[int]) -> None:
        for place in queue:
            try:
                await self._settle(self.requests[place])
            except Stopped:
                return
            except Exception as error:  # whatever one worker cannot go on from stops them all, and is raised at the end
                self.stop(error)
            if self.stopping.is_set():
                return

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
                    reply = await self._send(request, is_retry=num_attempts > 1)
        except TransientFault as fault:
            self._append(request, Reply(fault.status or 0, None, None, fault.code), num_attempts, is_final=False)
            self.progress.gave_up += 1
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
            self.progress.answered += 1
            self.gave_up_in_a_row = 0
            return
        has_answers = bool(self.progress.answered or self.progress.reused_answers)
        if (
            reply.status < 400
            or reply.status in ACCOUNT_STATUSES
            or (reply.status in ADDRESS_STATUSES and not has_answers)
        ):
            raise GenerationError(
                f"base_url: {self.endpoint.host} answered {reply.status} ({reply.code}), as it would to every request. "
                f"Check base_url, model {self.source.model!r} and api_key_env {self.source.api_key_env or '(none)'}, "
                "then run again: it goes on where it stopped"
            )
        self._append(request, reply, num_attempts)
        self.progress.failed += 1

    async def _send(self, request: Request, *, is_retry: bool) -> Reply:
        while (seconds := self.open_at - time.monotonic()) > 0:
            await self._pause(seconds * random.uniform(1.0, 1.1))
        if self.stopping.is_set():
            raise Stopped
        self.ledger.take()
        self.progress.retries += is_retry
        try:
            return await self.endpoint.post(request.body)
        except TransientFault as fault:
            self.open_at = max(self.open_at, time.monotonic() + fault.retry_after_seconds)
            raise

    async def _pause(self, seconds: float) -> None:
        """Sleep; raises `Stopped` as soon as a stop is asked for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        if self.stopping.is_set():
            raise Stopped

    def _append(self, request: Request, reply: Reply, num_attempts: int, *, is_final: bool = True) -> None:
        tokens, error = Tokens(), None
        if reply.body is not None:
            tokens = _count_tokens(request, reply.body)
        else:
            message = "refused; not asked again" if is_final else "out of retries; the next run asks again"
            error = {"code": reply.code, "message": message}
        response = {"status_code": reply.status, "request_id": reply.request_id, "body": reply.body}
        line = {
            "id": f"r2d-{uuid.uuid4().hex}",
            "custom_id": request.custom_id,
            "response": response if reply.status else None,
            "error": error,
            "prompt_hash": self.requests.prompt_hash,
            "request_hash": request.hash(),
            "attempts": num_attempts,
            "final": is_final,
            "tokens": {"prompt": tokens.prompt, "output": tokens.output},
        }
        self.answers.append(self.endpoint.without_key(json.dumps(line)))


def _count_tokens(request: Request, body: dict[str, Any]) -> Tokens:
    """Tokens as the server counts them; where it does not, one for every four characters."""
    usage = body.get("usage")
    counts = [usage.get(key) if isinstance(usage, dict) else None for key in ("prompt_tokens", "completion_tokens")]
    texts = [json.dumps(request.body["messages"]), json.dumps(body["choices"])]
    prompt, output = (
        count if isinstance(count, int) and count >= 0 else len(text) // 4
        for count, text in zip(counts, texts, strict=True)
    )
    return Tokens(prompt, output)
