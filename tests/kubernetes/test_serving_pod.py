"""Two pods of k8s/components/serving answer on the test cluster, follow the alias, and finish what they took.

The test cluster has no Deployment and no network: the pods are made from the template of ours, their probes are asked
here, and the calls go to both in turn, as by the Service.
"""

from __future__ import annotations

import copy
import itertools
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import mlflow
import pytest
import yaml

from tests.kubernetes.cluster.api import Certificate
from tests.kubernetes.cluster.cluster import Cluster
from tests.kubernetes.cluster.containers import sandbox_obstacle
from tests.kubernetes.cluster.objects import KINDS, Address, Object
from tests.kubernetes.cluster.site import (
    BASE,
    IMAGE,
    NAMESPACE,
    free_ports,
    image_of,
    nodes,
    running_process,
    secret,
    wait_for,
)
from tests.kubernetes.manifests import K8S
from tests.pipelines.conftest import Workplace

pytestmark = pytest.mark.cluster

MANIFESTS = list(yaml.safe_load_all((K8S / "components" / "serving" / "serving.yaml").read_text(encoding="utf-8")))
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
MODEL, TOKEN, NOTE = "reason2decide", "a-token-of-24-characters", "pt Quibbleworth reports fever for 3 days"
SECONDS = 240


@dataclass
class ServedPod:
    cluster: Cluster
    client: httpx2.Client
    """With the token."""
    name: str

    @property
    def state(self) -> Object:
        [pod] = [pod for pod in self.cluster.pods() if pod["metadata"]["name"] == self.name]
        return pod

    @property
    def log(self) -> str:
        return self.cluster.log(self.state)

    def is_ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx2.ConnectError:
            return False

    def probes(self) -> list[int]:
        """Status of what each probe of the Deployment asks, which has no token."""
        paths = [container()[probe]["httpGet"]["path"] for probe in PROBES]
        return [self.client.get(path, headers={"authorization": ""}).status_code for path in paths]

    def decide(self, num_calls: int = 1, **rest: Any) -> httpx2.Response:
        return self.client.post("/v1/decide", json={"calls": [{"text": NOTE}] * num_calls}, **rest)

    def wait_until(self, look: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not look():
            assert time.monotonic() < deadline, self.log[-2000:]
            assert self.state["status"].get("phase") in (None, "Pending", "Running"), self.log[-2000:]
            time.sleep(0.2)


def container() -> Object:
    [deployment] = [item for item in MANIFESTS if item["kind"] == "Deployment"]
    [found] = copy.deepcopy(deployment["spec"]["template"]["spec"]["containers"])
    return dict(found)


@pytest.fixture(scope="module")
def replicas(stage2_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ServedPod]]:
    """Two versions of a model in MLflow, behind TLS, the champion the first; and two pods."""
    if obstacle := sandbox_obstacle():
        pytest.skip(obstacle)
    folder = tmp_path_factory.mktemp("serving")
    place, certificate = Workplace(folder / "image"), Certificate.made(folder / "certificate")
    registry_port, *ports = free_ports(3)
    registry, verify = f"https://localhost:{registry_port}", ssl.create_default_context(cafile=certificate.path)
    settings = (place.folder / "configs" / "cluster" / "serve.yaml").read_text("utf-8")
    for port in ports:  # pods share this machine
        changed = settings.replace("8443", f"{port}\n    refresh_seconds: 1")
        (place.folder / "configs" / "cluster" / f"serve-{port}.yaml").write_text(changed, encoding="utf-8")
    words = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--workers",
        "1",
        "--port",
        str(registry_port),
        "--backend-store-uri",
    ]
    words += [f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")]
    tls = f"--ssl-certfile {certificate.path} --ssl-keyfile {certificate.key}"
    environment = {"MLFLOW_UVICORN_OPTS": tls, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (
        running_process(words, folder / "mlflow.log", environment) as process,
        Cluster(folder / "cluster", {IMAGE: image_of(place.folder)}) as cluster,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("MLFLOW_TRACKING_URI", registry)
        patch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate.path))
        patch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
        wait_for(f"{registry}/health", process, folder / "mlflow.log", verify)
        register_twice(stage2_model, place.folder)
        cluster.apply(BASE / "namespace.yaml", BASE / "rbac.yaml", BASE / "limits.yaml", *nodes())
        cluster.apply(
            secret("serving-tls", {"tls.crt": certificate.path.read_bytes(), "tls.key": certificate.key.read_bytes()}),
            secret("trust", {"ca.crt": certificate.path.read_bytes()}),
            secret("mlflow-pipeline", {"password": b"unused"}),
            secret("serving-token", {"token": TOKEN.encode()}),
            *[item for item in MANIFESTS if item["kind"] in {kind.name for kind in KINDS.values()}],
            *[pod_of_template(registry, port) for port in ports],
        )
        with ExitStack() as stack:
            served = []
            for port in ports:
                client = httpx2.Client(
                    base_url=f"https://localhost:{port}", verify=verify, timeout=60,
                    headers={"authorization": f"Bearer {TOKEN}"},
                )  # fmt: skip
                served.append(ServedPod(cluster, stack.enter_context(client), f"serving-{port}"))
            for each in served:
                each.wait_until(each.is_ready)
            yield served
        assert cluster.faults == []


@pytest.fixture
def pod(replicas: list[ServedPod]) -> ServedPod:
    return replicas[0]


def register_twice(folder: Path, code: Path) -> None:
    for _ in range(2):
        mlflow.pyfunc.log_model(
            name=MODEL, python_model=str(code / "mlops" / "pyfunc.py"), artifacts={"model": str(folder)},
            registered_model_name=MODEL, pip_requirements=[], model_config={"options_per_row": False},
        )  # fmt: skip
    mlflow.MlflowClient().set_registered_model_alias(MODEL, "champion", "1")


def pod_of_template(registry: str, port: int) -> Object:
    """As the Deployment would make it, but for what the test cluster does not do: probes, ports and restarts."""
    [deployment] = [item for item in MANIFESTS if item["kind"] == "Deployment"]
    template = copy.deepcopy(deployment["spec"]["template"])
    changed = {key: value for key, value in container().items() if key not in (*PROBES, "ports")} | {"image": IMAGE}
    for variable in changed["env"]:
        if variable["name"] == "MLFLOW_TRACKING_URI":
            variable["value"] = registry
    changed["command"] = [word.replace("serve.yaml", f"serve-{port}.yaml") for word in changed["command"]]
    metadata = template["metadata"] | {"name": f"serving-{port}", "namespace": NAMESPACE}
    spec = template["spec"] | {"restartPolicy": "Never", "containers": [changed]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_probes_are_answered_and_calls_only_with_the_token(pod: ServedPod) -> None:
    assert pod.probes() == [200, 200, 200]
    assert pod.decide(headers={"authorization": ""}).status_code == 401
    answer = pod.decide()
    assert (answer.status_code, answer.json()["answers"][0]["model"]) == (200, f"{MODEL}/1")
    assert pod.state["spec"]["nodeName"] == "cpu-0", "not where the GPU is"


def test_replicas_follow_the_alias_without_a_failed_call_and_agree_again(replicas: list[ServedPod]) -> None:
    """While the alias moves, one may be ahead of the other by `refresh_seconds` and the time that loading takes."""
    seen: Counter[tuple[str, int, str]] = Counter()
    stop = threading.Event()

    def ask() -> None:
        for pod in itertools.cycle(replicas):
            if stop.is_set():
                return
            answer = pod.decide()
            seen[pod.name, answer.status_code, answer.json()["answers"][0]["model"]] += 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in ("2", "1", "2"):
        mlflow.MlflowClient().set_registered_model_alias(MODEL, "champion", version)
        for pod in replicas:
            key = (pod.name, 200, f"{MODEL}/{version}")
            pod.wait_until(lambda key=key, before=seen[key]: seen[key] > before + 4)  # type: ignore[misc]
    stop.set()
    for thread in threads:
        thread.join()
    assert set(seen) == {(pod.name, 200, f"{MODEL}/{version}") for pod in replicas for version in ("1", "2")}
    assert [pod.decide().json()["answers"][0]["model"] for pod in replicas] == [f"{MODEL}/2"] * 2


def test_what_was_taken_is_answered_when_a_pod_is_drained_while_the_other_goes_on(replicas: list[ServedPod]) -> None:
    drained, other = replicas
    answered: list[httpx2.Response] = []
    asking = threading.Thread(target=lambda: answered.append(drained.decide(32)))
    asking.start()
    time.sleep(0.05)
    drained.cluster.evict(drained.state)
    assert other.decide().status_code == 200
    asking.join()
    assert [answer.status_code for answer in answered] == [200]
    deadline = time.monotonic() + SECONDS
    while drained.state["status"]["phase"] == "Running" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert drained.state["status"]["phase"] == "Succeeded", drained.log[-2000:]
    assert other.decide().status_code == 200
    assert "Quibbleworth" not in drained.log + other.log


def test_what_is_not_applied_here_is_what_the_test_cluster_does_not_have() -> None:
    unknown = []
    for item in MANIFESTS:
        try:
            Address.of(item)
        except ValueError:
            unknown.append(item["kind"])
    assert sorted(unknown) == ["Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget"]
