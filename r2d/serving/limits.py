"""What a request must keep to before anything reads it: who asks, how often, how large it is and how fast it comes."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from r2d.config.serving import ServingConfig
from r2d.errors import ConfigError

logger = logging.getLogger(__name__)

TOKEN_VARIABLE = "R2D_SERVE_TOKEN"
OPEN_PATHS = ("/healthz", "/readyz")
"""What a probe asks, without a token; the answer holds nothing about a call."""
FEWEST_TOKEN_CHARACTERS = 24
CLIENTS_REMEMBERED = 10_000


def require_guarded(config: ServingConfig, token: str | None) -> None:
    """Raises a ConfigError where anybody beyond this machine could ask, or the token can be guessed."""
    if token is not None and len(token) < FEWEST_TOKEN_CHARACTERS:
        raise ConfigError(
            f"{TOKEN_VARIABLE}: {len(token)} characters; give at least {FEWEST_TOKEN_CHARACTERS}, such as the output "
            "of `openssl rand -hex 32`"
        )
    if not config.is_loopback and token is None and config.user_header is None:
        raise ConfigError(
            f"host {config.host}: off the loopback nobody is let in without a token; set {TOKEN_VARIABLE}, name the "
            "header of a proxy that logs users in (user_header), or listen on 127.0.0.1"
        )


def json_refusal(request: Request, status: int, detail: str, headers: Mapping[str, str]) -> Response:
    """Why a request is not answered, as JSON."""
    return JSONResponse({"detail": detail}, status, headers)


Refuse = Callable[[Request, int, str, Mapping[str, str]], Response]
"""As `json_refusal`: what answers a request that cannot be answered."""


class Refusal(Exception):  # noqa: N818 - an answer, not an error of the service
    """The request is answered at once."""

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.headers = {} if retry_after is None else {"retry-after": str(retry_after)}


@dataclass
class Guard:
    """ASGI middleware: refuses what breaks a limit, and passes on the rest with its body read whole."""

    app: ASGIApp
    config: ServingConfig
    token: str | None
    refuse: Refuse = json_refusal
    on_answered: Callable[[str, int, float], object] = lambda route, status, seconds: None
    """Receives the route, the status and the seconds of each request, those that are refused among them."""
    open_paths: Collection[str] = OPEN_PATHS
    """What anybody may ask, as often as they like."""
    _allowances: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Client -> requests that it has left, and when that was so."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, await self._checked(scope, receive), answer)
        except Refusal as refusal:
            headers = {"connection": "close"} | refusal.headers
            await self.refuse(Request(scope), refusal.status, refusal.message, headers)(scope, receive, answer)
        except Exception as error:  # its message may quote the request, and the caller has its answer
            logger.error("a request ended in %s", type(error).__name__)
        route = getattr(scope.get("route"), "path", "other")
        self.on_answered(route, status, time.perf_counter() - started)

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        """What gives the request's body, which is here already; raises a Refusal where a limit is broken."""
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy that goes by the other one would take what follows for a request of its own user.
            raise Refusal(400, "the end of the body is given twice: content-length and transfer-encoding; send one")
        if scope["path"] in self.open_paths:
            return receive
        client = self._client(scope, headers)
        self._spend(client)
        body = await self._body(headers, receive)
        if body and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "send JSON, and say so: content-type: application/json")
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        scope.setdefault("state", {})["user"] = client

        async def read() -> Message:
            return messages.pop() if messages else await receive()

        return read

    def _client(self, scope: Scope, headers: Headers) -> str:
        """The user that the proxy names, else the address; raises a Refusal of one who may not ask."""
        if self.token is not None:
            given = headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                raise Refusal(401, "give the token: Authorization: Bearer ...")
        if self.config.user_header is None:
            return str((scope.get("client") or ("unknown",))[0])
        named = headers.getlist(self.config.user_header)
        if len(named) > 1:  # the first may be the client's own
            raise Refusal(401, f"{self.config.user_header} stands there more than once; let the proxy replace it")
        sent = "".join(named).encode("latin-1")  # the bytes that were sent
        try:
            user = sent.decode().strip()
        except UnicodeDecodeError:
            user = sent.decode("latin-1").strip()
        if not user:
            raise Refusal(401, f"the proxy names no user in {self.config.user_header}")
        return user

    def _spend(self, client: str) -> None:
        """Take one request from what the client has left: `requests_per_minute` at most, filled up evenly."""
        limit = self.config.requests_per_minute
        if limit is None:
            return
        now = time.monotonic()
        left, since = self._allowances.pop(client, (float(limit), now))
        left = min(limit, left + (now - since) * limit / 60)
        while len(self._allowances) >= CLIENTS_REMEMBERED:
            del self._allowances[next(iter(self._allowances))]
        self._allowances[client] = (max(0.0, left - 1), now) if left >= 1 else (left, now)
        if left < 1:
            wait = max(1, round((1 - left) * 60 / limit))
            raise Refusal(429, f"more than {limit} requests a minute; ask again in {wait} s", retry_after=wait)

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """The whole body; raises a Refusal where it is too large or comes too slowly."""
        most = self.config.max_body_bytes
        too_large = Refusal(413, f"the body is larger than {most:,} bytes")
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > most:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self.config.request_seconds):
                while True:
                    message = await receive()
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Refusal(408, f"the body did not arrive within {self.config.request_seconds:g} s") from None
