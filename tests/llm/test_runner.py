"""Asking a real server on this machine: every example is answered once, whatever the server does."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path

import pytest

from r2d.errors import DataError, GenerationError
from r2d.llm import progress, runner
from r2d.llm.answers import Answers
from r2d.llm.endpoint import retry_after_seconds
from tests.llm.server import RunningServer
from tests.llm.toy_run import PROMPT, generate, lines_of, notes, source_for, write_current_answers


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.05)
    monkeypatch.setattr(runner, "SECONDS_BETWEEN_LINES", 0.05)


def test_every_example_has_one_current_answer_in_its_order(
    server: RunningServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.start(delay=(0.0, 0.05))
    source, answers, clean = source_for(server, tmp_path), tmp_path / "answers.jsonl", tmp_path / "clean.jsonl"
    summary = generate(notes(30), source, answers)
    assert (summary.total, summary.num_answered, summary.num_left, summary.num_requests) == (30, 30, 0, 30)
    assert (summary.prompt_tokens_ever, summary.output_tokens_ever) == (3000, 600)
    done = [int(number) for number in re.findall(r"toy: (\d+)/30, ", caplog.text)]
    assert len(done) >= 2
    assert done == sorted(done)
    assert done[-1] == 30
    assert write_current_answers(notes(30), source, answers, clean) == 30
    lines = lines_of(clean)
    assert [line["custom_id"] for line in lines] == [f"e{number:03d}" for number in range(30)]
    assert all(
        line["response"]["status_code"] == 200
        and line["response"]["request_id"] == "req-1"
        and line["response"]["body"]["choices"][0]["message"]["content"].endswith("self care.")
        and line["error"] is None
        and len(line["prompt_hash"]) == len(line["request_hash"]) == 64
        for line in lines
    )
    assert len({line["id"] for line in lines}) == 30


@pytest.mark.parametrize("bound", [1, 3])
def test_never_more_in_flight_than_allowed(server: RunningServer, tmp_path: Path, bound: int) -> None:
    server.start(delay=(0.01, 0.03))
    generate(notes(20), source_for(server, tmp_path, max_concurrency=bound), tmp_path / "answers.jsonl")
    assert max(request["in_flight"] for request in server.requests()) == bound


def test_a_second_run_asks_nothing_and_needs_no_key(server: RunningServer, tmp_path: Path) -> None:
    server.start()
    source, answers = source_for(server, tmp_path), tmp_path / "answers.jsonl"
    generate(notes(6), source, answers)
    before = answers.read_bytes()
    keyed = source.model_copy(update={"api_key_env": "R2D_TEST_UNSET_KEY"})
    summary = generate(notes(6), keyed, answers)
    assert (summary.num_reused, summary.num_answered, summary.num_requests) == (6, 6, 0)
    assert answers.read_bytes() == before
    assert set(server.asked().values()) == {1}


def test_only_the_chosen_splits_are_asked(server: RunningServer, tmp_path: Path) -> None:
    server.start()
    source = source_for(server, tmp_path, splits=["validation"], few_shot=1, few_shot_source="nurse")
    assert generate(notes(9), source, tmp_path / "answers.jsonl").total == 3
    assert set(server.asked()) == {"e001", "e004", "e007"}


@pytest.mark.parametrize("fault", ["408", "409", "429", "500", "503", "half", "bad json", "no completion"])
def test_what_may_pass_is_tried_again(server: RunningServer, tmp_path: Path, fault: str) -> None:
    server.start({"e001": [fault, fault]})
    answers = tmp_path / "answers.jsonl"
    summary = generate(notes(3), source_for(server, tmp_path), answers)
    assert (summary.num_answered, summary.num_retries, server.asked()["e001"]) == (3, 2, 3)
    assert {line["custom_id"]: line["attempts"] for line in lines_of(answers)} == {"e000": 1, "e001": 3, "e002": 1}


def test_a_silent_server_runs_into_the_timeout(server: RunningServer, tmp_path: Path) -> None:
    server.start({"e001": ["slow"]})
    source = source_for(server, tmp_path, timeout_seconds=0.5)
    assert generate(notes(2), source, tmp_path / "answers.jsonl").num_retries == 1


def test_retry_after_holds_all_workers_back(server: RunningServer, tmp_path: Path) -> None:
    server.start({"e000": ["429"]}, delay=(0.05, 0.1))
    generate(notes(12), source_for(server, tmp_path, max_concurrency=2), tmp_path / "answers.jsonl")
    times = [request["at"] for request in server.requests()]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert max(pauses) > 0.4, "half a second was asked for"
    assert server.asked()["e000"] == 2


def test_a_refusal_is_final_and_holds_no_text(server: RunningServer, tmp_path: Path) -> None:
    server.start({"e001": ["400"] * 9, "e002": ["422"] * 9})
    source, answers = source_for(server, tmp_path), tmp_path / "answers.jsonl"
    assert generate(notes(4), source, answers).num_failed == 2
    again = generate(notes(4), source, answers)
    assert (again.num_answered, again.num_failed, again.num_requests) == (2, 2, 0)
    assert (server.asked()["e001"], server.asked()["e002"]) == (1, 1)
    refused = {line["custom_id"]: line for line in lines_of(answers) if line["error"]}
    assert refused["e001"]["response"] == {"status_code": 400, "request_id": "req-1", "body": None}
    assert refused["e001"]["error"]["code"] == "context_length_exceeded"
    assert refused["e002"]["error"]["code"] == "http_422", "a code that holds a note is not taken over"
    assert "SECRET-NOTE" not in answers.read_text()


def test_what_ran_out_of_retries_is_asked_again_by_the_next_run(server: RunningServer, tmp_path: Path) -> None:
    server.start({"e001": ["500", "503", "bad json"]})
    source, answers = source_for(server, tmp_path, max_retries=1), tmp_path / "answers.jsonl"
    assert generate(notes(3), source, answers).num_gave_up == 1
    failed = next(line for line in lines_of(answers) if line["error"])
    assert (failed["response"]["status_code"], failed["error"]["code"]) == (503, "http_503")
    second = generate(notes(3), source, answers)
    assert (second.num_answered, second.num_requests, second.num_requests_ever) == (3, 2, 6)
    assert write_current_answers(notes(3), source, answers, tmp_path / "clean.jsonl") == 3
    assert all(line["error"] is None for line in lines_of(tmp_path / "clean.jsonl"))
    assert len(lines_of(answers)) == 4


def test_a_server_that_dies_and_comes_back_loses_nothing(server: RunningServer, tmp_path: Path) -> None:
    server.start(delay=(0.02, 0.05))
    answers = tmp_path / "answers.jsonl"

    def die_and_come_back() -> None:
        while not answers.exists() or answers.read_bytes().count(b"\n") < 8:
            time.sleep(0.005)
        server.kill()
        time.sleep(0.3)
        server.start(delay=(0.0, 0.02))

    killer = threading.Thread(target=die_and_come_back)
    killer.start()
    summary = generate(notes(40), source_for(server, tmp_path, max_retries=9), answers)
    killer.join()
    assert (summary.num_answered, summary.num_left) == (40, 0)
    assert sorted(line["custom_id"] for line in lines_of(answers)) == sorted(f"e{number:03d}" for number in range(40))
    assert max(server.asked().values()) <= 2
    assert sum(count - 1 for count in server.asked().values()) <= 4, "only what was in flight is asked twice"


def test_a_dead_endpoint_stops_the_run_early(server: RunningServer, tmp_path: Path) -> None:
    source = source_for(server, tmp_path, max_retries=1)
    with pytest.raises(GenerationError, match=r"127\.0\.0\.1 fails: 10 requests in a row .* connection\. Look at"):
        generate(notes(40), source, tmp_path / "answers.jsonl")


@pytest.mark.parametrize("status", ["301", "401", "402", "403", "404"])
def test_a_fault_of_account_or_address_stops_at_once_and_settles_nothing(
    server: RunningServer, tmp_path: Path, status: str
) -> None:
    server.start({f"e{number:03d}": [status] for number in range(40)})
    source, answers = source_for(server, tmp_path), tmp_path / "answers.jsonl"
    with pytest.raises(GenerationError, match=f"answered {status} .*as it would to every request"):
        generate(notes(40), source, answers)
    assert answers.read_text() == ""
    assert sum(server.asked().values()) <= 4
    server.kill()
    server.start()
    assert generate(notes(40), source, answers).num_answered == 40


def test_a_403_among_answers_is_about_its_request(server: RunningServer, tmp_path: Path) -> None:
    server.start({"e003": ["403"] * 9})
    source = source_for(server, tmp_path, max_concurrency=1)
    assert generate(notes(5), source, tmp_path / "answers.jsonl").num_failed == 1


def test_a_changed_prompt_asks_anew_and_the_old_one_costs_nothing(server: RunningServer, tmp_path: Path) -> None:
    server.start()
    source, answers, clean = source_for(server, tmp_path), tmp_path / "answers.jsonl", tmp_path / "clean.jsonl"
    generate(notes(5), source, answers)
    first = {line["prompt_hash"] for line in lines_of(answers)}
    (tmp_path / "prompt.yaml").write_text(PROMPT.replace("system: ''", "system: Be brief."))
    assert write_current_answers(notes(5), source, answers, clean) == 0
    assert generate(notes(5), source, answers).num_requests == 5
    assert write_current_answers(notes(5), source, answers, clean) == 5
    assert first.isdisjoint(line["prompt_hash"] for line in lines_of(clean))
    (tmp_path / "prompt.yaml").write_text(PROMPT)
    assert generate(notes(5), source, answers).num_requests == 0
    assert write_current_answers(notes(5), source, answers, clean) == 5
    assert {line["prompt_hash"] for line in lines_of(clean)} == first


def test_a_half_written_last_line_is_cut_off_and_asked_again(
    server: RunningServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.start()
    source, answers = source_for(server, tmp_path, max_concurrency=1), tmp_path / "answers.jsonl"
    generate(notes(4), source, answers)
    answers.write_bytes(answers.read_bytes()[:-30])
    assert write_current_answers(notes(4), source, answers, tmp_path / "clean.jsonl") == 3
    assert generate(notes(4), source, answers).num_requests == 1
    assert "half-written last line" in caplog.text
    assert len(lines_of(answers)) == 4
    assert server.asked() == {"e000": 1, "e001": 1, "e002": 1, "e003": 2}


def test_a_file_that_is_no_answers_file_is_not_touched(server: RunningServer, tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    answers.write_text("id,text\n1,SECRET-NOTE\n")
    with pytest.raises(DataError, match="line 1 is no answer") as caught:
        generate(notes(4), source_for(server, tmp_path), answers)
    assert "SECRET" not in str(caught.value)
    assert answers.read_text() == "id,text\n1,SECRET-NOTE\n"


def test_a_full_disk_stops_the_run_and_leaves_whole_lines(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start()
    source, answers = source_for(server, tmp_path, max_concurrency=1), tmp_path / "answers.jsonl"
    generate(notes(2), source, answers)
    before, write = answers.read_bytes(), os.write
    with monkeypatch.context() as patched:
        patched.setattr("r2d.llm.answers.os.write", lambda file, data: write(file, data[:50]))
        with pytest.raises(GenerationError, match="could not be written"):
            generate(notes(6), source, answers)
    assert answers.read_bytes() == before
    assert generate(notes(6), source, answers).num_reused == 2


def test_two_processes_cannot_write_one_file(server: RunningServer, tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    with Answers(answers), pytest.raises(GenerationError, match="another process is writing"):
        generate(notes(4), source_for(server, tmp_path), answers)


def test_ids_that_occur_twice_are_refused(server: RunningServer, tmp_path: Path) -> None:
    table = notes(3)
    with pytest.raises(DataError, match="'e001' occurs more than once"):
        generate(table.take([0, 1, 1]), source_for(server, tmp_path), tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, 0), ("2", 2), ("0.5", 0.5), ("-3", 0), ("86400", 120), ("nan", 0), ("soon", 0), ("inf", 120)],
)
def test_retry_after_is_bounded(value: str | None, seconds: float) -> None:
    assert retry_after_seconds(value) == seconds


def test_retry_after_may_be_a_date() -> None:
    assert 20 < retry_after_seconds(formatdate(time.time() + 30, usegmt=True)) <= 30
    assert retry_after_seconds("Sun, 06 Nov 1994 08:49:37 GMT") == 0
