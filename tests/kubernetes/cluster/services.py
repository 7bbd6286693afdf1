"""What stands beside a cluster: a ZenML server, an object store and an MLflow server, each a process on 127.0.0.1."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

USER, PASSWORD = "default", "Long-enough-1"
BUCKET = "artifacts"
START_SECONDS = 300


@dataclass(frozen=True)
class Services:
    """Addresses of the running services."""

    zenml: str
    s3: str
    mlflow: str


@contextmanager
def running_services(folder: Path) -> Iterator[Services]:
    """Start all services, and stop them at the end. What they print is kept in `folder`."""
    ports = free_ports(3)
    services = Services(*(f"http://127.0.0.1:{port}" for port in ports))
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        started = {
            name: stack.enter_context(running_process([*command, str(port)], folder / f"{name}.log", environment))
            for port, (name, (command, environment)) in zip(ports, _commands(folder).items(), strict=True)
        }
        for name, page in (("zenml", "/health"), ("s3", "/moto-api/"), ("mlflow", "/health")):
            wait_for(getattr(services, name) + page, started[name], folder / f"{name}.log")
        bucket = urllib.request.Request(f"{services.s3}/{BUCKET}", method="PUT")
        urllib.request.urlopen(bucket, timeout=30).close()
        yield services


def _commands(folder: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Name -> command, which lacks only the port, and variables."""
    here = ["--host", "127.0.0.1"]
    database, files = f"sqlite:///{folder}/mlflow.db", str(folder / "mlflow")
    mlflow = ["server", "--workers", "1", "--backend-store-uri", database, "--artifacts-destination", files]
    of_zenml = {
        "ZENML_CONFIG_PATH": str(folder / "zenml-server"),
        "ZENML_SERVER": "true",
        "ZENML_SERVER_DEPLOYMENT_TYPE": "other",
        "ZENML_SERVER_AUTO_ACTIVATE": "1",
        "ZENML_DEFAULT_USER_NAME": USER,
        "ZENML_DEFAULT_USER_PASSWORD": PASSWORD,
    }
    commands = {
        "zenml": (["uvicorn", "zenml.zen_server.zen_server_api:app", "--log-level", "warning"], of_zenml),
        "s3": (["moto.server"], {}),
        "mlflow": (["mlflow", *mlflow], {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}),
    }
    python = [sys.executable, "-m"]
    return {name: ([*python, *words, *here, "--port"], own) for name, (words, own) in commands.items()}


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@contextmanager
def running_process(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that prints into a log, and ends with the block; and with this process, even where that is killed."""
    command = ["setpriv", "--pdeathsig", "TERM", *command]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(page: str, process: subprocess.Popen[bytes], log: Path, context: ssl.SSLContext | None = None) -> None:
    """Wait until a process answers at an address.

    Raises:
        RuntimeError: with the end of its log, where it stops or stays silent.
    """
    patience = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < patience:
        try:
            urllib.request.urlopen(page, timeout=2, context=context).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"{page} does not answer:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
