"""The cluster: a real API server with its controllers and scheduler; every node's kubelet is the test cluster's."""

from __future__ import annotations

import copy
import json
import ssl
import threading
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes.cluster import sandbox
from tests.kubernetes.cluster.access import ADMIN, service_account
from tests.kubernetes.cluster.api import Entry, Request
from tests.kubernetes.cluster.certificates import make_certificates
from tests.kubernetes.cluster.cluster import write_kubeconfig
from tests.kubernetes.cluster.kubelet import Kubelet
from tests.kubernetes.cluster.launches import Image, Launcher
from tests.kubernetes.cluster.resources import Target, by_kind
from tests.kubernetes.cluster.server import Server
from tests.kubernetes.cluster.store import Object, is_finished
from tests.kubernetes.control_plane.processes import running_processes
from tests.kubernetes.control_plane.remote import RemoteStore, path_of, pod_target

SECONDS_BETWEEN_STEPS = 0.5
TOKEN_SECONDS = 7200


class RealControlPlane:
    """A cluster that lives as long as its `with` block; to a test it is what `Cluster` is.

    Args:
        folder: certificates, volumes, logs and the database go there.
        images: what can be pulled, by reference.
    """

    def __init__(self, folder: Path, images: Mapping[str, Image]) -> None:
        self.folder = folder
        self.images = images
        self.faults: list[str] = []
        self.not_served: list[str] = []
        """Manifests of kinds that this version of Kubernetes does not have."""
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)

    def __enter__(self) -> RealControlPlane:
        self.certificates = make_certificates(self.folder / "certificates")
        with ExitStack() as stack:
            self.server = stack.enter_context(running_processes(self.folder, self.certificates))
            context = ssl.create_default_context(cafile=str(self.certificates.authority))
            self.store = RemoteStore(f"https://127.0.0.1:{self.server.port}", self.server.token, context)
            stack.callback(self.store.close)
            where = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.server.port)}
            authority = self.certificates.authority
            self.launcher = Launcher(self.store, self._token, self.folder, self.images, where, authority)
            self.kubelet = Kubelet(self.store, self.launcher, sandbox.start)
            self.logs = Server(self.certificates)
            self.logs.start(PodLogs(self.launcher))
            stack.callback(self.logs.stop)
            self._thread.start()
            stack.callback(self._stop_kubelet)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def step(self) -> None:
        """One round of the kubelet, which also removes a deleted pod once its container has ended."""
        with self._lock:
            self.kubelet.step()
            for pod in self.store.newest_pods:
                if "deletionTimestamp" in pod["metadata"] and "nodeName" in pod["spec"] and is_finished(pod):
                    options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
                    self.store.call("DELETE", path_of(pod_target(pod)), options)

    def _run(self) -> None:
        while not self._stopping.wait(SECONDS_BETWEEN_STEPS):
            try:
                self.step()
            except Exception:
                self.faults.append(traceback.format_exc())

    def _stop_kubelet(self) -> None:
        self._stopping.set()
        self._thread.join()
        self.kubelet.stop_all()

    # What a cluster's administrator does.

    def apply(self, *manifests: Path | Object) -> None:
        """Create or change the objects of YAML files and of dictionaries, as `kubectl apply --server-side` does."""
        for manifest in manifests:
            items = yaml.safe_load_all(manifest.read_text("utf-8")) if isinstance(manifest, Path) else [manifest]
            for item in filter(None, items):
                self._apply(copy.deepcopy(item))

    def _apply(self, item: Object) -> None:
        resource = by_kind(item["apiVersion"], item["kind"])
        if not self._serves(Target(resource)):
            self.not_served.append(f"{item['kind']} {item['metadata']['name']}")
            return
        namespace = item["metadata"].get("namespace", "default") if resource.namespaced else ""
        target = Target(resource, namespace, item["metadata"]["name"])
        status = item.pop("status", None)
        if resource.kind == "PersistentVolumeClaim":
            self._provide_volume(item)
        # YAML is what the content is called, and JSON is YAML.
        options = "fieldManager=administrator&force=true"
        self.store.call("PATCH", f"{path_of(target)}?{options}", item, "application/apply-patch+yaml")
        if status is not None:
            self.store.merge(f"{path_of(target)}/status", {"status": status | self._presence()})

    def _serves(self, target: Target) -> bool:
        try:
            served = self.store.call("GET", path_of(target).rsplit("/", 1)[0])["resources"]
        except LookupError:
            return False
        return target.resource.plural in {entry["name"] for entry in served}

    def _presence(self) -> dict[str, Any]:
        """What a kubelet says of its node."""
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}
        times = dict.fromkeys(("lastHeartbeatTime", "lastTransitionTime"), self.store.timestamp())
        return {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.logs.port}},
            "conditions": [ready | times],
        }

    def _provide_volume(self, claim: Object) -> None:
        """What the provisioner of a storage class does: a volume for this claim."""
        metadata, spec = claim["metadata"], claim["spec"]
        folder = self.volume(metadata["name"], metadata["namespace"])
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": metadata["name"]},
            "spec": {
                "capacity": spec["resources"]["requests"],
                "accessModes": spec["accessModes"],
                "hostPath": {"path": str(folder)},
                "claimRef": {"namespace": metadata["namespace"], "name": metadata["name"]},
            },
        }
        self.store.call("POST", "/api/v1/persistentvolumes", volume)

    def kubeconfig(self, account: str = "", namespace: str = "") -> Path:
        """A kubeconfig for a service account; for the administrator, where none is named."""
        user = service_account(namespace, account) if account else ADMIN
        token = self._token(namespace, account) if account else self.server.token
        path = self.folder / f"kubeconfig-{account or ADMIN}.yaml"
        return write_kubeconfig(path, self.server.port, self.certificates.authority, user, token, namespace)

    def _token(self, namespace: str, account: str) -> str:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        answer = self.store.call("POST", path, body | {"spec": {"expirationSeconds": TOKEN_SECONDS}})
        return answer["status"]["token"]

    # What a test looks at.

    @property
    def audit(self) -> list[Entry]:
        """Every request of a pod or a client that was allowed or refused, in order."""
        lines = self.server.audit_log.read_text("utf-8").splitlines()
        return [_entry(json.loads(line)) for line in lines if '"objectRef"' in line]

    def objects(self, plural: str, **labels: str) -> list[Object]:
        """The objects of a resource with these labels."""
        return self.store.list(plural, ",".join(f"{name}={value}" for name, value in labels.items()))

    def pods(self, **labels: str) -> list[Object]:
        """Every pod there ever was with these labels."""
        with self._lock:
            known = list(self.store.pods.values())
            found = [pod for pod in known if labels.items() <= (pod["metadata"].get("labels") or {}).items()]
            return copy.deepcopy(found)

    def log(self, pod: Object) -> str:
        """What a pod has printed."""
        path = self.launcher.log(pod["metadata"]["namespace"], pod["metadata"]["name"])
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def volume(self, claim: str, namespace: str) -> Path:
        """The folder behind a PersistentVolumeClaim."""
        return self.launcher.volume(namespace, claim)

    # What a test does to it.

    def evict(self, pod: Object) -> None:
        """Take a pod away from its node by the eviction API: SIGTERM, its grace period, SIGKILL."""
        metadata = {name: pod["metadata"][name] for name in ("name", "namespace")}
        body = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": metadata}
        self.store.call("POST", path_of(pod_target(pod, "eviction")), body)

    def kill(self, pod: Object) -> None:
        """End a pod's container at once, as a crash of it does."""
        with self._lock:
            self.kubelet.container(pod).kill()


class PodLogs:
    """What the API server asks a kubelet for: `/containerLogs/<namespace>/<pod>/<container>`."""

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher

    def answer(self, request: Request) -> tuple[int, str]:
        match request.path.strip("/").split("/"):
            case ["containerLogs", namespace, pod, _] if (path := self.launcher.log(namespace, pod)).exists():
                return 200, path.read_text(encoding="utf-8", errors="replace")
        return 404, f"there is no {request.path}"


def _entry(event: dict[str, Any]) -> Entry:
    """A line of the audit log, in the words of the test cluster's."""
    target = event["objectRef"]
    parts = (target.get("resource", ""), target.get("subresource", ""))
    return Entry(
        user=event["user"]["username"],
        verb=event["verb"],
        group=target.get("apiGroup", ""),
        resource="/".join(filter(None, parts)),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=event["responseStatus"]["code"],
    )
