"""Calls of many requests, decided together by one thread, and the model that decides, which may change meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from r2d.errors import R2DError
from r2d.inference.calls import Call
from r2d.inference.decide import Answer, Answerer

Result = TypeVar("Result")
SECONDS_REMEMBERED = 30.0
"""Over which the pace of the service is measured, for `Retry-After`."""


class QueueFullError(R2DError):
    """More calls wait than the service takes."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many calls wait; ask again later")
        self.retry_after = retry_after
        """Seconds until the queue has probably passed."""


@dataclass(frozen=True)
class ServedModel:
    """A model and the name of its version, as answers give it."""

    version: str
    answerer: Answerer


class VersionedAnswer(NamedTuple):
    """An answer and the version that gave it."""

    answer: Answer
    version: str


@dataclass
class _Waiting:
    call: Call
    future: asyncio.Future[VersionedAnswer]


@dataclass
class Batcher:
    """Decides calls in batches, in the order in which they came; to be used within one event loop."""

    model: ServedModel
    """May be replaced at any time: a batch is decided by the model that stands here when it begins."""
    max_batch: int
    wait_seconds: float
    max_queue: int
    on_batch: Callable[[int], object] = lambda num_calls: None
    """Receives the number of calls of each batch."""
    _waiting: list[_Waiting] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="model"))
    _worker: asyncio.Task[None] | None = None
    _num_streams: int = 0
    _paces: deque[tuple[float, int]] = field(default_factory=deque)
    """When each batch of late was finished, and its number of calls."""

    @property
    def num_waiting(self) -> int:
        return len(self._waiting) + self._num_streams

    def start(self) -> None:
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Answer what was taken, then end."""
        while self.num_waiting:
            await asyncio.sleep(0.01)
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown)

    async def answer(self, calls: Sequence[Call]) -> list[VersionedAnswer]:
        """One answer a call, in order. Where the caller is cancelled, its calls that still wait are not decided.

        Raises:
            QueueFullError: they would not all find room.
        """
        self.require_room(len(calls))
        loop = asyncio.get_running_loop()
        taken = [_Waiting(call, loop.create_future()) for call in calls]
        self._waiting += taken
        self._arrived.set()
        return list(await asyncio.gather(*(each.future for each in taken)))

    async def stream(
        self, call: Call, *, on_label: Callable[[VersionedAnswer], object], on_text: Callable[[str], object]
    ) -> VersionedAnswer:
        """The answer to one call, its label and the pieces of its rationale on the way, as `Answerer.stream`; the
        functions are called in the event loop.

        Raises:
            QueueFullError: there is no room.
        """
        self.require_room(1)
        loop = asyncio.get_running_loop()

        def run() -> VersionedAnswer:
            model = self.model
            answer = model.answerer.stream(
                call,
                on_label=lambda of: loop.call_soon_threadsafe(on_label, VersionedAnswer(of, model.version)),
                on_text=lambda piece: loop.call_soon_threadsafe(on_text, piece),
            )
            return VersionedAnswer(answer, model.version)

        self._num_streams += 1
        try:
            return await loop.run_in_executor(self._thread, run)
        finally:
            self._num_streams -= 1

    async def with_model(self, use: Callable[[ServedModel], Result]) -> Result:
        """What a function makes of the model, in the thread that decides."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, use, self.model)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if len(self._waiting) < self.max_batch:
                await asyncio.sleep(self.wait_seconds)
            # What the caller has given up is not decided.
            self._waiting = [each for each in self._waiting if not each.future.done()]
            batch = self._waiting[: self.max_batch]
            if batch:
                model = self.model
                try:
                    answers = await loop.run_in_executor(
                        self._thread, model.answerer.answer, [each.call for each in batch]
                    )
                    for each, answer in zip(batch, answers, strict=True):
                        if not each.future.done():
                            each.future.set_result(VersionedAnswer(answer, model.version))
                except Exception as error:
                    for each in batch:
                        if not each.future.done():
                            each.future.set_exception(error)
                self._paces.append((time.monotonic(), len(batch)))
                self._forget_paces()
                self.on_batch(len(batch))
                del self._waiting[: len(batch)]
            if not self._waiting:
                self._arrived.clear()

    def require_room(self, num_calls: int) -> None:
        """Raises a QueueFullError where so many more calls find no room."""
        if self.num_waiting + num_calls <= self.max_queue:
            return
        self._forget_paces()
        now = time.monotonic()
        decided = sum(num_calls for _, num_calls in self._paces)
        calls_per_second = decided / max(1.0, now - self._paces[0][0]) if decided else float("inf")
        raise QueueFullError(max(1, round(self.num_waiting / calls_per_second)))

    def _forget_paces(self) -> None:
        oldest = time.monotonic() - SECONDS_REMEMBERED
        while self._paces and self._paces[0][0] < oldest:
            self._paces.popleft()
