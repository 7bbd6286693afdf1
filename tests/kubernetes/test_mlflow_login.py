"""The MLflow server by the command of k8s/components/mlflow: TLS alone, and steps that are no administrators."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.cluster.api import Certificate
from tests.kubernetes.cluster.site import free_ports, running_process, wait_for
from tests.kubernetes.manifests import manifests, named, pods

pytestmark = pytest.mark.slow

AS_PIPELINE = """
import mlflow
from mlflow.server import get_app_client

client = mlflow.MlflowClient()
run = client.create_run(client.create_experiment("mine"))
client.log_metric(run.info.run_id, "loss", 1.0)
client.log_text(run.info.run_id, "weights", "model.txt")
client.create_registered_model("model")
client.create_model_version("model", source=run.info.artifact_uri, run_id=run.info.run_id)
client.set_registered_model_alias("model", "champion", "1")
assert str(client.get_model_version_by_alias("model", "champion").version) == "1"
users = get_app_client("basic-auth", tracking_uri=mlflow.get_tracking_uri())
forbidden_calls = (users.create_user, ("other", "a-long-password")), (users.update_user_admin, ("pipeline", True))
for call, arguments in forbidden_calls:
    try:
        call(*arguments)
    except mlflow.exceptions.MlflowException as error:
        assert "403" in str(error), error
    else:
        raise SystemExit("a step may administer the server")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """The address, and the variables of a client. Paths and database are of this machine, the rest is as shipped."""
    folder, (port,) = tmp_path_factory.mktemp("mlflow"), free_ports(1)
    certificate = Certificate.made(folder / "tls")
    secrets = {
        "mlflow/password": "of-the-administrator",
        "mlflow/flask-key": "k",
        "pipeline/password": "of-the-steps-1",
    }
    for name, value in secrets.items():
        (folder / "secrets" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "secrets" / name).write_text(value, encoding="utf-8")
    (container,) = next(pods([named(manifests(), "Deployment")["mlflow"]])).containers
    *shell, script = container["command"]
    for shipped, here in {
        "postgresql://mlflow:$(cat /secrets/database/password)@$DATABASE": f"sqlite:///{folder}/mlflow.db",
        "/secrets/": f"{folder}/secrets/",
        "/tls/tls.crt": str(certificate.path),
        "/tls/tls.key": str(certificate.key),
        "/tmp/auth.ini": f"{folder}/auth.ini",
        "s3://mlflow": f"{folder}/artifacts",
        "--host 0.0.0.0 --port 5000 --workers 2": f"--host 127.0.0.1 --port {port} --workers 1",
    }.items():
        assert shipped in script, shipped
        script = script.replace(shipped, here)
    url, log = f"https://localhost:{port}", folder / "log"
    server = {
        "MLFLOW_AUTH_CONFIG_PATH": f"{folder}/auth.ini",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    client = {
        "MLFLOW_TRACKING_URI": url,
        "MLFLOW_TRACKING_USERNAME": "pipeline",
        "MLFLOW_TRACKING_PASSWORD": "of-the-steps-1",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "REQUESTS_CA_BUNDLE": str(certificate.path),
    }
    with running_process([*shell, script], log, server) as process:
        wait_for(f"{url}/health", process, log, ssl.create_default_context(cafile=certificate.path))
        assert not [line for line in processes() for secret in secrets.values() if len(secret) > 1 and secret in line]
        yield url, client


def processes() -> list[str]:
    """The command lines of this machine, as every user sees them."""
    return subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()


def run(program: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def test_a_step_works_with_what_it_makes_and_administers_nothing(server: tuple[str, dict[str, str]]) -> None:
    done = run(AS_PIPELINE, server[1])
    assert done.returncode == 0, done.stderr[-3000:]


def test_neither_a_stranger_nor_plain_http_gets_an_answer(server: tuple[str, dict[str, str]]) -> None:
    url, client = server
    ask = "import mlflow; mlflow.MlflowClient().search_experiments()"
    stranger = run(ask, client | {"MLFLOW_TRACKING_PASSWORD": "wrong-password"})
    assert "401" in stranger.stderr
    plain = run(ask, client | {"MLFLOW_TRACKING_URI": url.replace("https", "http")})
    assert plain.returncode != 0
    assert "Connection" in plain.stderr
