"""What a run may cost, and what it must not give away: budgets, tokens, cost, the key, the notes."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest

from r2d.errors import ConfigError, GenerationError
from r2d.llm import runner
from tests.llm.server import RunningServer
from tests.llm.toy_run import generate, lines_of, notes, source_for

KEY = "sk-TESTKEY-0123456789"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(runner, "SECONDS_BETWEEN_LINES", 0.05)


def test_the_budget_of_requests_is_never_overshot(server: RunningServer, tmp_path: Path) -> None:
    server.start({f"e{number:03d}": ["500"] for number in range(0, 20, 2)}, delay=(0.0, 0.02))
    source, answers = source_for(server, tmp_path, max_requests=12), tmp_path / "answers.jsonl"
    with pytest.raises(GenerationError, match=r"max_requests: the budget of 12 is spent .*are left\. Raise"):
        generate(notes(20), source, answers)
    assert sum(server.asked().values()) == 12
    with pytest.raises(GenerationError, match="spent"):
        generate(notes(20), source, answers)
    assert sum(server.asked().values()) == 12, "the budget holds over runs"
    (tmp_path / "answers.jsonl.ledger.json").unlink()
    more = source.model_copy(update={"max_requests": 40})
    assert generate(notes(20), more, answers).num_answered == 20
    assert sum(server.asked().values()) <= 40


def test_the_budget_of_tokens_is_overshot_by_what_is_in_flight_at_most(server: RunningServer, tmp_path: Path) -> None:
    server.start(delay=(0.0, 0.03))
    source, answers = source_for(server, tmp_path, max_total_tokens=1000), tmp_path / "answers.jsonl"
    with pytest.raises(GenerationError, match="max_total_tokens: the budget of 1,000 is spent"):
        generate(notes(30), source, answers)
    assert 9 <= len(lines_of(answers)) <= 9 + 3
    assert all(line["error"] is None for line in lines_of(answers)), "what was in flight was waited for"


def test_a_spent_budget_waits_for_what_is_paid_for(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "DRAIN_SECONDS", 0.0)
    server.start(delay=(0.3, 0.5))
    answers = tmp_path / "answers.jsonl"
    with pytest.raises(GenerationError, match="max_requests"):
        generate(notes(10), source_for(server, tmp_path, max_requests=4), answers)
    assert len(lines_of(answers)) == 4


def test_tokens_are_estimated_where_the_server_counts_none(server: RunningServer, tmp_path: Path) -> None:
    server.start({"e000": ["no usage"]})
    summary = generate(notes(1), source_for(server, tmp_path), tmp_path / "answers.jsonl")
    assert summary.prompt_tokens_ever > 5
    assert summary.output_tokens_ever > 5


def test_cost_is_shown_and_expected(server: RunningServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server.start(delay=(0.02, 0.04))
    source = source_for(server, tmp_path, input_price_per_million=1000.0, output_price_per_million=5000.0)
    summary = generate(notes(20), source, tmp_path / "answers.jsonl")
    assert summary.cost_ever == pytest.approx(20 * 0.2)
    assert summary.expected_cost == pytest.approx(20 * 0.2)
    assert "20/20" in caplog.text
    assert "of about 4.00" in caplog.text


def test_neither_key_nor_note_leaks(
    server: RunningServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("R2D_TEST_KEY", f"{KEY}\n")
    server.start({"e000": ["echo"], "e001": ["400"], "e002": ["500", "half"], "e003": ["429"], "e005": ["401"]})
    source, answers = source_for(server, tmp_path, api_key_env="R2D_TEST_KEY"), tmp_path / "answers.jsonl"
    with pytest.raises(GenerationError) as caught:
        generate(notes(6), source, answers)
    assert {request["authorization"] for request in server.requests()} == {f"Bearer {KEY}"}
    assert "[key] SECRET-NOTE" in answers.read_text(), "the echoed key is struck out of the answer"
    shown = [caplog.text, str(caught.getrepr(showlocals=True, style="long"))]
    for text in [*shown, *(path.read_text() for path in tmp_path.glob("answers*"))]:
        assert KEY not in text
    assert "SECRET-NOTE" not in caplog.text
    assert "SECRET-NOTE" not in str(caught.value)


@pytest.mark.parametrize("value", [None, "", "  ", "with\nbreak", "clé"])
def test_an_unusable_key_is_refused_by_the_name_of_its_variable(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("R2D_TEST_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("R2D_TEST_KEY", value)
    with pytest.raises(ConfigError, match="R2D_TEST_KEY") as caught:
        generate(notes(2), source_for(server, tmp_path, api_key_env="R2D_TEST_KEY"), tmp_path / "a.jsonl")
    assert not (value or "").strip() or str(value) not in str(caught.value)
    assert server.requests() == []


def test_an_address_with_a_password_is_refused(server: RunningServer, tmp_path: Path) -> None:
    source = source_for(server, tmp_path, base_url="http://nurse:hunter22@127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match="holds a user") as caught:
        generate(notes(2), source, tmp_path / "a.jsonl")
    assert "hunter22" not in str(caught.value)


def test_plain_http_to_another_machine_warns(
    server: RunningServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # 192.0.2.0/24 is reserved for documentation: nothing listens there, and a proxy may refuse it.
    source = source_for(server, tmp_path, base_url="http://192.0.2.1/v1", timeout_seconds=0.1, max_retries=0)
    with pytest.raises(GenerationError, match=r"192\.0\.2\.1"):
        generate(notes(40), source, tmp_path / "a.jsonl")
    assert "plain http: the notes go to 192.0.2.1 readable on the way" in caplog.text


def test_a_proxy_of_the_environment_is_not_used_on_this_machine(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{nobody.getsockname()[1]}")
        server.start()
        assert generate(notes(2), source_for(server, tmp_path), tmp_path / "a.jsonl").num_answered == 2
