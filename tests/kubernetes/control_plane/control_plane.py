"""A cluster with a real API server, its controllers and its scheduler; the kubelet is the test cluster's."""

from __future__ import annotations

import copy
import json
import os
import secrets
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
from starlette.requests import Request

from tests.kubernetes.cluster.api import ADMIN, AuditEntry, Certificate, HttpsServer
from tests.kubernetes.cluster.cluster import BaseCluster, with_labels, write_kubeconfig
from tests.kubernetes.cluster.containers import sandbox_obstacle, start_sandbox
from tests.kubernetes.cluster.kubelet import Image, Kubelet
from tests.kubernetes.cluster.objects import Address, Object, is_finished, timestamp
from tests.kubernetes.cluster.site import free_ports, running_process, wait_for

PROGRAMS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "reason2decide", "control-plane", "bin")
"""The folder that build.sh fills."""
NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
TOKEN_SECONDS = 7200
KUBELET_STATUS = ("phase", "startTime", "podIP", "hostIP", "containerStatuses")
"""What a kubelet writes of a pod's status; the rest is the scheduler's."""
# TaintNodesByCondition: its taint on new nodes is taken away by a controller that is left out. Left out are those
# that need a cloud or a network, and the one that would wait for the heartbeats of nodes.
OPTIONS = {
    "etcd": """
        --data-dir={folder}/etcd --unsafe-no-fsync
        --listen-client-urls=http://127.0.0.1:{etcd} --advertise-client-urls=http://127.0.0.1:{etcd}
        --listen-peer-urls=http://127.0.0.1:{peer} --initial-advertise-peer-urls=http://127.0.0.1:{peer}
        --initial-cluster=default=http://127.0.0.1:{peer}
    """,
    "kube-apiserver": """
        --etcd-servers=http://127.0.0.1:{etcd} --bind-address=127.0.0.1 --secure-port={api}
        --tls-cert-file={path} --tls-private-key-file={key} --endpoint-reconciler-type=none
        --token-auth-file={folder}/tokens.csv --authorization-mode=RBAC
        --service-account-issuer=https://kubernetes.default.svc
        --service-account-signing-key-file={key} --service-account-key-file={key}
        --service-cluster-ip-range=10.0.0.0/24 --kubelet-preferred-address-types=InternalIP
        --disable-admission-plugins=TaintNodesByCondition
        --audit-policy-file={folder}/audit-policy.yaml --audit-log-path={folder}/audit.log
    """,
    "kube-controller-manager": """
        --service-account-private-key-file={key} --root-ca-file={path} --use-service-account-credentials
        --controllers=*,-cloud-node-lifecycle,-nodeipam,-nodelifecycle,-route,-service
    """,
}
# Only the requests of pods and clients; the controllers are service accounts too.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}


def control_plane_obstacle() -> str:
    """Why no control plane can be started on this machine; empty if it can."""
    missing = [name for name in NAMES if not os.access(PROGRAMS / name, os.X_OK)]
    if missing:
        return f"{PROGRAMS} lacks {', '.join(missing)}: `make test-cluster-real` builds them"
    return sandbox_obstacle()


class RealControlPlane(BaseCluster):
    """A cluster that lives as long as its `with` block.

    Args:
        folder: certificate, database, volumes and logs go there.
        images: the images that can be pulled, by reference.
    """

    seconds_between_steps = 0.5

    def __init__(self, folder: Path, images: Mapping[str, Image]) -> None:
        super().__init__(folder, images)
        self.not_served: list[str] = []
        """Manifests of kinds that this version of Kubernetes does not have."""

    def __enter__(self) -> RealControlPlane:
        with ExitStack() as stack:
            self.port, token = stack.enter_context(_running_processes(self.folder, self.certificate))
            self.store = RemoteStore(self.port, token, self.certificate)
            stack.callback(self.store.http.close)
            self.kubelet = Kubelet(self.store, self, start_sandbox)
            self.logs = HttpsServer(self.certificate)
            self.logs.start(self._answer_log)
            stack.callback(self.logs.stop)
            self.start_kubelet()
            stack.callback(self.stop_kubelet)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def step(self) -> None:
        """One round of the kubelet, which also removes a deleted pod once its container has ended."""
        with self.lock:
            self.kubelet.step()
            for pod in self.store.newest_pods:
                if "deletionTimestamp" in pod["metadata"] and "nodeName" in pod["spec"] and is_finished(pod):
                    options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
                    self.store.call("DELETE", Address.of(pod).path, options)

    def apply_object(self, item: Object) -> None:
        """Create or change an object, as `kubectl apply --server-side` does; note a kind that is not served."""
        address, status = Address.of(item), item.pop("status", None)
        if address.plural == "persistentvolumeclaims":
            self._provide_volume(item)
        try:
            # The content type says YAML, and JSON is YAML.
            path = f"{address.path}?fieldManager=administrator&force=true"
            self.store.call("PATCH", path, item, "application/apply-patch+yaml")
        except LookupError:
            self.not_served.append(f"{item['kind']} {address.name}")
            return
        if status is not None:  # of a node
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}
            times = dict.fromkeys(("lastHeartbeatTime", "lastTransitionTime"), timestamp())
            status |= {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": self.logs.port}},
                "conditions": [ready | times],
            }
            self.store.merge(address._replace(subresource="status"), {"status": status})

    def _provide_volume(self, claim: Object) -> None:
        """Do what the provisioner of a storage class does: make a volume for this claim."""
        names = {key: claim["metadata"][key] for key in ("name", "namespace")}
        spec = {
            "capacity": claim["spec"]["resources"]["requests"],
            "accessModes": claim["spec"]["accessModes"],
            "hostPath": {"path": str(self.volume(names["name"], names["namespace"]))},
            "claimRef": names,
        }
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": names["name"]}, "spec": spec}
        self.store.call("POST", "/api/v1/persistentvolumes", volume)

    def token(self, namespace: str, account: str) -> str:
        if not account:
            return self.store.token
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        path = Address("serviceaccounts", namespace, account, "token").path
        return self.store.call("POST", path, body | {"spec": {"expirationSeconds": TOKEN_SECONDS}})["status"]["token"]

    @property
    def audit(self) -> list[AuditEntry]:
        entries = []
        for line in (self.folder / "audit.log").read_text("utf-8").splitlines():
            event = json.loads(line)
            if target := event.get("objectRef"):
                resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
                user, code = event["user"]["username"], event["responseStatus"]["code"]
                entries.append(AuditEntry(user, event["verb"], resource, target.get("name", ""), code))
        return entries

    def objects(self, plural: str, **labels: str) -> list[Object]:
        return with_labels(self.store.list(plural), labels)

    def pods(self, **labels: str) -> list[Object]:
        with self.lock:
            return copy.deepcopy(with_labels(self.store.pods.values(), labels))

    def evict(self, pod: Object) -> None:
        """Take a pod away from its node by the eviction API."""
        metadata = {name: pod["metadata"][name] for name in ("name", "namespace")}
        body = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": metadata}
        self.store.call("POST", Address.of(pod)._replace(subresource="eviction").path, body)

    def _answer_log(self, request: Request, _: bytes) -> tuple[int, str]:
        """Answer what the API server asks a kubelet for: `/containerLogs/<namespace>/<pod>/<container>`."""
        _, kind, namespace, pod, *_ = request.url.path.split("/")
        is_known = kind == "containerLogs" and self.kubelet.log(namespace, pod).exists()
        return (200, self.kubelet.read_log(namespace, pod)) if is_known else (404, f"no {request.url.path}")


class RemoteStore:
    """The objects of a real API server as the kubelet sees its store; remembers every pod that it has seen."""

    def __init__(self, port: int, token: str, certificate: Certificate) -> None:
        self.token = token
        self.http = httpx2.Client(
            base_url=f"https://localhost:{port}",
            headers={"Authorization": f"Bearer {token}"},
            verify=ssl.create_default_context(cafile=str(certificate.path)),
            timeout=60,
            trust_env=False,
        )
        self.pods: dict[str, Object] = {}
        self.newest_pods: list[Object] = []

    def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Object:
        """One request.

        Raises:
            LookupError: there is no such object, or no such kind of object.
            RuntimeError: it was refused.
        """
        content = None if body is None else json.dumps(body)
        answer = self.http.request(method, path, content=content, headers={"Content-Type": content_type})
        if answer.is_success:
            return answer.json()
        message = f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        raise LookupError(message) if answer.status_code == 404 else RuntimeError(message)

    def merge(self, address: Address, changes: Object) -> Object:
        """A JSON merge patch."""
        return self.call("PATCH", address.path, changes, "application/merge-patch+json")

    def find(self, plural: str, name: str, namespace: str = "") -> Object | None:
        try:
            return self.call("GET", Address(plural, namespace, name).path)
        except LookupError:
            return None

    def list(self, plural: str) -> list[Object]:
        """The objects of all namespaces. Not from the server's cache, in which a pod that has ended still runs."""
        kind = Address(plural).kind
        # An object in a list has neither its version nor its kind.
        what = {"apiVersion": kind.api_version, "kind": kind.name}
        items = [what | item for item in self.call("GET", Address(plural).path)["items"]]
        if plural == "pods":
            self.newest_pods = items
            self.pods |= {pod["metadata"]["uid"]: pod for pod in items}
        return items

    def save_status(self, item: Object) -> None:
        """Write how a pod is; it may be gone by now."""
        status = {name: item["status"][name] for name in KUBELET_STATUS if name in item["status"]}
        try:
            self.merge(Address.of(item)._replace(subresource="status"), {"status": status})
        except LookupError:
            return


@contextmanager
def _running_processes(folder: Path, certificate: Certificate) -> Iterator[tuple[int, str]]:
    """Start all four programs; the API server's port and the administrator's token. Their logs are in `folder`."""
    etcd, peer, api, *health_ports = free_ports(5)
    groups = {"kube-controller-manager": "", "kube-scheduler": "", ADMIN: "system:masters"}
    tokens = {user: secrets.token_urlsafe(24) for user in groups}
    names = {user: user if user == ADMIN else f"system:{user}" for user in groups}
    lines = [f"{tokens[user]},{names[user]},{names[user]},{group}\n" for user, group in groups.items()]
    (folder / "tokens.csv").write_text("".join(lines), encoding="utf-8")
    (folder / "audit-policy.yaml").write_text(json.dumps(AUDIT_POLICY), encoding="utf-8")
    pages = {"etcd": f"http://127.0.0.1:{etcd}/health", "kube-apiserver": f"https://localhost:{api}/readyz"}
    options = dict.fromkeys(NAMES, "")
    for name, port in zip(("kube-controller-manager", "kube-scheduler"), health_ports, strict=True):
        path = folder / f"{name}.kubeconfig"
        write_kubeconfig(path, api, certificate.path, names[name], tokens[name], "")
        # `--port` is its page without encryption; it is bound to 127.0.0.1 and shows health and metrics.
        options[name] = f"--kubeconfig={path} --port={port} --address=127.0.0.1 --secure-port=0 --leader-elect=false "
        pages[name] = f"http://127.0.0.1:{port}/healthz"
    facts = {"folder": folder, "etcd": etcd, "peer": peer, "api": api, "path": certificate.path, "key": certificate.key}
    context = ssl.create_default_context(cafile=str(certificate.path))
    with ExitStack() as stack:
        for name in NAMES:
            words, log = (options[name] + OPTIONS.get(name, "").format(**facts)).split(), folder / f"{name}.log"
            process = stack.enter_context(running_process([str(PROGRAMS / name), *words], log, {}))
            wait_for(pages[name], process, log, context if pages[name].startswith("https") else None)
        yield api, tokens[ADMIN]
