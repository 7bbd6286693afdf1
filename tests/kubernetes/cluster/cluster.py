"""The test cluster: API, job controller, scheduler and kubelet in this process, and what a test does to them."""

from __future__ import annotations

import base64
import copy
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes.cluster.admission import admit
from tests.kubernetes.cluster.api import Api, AuditEntry, Certificate, HttpsServer, service_account
from tests.kubernetes.cluster.containers import start_sandbox
from tests.kubernetes.cluster.controllers import JobController, schedule
from tests.kubernetes.cluster.kubelet import Image, Kubelet, Launch
from tests.kubernetes.cluster.objects import Address, Object, Store

CONTEXT = "test-cluster"


class BaseCluster:
    """What a test does to a cluster, whichever its API server: `Cluster`, or `RealControlPlane`.

    Its kubelet acts in a thread of its own. The containers die with that thread, so it lives as long as they may.

    Args:
        folder: certificate, volumes and logs go there.
        images: the images that can be pulled, by reference.
    """

    seconds_between_steps = 0.1
    kubelet: Kubelet
    port: int

    def __init__(self, folder: Path, images: Mapping[str, Image]) -> None:
        self.folder = folder
        self.images = images
        self.certificate = Certificate.made(folder / "certificate")
        self.lock = threading.RLock()
        self.faults: list[str] = []
        """Errors of the cluster itself; a test fails on them."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)

    def apply(self, *manifests: Path | Object) -> None:
        """Create the objects of YAML files and of dictionaries."""
        for manifest in manifests:
            items = yaml.safe_load_all(manifest.read_text("utf-8")) if isinstance(manifest, Path) else [manifest]
            for item in filter(None, items):
                self.apply_object(copy.deepcopy(item))

    def kubeconfig(self, account: str = "", namespace: str = "") -> Path:
        """A kubeconfig for a service account; for the administrator, where none is named."""
        user, token = service_account(namespace, account), self.token(namespace, account)
        path = self.folder / f"kubeconfig-{account or user}.yaml"
        return write_kubeconfig(path, self.port, self.certificate.path, user, token, namespace)

    def log(self, pod: Object) -> str:
        """What a pod has printed."""
        return self.kubelet.read_log(pod["metadata"]["namespace"], pod["metadata"]["name"])

    def volume(self, claim: str, namespace: str) -> Path:
        """The folder behind a PersistentVolumeClaim."""
        return self.folder / "volumes" / namespace / claim

    def kill(self, pod: Object) -> None:
        """End the container of a pod at once, as a crash of it does."""
        with self.lock:
            self.kubelet.kill(pod)

    def start_kubelet(self) -> None:
        self._thread.start()

    def stop_kubelet(self) -> None:
        self._stopping.set()
        self._thread.join()
        self.kubelet.stop_all()

    def _run(self) -> None:
        while not self._stopping.wait(self.seconds_between_steps):
            try:
                self.step()
            except Exception:
                self.faults.append(traceback.format_exc())


class Cluster(BaseCluster):
    """A cluster that lives as long as its `with` block.

    Args:
        folder, images: as of `BaseCluster`.
        backoff_seconds: a job's wait after its first failed pod, doubled each time; 10 on a real cluster.
        start: what starts a container.
    """

    def __init__(
        self,
        folder: Path,
        images: Mapping[str, Image],
        *,
        backoff_seconds: float = 0.5,
        start: Callable[[Launch], Any] = start_sandbox,
    ) -> None:
        super().__init__(folder, images)
        self.store = Store(self.lock)
        self.server = HttpsServer(self.certificate)
        self.port = self.server.port
        self.kubelet = Kubelet(self.store, self, start)
        self.api = Api(self.store, self.kubelet.read_log)
        self.jobs = JobController(self.store, backoff_seconds)

    def __enter__(self) -> Cluster:
        self.server.start(self.api.answer)
        self.start_kubelet()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_kubelet()
        self.server.stop()

    def step(self) -> None:
        """One round of everything that acts in this process."""
        with self.lock:
            self.jobs.step()
            self.store.sweep()
            schedule(self.store)
            self.kubelet.step()

    def apply_object(self, item: Object) -> None:
        address = Address.of(item)._replace(name="")
        with self.lock:
            self.store.create(address, admit(self.store, address, item))

    def token(self, namespace: str, account: str) -> str:
        """A bearer token for a service account; for the administrator, where none is named."""
        return self.api.token(service_account(namespace, account))

    @property
    def audit(self) -> list[AuditEntry]:
        """Every request of a client or a pod, in order."""
        return list(self.api.audit)

    def objects(self, plural: str, **labels: str) -> list[Object]:
        """Copies of the objects of a kind with these labels."""
        with self.lock:
            return copy.deepcopy(with_labels(self.store.list(plural), labels))

    def pods(self, **labels: str) -> list[Object]:
        """Copies of the pods with these labels, those that are gone included."""
        with self.lock:
            return copy.deepcopy(with_labels([*self.store.removed_pods, *self.store.list("pods")], labels))

    def evict(self, pod: Object) -> None:
        """Take a pod away from its node, as a drain does: SIGTERM, its grace period, SIGKILL."""
        condition = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": ""}
        with self.lock:
            self.store.get(Address.of(pod))["status"].setdefault("conditions", []).append(condition)
            self.store.delete(Address.of(pod))

    def delete(self, plural: str, name: str, namespace: str = "") -> None:
        """Delete an object and, in the background, what it owns."""
        with self.lock:
            self.store.delete(Address(plural, namespace, name))


def with_labels(items: Iterable[Object], labels: Mapping[str, str]) -> list[Object]:
    """The objects that have all of these labels."""
    return [item for item in items if labels.items() <= item["metadata"].get("labels", {}).items()]


def node(name: str, allocatable: Mapping[str, str], labels: Mapping[str, str], *taints: Mapping[str, str]) -> Object:
    """The manifest of a node."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": dict(allocatable), "capacity": dict(allocatable)},
    }


def write_kubeconfig(path: Path, port: int, authority: Path, user: str, token: str, namespace: str) -> Path:
    """A kubeconfig for an API server on this machine, with the context of the test cluster as the current one."""
    data = base64.b64encode(authority.read_bytes()).decode()
    server = {"server": f"https://localhost:{port}", "certificate-authority-data": data}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user, "namespace": namespace}}],
        "clusters": [{"name": CONTEXT, "cluster": server}],
        "users": [{"name": user, "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path
