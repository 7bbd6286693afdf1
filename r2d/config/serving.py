"""The service of `r2d serve` (`configs/serve.yaml`): where it listens, who may ask, and how much it takes."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import Field, model_validator

from r2d.config.privacy import PrivacyConfig
from r2d.config.review import ReviewConfig
from r2d.config.section import Name, Section

Seconds = Annotated[float, Field(gt=0.0, le=3600.0)]
Engine = Literal["ctranslate2"]
"""What runs an exported model."""
Quantization = Literal["none", "int8"]
"""Of the weights of an exported model."""
Count = Annotated[int, Field(ge=1)]


class AuditConfig(Section):
    """The log of what was answered: one JSON object a call, in a file a day (UTC)."""

    folder: Name
    """Where the files lie; only their owner can read them."""
    days: Count = 90
    """Files older than that are removed."""
    with_text: bool = False
    """Whether note and rationale are kept, redacted by `privacy`; else label, probabilities and reason alone."""
    privacy: PrivacyConfig = PrivacyConfig()

    @model_validator(mode="after")
    def _redacts(self) -> AuditConfig:
        if self.with_text and self.privacy.policy != "redact":
            raise ValueError(f"privacy.policy is {self.privacy.policy!r}; texts are kept only with 'redact'")
        return self


class TLSConfig(Section):
    """HTTPS in place of HTTP. A renewed certificate is read when the service starts again."""

    certificate: Name
    """PEM file of the certificate, and of those that lead to its authority."""
    key: Name
    """PEM file of its private key."""


class ServingConfig(Section):
    """One model, asked over HTTP."""

    model: Name = "reason2decide@champion"
    """A registered model, `name@alias` or `name/version`, or a model folder. A moved alias is followed."""
    host: Name = "127.0.0.1"
    """Address to listen on. Off the loopback a token (R2D_SERVE_TOKEN) or `user_header` is asked for."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8238
    """0: a free one, named on the screen."""
    tls: TLSConfig | None = None
    """Null: plain HTTP, for the loopback or behind a proxy that has TLS."""
    user_header: Name | None = None
    """A header in which a proxy names the user that it has logged in, such as X-Forwarded-User. Requests without it are
    refused. Only where nothing but that proxy can reach the port."""
    refresh_seconds: Seconds = 10.0
    """How often the registry is asked whether the alias has moved."""
    max_batch: Count = 32
    """Calls decided at a time."""
    batch_wait_ms: Annotated[float, Field(ge=0.0, le=1000.0)] = 5.0
    """How long a call waits for others, to be decided with them."""
    max_queue: Count = 64
    """Calls that wait at most; a request beyond is answered with 429."""
    max_calls: Count = 32
    """Calls of one request."""
    max_characters: Count = 20_000
    """Of the text of one call."""
    max_body_bytes: Count = 1_048_576
    """Of one request."""
    request_seconds: Seconds = 30.0
    """For a request to arrive, and again for its answer."""
    requests_per_minute: Count | None = None
    """Of one client: the user of the header, else its address; null: no limit."""
    max_connections: Count = 2048
    """Open connections of all clients; those beyond are answered with 503 and closed."""
    audit: AuditConfig | None = None
    """Null: nothing is kept of a request."""
    review: ReviewConfig | None = None
    """Null: no review page."""

    @model_validator(mode="after")
    def _request_fits(self) -> ServingConfig:
        if self.max_calls > self.max_queue:
            raise ValueError(
                f"max_calls ({self.max_calls}) is above max_queue ({self.max_queue}): a full request would never be "
                "taken; raise max_queue"
            )
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
