"""The test cluster refuses, schedules and stops what Kubernetes does, so far as our tests rely on it.

Nothing runs in the cluster of the first tests; pods of the last ones are sandboxed processes.
"""

from __future__ import annotations

import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client as kubernetes
from kubernetes import config as kubernetes_config

from tests.kubernetes.cluster.cluster import CONTEXT, Cluster
from tests.kubernetes.cluster.containers import sandbox_obstacle
from tests.kubernetes.cluster.controllers import matching_rule, schedule
from tests.kubernetes.cluster.kubelet import TOKEN_FOLDER, Image
from tests.kubernetes.cluster.objects import Object, RefusedError
from tests.kubernetes.cluster.site import BASE, IMAGE, NAMESPACE, nodes
from tests.kubernetes.manifests import read_yaml

RESTRICTED: Object = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
ON_GPU = {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]}


def pod_spec(**container: Any) -> Object:
    """A pod that keeps the standard "restricted"."""
    image = {"name": "main", "image": IMAGE, "command": ["true"], "securityContext": RESTRICTED}
    user = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"restartPolicy": "Never", "securityContext": user, "containers": [image | container]}


def gpu_spec(num_gpus: int) -> Object:
    amounts = {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": str(num_gpus)}
    return pod_spec(resources={"requests": amounts, "limits": amounts}) | ON_GPU


def job(name: str, spec: Object | None = None, **fields: Any) -> Object:
    spec = {"template": {"spec": spec or pod_spec()}, **fields}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def pod(name: str, spec: Object) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """With our accounts and rights, a node without GPUs and one with a GPU; its controllers wait for the test."""
    cluster = Cluster(tmp_path / "cluster", {}, backoff_seconds=0)
    cluster.apply(BASE / "namespace.yaml", BASE / "rbac.yaml", *nodes())
    return cluster


REFUSED = {
    "must be equal to nvidia.com/gpu limit": pod_spec(resources={"requests": {"nvidia.com/gpu": "1"}}),
    "must be an integer": pod_spec(resources={"limits": {"nvidia.com/gpu": "500m"}}),
    "less than or equal to cpu limit": pod_spec(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
    'Not found: "absent"': pod_spec(volumeMounts=[{"name": "absent", "mountPath": "/x"}]),
    'valid values: "OnFailure", "Never"': pod_spec() | {"restartPolicy": "Always"},
    "imagePulPolicy": pod_spec(imagePulPolicy="Always"),
}
FORBIDDEN = {
    'serviceaccount "absent" not found': pod_spec() | {"serviceAccountName": "absent"},
    "no PriorityClass with name absent": pod_spec() | {"priorityClassName": "absent"},
    'container "main" must set securityContext.capabilities.drop=["ALL"]': pod_spec(securityContext={}),
    'restricted volume type "hostPath"': pod_spec() | {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]},
    "failed quota: reason2decide: must specify limits.cpu,limits.memory": pod_spec(),
    "exceeded quota: reason2decide, requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=1": gpu_spec(1),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_job_that_a_real_server_refuses_is_refused(cluster: Cluster, fault: str) -> None:
    with pytest.raises(RefusedError, match=fault) as refused:
        cluster.apply(job("a", REFUSED[fault]))
    assert refused.value.code == 422


@pytest.mark.parametrize("fault", FORBIDDEN)
def test_a_pod_that_our_namespace_forbids_is_refused(cluster: Cluster, fault: str) -> None:
    """By our accounts, the standard "restricted", and our quota of one GPU, which another pod has."""
    quota, _ = yaml.safe_load_all((BASE / "limits.yaml").read_text("utf-8"))
    cluster.apply(quota, pod("first", gpu_spec(1)))
    with pytest.raises(RefusedError) as refused:
        cluster.apply(pod("second", FORBIDDEN[fault]))
    assert (refused.value.code, fault in str(refused.value)) == (403, True), refused.value


def test_selectors_affinity_taints_and_free_gpus_choose_the_node(cluster: Cluster) -> None:
    wanted = [{"key": "pool", "operator": "In", "values": ["gpu"]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": wanted}]}}
    on_gpu_node = pod_spec() | {"affinity": {"nodeAffinity": required}}
    specs = {
        "tolerates": pod_spec() | ON_GPU,
        "wants": on_gpu_node | ON_GPU,
        "gpu": gpu_spec(1),
        "no-toleration": on_gpu_node,
        "selects": pod_spec() | ON_GPU | {"nodeSelector": {"pool": "none"}},
        "second-gpu": gpu_spec(1),
    }
    cluster.apply(*(pod(name, spec) for name, spec in specs.items()))
    schedule(cluster.store)
    placed = {pod["metadata"]["name"]: pod["spec"].get("nodeName") for pod in cluster.pods()}
    assert placed == dict.fromkeys(specs) | {"tolerates": "cpu-0", "wants": "gpu-0", "gpu": "gpu-0"}
    messages = [pod["status"]["conditions"][0].get("message", "") for pod in cluster.pods()]
    assert "untolerated taint {nvidia.com/gpu: present}" in messages[3]
    assert messages[4] == "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
    assert messages[5] == "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."


def test_a_failed_pod_is_replaced_until_the_limit_unless_a_rule_ends_the_job(cluster: Cluster) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
    cluster.apply(job("tried", backoffLimit=1), job("ended", podFailurePolicy={"rules": [rule]}))
    for _ in range(4):
        cluster.jobs.step()
        for item in cluster.store.list("pods"):
            ended = {"name": "main", "state": {"terminated": {"exitCode": 42}}}
            item["status"] |= {"phase": "Failed", "containerStatuses": [ended]}
    reasons = {item["metadata"]["name"]: item["status"]["conditions"][0]["reason"] for item in cluster.objects("jobs")}
    assert reasons == {"tried": "BackoffLimitExceeded", "ended": "PodFailurePolicy"}
    assert [len(cluster.pods(**{"job-name": name})) for name in ("tried", "ended")] == [2, 1]


def test_an_eviction_is_ignored_by_our_failure_policy_and_counts_where_its_rules_are_reversed() -> None:
    """ZenML's default policy has them the other way round: the exit code of SIGTERM is looked at first."""
    rules = read_yaml("configs/kubernetes.yaml")["settings"]["orchestrator"]["pod_failure_policy"]["rules"]
    ended = {"name": "main", "state": {"terminated": {"exitCode": 143}}}
    evicted = {"conditions": [{"type": "DisruptionTarget", "status": "True"}], "containerStatuses": [ended]}
    actions = [matching_rule({"rules": order}, {"status": evicted})[1] for order in (rules, rules[::-1])]
    assert actions == ["Ignore", "Count"]


# The API, as the official client sees it.


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), {}) as cluster:
        cluster.apply(BASE / "namespace.yaml", BASE / "rbac.yaml")
        yield cluster
        assert cluster.faults == []


def client(cluster: Cluster, account: str = "") -> kubernetes.ApiClient:
    """The client of a service account; of the administrator, where none is named."""
    return kubernetes_config.new_client_from_config(str(cluster.kubeconfig(account, NAMESPACE)), context=CONTEXT)


def test_our_rules_let_each_account_do_its_work_and_no_more(served: Cluster) -> None:
    def may(account: str, verb: str, resource: str, group: str = "", **more: str) -> bool:
        attributes = {"namespace": NAMESPACE, "verb": verb, "resource": resource, "group": group, **more}
        review = {"spec": {"resourceAttributes": attributes}}
        api = kubernetes.AuthorizationV1Api(client(served, account))
        return api.create_self_subject_access_review(review).status.allowed

    assert may("submitter", "create", "jobs", "batch")
    assert may("submitter", "get", "pods", subresource="log")
    assert may("submitter", "create", "secrets")
    assert not may("submitter", "get", "secrets"), "the token of a run is written and never read"
    assert may("orchestrator", "patch", "jobs", "batch")
    assert not may("orchestrator", "create", "secrets")
    assert not may("orchestrator", "create", "jobs", "batch", namespace="default")
    assert not any(may("step", verb, "pods") for verb in ("get", "list", "create", "delete"))
    with pytest.raises(kubernetes.ApiException, match="403") as refused:
        kubernetes.BatchV1Api(client(served, "step")).create_namespaced_job(NAMESPACE, job("refused"))
    missing = 'cannot create resource \\"jobs\\" in API group \\"batch\\" in the namespace \\"reason2decide\\"'
    assert missing in refused.value.body
    assert served.audit[-1] == ("system:serviceaccount:reason2decide:step", "create", "jobs", "", 403)


def test_what_no_run_of_ours_asks_for_is_refused_rather_than_guessed(served: Cluster) -> None:
    core = kubernetes.CoreV1Api(client(served))
    for unknown in ({"field_selector": "a=1"}, {"label_selector": "step in (a)"}, {"label_selector": "step!=a"}):
        with pytest.raises(kubernetes.ApiException, match="400"):
            core.list_namespaced_pod(NAMESPACE, **unknown)
    with pytest.raises(kubernetes.ApiException, match="405"):
        core.list_namespaced_pod(NAMESPACE, watch=True)


# Pods as sandboxed processes.


@pytest.fixture(scope="module")
def sandboxed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if obstacle := sandbox_obstacle():
        pytest.skip(obstacle)
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "app").mkdir()
    (folder / "app" / "code.txt").write_text("the code", encoding="utf-8")
    folders = {"/app": folder / "app", sys.base_prefix: Path(sys.base_prefix)}
    image = Image(folders, {"PATH": "/usr/bin:/bin", "FROM_IMAGE": "yes"}, working_dir="/app")
    with Cluster(folder / "cluster", {IMAGE: image}, backoff_seconds=0.1) as cluster:
        cluster.apply(BASE / "namespace.yaml", BASE / "rbac.yaml", *nodes())
        yield cluster
        assert cluster.faults == []


def wait_for(look: Callable[[], Any]) -> Any:
    """What `look` returns, as soon as it is true."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if result := look():
            return result
        time.sleep(0.02)
    raise AssertionError("waited 30 s in vain")


def pod_of(cluster: Cluster, name: str, *phases: str) -> Object:
    """The newest pod of a job, once it is in one of these phases."""
    return wait_for(lambda: [p for p in cluster.pods(**{"job-name": name})[-1:] if p["status"]["phase"] in phases])[0]


def output_of(cluster: Cluster, name: str, script: str, *, spec: Object | None = None, **container: Any) -> str:
    """What a shell script prints in a pod."""
    spec = pod_spec(command=["sh", "-c", script], **container) | (spec or {})
    cluster.apply(job(name, spec, backoffLimit=0))
    return cluster.log(pod_of(cluster, name, "Succeeded", "Failed"))


def test_a_pod_is_its_own_user_and_sees_and_writes_nothing_of_this_machine(sandboxed: Cluster, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("x", encoding="utf-8")
    script = (
        "id -u; pwd; cat code.txt; echo; for d in / /app /usr; do touch $d/x 2>/dev/null || echo no; done; "
        f"grep CapEff /proc/self/status; ls -d /proc/[0-9]*; ls {tmp_path} /root /home /etc/shadow 2>&1; env"
    )
    output = output_of(sandboxed, "user", script)
    lines = output.splitlines()
    assert lines[:7] == ["10001", "/app", "the code", "no", "no", "no", "CapEff:\t0000000000000000"]
    assert "/proc/1" in lines
    assert len([line for line in lines if line.startswith("/proc/")]) <= 3
    assert "private" not in output.replace("No such file", "")
    assert "R2D_" not in output
    assert "FROM_IMAGE=yes" in lines


def test_volumes_and_secrets_are_as_the_pod_says(sandboxed: Cluster) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    names = {"name": "kept", "namespace": NAMESPACE}
    sandboxed.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": names, "spec": claim},
        {"apiVersion": "v1", "kind": "Secret", "metadata": names, "data": {"token": b64encode(b"hidden").decode()}},
    )
    sources: Object = {
        "scratch": {"emptyDir": {}},
        "kept": {"persistentVolumeClaim": {"claimName": "kept"}},
        "secret": {"secret": {"secretName": "kept"}},
    }
    paths = {"/tmp": "scratch", "/kept": "kept", "/read": "kept", "/secret": "secret"}
    mounts = [{"name": name, "mountPath": path, "readOnly": path == "/read"} for path, name in paths.items()]
    volumes = [{"name": name, **source} for name, source in sources.items()]
    variables = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "kept", "key": "token"}}}]
    more: Object = {"spec": {"volumes": volumes}, "volumeMounts": mounts, "env": variables}
    script = "echo $TOKEN; cat /secret/token; echo; echo x > /tmp/x; echo y > /kept/y; touch /read/z /secret/z 2>&1"
    lines = output_of(sandboxed, "volumes", script, **more).splitlines()
    assert lines[:2] == ["hidden", "hidden"]
    assert ["Read-only file system" in line for line in lines[2:]] == [True, True]
    assert output_of(sandboxed, "kept", "cat /kept/y; ls /tmp", **more) == "y\n"


def test_a_pod_has_the_token_and_the_rights_of_its_account(sandboxed: Cluster) -> None:
    url = f"https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/{NAMESPACE}"
    program = (
        f"import ssl, sys, urllib.request as r; c = ssl.create_default_context(cafile='{TOKEN_FOLDER}/ca.crt')\n"
        f"h = {{'Authorization': 'bearer ' + open('{TOKEN_FOLDER}/token').read()}}\n"
        "for url in sys.argv[1:]:\n"
        "    try: print(r.urlopen(r.Request(url, headers=h), context=c).status)\n"
        "    except Exception as e: print(e)"
    )
    script = f'cat {TOKEN_FOLDER}/namespace || exit; echo; python3 -c "{program}" {url}/pods {url}/secrets'
    lines = output_of(sandboxed, "orchestrator", script, spec={"serviceAccountName": "orchestrator"}).splitlines()
    assert lines == [NAMESPACE, "200", "HTTP Error 403: Forbidden"]
    assert "No such file" in output_of(sandboxed, "step", script, spec={"serviceAccountName": "step"})


def test_an_evicted_pod_gets_sigterm_its_grace_period_and_then_sigkill(sandboxed: Cluster) -> None:
    listening = "trap 'echo stopping; exit 7' TERM; echo ready; while true; do sleep 0.05; done"
    deaf = pod_spec(command=["sleep", "60"]) | {"terminationGracePeriodSeconds": 1}
    sandboxed.apply(job("listens", pod_spec(command=["sh", "-c", listening]), backoffLimit=0))
    sandboxed.apply(job("deaf", deaf, backoffLimit=0))
    running = {name: pod_of(sandboxed, name, "Running") for name in ("listens", "deaf")}
    wait_for(lambda: "ready" in sandboxed.log(running["listens"]))
    for pod in running.values():
        sandboxed.evict(pod)
    ended = {name: pod_of(sandboxed, name, "Failed") for name in running}
    codes = [pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] for pod in ended.values()]
    assert codes == [7, 137]
    assert sandboxed.log(ended["listens"]) == "ready\nstopping\n"
    assert ended["listens"]["status"]["conditions"][-1]["type"] == "DisruptionTarget"
