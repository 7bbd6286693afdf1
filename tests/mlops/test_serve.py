"""`r2d serve`: a process that answers, follows the registry, and ends in order."""

from __future__ import annotations

import os
import re
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from mlops.cli.serving import newer_model
from r2d.errors import RegistryError
from tests import warm
from tests.certificates import make_certificate
from tests.gate.measured import decisions
from tests.mlops.conftest import Register, Typed, metrics, run_config

ROOT = Path(__file__).resolve().parents[2]
NOTE = "pt denies fever for 2 days"


@contextmanager
def serving(*words: str) -> Iterator[tuple[warm.Running, str, str]]:
    """`r2d serve`, what it serves and its address."""
    command = [str(Path(sys.executable).parent / "r2d"), "serve", "--port", "0", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with warm.running(command, num_lines=1, cwd=ROOT, environment=environment) as (service, (line,)):
        found = re.fullmatch(r"(.+) answers at (https?://127\.0\.0\.1:\d+)/v1/decide", line)
        assert found is not None, line
        yield service, found[1], found[2]


def test_a_folder_is_served_until_a_signal(stage2_model: Path) -> None:
    with serving("--model", str(stage2_model)) as (service, served, address):
        answers = httpx2.post(f"{address}/v1/decide", json={"calls": [{"text": NOTE}]}, timeout=60).json()["answers"]
        assert (served, answers[0]["model"]) == (str(stage2_model), str(stage2_model))
        service.process.terminate()
        service.process.join(60)
        assert service.process.exitcode == 0
        output = service.printed("out") + service.printed("err")
        assert NOTE not in output
        assert "Traceback" not in output


def test_it_speaks_tls_where_a_certificate_is_given_and_names_one_that_cannot_be_read(
    stage2_model: Path, tmp_path: Path, typed: Typed
) -> None:
    certificate, key = make_certificate(tmp_path)
    config = tmp_path / "serve.yaml"
    values: dict[str, Any] = {"model": str(stage2_model), "tls": {"certificate": str(certificate), "key": str(key)}}
    config.write_text(yaml.safe_dump({"parameters": {"config": values}}))
    with serving("--config", str(config)) as (_, _, address):
        trust = ssl.create_default_context(cafile=str(certificate))
        assert address.startswith("https://")
        assert httpx2.get(f"{address}/readyz", verify=trust, timeout=60).text == "ready\n"
    key.write_text("no key")
    code, _, errors = typed("serve", "--config", str(config))
    assert (code, "tls.key are no certificate and its key" in errors, "Traceback" in errors) == (2, True, False)


def test_a_moved_alias_gives_the_newer_version(register: Register) -> None:
    from mlflow import MlflowClient

    for n in range(2):
        register(run_config("served"), metrics(decisions(0.8), consistency=0.5 + n / 10), key=f"key {n}")
    client = MlflowClient()
    client.set_registered_model_alias("served", "champion", "1")
    newer = newer_model("served@champion")
    first = newer("")
    assert first is not None
    assert first.version == "served/1"
    assert newer("served/1") is None
    client.set_registered_model_alias("served", "champion", "2")
    second = newer("served/1")
    assert second is not None
    assert second.version == "served/2"
    with pytest.raises(RegistryError, match="served@nobody"):
        newer_model("served@nobody")("")


@pytest.mark.parametrize(
    ("values", "words", "message"),
    [
        ({}, ("--host", "0.0.0.0"), "host 0.0.0.0: off the loopback nobody is let in without a token"),
        ({"max_queue": 1}, (), "max_calls (32) is above max_queue (1)"),
        ({"token": "secret"}, (), "token: unknown key"),
        ({"model": "nobody@champion"}, (), "no model named 'nobody' is registered"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(
    values: dict[str, Any], words: tuple[str, ...], message: str, store: str, typed: Typed, tmp_path: Path
) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text(yaml.safe_dump({"parameters": {"config": values}}))
    code, output, errors = typed("serve", "--config", str(config), *words)
    assert code == 2
    assert message in errors
    assert "Traceback" not in output + errors


def test_a_taken_port_is_named(stage2_model: Path, typed: Typed) -> None:
    with serving("--model", str(stage2_model)) as (_, _, address):
        port = address.rpartition(":")[2]
        code, _, errors = typed("serve", "--model", str(stage2_model), "--port", port)
    assert code == 2
    assert f"127.0.0.1:{port}: cannot be listened on" in errors
