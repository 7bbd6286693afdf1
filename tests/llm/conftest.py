"""The test server of a language model, and runs of requests against it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from r2d.llm import runner
from tests.llm.server import RunningServer
from tests.llm.toy_run import ToyRun


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path)
    yield running
    running.kill()


@pytest.fixture
def toy(server: RunningServer, tmp_path: Path) -> ToyRun:
    return ToyRun(server, tmp_path)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(runner, "SECONDS_BETWEEN_LINES", 0.05)
