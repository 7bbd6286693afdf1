"""How a run of requests ends early: what is in flight is waited for, nothing new is sent."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from r2d.signals import signals_caught

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 20.0
"""How long what is in flight is waited for on a signal; below the 30 seconds that Kubernetes grants a pod."""


class Stopped(Exception):  # noqa: N818 -- no error: it unwinds a request that waits for its next try
    """A stop was asked for while a request waited."""


class Interrupted(Exception):  # noqa: N818 -- a signal, not a fault
    """SIGINT or SIGTERM arrived."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Stop:
    """Tells every worker to send no more; the first reason stands."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.hurry = asyncio.Event()
        """Set by a second signal: what is in flight is given up."""
        self.reason: Exception | None = None

    @property
    def asked(self) -> bool:
        return self.event.is_set()

    def ask(self, reason: Exception) -> None:
        """Stop, for this reason."""
        if self.asked and isinstance(reason, Interrupted):
            self.hurry.set()
        if not self.asked:
            self.reason = reason
            self.event.set()

    async def pause(self, seconds: float) -> None:
        """Sleep, unless a stop is or was asked for.

        Raises:
            Stopped: it is to be gone on with in another run.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.event.wait()
        if self.asked:
            raise Stopped


@contextmanager
def stopped_by_signals(stop: Stop) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a stop."""
    loop = asyncio.get_running_loop()
    with signals_caught(lambda number: loop.call_soon_threadsafe(stop.ask, Interrupted(number))):
        yield
