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

from r2d.config.rationales import EndpointSource
from tests.llm.server import RunningServer
from tests.llm.toy_run import generate, lines_of, notes, source_for, write_current_answers

NUM_EXAMPLES, CONCURRENCY = 50, 4


def start_run(source: EndpointSource, answers: Path) -> subprocess.Popen[str]:
    arguments = [str(NUM_EXAMPLES), source.model_dump_json(), str(answers)]
    return subprocess.Popen([sys.executable, "-m", "tests.llm.toy_run", *arguments], stderr=subprocess.PIPE, text=True)


def wait_for_lines(answers: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    while not answers.exists() or answers.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, "the run wrote nothing"
        time.sleep(0.002)


def written(answers: Path) -> set[str]:
    whole = (answers.read_bytes() if answers.exists() else b"").rpartition(b"\n")[0]
    return set(re.findall(r'"custom_id": "(e\d+)"', whole.decode()))


def test_killed_at_any_point_it_asks_nothing_again_that_was_written(server: RunningServer, tmp_path: Path) -> None:
    server.start(delay=(0.03, 0.1))
    source, answers = source_for(server, tmp_path, max_concurrency=CONCURRENCY), tmp_path / "answers.jsonl"
    repeats_allowed: Counter[str] = Counter()
    kills = 3
    for kill in range(kills):
        before = server.asked()
        run = start_run(source, answers)
        wait_for_lines(answers, len(written(answers)) + random.randint(1, 7))
        time.sleep(random.uniform(0.0, 0.05))
        run.kill()
        run.communicate()
        time.sleep(0.1)  # until the server has logged what was on its way
        done = written(answers)
        lost = set(server.asked() - before) - done
        assert len(lost) <= CONCURRENCY, f"kill {kill}: more was lost than was in flight"
        repeats_allowed.update(lost)
        answers.write_bytes(answers.read_bytes() + b'{"id": "r2d-half", "custom_id": "e0'[: random.randint(0, 30)])
    summary = generate(notes(NUM_EXAMPLES), source, answers)
    sent = sum(server.asked().values())
    assert sent <= summary.num_requests_ever <= sent + kills * CONCURRENCY, "the ledger misses no request"
    repeated = {example_id: count - 1 for example_id, count in server.asked().items() if count > 1}
    assert all(count <= repeats_allowed[example_id] for example_id, count in repeated.items())
    assert len(lines_of(answers)) == NUM_EXAMPLES, "one line for each example"
    assert write_current_answers(notes(NUM_EXAMPLES), source, answers, tmp_path / "clean.jsonl") == NUM_EXAMPLES


# SIGINT ends it with 130 where it came to life ignoring it, as the background jobs of a shell do.
@pytest.mark.parametrize(("number", "statuses"), [(signal.SIGTERM, {143}), (signal.SIGINT, {-signal.SIGINT, 130})])
def test_stopped_by_a_signal_it_repeats_nothing(
    server: RunningServer, tmp_path: Path, number: signal.Signals, statuses: set[int]
) -> None:
    server.start(delay=(0.05, 0.15))
    source, answers = source_for(server, tmp_path, max_concurrency=CONCURRENCY), tmp_path / "answers.jsonl"
    run = start_run(source, answers)
    wait_for_lines(answers, 6)
    run.send_signal(number)
    said = run.communicate(timeout=20)[1]
    assert run.returncode in statuses
    assert f"interrupted by {number.name}; " in said
    assert f"of {NUM_EXAMPLES} have an answer" in said
    assert "SECRET-NOTE" not in said
    assert set(server.asked()) == written(answers), "what was in flight was written"
    generate(notes(NUM_EXAMPLES), source, answers)
    assert server.asked() == Counter(f"e{place:03d}" for place in range(NUM_EXAMPLES))


def test_a_second_signal_does_not_wait(server: RunningServer, tmp_path: Path) -> None:
    server.start({f"e{place:03d}": ["slow"] for place in range(10, 50)})
    source, answers = source_for(server, tmp_path, max_concurrency=CONCURRENCY), tmp_path / "answers.jsonl"
    run = start_run(source, answers)
    wait_for_lines(answers, 10)
    time.sleep(0.2)
    run.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert run.poll() is None, "the first signal waits for what is in flight"
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=5)
    assert run.returncode == 143
    assert len(lines_of(answers)) == 10


def test_it_runs_in_a_thread_and_leaves_the_handlers_as_they_were(server: RunningServer, tmp_path: Path) -> None:
    server.start()
    source = source_for(server, tmp_path)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    thread = threading.Thread(target=generate, args=(notes(3), source, tmp_path / "thread.jsonl"))
    thread.start()
    thread.join()
    generate(notes(3), source, tmp_path / "main.jsonl")
    assert len(lines_of(tmp_path / "thread.jsonl")) == len(lines_of(tmp_path / "main.jsonl")) == 3
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
