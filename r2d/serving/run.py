"""One process that serves: its socket, its signals and its first line."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from collections.abc import Callable

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from r2d.config.serving import ServingConfig, TLSConfig
from r2d.errors import ConfigError
from r2d.serving.batching import ServedModel
from r2d.serving.service import Service, make_app
from r2d.signals import signals_caught

FILES_BESIDE_CONNECTIONS = 256


def run_service(
    config: ServingConfig,
    model: ServedModel,
    *,
    token: str | None,
    newer_model: Callable[[str], ServedModel | None],
    say: Callable[[str], object],
    prepare: Callable[[Service], object] = lambda service: None,
) -> None:
    """Serve until SIGINT or SIGTERM; requests that were taken are answered first.

    Args:
        say: receives the address, once it is listened on.
        prepare: is given the service before it starts, to add pages to it.

    Raises:
        ConfigError: the address cannot be listened on, or certificate and key cannot be read.
    """
    if config.tls is not None:
        _require_certificate(config.tls)
    service = Service(config, model, token, newer_model)
    prepare(service)
    try:
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        listening = socket.create_server((config.host, config.port), family=family, backlog=1024)
    except OSError as error:
        raise ConfigError(
            f"{config.host}:{config.port}: cannot be listened on ({error.strerror}); end what does, or give another "
            "port"
        ) from None
    _allow_files(config.max_connections + FILES_BESIDE_CONNECTIONS)
    with listening:
        address, port = listening.getsockname()[:2]
        scheme = "http" if config.tls is None else "https"
        say(f"{model.version} answers at {scheme}://{f'[{address}]' if ':' in address else address}:{port}/v1/decide")
        if config.review is not None:
            say(f"review at {scheme}://{f'[{address}]' if ':' in address else address}:{port}/review")
        with signals_caught(lambda number: None):  # uvicorn catches them, and raises them again when it has ended
            make_server(service).run(sockets=[listening])


def make_server(service: Service) -> uvicorn.Server:
    """uvicorn around a service, without logs of requests."""
    config = service.config
    return uvicorn.Server(
        uvicorn.Config(
            make_app(service),
            http=with_header_deadline(config.request_seconds),
            ws="none",
            limit_concurrency=config.max_connections,
            timeout_graceful_shutdown=int(config.request_seconds) + 1,
            access_log=False,  # it would log addresses of people
            log_config=None,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            ssl_certfile=None if config.tls is None else config.tls.certificate,
            ssl_keyfile=None if config.tls is None else config.tls.key,
        )
    )


def with_header_deadline(seconds: float) -> type[asyncio.Protocol]:
    """uvicorn's protocol, which waits for headers as long as a client drips them, with an end to that."""

    class Protocol(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        """One a connection: those of requests that came in time would hold them in memory until they end."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._close_without_request()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._forget_deadline()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._close_without_request()

        def _close_without_request(self) -> None:
            self._forget_deadline()
            last = self.cycle

            def close() -> None:
                if self.cycle is last:
                    self.transport.close()

            self._deadline = self.loop.call_later(seconds, close)

        def _forget_deadline(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()

    return Protocol


def _require_certificate(tls: TLSConfig) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"tls: {tls.certificate} and {tls.key} are no certificate and its key in PEM that can be read "
            f"({type(error).__name__}: {error.strerror or 'damaged'})"
        ) from None


def _allow_files(number: int) -> None:
    """Let this process open that many files, as far as the system lets it: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(number, hard), hard))
