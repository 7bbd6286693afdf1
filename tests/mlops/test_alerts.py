"""Alerts over real HTTP and a real mail server on loopback: what arrives, what never does, and that nothing stops."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from mlops.alerts import Alert, send
from tests.gate.measured import decisions
from tests.mlops.conftest import Register, Typed, metrics, run_config
from tests.web_inbox import Inbox, web_inbox

PATH = "/services/T0/key-of-the-webhook"


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Inbox]]:
    """A web server that is both the webhook and Slack."""
    with web_inbox() as (handler, address):
        monkeypatch.setenv("R2D_ALERT_WEBHOOK", f"{address}{PATH}")
        monkeypatch.setenv("R2D_ALERT_SLACK", f"{address}/slack")
        yield handler


class Mailbox:
    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.recipients: list[list[str]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.messages.append(message_from_bytes(envelope.content))
        self.recipients.append(envelope.rcpt_tos)
        return "250 OK"


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    monkeypatch.setenv("R2D_ALERT_EMAIL", "night@hospital.example, ml@hospital.example")
    monkeypatch.setenv("R2D_ALERT_SMTP", f"smtp://127.0.0.1:{port}")
    yield box
    controller.stop()


def test_an_alert_arrives_as_json_as_slack_shaped_text_and_as_an_e_mail(inbox: type[Inbox], mailbox: Mailbox) -> None:
    sent = send("overdue", "retrain has never succeeded", job="retrain")
    assert set(sent) >= {"webhook", "slack", "email"}
    (path, alert), (slack, text) = inbox.received
    assert (path, slack) == (PATH, "/slack")
    assert alert["event"] == "overdue"
    assert alert["summary"] == "retrain has never succeeded"
    assert alert["facts"] == {"job": "retrain"}
    assert text == {"text": Alert("overdue", alert["summary"], alert["facts"], alert["at"]).text()}
    (message,) = mailbox.messages
    assert message["Subject"] == "[reason2decide] retrain has never succeeded"
    assert mailbox.recipients == [["night@hospital.example", "ml@hospital.example"]]
    assert "job: retrain" in message.get_payload()


@pytest.mark.parametrize("status", [500, 302], ids=["error", "redirect to another host"])
def test_a_channel_that_fails_stops_neither_the_others_nor_what_the_alert_is_about_and_its_key_is_not_logged(
    inbox: type[Inbox], mailbox: Mailbox, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    inbox.status = status
    with caplog.at_level(logging.DEBUG):
        assert send("drift", "the calls of m drifted") == ["email"]
    assert "was not delivered by webhook" in caplog.text
    assert "key-of-the-webhook" not in caplog.text
    assert len(mailbox.messages) == 1


def test_an_answer_without_end_is_not_waited_for(inbox: type[Inbox], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlops.alerts.TIMEOUT_SECONDS", 2.0)
    inbox.is_endless = True
    started_at = time.monotonic()
    assert set(send("overdue", "retrain has never succeeded")) >= {"webhook", "slack"}
    assert time.monotonic() - started_at < inbox.ENDLESS_SECONDS


def test_a_password_is_never_sent_in_clear(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    host = os.environ["R2D_ALERT_SMTP"].removeprefix("smtp://")
    monkeypatch.setenv("R2D_ALERT_SMTP", f"smtp://alerts@{host}")
    monkeypatch.setenv("R2D_ALERT_SMTP_PASSWORD", "secret")
    assert send("overdue", "a server without TLS") == []
    assert mailbox.messages == []


def test_moved_aliases_and_a_refused_gate_are_told_without_the_reason_that_a_person_gave(
    inbox: type[Inbox], register: Register, typed: Typed
) -> None:
    name = "watched-at-night"
    register(run_config(name, []), metrics(decisions(0.9)))
    rule = {"rule": "within_limit", "figure": "macro_f1", "at_least": 1.0}
    register(run_config(name, [rule]), metrics(decisions(0.5)))
    typed("rollback", name, "--reason", "Mrs Example was sent home", "--to-none")
    alerts = [alert for path, alert in inbox.received if path == PATH]
    assert [alert["event"] for alert in alerts] == ["alias_moved", "gate_refused", "alias_moved"]
    assert alerts[1]["facts"] == {"model": f"{name}/2", "rules": "within_limit", "champion": "none"}
    assert alerts[2]["facts"]["action"] == "rolled_back"
    assert "Example" not in str(inbox.received)


def test_no_channel_means_no_alert_and_no_error() -> None:
    assert [channel for channel in send("overdue", "nobody listens") if channel != "stack"] == []
