"""One OpenAI-compatible endpoint: its address, its key, and what its replies mean."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import os
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
from pydantic import SecretStr

from r2d.config.endpoint import EndpointConfig
from r2d.errors import ConfigError
from r2d.llm.requests import Body

logger = logging.getLogger(__name__)

TRANSIENT_STATUSES = frozenset({408, 409, 425, 429})  # statuses that are retried, as is every 5xx
MAX_RETRY_AFTER_SECONDS = 120.0
MAX_BODY_BYTES = 8 * 1024**2
"""Of one reply, unpacked; a completion of 100,000 tokens with its log probabilities is below it."""
MIN_SECRET_CHARACTERS = 8
"""A shorter key, such as `EMPTY`, is a placeholder; striking it out would change words of the answers."""


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """A completion (status 200, with its body) or a refusal (any other status, without any text)."""

    status: int
    request_id: str | None
    body: dict[str, Any] | None
    code: str | None = None
    """The server's short code of a refusal, such as `context_length_exceeded`; never its message."""


class TransientFault(Exception):  # noqa: N818 -- it only ever leads to a retry
    """A request without a usable reply; another try may succeed. The message is a short code."""

    def __init__(self, code: str, status: int | None = None, retry_after_seconds: float = 0.0) -> None:
        super().__init__(code)
        self.code, self.status, self.retry_after_seconds = code, status, retry_after_seconds


class Endpoint:
    """Posts chat completions; an asynchronous context that holds the connections."""

    def __init__(self, source: EndpointConfig) -> None:
        """Check address and key, before anything is sent.

        Raises:
            ConfigError: the address holds a password or a query, or the key's variable is unset or unusable.
        """
        url = httpx2.URL(source.base_url)
        if url.userinfo or url.query or url.fragment:
            raise ConfigError(
                f"base_url: the address of {url.host} holds a user, a query or a fragment, which would be logged; "
                "give scheme, host, port and path only, and the key by api_key_env"
            )
        self.source = source
        self.url = source.base_url.rstrip("/") + "/chat/completions"
        self.host = url.host
        self._key = _read_key(source)
        try:
            is_local = ipaddress.ip_address(url.host).is_loopback
        except ValueError:
            is_local = url.host == "localhost" or url.host.endswith(".localhost")
        if url.scheme == "http" and not is_local:
            and_key = " and the key" if self._key else ""
            logger.warning(
                "base_url is plain http: the notes%s go to %s readable on the way; use https", and_key, url.host
            )
        headers = {"Authorization": f"Bearer {self._key.get_secret_value()}"} if self._key else {}
        self._client = httpx2.AsyncClient(
            headers=headers,
            timeout=source.timeout_seconds,
            limits=httpx2.Limits(max_connections=source.max_concurrency),
            trust_env=not is_local,  # a proxy set for the internet must not see what is meant for this machine
        )

    async def __aenter__(self) -> Endpoint:
        requests_log = logging.getLogger("httpx2")  # a line for every request would bury the progress
        if requests_log.level == logging.NOTSET:
            requests_log.setLevel(logging.WARNING)
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._client.__aexit__(*error)

    async def post(self, body: Body) -> Reply:
        """Send one request and wait for its reply, at most `timeout_seconds` in all.

        Raises:
            TransientFault: nothing usable came back; another try may succeed.
        """
        content, received = json.dumps(body).encode(), bytearray()
        headers = {"Content-Type": "application/json"}
        try:
            async with (
                asyncio.timeout(self.source.timeout_seconds),
                self._client.stream("POST", self.url, content=content, headers=headers) as response,
            ):
                async for part in response.aiter_bytes():
                    received += part
                    if len(received) > MAX_BODY_BYTES:
                        raise TransientFault(f"reply_above_{MAX_BODY_BYTES // 1024**2}_MiB", response.status_code)
        except (TimeoutError, httpx2.TimeoutException):
            raise TransientFault("timeout") from None
        except (httpx2.RequestError, httpx2.InvalidURL):
            raise TransientFault("connection") from None
        status = response.status_code
        if status in TRANSIENT_STATUSES or status >= 500:
            raise TransientFault(f"http_{status}", status, retry_after_seconds(response.headers.get("retry-after")))
        try:
            values = json.loads(received)
        except (ValueError, RecursionError):
            values = None
        values = values if isinstance(values, dict) else {}
        request_id = response.headers.get("x-request-id")
        if response.has_redirect_location:  # never followed: neither note nor key goes where nobody has sent them
            return Reply(status, request_id, None, "it points to another address, which is not followed")
        if status != 200:
            error = values.get("error")
            codes = [error.get(key) for key in ("code", "type")] if isinstance(error, dict) else []
            # Servers may put the prompt into anything: only what looks like a code is kept.
            codes = [code for code in codes if re.fullmatch(r"[a-z]+(_[a-z]+){1,7}", str(code))]
            return Reply(status, request_id, None, next(iter(codes), f"http_{status}"))
        match values.get("choices"):
            case [{"message": dict()}, *_]:
                return Reply(status, request_id, values)
        raise TransientFault("no_completion", status)

    def without_key(self, text: str) -> str:
        """The text with the key struck out, should the server have echoed it."""
        key = self._key.get_secret_value() if self._key else ""
        return text.replace(json.dumps(key)[1:-1], "[key]") if len(key) >= MIN_SECRET_CHARACTERS else text


def _read_key(source: EndpointConfig) -> SecretStr | None:
    if source.api_key_env is None:
        return None
    key = os.environ.get(source.api_key_env, "").strip()
    if not key:
        raise ConfigError(
            f"api_key_env: the environment variable {source.api_key_env} is unset or empty; set it to the endpoint's "
            "key, or leave api_key_env out for a server without one"
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"api_key_env: the value of {source.api_key_env} cannot be sent in a header: only printable ASCII can; "
            "look for a line break or a quotation mark that was copied along"
        )
    return SecretStr(key)


def retry_after_seconds(header: str | None) -> float:
    """Seconds that a Retry-After header asks for, as a number or a date (RFC 9110, 10.2.3).

    At most `MAX_RETRY_AFTER_SECONDS`: a server must not put a run to sleep for a day.
    """
    if header is None:
        return 0.0
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS) if seconds == seconds else 0.0
