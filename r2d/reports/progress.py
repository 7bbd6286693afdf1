"""How far long work is: a live bar on a terminal, or a plain log line every few seconds.

Lines go to `logging` and look like `batch inference: 1,024 of 50,000 rows, 310 rows/s, 2:38 left`. The bar is for
commands that a person runs: they call `show_live_bars()` first. In a ZenML step it stays off, because the step's log is
stored and shown in the dashboard.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Self, TypeVar

from r2d.reports.formatting import duration

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

logger = logging.getLogger(__name__)
T = TypeVar("T")

SECONDS_BETWEEN_LINES = 5.0

_live_bars = False


def show_live_bars() -> None:
    """Show a live bar in place of lines, where standard error is a terminal."""
    global _live_bars
    _live_bars = True


class Progress:
    """The progress of one piece of work; a context manager that takes the bar off the terminal at its end."""

    def __init__(
        self,
        name: str,
        total: int,
        *,
        unit: str = "rows",
        already_done: int = 0,
        seconds_between_lines: float = SECONDS_BETWEEN_LINES,
        last_line: bool = True,
    ) -> None:
        """`already_done` units of an earlier run do not count for speed and time left; with `last_line` the end has a
        line, due or not."""
        self.name, self.total, self.unit = name, total, unit
        self.already_done = already_done
        self.seconds_between_lines, self.last_line = seconds_between_lines, last_line
        self._started = self._last_line = time.monotonic()
        self._ended = False
        self._bar: Bar | None = None
        if _live_bars:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            console = Console(stderr=True)
            if console.is_terminal:
                columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
                detail = TextColumn("{task.fields[detail]}")
                self._bar = Bar(*columns, detail, console=console, transient=True)
                self._bar.add_task(name, total=total, completed=already_done, detail="")
                self._bar.start()

    def update(self, done: int, *, detail: str = "", left: str | None = None, always: bool = False) -> None:
        """Show that `done` units are done, those of an earlier run included; writes a line when one is due, or always.

        `detail` adds facts to the line, such as `loss 0.312`; `left` is the time left in words, where the caller knows
        better than the mean speed.
        """
        now = time.monotonic()
        ends = done >= self.total and not self._ended
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, detail=detail)
            if ends:
                self._bar.stop()
        is_due = self._bar is None and now - self._last_line >= self.seconds_between_lines
        if not (is_due or always or (ends and self.last_line)) or done <= self.already_done:
            return
        self._last_line, self._ended = now, ends
        speed = (done - self.already_done) / max(now - self._started, 1e-9)
        facts = [f"{done:,} of {self.total:,} {self.unit}", f"{speed:,.0f} {self.unit}/s", detail]
        facts.append(f"{duration((self.total - done) / speed) if left is None else left} left")
        logger.info("%s: %s", self.name, ", ".join(fact for fact in facts if fact))

    def after(self, done: int) -> Callable[[int, int], None]:
        """A callback (done, total) for the next share of the work, where `done` units are done before it."""
        return lambda further, _: self.update(done + further)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def track(items: Sequence[T], name: str, *, unit: str, seconds_between_lines: float = 15.0) -> Iterator[T]:
    """The items one by one, with their progress; short work shows none, for there is no line at the end."""
    progress = Progress(name, len(items), unit=unit, seconds_between_lines=seconds_between_lines, last_line=False)
    with progress:
        for number, item in enumerate(items):
            yield item
            progress.update(number + 1)
