"""A run that is killed, stopped or interrupted goes on where it was; the server's log proves it."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.llm.server import RunningServer
from tests.llm.toy_run import ToyRun

NUM_EXAMPLES, CONCURRENCY = 50, 4


def start_process(toy: ToyRun) -> subprocess.Popen[str]:
    arguments = [str(NUM_EXAMPLES), toy.source().model_dump_json(), str(toy.answers)]
    return subprocess.Popen([sys.executable, "-m", "tests.llm.toy_run", *arguments], stderr=subprocess.PIPE, text=True)


def wait_for_lines(answers: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while not answers.exists() or answers.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, "the run wrote nothing"
        time.sleep(0.002)


def written_ids(answers: Path) -> set[str]:
    whole = (answers.read_bytes() if answers.exists() else b"").rpartition(b"\n")[0]
    return set(re.findall(r'"custom_id": "(e\d+)"', whole.decode()))


def test_killed_at_any_point_it_asks_nothing_again_that_was_written(server: RunningServer, toy: ToyRun) -> None:
    server.start(delay=(0.03, 0.1))
    repeats_allowed: Counter[str] = Counter()
    num_kills = 3
    for kill in range(num_kills):
        before = server.asked()
        process = start_process(toy)
        wait_for_lines(toy.answers, len(written_ids(toy.answers)) + random.randint(1, 7))
        time.sleep(random.uniform(0.0, 0.05))
        process.kill()
        process.communicate()
        time.sleep(0.1)  # until the server has logged what was on its way
        lost = set(server.asked() - before) - written_ids(toy.answers)
        assert len(lost) <= CONCURRENCY, f"kill {kill}: more was lost than was in flight"
        repeats_allowed.update(lost)
        half_line = b'{"id": "r2d-half", "custom_id": "e0'[: random.randint(0, 30)]
        toy.answers.write_bytes(toy.answers.read_bytes() + half_line)
    toy.run(NUM_EXAMPLES)
    num_sent = sum(server.asked().values())
    assert num_sent <= toy.num_counted() <= num_sent + num_kills * CONCURRENCY, "the ledger misses no request"
    repeated = {example_id: count - 1 for example_id, count in server.asked().items() if count > 1}
    assert all(count <= repeats_allowed[example_id] for example_id, count in repeated.items())
    assert len(toy.lines()) == len(toy.current(NUM_EXAMPLES)) == NUM_EXAMPLES, "one line for each example"


# SIGINT ends it with 130 where it came to life ignoring it, as the background jobs of a shell do.
@pytest.mark.parametrize(("number", "statuses"), [(signal.SIGTERM, {143}), (signal.SIGINT, {-signal.SIGINT, 130})])
def test_stopped_by_a_signal_it_repeats_nothing(
    server: RunningServer, toy: ToyRun, number: signal.Signals, statuses: set[int]
) -> None:
    server.start(delay=(0.05, 0.15))
    process = start_process(toy)
    wait_for_lines(toy.answers, 6)
    process.send_signal(number)
    log = process.communicate(timeout=20)[1]
    assert process.returncode in statuses
    assert f"interrupted by {number.name}; " in log
    assert f"of {NUM_EXAMPLES} have an answer" in log
    assert "SECRET-NOTE" not in log
    assert set(server.asked()) == written_ids(toy.answers), "what was in flight was written"
    toy.run(NUM_EXAMPLES)
    assert server.asked() == Counter(f"e{place:03d}" for place in range(NUM_EXAMPLES))


def test_a_second_signal_does_not_wait(server: RunningServer, toy: ToyRun) -> None:
    server.start({f"e{place:03d}": ["slow"] for place in range(10, 50)})
    process = start_process(toy)
    wait_for_lines(toy.answers, 10)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None, "the first signal waits for what is in flight"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=5)
    assert process.returncode == 143
    assert len(toy.lines()) == 10


def test_it_runs_in_a_thread_and_leaves_the_handlers_as_they_were(server: RunningServer, toy: ToyRun) -> None:
    server.start()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    thread = threading.Thread(target=toy.run, args=(3,))
    thread.start()
    thread.join()
    assert len(toy.lines()) == 3
    assert toy.run(6).num_answered == 6
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
