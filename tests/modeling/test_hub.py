"""A name that cannot be had is said within seconds, with one question to the hub, and by `r2d check` too."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """parameters:
  config:
    data: {format: synthetic_triage, labels: {names: [a, b], ordered: true}}
    model: {name: nobody/t5-smal}
    method: {name: sft}
"""


class Hub(ThreadingHTTPServer):
    """Knows no model; a hub that hangs answers nothing."""

    daemon_threads = True

    def __init__(self, *, hangs: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hangs, self.asked = hangs, list[str]()


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.server.asked.append(self.path)
        if self.server.hangs:
            time.sleep(60)
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def hub(request: pytest.FixtureRequest) -> Iterator[Hub]:
    server = Hub(hangs=getattr(request, "param", False))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def typed(code: str, hub: Hub, folder: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    """A program whose hub is that server, and how long it took."""
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}", "HF_HOME": str(folder), "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    started_at = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return done, time.monotonic() - started_at


LOAD = """
from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.modeling.load import start_tokenizer
from r2d.errors import ModelError
for _ in range(2):
    try: start_tokenizer(ModelConfig(name="nobody/t5-smal"), [], LabelsConfig(names=("a", "b")))
    except ModelError as error: print(error)
"""
CHECK = "import sys; sys.argv = ['r2d', 'check', '{}']; from mlops.cli.main import main; main()"


def test_a_name_that_the_hub_has_not_is_asked_for_once_and_said(hub: Hub, tmp_path: Path) -> None:
    done, _ = typed(LOAD, hub, tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == second
    assert "'nobody/t5-smal' is no folder here, and the Hugging Face hub has no such model" in first
    assert done.stderr == ""
    assert len(hub.asked) == 2, "a name that is refused is asked for again, once a call"


@pytest.mark.parametrize("hub", [True], indirect=True)
def test_a_hub_that_does_not_answer_is_said_within_seconds(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(CONFIG)
    done, seconds = typed(CHECK.format(tmp_path / "run.yaml"), hub, tmp_path)
    assert done.returncode == 0
    assert "warning: model.name 'nobody/t5-smal' is no folder here and could not be fetched" in done.stderr
    assert "run `hf download nobody/t5-smal" in done.stderr
    assert len(hub.asked) == 1
    assert seconds < 30


def test_check_refuses_a_name_that_the_hub_has_not(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(CONFIG)
    done, _ = typed(CHECK.format(tmp_path / "run.yaml"), hub, tmp_path)
    assert done.returncode == 2
    assert "the Hugging Face hub has no such model" in done.stderr
    assert "ok (" not in done.stdout
