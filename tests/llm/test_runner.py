"""Asking a server on this machine: every request is answered once, whatever the server does."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest

from r2d.errors import DataError, GenerationError
from r2d.llm.answers import Answers
from r2d.llm.endpoint import retry_after_seconds
from tests.llm.server import RunningServer
from tests.llm.toy_run import PROMPT, ToyRun

pytestmark = pytest.mark.usefixtures("short_pauses")


def test_every_request_has_one_current_answer_in_its_order(
    server: RunningServer, toy: ToyRun, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.start(delay=(0.0, 0.05))
    counts = toy.run(30)
    assert (counts.total, counts.num_answered, counts.num_left, counts.num_sent) == (30, 30, 0, 30)
    done = [int(number) for number in re.findall(r"toy: (\d+) of 30 requests, ", caplog.text)]
    assert len(done) >= 2
    assert done == sorted(done)
    assert done[-1] == 30
    lines = toy.current(30)
    assert [line["custom_id"] for line in lines] == [f"e{number:03d}" for number in range(30)]
    assert len({line["id"] for line in lines}) == 30
    for line in lines:
        assert line["response"]["status_code"] == 200
        assert line["response"]["request_id"] == "req-1"
        assert line["response"]["body"]["choices"][0]["message"]["content"].endswith("self care.")
        assert (line["error"], line["tokens"]) == (None, {"prompt": 100, "output": 20})
        assert len(line["prompt_hash"]) == len(line["request_hash"]) == 64


@pytest.mark.parametrize("bound", [1, 3])
def test_never_more_in_flight_than_allowed(server: RunningServer, toy: ToyRun, bound: int) -> None:
    server.start(delay=(0.01, 0.03))
    toy.run(20, max_concurrency=bound)
    assert max(request["in_flight"] for request in server.requests()) == bound


def test_what_may_pass_is_tried_again(server: RunningServer, toy: ToyRun) -> None:
    faults = ("408", "409", "429", "500", "503", "half", "bad json", "no completion")
    server.start({f"e{number:03d}": [fault, fault] for number, fault in enumerate(faults)})
    counts = toy.run(9, max_concurrency=1)
    assert (counts.num_answered, counts.num_retries) == (9, 16)
    assert [line["attempts"] for line in toy.lines()] == [3] * 8 + [1]
    assert [server.asked()[line["custom_id"]] for line in toy.lines()] == [3] * 8 + [1]


def test_a_silent_server_runs_into_the_timeout(server: RunningServer, toy: ToyRun) -> None:
    server.start({"e001": ["slow"]})
    assert toy.run(2, timeout_seconds=0.5).num_retries == 1


def test_retry_after_holds_all_workers_back(server: RunningServer, toy: ToyRun) -> None:
    server.start({"e000": ["429"]}, delay=(0.05, 0.1))
    toy.run(12, max_concurrency=2)
    pauses = [later["at"] - earlier["at"] for earlier, later in pairwise(server.requests())]
    assert max(pauses) > 0.4, "half a second was asked for"
    assert server.asked()["e000"] == 2


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, 0), ("2", 2), ("0.5", 0.5), ("-3", 0), ("86400", 120), ("nan", 0), ("soon", 0), ("inf", 120)],
)
def test_retry_after_is_bounded(value: str | None, seconds: float) -> None:
    assert retry_after_seconds(value) == seconds


def test_retry_after_may_be_a_date() -> None:
    assert 20 < retry_after_seconds(formatdate(time.time() + 30, usegmt=True)) <= 30
    assert retry_after_seconds("Sun, 06 Nov 1994 08:49:37 GMT") == 0


def test_a_refusal_is_final_and_holds_no_text(server: RunningServer, toy: ToyRun) -> None:
    server.start({"e001": ["400"] * 9, "e002": ["422"] * 9})
    assert toy.run(4).num_failed == 2
    again = toy.run(4)
    assert (again.num_answered, again.num_failed, again.num_sent) == (2, 2, 0)
    assert (server.asked()["e001"], server.asked()["e002"]) == (1, 1)
    refused = {line["custom_id"]: line for line in toy.lines() if line["error"]}
    assert refused["e001"]["response"] == {"status_code": 400, "request_id": "req-1", "body": None}
    assert refused["e001"]["error"]["code"] == "context_length_exceeded"
    assert refused["e002"]["error"]["code"] == "http_422", "a code that holds a note is not taken over"
    assert "SECRET-NOTE" not in toy.answers.read_text()


def test_what_ran_out_of_retries_is_asked_again_by_the_next_run(server: RunningServer, toy: ToyRun) -> None:
    server.start({"e001": ["500", "503", "bad json"]})
    assert toy.run(3, max_retries=1).num_gave_up == 1
    failed = next(line for line in toy.lines() if line["error"])
    assert (failed["response"]["status_code"], failed["error"]["code"]) == (503, "http_503")
    second = toy.run(3, max_retries=1)
    assert (second.num_answered, second.num_sent, toy.num_counted()) == (3, 2, 6)
    assert [line["error"] for line in toy.current(3)] == [None] * 3
    assert len(toy.lines()) == 4


def test_a_server_that_dies_and_comes_back_loses_nothing(server: RunningServer, toy: ToyRun) -> None:
    server.start(delay=(0.02, 0.05))

    def die_and_come_back() -> None:
        while not toy.answers.exists() or toy.answers.read_bytes().count(b"\n") < 8:
            time.sleep(0.005)
        server.kill()
        time.sleep(0.3)
        server.start(delay=(0.0, 0.02))

    killer = threading.Thread(target=die_and_come_back)
    killer.start()
    counts = toy.run(40, max_retries=9)
    killer.join()
    assert (counts.num_answered, counts.num_left) == (40, 0)
    assert sorted(line["custom_id"] for line in toy.lines()) == sorted(f"e{number:03d}" for number in range(40))
    assert max(server.asked().values()) <= 2
    assert sum(count - 1 for count in server.asked().values()) <= 4, "only what was in flight is asked twice"


def test_a_dead_endpoint_stops_the_run_early(toy: ToyRun) -> None:
    with pytest.raises(GenerationError, match=r"127\.0\.0\.1 fails: 10 requests in a row .* connection\. Look at"):
        toy.run(40, max_retries=1)


@pytest.mark.parametrize("status", ["301", "401", "402", "403", "404"])
def test_a_fault_of_account_or_address_stops_at_once_and_settles_nothing(
    server: RunningServer, toy: ToyRun, status: str
) -> None:
    server.start({f"e{number:03d}": [status] for number in range(40)})
    with pytest.raises(GenerationError, match=f"answered {status} .*as it would to every request"):
        toy.run(40)
    assert toy.answers.read_text() == ""
    assert sum(server.asked().values()) <= 4
    server.kill()
    server.start()
    assert toy.run(40).num_answered == 40


def test_a_403_among_answers_is_about_its_request(server: RunningServer, toy: ToyRun) -> None:
    server.start({"e003": ["403"] * 9})
    assert toy.run(5, max_concurrency=1).num_failed == 1


def test_a_changed_prompt_asks_anew_and_the_old_one_costs_nothing(server: RunningServer, toy: ToyRun) -> None:
    def prompt_hashes() -> set[str]:
        return {line["prompt_hash"] for line in toy.current(5)}

    server.start()
    toy.run(5)
    first = prompt_hashes()
    toy.prompt.write_text(PROMPT.replace("system: ''", "system: Be brief."))
    assert toy.current(5) == []
    assert toy.run(5).num_sent == 5
    assert len(toy.current(5)) == 5
    assert first.isdisjoint(prompt_hashes())
    toy.prompt.write_text(PROMPT)
    assert toy.run(5).num_sent == 0
    assert (len(toy.current(5)), prompt_hashes()) == (5, first)


def test_a_half_written_last_line_is_cut_off_and_asked_again(
    server: RunningServer, toy: ToyRun, caplog: pytest.LogCaptureFixture
) -> None:
    server.start()
    toy.run(4, max_concurrency=1)
    toy.answers.write_bytes(toy.answers.read_bytes()[:-30])
    assert len(toy.current(4)) == 3
    assert toy.run(4).num_sent == 1
    assert "half-written last line" in caplog.text
    assert len(toy.lines()) == 4
    assert server.asked() == {"e000": 1, "e001": 1, "e002": 1, "e003": 2}


@pytest.mark.parametrize("part", ["answers", "ledger"])
def test_a_file_of_something_else_is_refused_and_not_touched(toy: ToyRun, part: str) -> None:
    path = getattr(toy, part)
    path.write_text("id,text\n1,SECRET-NOTE\n")
    with pytest.raises(DataError, match=r"is no answer|the requests sent so far") as caught:
        toy.run(4)
    assert "SECRET" not in str(caught.value)
    assert path.read_text() == "id,text\n1,SECRET-NOTE\n"


def test_a_full_disk_stops_the_run_and_leaves_whole_lines(
    server: RunningServer, toy: ToyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start()
    toy.run(2, max_concurrency=1)
    before, write = toy.answers.read_bytes(), os.write
    write_half: Callable[[int, Any], int] = lambda file, content: write(file, content[:50])  # noqa: E731
    with monkeypatch.context() as patched:
        patched.setattr("r2d.llm.answers.os.write", write_half)
        with pytest.raises(GenerationError, match="could not be written"):
            toy.run(6, max_concurrency=1)
    assert toy.answers.read_bytes() == before
    assert toy.run(6).num_reused == 2


def test_two_processes_cannot_write_one_file(toy: ToyRun) -> None:
    with Answers(toy.answers, toy.source()), pytest.raises(GenerationError, match="another process is writing"):
        toy.run(4)
