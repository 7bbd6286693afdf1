"""What a run may cost, and what it must not give away: budgets, tokens, cost, the key, the notes."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path

import pytest

from r2d.errors import ConfigError, GenerationError
from r2d.llm import endpoint, runner
from tests.llm.server import RunningServer
from tests.llm.toy_run import ToyRun

pytestmark = pytest.mark.usefixtures("short_pauses")
KEY = "sk-TESTKEY-0123456789"


def test_the_budget_of_requests_is_never_overshot(server: RunningServer, toy: ToyRun) -> None:
    server.start({f"e{number:03d}": ["500"] for number in range(0, 20, 2)}, delay=(0.0, 0.02))
    for _ in range(2):
        with pytest.raises(GenerationError, match=r"max_requests: the budget of 12 is spent .*are left\. Raise"):
            toy.run(20, max_requests=12)
        assert sum(server.asked().values()) == 12, "the budget holds over runs"
    toy.ledger.unlink()
    assert toy.run(20, max_requests=40).num_answered == 20
    assert sum(server.asked().values()) <= 40


def test_the_budget_of_tokens_is_overshot_by_what_is_in_flight_at_most(server: RunningServer, toy: ToyRun) -> None:
    server.start(delay=(0.0, 0.03))
    with pytest.raises(GenerationError, match="max_total_tokens: the budget of 1,000 is spent"):
        toy.run(30, max_total_tokens=1000)
    assert 9 <= len(toy.lines()) <= 9 + 3
    assert all(line["error"] is None for line in toy.lines()), "what was in flight was waited for"


def test_a_spent_budget_waits_for_what_is_paid_for(
    server: RunningServer, toy: ToyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "DRAIN_SECONDS", 0.0)
    server.start(delay=(0.3, 0.5))
    with pytest.raises(GenerationError, match="max_requests"):
        toy.run(10, max_requests=4)
    assert len(toy.lines()) == 4


def test_tokens_are_estimated_where_the_server_counts_none(server: RunningServer, toy: ToyRun) -> None:
    server.start({"e000": ["no usage"]})
    toy.run(1)
    (line,) = toy.lines()
    assert line["tokens"]["prompt"] > 5
    assert line["tokens"]["output"] > 5


def test_cost_is_shown_and_expected(server: RunningServer, toy: ToyRun, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server.start(delay=(0.02, 0.04))
    toy.run(20, input_price_per_million=1000.0, output_price_per_million=5000.0)
    assert "20 of 20 requests" in caplog.text
    assert "2,000 + 400 tokens, cost 4.00 of about 4.00" in caplog.text


def test_neither_key_nor_note_leaks(
    server: RunningServer, toy: ToyRun, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("R2D_TEST_KEY", f"{KEY}\n")
    server.start({"e000": ["echo"], "e001": ["400"], "e002": ["500", "half"], "e003": ["429"], "e005": ["401"]})
    with pytest.raises(GenerationError) as caught:
        toy.run(6, api_key_env="R2D_TEST_KEY")
    assert {request["authorization"] for request in server.requests()} == {f"Bearer {KEY}"}
    assert "[key] SECRET-NOTE" in toy.answers.read_text(), "the echoed key is struck out of the answer"
    shown = [caplog.text, str(caught.getrepr(showlocals=True, style="long"))]
    for text in [*shown, *(path.read_text() for path in toy.folder.glob("answers*"))]:
        assert KEY not in text
    assert "SECRET-NOTE" not in caplog.text
    assert "SECRET-NOTE" not in str(caught.value)


@pytest.mark.parametrize("value", [None, "", "  ", "with\nbreak", "clé"])
def test_an_unusable_key_is_refused_by_the_name_of_its_variable(
    server: RunningServer, toy: ToyRun, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("R2D_TEST_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("R2D_TEST_KEY", value)
    with pytest.raises(ConfigError, match="R2D_TEST_KEY") as caught:
        toy.run(2, api_key_env="R2D_TEST_KEY")
    assert not (value or "").strip() or str(value) not in str(caught.value)
    assert server.requests() == []


def test_an_address_with_a_password_is_refused(toy: ToyRun) -> None:
    with pytest.raises(ConfigError, match="holds a user") as caught:
        toy.run(2, base_url="http://nurse:hunter22@127.0.0.1:9/v1")
    assert "hunter22" not in str(caught.value)


def test_plain_http_to_another_machine_warns(toy: ToyRun, caplog: pytest.LogCaptureFixture) -> None:
    # 192.0.2.0/24 is reserved for documentation: nothing listens there, and a proxy may refuse it.
    with pytest.raises(GenerationError, match=r"192\.0\.2\.1"):
        toy.run(40, base_url="http://192.0.2.1/v1", timeout_seconds=0.1, max_retries=0)
    assert "plain http: the notes go to 192.0.2.1 readable on the way" in caplog.text


def test_a_proxy_of_the_environment_is_not_used_on_this_machine(
    server: RunningServer, toy: ToyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{unused.getsockname()[1]}")
        server.start()
        assert toy.run(2).num_answered == 2


def test_a_redirect_to_another_host_is_refused_and_nothing_reaches_it(
    server: RunningServer, toy: ToyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("R2D_TEST_KEY", KEY)
    (tmp_path / "other").mkdir()
    other = RunningServer(tmp_path / "other")
    try:
        other.start()
        elsewhere = f"http://localhost:{other.port}/v1/chat/completions"
        server.start({f"e{number:03d}": [f"redirect to {elsewhere}"] for number in range(4)})
        with pytest.raises(GenerationError, match=r"answered 307 .it points to another address, which is not followed"):
            toy.run(4, api_key_env="R2D_TEST_KEY")
        assert server.requests()
        assert other.requests() == []
    finally:
        other.kill()


def test_a_reply_without_end_is_cut_off_and_the_rest_goes_on(server: RunningServer, toy: ToyRun) -> None:
    server.start({"e001": ["endless", "endless"]})
    started_at = time.monotonic()
    counts = toy.run(3, max_retries=1)
    assert time.monotonic() - started_at < 20
    assert (counts.num_answered, counts.num_gave_up) == (2, 1)
    assert [line["error"]["code"] for line in toy.lines() if line["error"]] == ["reply_above_8_MiB"]
    assert toy.run(3).num_answered == 3


def test_a_wait_that_the_server_asks_for_is_bounded_and_said(
    server: RunningServer, toy: ToyRun, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "MAX_RETRY_AFTER_SECONDS", 0.3)
    monkeypatch.setattr(runner, "MAX_RETRY_AFTER_SECONDS", 0.3)
    server.start({"e000": ["wait a day"]})
    started_at = time.monotonic()
    assert toy.run(1).num_answered == 1
    assert 0.3 <= time.monotonic() - started_at < 10
    assert "127.0.0.1 answers http_429 and asks to wait: nothing is sent for 0 s (never more than 0 s)" in caplog.text
