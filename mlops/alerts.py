"""Alerts for people: a run failed, the gate refused a model, calls drifted, errors rose, an alias moved, a job is late.

| variable | what |
|---|---|
| `R2D_ALERT_WEBHOOK` | address that gets each alert as a JSON object |
| `R2D_ALERT_SLACK` | address of an incoming webhook of Slack, or of what speaks like it (Mattermost, Rocket.Chat) |
| `R2D_ALERT_EMAIL` | recipients of an e-mail, by commas |
| `R2D_ALERT_SMTP` | mail server: `smtp://[user@]host[:port]` or `smtps://...` |
| `R2D_ALERT_SMTP_PASSWORD` | of that user |

A ZenML stack with an alerter gets each alert too. An alert holds names, numbers and times. It holds no text of a note,
no parameter of a run, no message of an exception and no reason that a person gave. One that cannot be delivered is
logged, and never stops what it is about.
"""

from __future__ import annotations

import logging
import os
import smtplib
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from mlops.tracking import in_a_step
from r2d.errors import ConfigError

if TYPE_CHECKING:
    from r2d.drift.report import DriftReport
    from r2d.monitoring.report import MonitorReport

logger = logging.getLogger(__name__)

Event = Literal["run_failed", "gate_refused", "drift", "errors_rose", "alias_moved", "overdue"]
TIMEOUT_SECONDS = 10.0
WEBHOOK, SLACK, EMAIL, SMTP, SMTP_PASSWORD = (
    f"R2D_ALERT_{name}" for name in ("WEBHOOK", "SLACK", "EMAIL", "SMTP", "SMTP_PASSWORD")
)


@dataclass(frozen=True)
class Alert:
    """Something that a person should look at."""

    event: Event
    summary: str
    """One sentence."""
    facts: Mapping[str, str]
    """Name -> value, such as the run and its step."""
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """Time in UTC, ISO 8601."""

    def text(self) -> str:
        return "\n".join([self.summary, *(f"{name}: {value}" for name, value in self.facts.items()), f"at: {self.at}"])


def send(event: Event, summary: str, **facts: str) -> list[str]:
    """Send an alert by every channel that is declared, and return the channels that took it."""
    alert, sent = Alert(event, summary, facts), []
    for channel, deliver in _channels():
        try:
            if deliver(alert):
                sent.append(channel)
        except Exception as error:  # whatever a server does, the run goes on
            # Its message may hold the address, whose path is the key of a webhook.
            logger.warning("the alert %s was not delivered by %s (%s)", event, channel, type(error).__name__)
    return sent


def run_failed(exception: BaseException) -> None:
    """Hook of ZenML: a step has failed, after its last attempt."""
    from zenml import get_step_context

    context = get_step_context()
    send(
        "run_failed",
        f"step {context.step_name} of run {context.pipeline_run.name} failed",
        run=context.pipeline_run.name,
        run_id=str(context.pipeline_run.id),
        pipeline=context.pipeline.name,
        step=context.step_name,
        error=type(exception).__name__,
    )


def calls_drifted(report: DriftReport) -> None:
    """Send what drifted, where something did: names of the measures, without words of calls."""
    checks = [name for name, result in report.checks.items() if result.outcome == "drifted"]
    if report.drifted:
        send(
            "drift",
            f"the calls of {report.model.name} drifted",
            model=report.model.name,
            calls=f"{report.num_rows:,}",
            measures=", ".join(checks),
        )


def errors_rose(report: MonitorReport) -> None:
    """Send which versions make more errors than is acceptable, where one does."""
    for version in report.versions:
        if kinds := [name for name, measure in version.measures.items() if measure.outcome == "alarm"]:
            send(
                "errors_rose",
                f"{version.model} makes more errors than is acceptable",
                model=version.model,
                calls=f"{version.num_labelled:,}",
                errors=", ".join(kinds),
            )


def _channels() -> Iterator[tuple[str, Callable[[Alert], bool]]]:
    """Name and way of each channel that is declared."""
    if os.environ.get(WEBHOOK):
        yield "webhook", lambda alert: _post(os.environ[WEBHOOK], asdict(alert))
    if os.environ.get(SLACK):
        yield "slack", lambda alert: _post(os.environ[SLACK], {"text": alert.text()})
    if os.environ.get(EMAIL):
        yield "email", _mail
    # Where the registry is named apart, no command needs a ZenML, and there may be none to ask.
    if in_a_step() or ("zenml" in sys.modules and not os.environ.get("MLFLOW_TRACKING_URI")):
        yield "stack", _post_by_stack


def _post(address: str, content: Mapping[str, object]) -> bool:
    import httpx2

    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would log the address, whose path is a key
    # No redirect is followed: what an alert holds goes to the declared host alone.
    with httpx2.stream("POST", address, json=content, timeout=TIMEOUT_SECONDS, follow_redirects=False) as response:
        response.raise_for_status()  # of the answer the status alone is read: it may have no end
    return True


def _post_by_stack(alert: Alert) -> bool:
    from zenml.client import Client

    alerter = Client().active_stack.alerter
    return alerter is not None and alerter.post(alert.text())


def _mail(alert: Alert) -> bool:
    server = urlsplit(os.environ.get(SMTP, ""))
    if server.scheme not in ("smtp", "smtps") or not server.hostname:
        raise ConfigError(f"{SMTP}: give smtp://[user@]host[:port] or smtps://..., for {EMAIL} needs a mail server")
    message = EmailMessage()
    message["Subject"] = f"[reason2decide] {alert.summary}"
    message["From"] = f"reason2decide@{server.hostname}" if "@" not in (server.username or "") else server.username
    message["To"] = os.environ[EMAIL]
    message.set_content(alert.text())
    context = ssl.create_default_context()
    smtp: smtplib.SMTP
    if server.scheme == "smtps":
        smtp = smtplib.SMTP_SSL(server.hostname, server.port or 465, timeout=TIMEOUT_SECONDS, context=context)
    else:
        smtp = smtplib.SMTP(server.hostname, server.port or 25, timeout=TIMEOUT_SECONDS)
    with smtp:
        if server.scheme == "smtp" and (server.username or smtp.has_extn("starttls")):
            smtp.starttls(context=context)  # with a user always: no password goes in clear
        if server.username:
            smtp.login(unquote(server.username), os.environ.get(SMTP_PASSWORD, ""))
        smtp.send_message(message)
    return True
