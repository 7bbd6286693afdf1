"""The test cluster does what Kubernetes does, so far as our tests rely on it. Pods of its API and controllers are
scripted and its clock is moved by the test; the last tests start sandboxed processes."""

from __future__ import annotations

import json
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from kubernetes import client as kubernetes
from kubernetes import config as kubernetes_config

from tests.kubernetes.cluster.cluster import CONTEXT, Cluster
from tests.kubernetes.cluster.containers import sandbox_obstacle
from tests.kubernetes.cluster.kubelet import Image, Launch
from tests.kubernetes.cluster.objects import Object, RefusedError
from tests.kubernetes.cluster.site import BASE, IMAGE, NAMESPACE, ROOT, nodes

RESTRICTED_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
ON_GPU = {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]}


def pod_spec(**container: Any) -> Object:
    """A pod that keeps the standard "restricted"."""
    image = {"name": "main", "image": IMAGE, "command": ["true"], "securityContext": RESTRICTED_CONTAINER}
    user = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"restartPolicy": "Never", "securityContext": user, "containers": [image | container]}


def gpu_spec(num_gpus: int) -> Object:
    gpus = {"nvidia.com/gpu": str(num_gpus)}
    return pod_spec(resources={"requests": gpus, "limits": gpus}) | ON_GPU


def job(name: str, spec: Object | None = None, **fields: Any) -> Object:
    spec = {"template": {"spec": spec or pod_spec()}, **fields}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


# The API, as the official client sees it.


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), {}) as cluster:
        cluster.apply(BASE / "namespace.yaml", BASE / "rbac.yaml", *nodes())
        yield cluster
        assert cluster.faults == []


Client = Callable[[str], kubernetes.ApiClient]


@pytest.fixture(scope="module")
def client(served: Cluster) -> Client:
    """Makes a client of a service account; of the administrator, where the name is empty."""

    def make(account: str) -> kubernetes.ApiClient:
        path = served.kubeconfig(account, NAMESPACE)
        return kubernetes_config.new_client_from_config(str(path), context=CONTEXT)

    return make


def test_objects_are_created_selected_patched_and_deleted(client: Client) -> None:
    core = kubernetes.CoreV1Api(client(""))

    def create(name: str, **labels: str) -> None:
        core.create_namespaced_secret(NAMESPACE, {"metadata": {"name": name, "labels": labels}, "stringData": labels})

    def names(**selectors: str) -> list[str]:
        return [item.metadata.name for item in core.list_namespaced_secret(NAMESPACE, **selectors).items]

    for name, labels in {"one": {"run": "1", "step": "a"}, "two": {"run": "1", "step": "b"}, "three": {}}.items():
        create(name, **labels)
    with pytest.raises(kubernetes.ApiException) as again:
        create("one")
    assert (again.value.status, json.loads(again.value.body)["reason"]) == (409, "AlreadyExists")
    assert names(label_selector="run=1,step=b") == ["two"]
    assert names(field_selector="metadata.name=three") == ["three"]
    for unknown in ({"field_selector": "data.a=1"}, {"label_selector": "step in (a)"}, {"label_selector": "step!=a"}):
        with pytest.raises(kubernetes.ApiException, match="400"):
            names(**unknown)
    core.patch_namespaced_secret("one", NAMESPACE, {"stringData": {"run": None, "more": "3"}})
    assert core.read_namespaced_secret("one", NAMESPACE).string_data == {"step": "a", "more": "3"}
    core.delete_namespaced_secret("one", NAMESPACE)
    assert wait_for(lambda: names() == ["two", "three"])


def test_a_request_needs_the_servers_authority_and_a_token(served: Cluster) -> None:
    url = f"https://localhost:{served.port}/api/v1/pods"
    with pytest.raises(urllib3.exceptions.MaxRetryError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib3.PoolManager().request("GET", url, retries=0)
    authority = str(served.certificate.path)
    assert urllib3.PoolManager(ca_certs=authority).request("GET", url).status == 401


def test_a_refusal_names_the_missing_rule_and_is_in_the_audit_log(client: Client, served: Cluster) -> None:
    with pytest.raises(kubernetes.ApiException) as refused:
        kubernetes.BatchV1Api(client("step")).create_namespaced_job(NAMESPACE, job("refused"))
    assert refused.value.status == 403
    assert json.loads(refused.value.body)["message"] == (
        'jobs.batch is forbidden: User "system:serviceaccount:reason2decide:step" cannot create resource "jobs" '
        'in API group "batch" in the namespace "reason2decide"'
    )
    assert served.audit[-1] == ("system:serviceaccount:reason2decide:step", "create", "jobs", "", 403)


def test_our_rules_let_each_account_do_its_work_and_no_more(client: Client) -> None:
    def may(account: str, verb: str, resource: str, group: str = "", **more: str) -> bool:
        attributes = {"namespace": NAMESPACE, "verb": verb, "resource": resource, "group": group, **more}
        review = {"spec": {"resourceAttributes": attributes}}
        return kubernetes.AuthorizationV1Api(client(account)).create_self_subject_access_review(review).status.allowed

    assert may("submitter", "create", "jobs", "batch")
    assert may("submitter", "get", "pods", subresource="log")
    assert may("submitter", "create", "secrets")
    assert not may("submitter", "get", "secrets"), "the token of a run is written and never read"
    assert may("orchestrator", "patch", "jobs", "batch")
    assert not may("orchestrator", "create", "secrets")
    assert not may("orchestrator", "create", "jobs", "batch", namespace="default")
    assert not any(may("step", verb, "pods") for verb in ("get", "list", "create", "delete"))


# The controllers, with scripted containers and a clock that the test moves.


class ScriptedContainer:
    """A container that runs until the test sets `exit_code`; it ends on SIGTERM unless it is deaf."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.exit_code: int | None = None
        self.is_deaf = False
        self.signals: list[str] = []

    def poll(self) -> int | None:
        return self.exit_code

    def terminate(self) -> None:
        self.signals.append("SIGTERM")
        self.exit_code = None if self.is_deaf else 143

    def kill(self) -> None:
        self.signals.append("SIGKILL")
        self.exit_code = 137


class ScriptedCluster(Cluster):
    """A cluster whose controllers and clock move only when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.seconds = 1_800_000_000.0
        self.containers: list[ScriptedContainer] = []
        image = Image(folders={}, environment={"PATH": "/usr/bin"})
        super().__init__(folder, {IMAGE: image}, start=self.start, now=lambda: self.seconds)

    def start(self, launch: Launch) -> ScriptedContainer:
        self.containers.append(ScriptedContainer(launch))
        return self.containers[-1]

    def submit(self, *manifests: Object, seconds: float = 0.0) -> None:
        """Apply the manifests, let some time pass, and let every controller act until nothing is left to do."""
        self.apply(*manifests)
        self.seconds += seconds
        for _ in range(8):
            self.step()

    def wait(self, seconds: float = 0.0) -> None:
        self.submit(seconds=seconds)

    def end(self, exit_code: int) -> None:
        """End the newest container."""
        self.containers[-1].exit_code = exit_code
        self.wait()

    def job(self, name: str) -> Object:
        return next(item for item in self.objects("jobs") if item["metadata"]["name"] == name)

    def condition(self, name: str) -> tuple[str, str, str]:
        """Type, reason and message of the condition with which a job ended."""
        (condition,) = self.job(name)["status"]["conditions"]
        return condition["type"], condition["reason"], condition["message"]


@pytest.fixture
def cluster(tmp_path: Path) -> ScriptedCluster:
    cluster = ScriptedCluster(tmp_path / "cluster")
    cluster.apply(BASE / "namespace.yaml", BASE / "rbac.yaml", *nodes())
    return cluster


def test_a_failed_pod_is_replaced_after_a_wait_that_doubles_until_the_limit(cluster: ScriptedCluster) -> None:
    cluster.submit(job("a", backoffLimit=2))
    for wait, num_pods in ((10, 2), (20, 3)):
        cluster.end(1)
        cluster.wait(wait - 1)
        assert len(cluster.containers) == num_pods - 1
        cluster.wait(1)
        assert len(cluster.containers) == num_pods
    cluster.end(1)
    assert cluster.condition("a") == ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    cluster.wait(1000)
    assert len(cluster.containers) == 3


@pytest.mark.parametrize("is_ours", [True, False])
def test_an_eviction_counts_as_a_failure_unless_the_rule_that_ignores_it_comes_first(
    cluster: ScriptedCluster, is_ours: bool
) -> None:
    """Our failure policy has the rules in this order; ZenML's default has them the other way round."""
    run = yaml.safe_load((ROOT / "configs" / "kubernetes.yaml").read_text("utf-8"))
    rules = run["settings"]["orchestrator"]["pod_failure_policy"]["rules"]
    cluster.submit(job("a", podFailurePolicy={"rules": rules if is_ours else rules[::-1]}))
    cluster.evict(cluster.pods()[0])
    cluster.wait()
    assert cluster.job("a")["status"]["failed"] == (0 if is_ours else 1)
    cluster.wait(10)
    assert len(cluster.containers) == 2


def test_a_rule_can_end_a_job_and_its_message_names_the_exit_code(cluster: ScriptedCluster) -> None:
    """ZenML's default failure policy has such a rule; `configs/cluster/multi_node.yaml` runs under it."""
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
    cluster.submit(job("a", podFailurePolicy={"rules": [rule]}))
    cluster.end(42)
    kind, reason, message = cluster.condition("a")
    assert (kind, reason) == ("Failed", "PodFailurePolicy")
    assert "exit code 42 matching FailJob rule at index 0" in message


def test_a_pod_that_fits_nowhere_says_why_and_its_job_fails_at_its_deadline(cluster: ScriptedCluster) -> None:
    cluster.submit(job("a", gpu_spec(2), activeDeadlineSeconds=60))
    (pod,) = cluster.pods()
    (condition,) = pod["status"]["conditions"]
    assert condition["reason"] == "Unschedulable"
    assert condition["message"] == "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
    cluster.wait(60)
    assert cluster.condition("a")[1] == "DeadlineExceeded"
    assert cluster.objects("pods") == []


def test_gpus_are_counted_and_freed(cluster: ScriptedCluster) -> None:
    cluster.submit(job("a", gpu_spec(1)), job("b", gpu_spec(1)))
    assert [pod["spec"].get("nodeName") for pod in cluster.pods()] == ["gpu-0", None]
    cluster.end(0)
    assert cluster.condition("a")[0] == "Complete"
    assert [pod["spec"].get("nodeName") for pod in cluster.pods()] == ["gpu-0", "gpu-0"]


def test_taints_selectors_and_affinity_choose_the_node(cluster: ScriptedCluster) -> None:
    wanted = [{"key": "pool", "operator": "In", "values": ["gpu"]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": wanted}]}}
    affinity = {"affinity": {"nodeAffinity": required}}
    cluster.submit(
        job("a", pod_spec() | affinity | ON_GPU),
        job("b", pod_spec() | ON_GPU),
        job("c", pod_spec() | {"nodeSelector": {"pool": "gpu"}}),
    )
    *placed, waiting = cluster.pods()
    assert [pod["spec"]["nodeName"] for pod in placed] == ["gpu-0", "cpu-0"]
    assert "untolerated taint {nvidia.com/gpu: present}" in waiting["status"]["conditions"][0]["message"]


def test_an_indexed_job_runs_every_index_once(cluster: ScriptedCluster) -> None:
    cluster.submit(job("a", completionMode="Indexed", completions=3, parallelism=2))
    assert [c.launch.environment["JOB_COMPLETION_INDEX"] for c in cluster.containers] == ["0", "1"]
    for number in range(3):
        cluster.containers[number].exit_code = 0
        cluster.wait()
    assert cluster.condition("a")[0] == "Complete"
    assert cluster.job("a")["status"]["completedIndexes"] == "0,1,2"
    assert len(cluster.containers) == 3


def test_an_evicted_pod_gets_its_grace_period_and_then_no_more(cluster: ScriptedCluster) -> None:
    cluster.submit(job("a", pod_spec() | {"terminationGracePeriodSeconds": 5}))
    container = cluster.containers[-1]
    container.is_deaf = True
    cluster.evict(cluster.pods()[0])
    cluster.wait()
    cluster.wait(4)
    assert container.signals == ["SIGTERM"]
    cluster.wait(1)
    assert container.signals == ["SIGTERM", "SIGKILL"]


def test_the_pods_of_a_deleted_job_are_stopped_and_go_with_it(cluster: ScriptedCluster) -> None:
    cluster.submit(job("a"))
    cluster.delete("jobs", "a", NAMESPACE)
    cluster.wait()
    assert cluster.containers[-1].signals == ["SIGTERM"]
    assert cluster.objects("jobs") == cluster.objects("pods") == []


def test_why_a_pod_is_not_made_or_not_started_is_told(cluster: ScriptedCluster) -> None:
    variable = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "token"}}}]
    cluster.submit(
        job("image", pod_spec(image="registry.invalid/absent:1")),
        job("secret", pod_spec(env=variable)),
        job("account", pod_spec() | {"serviceAccountName": "absent"}),
        job("unrestricted", pod_spec(securityContext={})),
        job("host", pod_spec() | {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}),
    )
    waiting = [pod["status"]["containerStatuses"][0]["state"]["waiting"] for pod in cluster.pods()]
    assert [state["reason"] for state in waiting] == ["ErrImagePull", "CreateContainerConfigError"]
    assert waiting[1]["message"] == 'secret "absent" not found'
    account, unrestricted, host = cluster.objects("events")
    assert 'serviceaccount "absent" not found' in account["message"]
    assert unrestricted["reason"] == "FailedCreate"
    assert 'violates PodSecurity "restricted:latest"' in unrestricted["message"]
    assert 'container "main" must set securityContext.capabilities.drop=["ALL"]' in unrestricted["message"]
    assert 'restricted volume type "hostPath"' in host["message"]


def test_our_quota_and_our_limits_are_kept(cluster: ScriptedCluster) -> None:
    quota, limits = yaml.safe_load_all((BASE / "limits.yaml").read_text("utf-8"))
    cluster.submit(quota, job("a"))
    assert "must specify limits.cpu,limits.memory" in cluster.objects("events")[0]["message"]
    cluster.submit(limits, seconds=10)
    assert cluster.pods()[0]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "4Gi"
    cluster.submit(job("b", gpu_spec(1)), job("c", gpu_spec(1)))
    (event,) = [e for e in cluster.objects("events") if e["reason"] == "FailedCreate" and "quota" in e["message"]][1:]
    asked = "requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=1, limited: requests.nvidia.com/gpu=1"
    assert f"exceeded quota: reason2decide, {asked}" in event["message"]
    cluster.submit(job("d", pod_spec(resources={"limits": {"memory": "97Gi"}})))
    assert "maximum memory usage per Container" in cluster.objects("events")[-1]["message"]


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        (pod_spec(resources={"requests": {"nvidia.com/gpu": "1"}}), "must be equal to nvidia.com/gpu limit"),
        (pod_spec(resources={"limits": {"nvidia.com/gpu": "500m"}}), "must be an integer"),
        (pod_spec(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}), "less than or equal to cpu limit"),
        (pod_spec(volumeMounts=[{"name": "absent", "mountPath": "/x"}]), 'Not found: "absent"'),
        (pod_spec() | {"restartPolicy": "Always"}, 'valid values: "OnFailure", "Never"'),
        (pod_spec(imagePulPolicy="Always"), "imagePulPolicy"),
    ],
)
def test_a_job_that_a_real_server_refuses_is_refused(cluster: ScriptedCluster, spec: Object, fault: str) -> None:
    with pytest.raises(RefusedError, match=fault) as refused:
        cluster.apply(job("a", spec))
    assert refused.value.code == 422


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
        "id -u; pwd; cat code.txt; echo; hostname; for d in / /app /usr; do touch $d/x 2>/dev/null || echo no; done; "
        f"grep CapEff /proc/self/status; ls -d /proc/[0-9]*; ls {tmp_path} /root /home /etc/shadow 2>&1; env"
    )
    output = output_of(sandboxed, "user", script)
    lines = output.splitlines()
    assert lines[:3] == ["10001", "/app", "the code"]
    assert lines[3].startswith("user-")
    assert lines[4:8] == ["no", "no", "no", "CapEff:\t0000000000000000"]
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
    volumes = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "kept", "persistentVolumeClaim": {"claimName": "kept"}},
        {"name": "secret", "secret": {"secretName": "kept"}},
    ]
    mounts = [
        {"name": "scratch", "mountPath": "/tmp"},
        {"name": "kept", "mountPath": "/kept"},
        {"name": "kept", "mountPath": "/read", "readOnly": True},
        {"name": "secret", "mountPath": "/secret"},
    ]
    variables = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "kept", "key": "token"}}}]
    more: Object = {"spec": {"volumes": volumes}, "volumeMounts": mounts, "env": variables}
    script = "echo $TOKEN; cat /secret/token; echo; echo x > /tmp/x; echo y > /kept/y; touch /read/z /secret/z 2>&1"
    lines = output_of(sandboxed, "volumes", script, **more).splitlines()
    assert lines[:2] == ["hidden", "hidden"]
    assert ["Read-only file system" in line for line in lines[2:]] == [True, True]
    assert output_of(sandboxed, "kept", "cat /kept/y; ls /tmp", **more) == "y\n"


def test_a_pod_has_the_token_and_the_rights_of_its_account(sandboxed: Cluster) -> None:
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    url = f"https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/{NAMESPACE}"
    program = (
        f"import ssl, sys, urllib.request as r; c = ssl.create_default_context(cafile='{folder}/ca.crt')\n"
        f"h = {{'Authorization': 'bearer ' + open('{folder}/token').read()}}\n"
        "for url in sys.argv[1:]:\n"
        "    try: print(r.urlopen(r.Request(url, headers=h), context=c).status)\n"
        "    except Exception as e: print(e)"
    )
    script = f'cat {folder}/namespace || exit; echo; python3 -c "{program}" {url}/pods {url}/secrets'
    lines = output_of(sandboxed, "orchestrator", script, spec={"serviceAccountName": "orchestrator"}).splitlines()
    assert lines == [NAMESPACE, "200", "HTTP Error 403: Forbidden"]
    assert "No such file" in output_of(sandboxed, "step", script, spec={"serviceAccountName": "step"})


def test_sigterm_reaches_a_program_that_listens_and_its_exit_code_is_kept(sandboxed: Cluster) -> None:
    script = "trap 'echo stopping; exit 7' TERM; echo ready; while true; do sleep 0.05; done"
    sandboxed.apply(job("listens", pod_spec(command=["sh", "-c", script]), backoffLimit=0))
    pod = pod_of(sandboxed, "listens", "Running")
    wait_for(lambda: "ready" in sandboxed.log(pod))
    sandboxed.evict(pod)
    pod = pod_of(sandboxed, "listens", "Failed")
    assert sandboxed.log(pod) == "ready\nstopping\n"
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 7
    assert pod["status"]["conditions"][-1]["type"] == "DisruptionTarget"


def test_a_program_that_does_not_listen_is_killed_after_its_grace_period(sandboxed: Cluster) -> None:
    deaf = pod_spec(command=["sleep", "60"]) | {"terminationGracePeriodSeconds": 1}
    sandboxed.apply(job("deaf", deaf, backoffLimit=0))
    sandboxed.evict(pod_of(sandboxed, "deaf", "Running"))
    pod = pod_of(sandboxed, "deaf", "Failed")
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
