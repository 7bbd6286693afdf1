"""The test cluster, as its own quick tests use it: stand-in containers, and a clock that the test moves.

And the first run of the story (`story.py`), for each module that has a `site` of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.cluster import Cluster, Image
from tests.kubernetes.cluster.scripted import Scripted, ScriptedContainer
from tests.kubernetes.cluster.site import BASE, IMAGE, NAMESPACE, Outcome, Site, nodes, typed_run
from tests.kubernetes.story import CONFIG
from tests.pipelines.conftest import Workplace

RESTRICTED_POD = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
RESTRICTED_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
NAMESPACE_AND_RIGHTS = (BASE / "namespace.yaml", BASE / "rbac.yaml")


def pod_spec(**changes: Any) -> dict[str, Any]:
    """A pod that keeps the standard "restricted"; `changes` are for its container."""
    container = {"name": "main", "image": IMAGE, "command": ["true"], "securityContext": RESTRICTED_CONTAINER}
    return {"restartPolicy": "Never", "securityContext": RESTRICTED_POD, "containers": [{**container, **changes}]}


def job(name: str, spec: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The manifest of a job."""
    spec = {"template": {"spec": spec or pod_spec()}, **fields}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


@dataclass
class Bench:
    """A cluster whose controllers and clock move only when the test says so."""

    cluster: Cluster
    scripted: Scripted = field(default_factory=Scripted)

    def pass_time(self, seconds: float = 0.0) -> None:
        """Let some time pass, and every controller act until there is nothing more to do."""
        self.scripted.seconds += seconds
        for _ in range(8):
            self.cluster.step()

    def end(self, exit_code: int) -> None:
        """End the newest container."""
        self.running.exit_code = exit_code
        self.pass_time()

    @property
    def running(self) -> ScriptedContainer:
        return self.scripted.containers[-1]

    @property
    def num_started(self) -> int:
        return len(self.scripted.containers)

    def job(self, name: str) -> dict[str, Any]:
        return next(item for item in self.cluster.objects("jobs") if item["metadata"]["name"] == name)

    def condition(self, name: str) -> tuple[str, str, str]:
        """Type, reason and message of the condition with which a job ended."""
        (condition,) = self.job(name)["status"]["conditions"]
        return condition["type"], condition["reason"], condition["message"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    scripted = Scripted()
    image = Image(folders={}, environment={"PATH": "/usr/bin"})
    cluster = Cluster(tmp_path / "cluster", {IMAGE: image}, start=scripted.start, now=scripted.now)
    cluster.apply(*NAMESPACE_AND_RIGHTS, *nodes())
    return Bench(cluster, scripted)


@pytest.fixture(scope="module")
def side() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.fixture(scope="module")
def local_run(tmp_path_factory: pytest.TempPathFactory, side: ThreadPoolExecutor) -> Future[Outcome]:
    """The same config on the embedded local stack, beside the first run on the cluster."""
    place = Workplace(tmp_path_factory.mktemp("local"))
    return side.submit(typed_run, place, "local", {"parameters": {"config": CONFIG}})


@pytest.fixture(scope="module")
def first_run(site: Site, local_run: Future[Outcome]) -> Outcome:
    return site.run("first", CONFIG)
