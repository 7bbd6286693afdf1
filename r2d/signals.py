"""SIGINT and SIGTERM, as Ctrl-C and as Kubernetes send them: work saves what it has, then ends as it would have."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def signals_caught(on_signal: Callable[[int], object], *, once: bool = False) -> Iterator[None]:
    """Call `on_signal` with the number of each SIGINT and SIGTERM; the earlier handlers come back afterwards.

    Only the main thread gets signals: in another, nothing is caught.

    Args:
        once: the earlier handlers come back with the first signal, so that a second ends the work at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        if once:
            put_back()
        on_signal(number)

    def put_back() -> None:
        for number, handler in earlier.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    earlier: dict[int, Any] = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        put_back()


def leave(number: int) -> NoReturn:
    """End as the signal would have: by the handler that stood before, else by leaving the process.

    Raises:
        SystemExit: with 128 plus the signal's number, unless the handler raises something else.
    """
    if callable(signal.getsignal(number)):
        signal.raise_signal(number)
    raise SystemExit(128 + number)
