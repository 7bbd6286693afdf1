"""A real server on the loopback, in a thread of the test."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx2
import pytest

from r2d.config.serving import ServingConfig
from r2d.inference.decide import Answerer
from r2d.serving.batching import ServedModel
from r2d.serving.run import make_server
from r2d.serving.service import Service


@dataclass
class Running:
    """A service that answers."""

    service: Service
    address: str
    client: httpx2.Client

    def decide(self, *texts: str, **rest: Any) -> httpx2.Response:
        return self.client.post("/v1/decide", json={"calls": [{"text": text} for text in texts]}, **rest)

    def metric(self, line: str) -> float:
        """The value of a line of /metrics, 0 where it is not there."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(each.rpartition(" ")[2]) for each in lines if each.startswith(f"{line} "))


class Serve(Protocol):
    def __call__(
        self, of: ServedModel | None = None, *, token: str | None = None,
        newer_model: Callable[[str], ServedModel | None] = ..., **config: Any,
    ) -> Running: ...  # fmt: skip


@contextmanager
def running(service: Service) -> Iterator[Running]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        server = make_server(service)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with httpx2.Client(base_url=address, timeout=60) as client:
            while not (server.started and service.is_ready):
                assert thread.is_alive()
                time.sleep(0.01)
            try:
                yield Running(service, address, client)
            finally:
                server.should_exit = True
                thread.join(60)
                assert not thread.is_alive()


@pytest.fixture(scope="session")
def model(stage2_model: Path) -> ServedModel:
    return ServedModel("toy/1", Answerer.of_model(stage2_model))


@pytest.fixture
def serve(model: ServedModel) -> Iterator[Serve]:
    """A function that starts a service with a config; all end with the test."""
    open_services = []

    def start(
        of: ServedModel | None = None, *, token: str | None = None,
        newer_model: Callable[[str], ServedModel | None] = lambda version: None, **config: Any,
    ) -> Running:  # fmt: skip
        context = running(Service(ServingConfig(**config), of or model, token, newer_model))
        open_services.append(context)
        return context.__enter__()

    yield start
    for context in reversed(open_services):
        context.__exit__(None, None, None)
