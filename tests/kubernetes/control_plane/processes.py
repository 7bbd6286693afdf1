"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler, each a process on 127.0.0.1."""

from __future__ import annotations

import json
import os
import secrets
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.kubernetes.cluster import sandbox
from tests.kubernetes.cluster.access import ADMIN
from tests.kubernetes.cluster.certificates import Certificates
from tests.kubernetes.cluster.cluster import write_kubeconfig
from tests.kubernetes.cluster.services import free_ports, running_process, wait_for

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
CONTROLLER_MANAGER, SCHEDULER = "system:kube-controller-manager", "system:kube-scheduler"
# Those that need a cloud or a network, and the one that would wait for the heartbeats of nodes.
LEFT_OUT = ("cloud-node-lifecycle", "nodeipam", "nodelifecycle", "route", "service")
# Only what pods and clients do; the controllers are service accounts too.
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


@dataclass(frozen=True)
class ApiServer:
    """A running API server: its port, the administrator's token, and the file of its audit log."""

    port: int
    token: str
    audit_log: Path


def programs() -> Path:
    """The folder that build.sh fills."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "reason2decide" / "control-plane" / "bin"


def obstacle() -> str:
    """Why no control plane can be started on this machine; empty where one can."""
    missing = [name for name in PROGRAMS if not os.access(programs() / name, os.X_OK)]
    if missing:
        return f"{programs()} lacks {', '.join(missing)}: `make test-cluster-real` builds them"
    return sandbox.obstacle()


@contextmanager
def running_processes(folder: Path, certificates: Certificates) -> Iterator[ApiServer]:
    """Start all four, and stop them at the end. What they print is kept in `folder`."""
    etcd_port, peer_port, port = free_ports(3)
    etcd, peer = f"http://127.0.0.1:{etcd_port}", f"http://127.0.0.1:{peer_port}"
    tokens = {user: secrets.token_urlsafe(24) for user in (ADMIN, CONTROLLER_MANAGER, SCHEDULER)}
    key = _signing_key(folder / "service-accounts.key")
    with ExitStack() as stack:

        def start(name: str, *options: str, page: str, context: ssl.SSLContext | None = None) -> None:
            log = folder / f"{name}.log"
            process = stack.enter_context(running_process([str(programs() / name), *options], log, {}))
            wait_for(page, process, log, context)

        start("etcd", *_etcd_options(folder / "etcd", etcd, peer), page=f"{etcd}/health")
        context = ssl.create_default_context(cafile=str(certificates.authority))
        options = _api_server_options(folder, certificates, tokens, key)
        start(
            "kube-apiserver",
            *(f"--etcd-servers={etcd}", f"--secure-port={port}", *options),
            page=f"https://127.0.0.1:{port}/readyz",
            context=context,
        )
        for name, user, options in (
            ("kube-controller-manager", CONTROLLER_MANAGER, _controller_options(certificates, key)),
            ("kube-scheduler", SCHEDULER, []),
        ):
            path = folder / f"{name}.kubeconfig"
            write_kubeconfig(path, port, certificates.authority, user, tokens[user], "")
            (health_port,) = free_ports(1)
            # `--port` is its page without encryption; it is bound to 127.0.0.1 and shows health and figures.
            ports = [f"--port={health_port}", "--address=127.0.0.1", "--secure-port=0", "--leader-elect=false"]
            start(name, f"--kubeconfig={path}", *ports, *options, page=f"http://127.0.0.1:{health_port}/healthz")
        yield ApiServer(port, tokens[ADMIN], folder / "audit.log")


def _etcd_options(data: Path, address: str, peer: str) -> list[str]:
    here = [f"--listen-client-urls={address}", f"--advertise-client-urls={address}"]
    peers = [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
    return [f"--data-dir={data}", *here, *peers, "--unsafe-no-fsync"]


def _api_server_options(folder: Path, certificates: Certificates, tokens: dict[str, str], key: Path) -> list[str]:
    groups = {ADMIN: "system:masters"}
    lines = [f"{token},{user},{user},{groups.get(user, '')}\n" for user, token in tokens.items()]
    (folder / "tokens.csv").write_text("".join(lines), encoding="utf-8")
    (folder / "audit-policy.yaml").write_text(json.dumps(AUDIT_POLICY), encoding="utf-8")
    return [
        "--bind-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={certificates.certificate}",
        f"--tls-private-key-file={certificates.key}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={key}",
        f"--service-account-key-file={key}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--kubelet-preferred-address-types=InternalIP",
        # Its taint on new nodes is taken away by the controller that is left out.
        "--disable-admission-plugins=TaintNodesByCondition",
        f"--audit-policy-file={folder / 'audit-policy.yaml'}",
        f"--audit-log-path={folder / 'audit.log'}",
    ]


def _controller_options(certificates: Certificates, key: Path) -> list[str]:
    return [
        f"--service-account-private-key-file={key}",
        f"--root-ca-file={certificates.authority}",
        "--use-service-account-credentials",
        f"--controllers=*,{','.join(f'-{name}' for name in LEFT_OUT)}",
    ]


def _signing_key(path: Path) -> Path:
    """The key that signs the tokens of service accounts."""
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    return path
