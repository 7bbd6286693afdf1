"""Progress is a line every few seconds with count, speed and time left, or a bar on a terminal; never both."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from r2d.reports import progress
from r2d.reports.progress import Progress, show_live_bars, track

Advance = Callable[[float], None]
Log = pytest.LogCaptureFixture


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Advance:
    """Moves the clock on by so many seconds."""
    passed = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: sum(passed))
    return passed.append


@pytest.fixture
def log(caplog: Log) -> Log:
    caplog.set_level(logging.INFO, logger="r2d.reports.progress")
    return caplog


def test_a_line_is_written_when_it_is_due_and_at_the_end(advance: Advance, log: Log) -> None:
    with Progress("inference", 2000) as shown:
        for done in range(100, 2001, 100):
            advance(1.0)
            shown.update(done)
        shown.update(2000)
    assert log.messages[0] == "inference: 500 of 2,000 rows, 100 rows/s, 0:15 left"
    assert log.messages[-1] == "inference: 2,000 of 2,000 rows, 100 rows/s, 0:00 left"
    assert len(log.messages) == 4


def test_work_of_an_earlier_run_counts_for_no_speed(advance: Advance, log: Log) -> None:
    shown = Progress("inference", 1000, already_done=900)
    advance(10.0)
    shown.update(900)
    shown.update(950)
    assert log.messages == ["inference: 950 of 1,000 rows, 5 rows/s, 0:10 left"]


def test_a_line_can_be_asked_for_with_more_facts_and_a_time_left_of_the_callers(advance: Advance, log: Log) -> None:
    shown = Progress("stage 2", 100, unit="steps")
    advance(2.0)
    shown.update(10, detail="loss 0.312", left="at most 1:00 and 2 evaluations", always=True)
    shown.after(10)(10, 90)
    assert log.messages == ["stage 2: 10 of 100 steps, 5 steps/s, loss 0.312, at most 1:00 and 2 evaluations left"]


def test_tracked_items_come_through_and_only_long_work_is_told(advance: Advance, log: Log) -> None:
    assert list(track("abc", "short", unit="letters")) == ["a", "b", "c"]
    assert log.messages == []
    for _ in track("abc", "validation", unit="batches"):
        advance(10.0)
    assert log.messages == ["validation: 2 of 3 batches, 0 batches/s, 0:10 left"]


@pytest.mark.parametrize(("asked", "terminal"), [(True, True), (True, False), (False, True)])
def test_a_bar_that_was_asked_for_is_shown_on_a_terminal_and_its_log_has_only_the_last_line(
    asked: bool,
    terminal: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    advance: Advance,
    log: Log,
) -> None:
    monkeypatch.setattr(progress, "_live_bars", False)
    monkeypatch.setenv("TTY_COMPATIBLE", str(int(terminal)))
    if asked:
        show_live_bars()
    with Progress("inference", 300) as shown:
        for done in (100, 200, 300):
            advance(6.0)
            shown.update(done)
    assert log.messages[-1] == "inference: 300 of 300 rows, 17 rows/s, 0:00 left"
    assert len(log.messages) == (1 if asked and terminal else 3)
    assert ("inference" in capsys.readouterr().err) is (asked and terminal)
