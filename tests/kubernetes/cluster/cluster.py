"""The cluster: an API server, a job controller, a scheduler and a kubelet, in this process; and doors for the test."""

from __future__ import annotations

import base64
import copy
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes.cluster import sandbox
from tests.kubernetes.cluster.access import ADMIN, Access, service_account
from tests.kubernetes.cluster.admission import admit
from tests.kubernetes.cluster.api import Api, Entry
from tests.kubernetes.cluster.certificates import make_certificates
from tests.kubernetes.cluster.jobs import JobController
from tests.kubernetes.cluster.kubelet import Container, Kubelet
from tests.kubernetes.cluster.launches import Image, Launch, Launcher
from tests.kubernetes.cluster.resources import Target, by_kind, by_plural
from tests.kubernetes.cluster.scheduler import schedule
from tests.kubernetes.cluster.server import Server
from tests.kubernetes.cluster.store import Object, Store

CONTEXT = "test-cluster"
SECONDS_BETWEEN_STEPS = 0.1


class Cluster:
    """A cluster that lives as long as its `with` block.

    Args:
        folder: certificates, volumes and logs go there.
        images: what can be pulled, by reference.
        backoff_seconds: a job's wait after its first failed pod; 10 on a real cluster, then doubled each time.
        start: what starts a container; bubblewrap, or a stand-in for tests of the cluster itself.
        now: the clock.
    """

    def __init__(
        self,
        folder: Path,
        images: Mapping[str, Image],
        *,
        backoff_seconds: float = 10.0,
        start: Callable[[Launch], Container] = sandbox.start,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self.certificates = make_certificates(folder / "certificates")
        self.store = Store(now)
        self.access = Access(self.store)
        self.server = Server(self.certificates)
        self.launcher = Launcher(
            self.store,
            lambda namespace, account: self.access.token(service_account(namespace, account)),
            folder,
            images,
            {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.server.port)},
            self.certificates.authority,
        )
        self.api = Api(self.store, self.access, self.launcher)
        self.jobs = JobController(self.store, backoff_seconds)
        self.kubelet = Kubelet(self.store, self.launcher, start)
        self.faults: list[str] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="controllers", daemon=True)

    def __enter__(self) -> Cluster:
        self.server.start(self.api)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self.kubelet.stop_all()
        self.server.stop()

    def step(self) -> None:
        """One round of all controllers."""
        with self.store.lock:
            self.jobs.step()
            schedule(self.store)
            self.kubelet.step()
            self.store.sweep()

    def _run(self) -> None:
        # The thread that starts the containers lives as long as they may: they die with it.
        while not self._stopping.wait(SECONDS_BETWEEN_STEPS):
            try:
                self.step()
            except Exception:
                self.faults.append(traceback.format_exc())

    # What a cluster's administrator does.

    def apply(self, *manifests: Path | Object) -> None:
        """Create the objects of YAML files and of dictionaries."""
        for manifest in manifests:
            items = yaml.safe_load_all(manifest.read_text("utf-8")) if isinstance(manifest, Path) else [manifest]
            for item in filter(None, items):
                resource = by_kind(item["apiVersion"], item["kind"])
                namespace = item["metadata"].get("namespace", "default") if resource.namespaced else ""
                target = Target(resource, namespace)
                with self.store.lock:
                    self.store.create(target, admit(self.store, target, copy.deepcopy(item)))

    def kubeconfig(self, account: str = "", namespace: str = "") -> Path:
        """A kubeconfig for a service account; for the administrator, where none is named."""
        user = service_account(namespace, account) if account else ADMIN
        path = self.folder / f"kubeconfig-{account or ADMIN}.yaml"
        authority = self.certificates.authority
        return write_kubeconfig(path, self.server.port, authority, user, self.access.token(user), namespace)

    # What a test looks at.

    @property
    def audit(self) -> list[Entry]:
        """Every request that was allowed or refused, in order."""
        return list(self.api.audit)

    def objects(self, plural: str, *, removed: bool = False, **labels: str) -> list[Object]:
        """Copies of the objects of a resource with these labels; those that are gone too, if asked."""
        with self.store.lock:
            kind = by_plural(plural).kind
            gone = [item for item in self.store.removed if item["kind"] == kind] if removed else []
            found = [*gone, *self.store.list(plural)]
            found = [item for item in found if labels.items() <= (item["metadata"].get("labels") or {}).items()]
            return copy.deepcopy(found)

    def pods(self, **labels: str) -> list[Object]:
        """Every pod there ever was with these labels."""
        return self.objects("pods", removed=True, **labels)

    def log(self, pod: Object) -> str:
        """What a pod has printed."""
        path = self.launcher.log(pod["metadata"]["namespace"], pod["metadata"]["name"])
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def volume(self, claim: str, namespace: str) -> Path:
        """The folder behind a PersistentVolumeClaim."""
        return self.launcher.volume(namespace, claim)

    # What a test does to it.

    def delete(self, plural: str, name: str, namespace: str = "") -> None:
        """Delete an object and, in the background, what it owns."""
        with self.store.lock:
            self.store.delete(Target(by_plural(plural), namespace, name))

    def evict(self, pod: Object) -> None:
        """Take a pod away from its node: SIGTERM, its grace period, SIGKILL."""
        with self.store.lock:
            self.api.evict(_target(pod))

    def kill(self, pod: Object) -> None:
        """End a pod's container at once, as a crash of it does."""
        with self.store.lock:
            self.kubelet.container(pod).kill()


def node(name: str, allocatable: Mapping[str, str], *, labels: Mapping[str, str], taints: Iterable[Any] = ()) -> Object:
    """The manifest of a node."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": dict(allocatable), "capacity": dict(allocatable)},
    }


def write_kubeconfig(path: Path, port: int, authority: Path, user: str, token: str, namespace: str) -> Path:
    """A kubeconfig for an API server on 127.0.0.1, with the context of the test cluster as the current one."""
    cluster = {
        "server": f"https://127.0.0.1:{port}",
        "certificate-authority-data": base64.b64encode(authority.read_bytes()).decode(),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user, "namespace": namespace}}],
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def _target(pod: Object) -> Target:
    return Target(by_plural("pods"), pod["metadata"]["namespace"], pod["metadata"]["name"])
