"""Asks the requests of a run, a bounded number at a time, and writes each answer as soon as it is there."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from r2d.config.endpoint import EndpointConfig
from r2d.errors import GenerationError
from r2d.llm.answers import Answers, Tokens
from r2d.llm.endpoint import Endpoint, Reply, TransientFault
from r2d.llm.ledger import Ledger
from r2d.llm.progress import SECONDS_BETWEEN_LINES, Progress
from r2d.llm.stopping import DRAIN_SECONDS, Interrupted, Stop, Stopped
from r2d.rationales.generation.requests import Request, RequestList

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""The pause before a retry is drawn from 0 to a bound that doubles from the first to the longest."""
ACCOUNT_STATUSES = frozenset({401, 402, 407})
"""They say nothing about the request: every other one would fail alike."""
ADDRESS_STATUSES = frozenset({403, 404, 405})
"""So do these before the first answer; later they are taken to be about the request, such as a moderation's 403."""


class Asking:
    """The workers of one run, and what they share."""

    def __init__(
        self,
        requests: RequestList,
        endpoint: Endpoint,
        answers: Answers,
        ledger: Ledger,
        progress: Progress,
        stop: Stop,
    ) -> None:
        self.requests, self.endpoint, self.answers = requests, endpoint, answers
        self.ledger, self.progress, self.stop = ledger, progress, stop
        self.source: EndpointConfig = requests.source
        self.open_at = 0.0
        """No request leaves before: a server that says Retry-After says it to all workers."""
        self.gave_up_in_a_row = 0

    async def ask(self, places: Sequence[int]) -> None:
        """Ask the requests at these places; return once all are settled, or a stop was asked for and obeyed."""
        queue = iter(places)
        num_workers = min(self.source.max_concurrency, len(places))
        workers = [asyncio.create_task(self._work(queue)) for _ in range(num_workers)]
        lines = asyncio.create_task(self._show_progress())
        stopped = asyncio.create_task(self.stop.event.wait())
        try:
            working = asyncio.gather(*workers)
            either: set[asyncio.Future[Any]] = {working, stopped}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self.stop.asked and not working.done():
                await self._drain(working)
            else:
                working.result()
        finally:
            for task in (*workers, lines, stopped):
                task.cancel()
            await asyncio.gather(*workers, lines, stopped, return_exceptions=True)

    async def _drain(self, working: asyncio.Future[Any]) -> None:
        seconds = self.source.timeout_seconds + 1.0  # what is in flight is paid for, and ends by then
        if isinstance(self.stop.reason, Interrupted):
            seconds = min(seconds, DRAIN_SECONDS)
        logger.warning("stopping: waiting at most %.0f s for what is in flight", seconds)
        hurry = asyncio.create_task(self.stop.hurry.wait())
        either: set[asyncio.Future[Any]] = {working, hurry}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()

    async def _show_progress(self) -> None:
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_LINES)
            self.progress.show()

    async def _work(self, queue: Iterator[int]) -> None:
        for place in queue:
            try:
                await self._settle(self.requests[place])
            except Stopped:
                return
            except Exception as error:  # whatever one worker cannot go on from stops them all, and is raised at the end
                self.stop.ask(error)
            if self.stop.asked:
                return

    async def _settle(self, request: Request) -> None:
        """Ask until there is an answer, a refusal, or no retry left; write which."""
        number = 0
        try:
            async for attempt in AsyncRetrying(
                stop=stop_after_attempt(self.source.max_retries + 1),
                wait=wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS),
                retry=retry_if_exception_type(TransientFault),
                sleep=self.stop.pause,
                reraise=True,
            ):
                with attempt:
                    number = attempt.retry_state.attempt_number
                    reply = await self._send(request, retry=number > 1)
        except TransientFault as fault:
            self._give_up(request, fault, number)
            return
        self._write(request, reply, number)

    async def _send(self, request: Request, *, retry: bool) -> Reply:
        while (seconds := self.open_at - time.monotonic()) > 0:
            await self.stop.pause(seconds * random.uniform(1.0, 1.1))
        if self.stop.asked:
            raise Stopped
        self.ledger.take()
        self.progress.retries += retry
        try:
            return await self.endpoint.post(request.body)
        except TransientFault as fault:
            self.open_at = max(self.open_at, time.monotonic() + fault.retry_after_seconds)
            raise

    def _write(self, request: Request, reply: Reply, attempts: int) -> None:
        response = {"status_code": reply.status, "request_id": reply.request_id, "body": reply.body}
        if reply.body is not None:
            self.gave_up_in_a_row = 0
            self._append(request, response, None, attempts, _tokens_of(request, reply.body))
            self.progress.answered += 1
            return
        self._check_is_about_request(reply)
        error = {"code": reply.code, "message": "refused; not asked again"}
        self._append(request, response, error, attempts, Tokens(), final=True)
        self.progress.failed += 1

    def _give_up(self, request: Request, fault: TransientFault, attempts: int) -> None:
        response = {"status_code": fault.status, "request_id": None, "body": None} if fault.status else None
        error = {"code": fault.code, "message": "out of retries; the next run asks again"}
        self._append(request, response, error, attempts, Tokens())
        self.progress.gave_up += 1
        self.gave_up_in_a_row += 1
        if self.gave_up_in_a_row >= max(10, 2 * self.source.max_concurrency):
            raise GenerationError(
                f"base_url: {self.endpoint.host} fails: {self.gave_up_in_a_row} requests in a row ran out of retries, "
                f"the last with {fault.code}. Look at the server, then run again: it goes on where it stopped"
            )

    def _check_is_about_request(self, reply: Reply) -> None:
        answered = bool(self.progress.answered or self.progress.reused_answers)
        about_all = reply.status < 400 or reply.status in ACCOUNT_STATUSES
        if about_all or (reply.status in ADDRESS_STATUSES and not answered):
            raise GenerationError(
                f"base_url: {self.endpoint.host} answered {reply.status} ({reply.code}), as it would to every request. "
                f"Check base_url, model {self.source.model!r} and api_key_env {self.source.api_key_env or '(none)'}, "
                "then run again: it goes on where it stopped"
            )

    def _append(
        self, request: Request, response: Any, error: Any, attempts: int, tokens: Tokens, *, final: bool = False
    ) -> None:
        line = {
            "id": f"r2d-{uuid.uuid4().hex}",
            "custom_id": request.custom_id,
            "response": response,
            "error": error,
            "prompt_hash": self.requests.prompt_hash,
            "request_hash": request.hash(),
            "attempts": attempts,
            "final": final or error is None,
            "tokens": {"prompt": tokens.prompt, "output": tokens.output},
        }
        self.answers.append(self.endpoint.without_key(json.dumps(line)))


def _tokens_of(request: Request, body: dict[str, Any]) -> Tokens:
    """As the server counts them; one that does not is taken to have read and written a token every four characters."""
    usage = body.get("usage")
    counts = [usage.get(key) if isinstance(usage, dict) else None for key in ("prompt_tokens", "completion_tokens")]
    texts = [json.dumps(request.body["messages"]), json.dumps(body["choices"])]
    prompt, output = (
        count if isinstance(count, int) and count >= 0 else len(text) // 4
        for count, text in zip(counts, texts, strict=True)
    )
    return Tokens(prompt, output)
