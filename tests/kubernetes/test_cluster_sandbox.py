"""A pod of the test cluster is a sandbox: its user, its folders, its secrets, its signals and nothing else."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.cluster import Cluster, Image, sandbox
from tests.kubernetes.cluster.site import IMAGE, NAMESPACE, nodes
from tests.kubernetes.conftest import NAMESPACE_AND_RIGHTS, job, pod_spec

Object = dict[str, Any]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if obstacle := sandbox.obstacle():
        pytest.skip(obstacle)
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "app").mkdir()
    (folder / "app" / "code.txt").write_text("the code", encoding="utf-8")
    folders = {"/app": folder / "app", sys.base_prefix: Path(sys.base_prefix)}
    image = Image(folders, {"PATH": "/usr/bin:/bin", "FROM_IMAGE": "yes"}, working_dir="/app")
    with Cluster(folder / "cluster", {IMAGE: image}, backoff_seconds=0.1) as cluster:
        cluster.apply(*NAMESPACE_AND_RIGHTS, *nodes())
        yield cluster
        assert cluster.faults == []


def wait_for(look: Callable[[], Any]) -> Any:
    """What `look` sees, as soon as it sees something."""
    patience = time.monotonic() + 30
    while time.monotonic() < patience:
        if seen := look():
            return seen
        time.sleep(0.02)
    raise AssertionError("waited for nothing")


def pod_of(cluster: Cluster, name: str, *phases: str) -> Object:
    """The newest pod of a job, once it is in one of these phases."""

    def look() -> Object | None:
        pods = cluster.pods(**{"job-name": name})
        return pods[-1] if pods and pods[-1]["status"]["phase"] in phases else None

    return wait_for(look)


def printed(cluster: Cluster, name: str, script: str, *, spec: Object | None = None, **container: Any) -> str:
    """What a shell script prints in a pod that ends."""
    spec = pod_spec(command=["sh", "-c", script], **container) | (spec or {})
    cluster.apply(job(name, spec, backoffLimit=0))
    pod = pod_of(cluster, name, "Succeeded", "Failed")
    assert pod["status"]["phase"] == "Succeeded", cluster.log(pod)
    return cluster.log(pod)


def test_a_pod_is_its_own_user_without_rights_on_a_root_that_cannot_be_written(cluster: Cluster) -> None:
    script = (
        "id -u; pwd; cat code.txt; echo; hostname; for d in / /app /usr; do touch $d/x 2>/dev/null || echo no; done"
    )
    lines = printed(cluster, "user", script).splitlines()
    assert lines[:3] == ["10001", "/app", "the code"]
    assert lines[3].startswith("user-")
    assert lines[4:] == ["no", "no", "no"]
    assert "CapEff:\t0000000000000000" in printed(cluster, "rights", "cat /proc/self/status")


def test_a_pod_sees_no_process_and_no_folder_of_this_machine(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("x", encoding="utf-8")
    seen = printed(cluster, "alone", f"ls -d /proc/[0-9]*; ls {tmp_path} /root /home /etc/shadow 2>&1; env")
    assert "/proc/1\n" in seen
    assert len([line for line in seen.splitlines() if line.startswith("/proc/")]) <= 3
    assert "private" not in seen.replace("No such file", "")
    assert "R2D_" not in seen
    assert "FROM_IMAGE=yes" in seen


def test_volumes_and_secrets_are_mounted_as_the_pod_says(cluster: Cluster) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    where = {"name": "kept", "namespace": NAMESPACE}
    data = {"token": base64.b64encode(b"hidden").decode()}
    cluster.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": where, "spec": claim},
        {"apiVersion": "v1", "kind": "Secret", "metadata": where, "data": data},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": where, "data": {"settings": "a: 1"}},
    )
    volumes = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "kept", "persistentVolumeClaim": {"claimName": "kept"}},
        {"name": "config", "configMap": {"name": "kept"}},
    ]
    mounts = [
        {"name": "scratch", "mountPath": "/tmp"},
        {"name": "kept", "mountPath": "/kept"},
        {"name": "kept", "mountPath": "/read", "readOnly": True},
        {"name": "config", "mountPath": "/config"},
    ]
    variables = [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "kept", "key": "token"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "BOTH", "value": "$(TOKEN)-$(NODE)"},
    ]
    more: Object = {"spec": {"volumes": volumes}, "volumeMounts": mounts, "env": variables}
    script = "echo $BOTH; cat /config/settings; echo; echo x > /tmp/x; echo y > /kept/y; touch /read/z 2>&1"
    with pytest.raises(AssertionError, match="Read-only file system"):
        printed(cluster, "volumes", script, **more)
    assert cluster.log(cluster.pods(**{"job-name": "volumes"})[0]).splitlines()[:2] == ["hidden-cpu-0", "a: 1"]
    assert printed(cluster, "kept", "cat /kept/y; ls /tmp", **more) == "y\n"


@pytest.mark.parametrize(("account", "is_mounted"), [("orchestrator", True), ("step", False)])
def test_a_token_is_mounted_only_where_the_account_has_one(cluster: Cluster, account: str, is_mounted: bool) -> None:
    script = "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace 2>/dev/null || echo none"
    seen = printed(cluster, f"token-{account}", script, spec={"serviceAccountName": account})
    assert seen.strip() == (NAMESPACE if is_mounted else "none")


def test_a_pod_speaks_to_the_api_server_with_the_rights_of_its_account(cluster: Cluster) -> None:
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    url = f"https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/{NAMESPACE}"
    program = (
        f"import ssl, sys, urllib.request as r; c = ssl.create_default_context(cafile='{folder}/ca.crt')\n"
        f"h = {{'Authorization': 'bearer ' + open('{folder}/token').read()}}\n"
        "for url in sys.argv[1:]:\n"
        "    try: print(r.urlopen(r.Request(url, headers=h), context=c).status)\n"
        "    except Exception as e: print(e)"
    )
    script = f'python3 -c "{program}" {url}/pods {url}/secrets'
    seen = printed(cluster, "speaks", script, spec={"serviceAccountName": "orchestrator"})
    assert seen.splitlines() == ["200", "HTTP Error 403: Forbidden"]


def test_sigterm_reaches_a_program_that_listens_and_its_exit_code_is_kept(cluster: Cluster) -> None:
    script = "trap 'echo stopping; exit 7' TERM; echo ready; while true; do sleep 0.05; done"
    cluster.apply(job("listens", pod_spec(command=["sh", "-c", script]), backoffLimit=0))
    pod = pod_of(cluster, "listens", "Running")
    wait_for(lambda: "ready" in cluster.log(pod))
    cluster.evict(pod)
    pod = pod_of(cluster, "listens", "Failed")
    assert cluster.log(pod) == "ready\nstopping\n"
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 7
    assert pod["status"]["conditions"][-1]["type"] == "DisruptionTarget"


def test_a_program_that_does_not_listen_is_killed_after_its_grace_period(cluster: Cluster) -> None:
    deaf = pod_spec(command=["sleep", "60"]) | {"terminationGracePeriodSeconds": 1}
    cluster.apply(job("deaf", deaf, backoffLimit=0))
    cluster.evict(pod_of(cluster, "deaf", "Running"))
    pod = pod_of(cluster, "deaf", "Failed")
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


def test_a_killed_container_is_replaced_by_its_job(cluster: Cluster) -> None:
    cluster.apply(job("killed", pod_spec(command=["sleep", "60"]), backoffLimit=1))
    first = pod_of(cluster, "killed", "Running")
    cluster.kill(first)
    wait_for(lambda: len(cluster.pods(**{"job-name": "killed"})) == 2)
    cluster.delete("jobs", "killed", NAMESPACE)
