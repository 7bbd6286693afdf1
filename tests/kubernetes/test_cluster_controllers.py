"""The test cluster's controllers do what Kubernetes does; every second here is one that the test lets pass."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kubernetes.cluster.refusals import RefusedError
from tests.kubernetes.cluster.site import NAMESPACE
from tests.kubernetes.conftest import Bench, job, pod_spec

IGNORE_EVICTION = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
COUNT_EXIT = {"action": "Count", "onExitCodes": {"containerName": "main", "operator": "NotIn", "values": [0]}}
ON_GPU = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def gpu_spec(num_gpus: int = 1) -> dict[str, Any]:
    gpus = {"nvidia.com/gpu": str(num_gpus)}
    return pod_spec(resources={"requests": gpus, "limits": gpus}) | {"tolerations": ON_GPU}


def test_a_job_whose_pod_ends_well_is_complete(bench: Bench) -> None:
    bench.cluster.apply(job("a"))
    bench.pass_time()
    assert bench.job("a")["status"]["active"] == 1
    bench.end(0)
    assert bench.condition("a")[0] == "Complete"
    assert bench.job("a")["status"]["succeeded"] == 1


def test_a_failed_pod_is_replaced_after_a_wait_that_doubles_until_the_limit(bench: Bench) -> None:
    bench.cluster.apply(job("a", backoffLimit=2))
    bench.pass_time()
    for wait, num_pods in ((10, 2), (20, 3)):
        bench.end(1)
        bench.pass_time(wait - 1)
        assert bench.num_started == num_pods - 1
        bench.pass_time(1)
        assert bench.num_started == num_pods
    bench.end(1)
    assert bench.condition("a") == ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    bench.pass_time(1000)
    assert bench.num_started == 3


@pytest.mark.parametrize(
    ("rules", "num_failed"), [([IGNORE_EVICTION, COUNT_EXIT], 0), ([COUNT_EXIT, IGNORE_EVICTION], 1)]
)
def test_an_eviction_counts_as_a_failure_unless_the_rule_that_ignores_it_comes_first(
    bench: Bench, rules: list[dict[str, Any]], num_failed: int
) -> None:
    bench.cluster.apply(job("a", backoffLimit=3, podFailurePolicy={"rules": rules}))
    bench.pass_time()
    bench.cluster.evict(bench.cluster.pods()[0])
    bench.pass_time()
    assert bench.job("a")["status"]["failed"] == num_failed
    bench.pass_time(10)
    assert bench.num_started == 2


def test_a_rule_can_end_a_job_and_its_message_names_the_exit_code(bench: Bench) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
    bench.cluster.apply(job("a", podFailurePolicy={"rules": [rule]}))
    bench.pass_time()
    bench.end(42)
    kind, reason, message = bench.condition("a")
    assert (kind, reason) == ("Failed", "PodFailurePolicy")
    assert "exit code 42 matching FailJob rule at index 0" in message


def test_a_pod_that_fits_nowhere_says_why_and_its_job_fails_at_its_deadline(bench: Bench) -> None:
    bench.cluster.apply(job("a", gpu_spec(2), activeDeadlineSeconds=60))
    bench.pass_time()
    (pod,) = bench.cluster.pods()
    (condition,) = pod["status"]["conditions"]
    assert condition["reason"] == "Unschedulable"
    assert condition["message"] == "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
    bench.pass_time(60)
    assert bench.condition("a")[1] == "DeadlineExceeded"
    assert bench.cluster.objects("pods") == []


def test_gpus_are_counted_and_freed(bench: Bench) -> None:
    for name in ("a", "b"):
        bench.cluster.apply(job(name, gpu_spec()))
    bench.pass_time()
    assert [pod["spec"].get("nodeName") for pod in bench.cluster.pods()] == ["gpu-0", None]
    bench.end(0)
    assert [pod["spec"].get("nodeName") for pod in bench.cluster.pods()] == ["gpu-0", "gpu-0"]


def test_a_pod_without_a_toleration_keeps_off_the_gpu_node(bench: Bench) -> None:
    bench.cluster.apply(job("a", pod_spec() | {"nodeSelector": {"pool": "gpu"}}))
    bench.pass_time()
    (pod,) = bench.cluster.pods()
    assert "untolerated taint {nvidia.com/gpu: present}" in pod["status"]["conditions"][0]["message"]


def test_node_affinity_chooses_among_nodes(bench: Bench) -> None:
    wanted = [{"key": "pool", "operator": "In", "values": ["gpu"]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": wanted}]}}
    affinity = {"affinity": {"nodeAffinity": required}, "tolerations": ON_GPU}
    bench.cluster.apply(job("a", pod_spec() | affinity), job("b", pod_spec() | {"tolerations": ON_GPU}))
    bench.pass_time()
    assert [pod["spec"]["nodeName"] for pod in bench.cluster.pods()] == ["gpu-0", "cpu-0"]


def test_an_indexed_job_runs_every_index_once(bench: Bench) -> None:
    bench.cluster.apply(job("a", completionMode="Indexed", completions=3, parallelism=2))
    bench.pass_time()
    assert [c.launch.environment["JOB_COMPLETION_INDEX"] for c in bench.scripted.containers] == ["0", "1"]
    for number in range(3):
        bench.scripted.containers[number].exit_code = 0
        bench.pass_time()
    assert bench.condition("a")[0] == "Complete"
    assert bench.job("a")["status"]["completedIndexes"] == "0,1,2"
    assert bench.num_started == 3


def test_a_deleted_pod_gets_its_grace_period_and_then_no_more(bench: Bench) -> None:
    bench.cluster.apply(job("a", pod_spec() | {"terminationGracePeriodSeconds": 5}))
    bench.pass_time()
    first = bench.running
    first.is_deaf = True
    bench.cluster.evict(bench.cluster.pods()[0])
    bench.pass_time()
    bench.pass_time(4)
    assert first.signals == ["SIGTERM"]
    bench.pass_time(1)
    assert first.signals == ["SIGTERM", "SIGKILL"]


def test_a_job_is_removed_with_its_pods_after_its_time_to_live(bench: Bench) -> None:
    bench.cluster.apply(job("a", ttlSecondsAfterFinished=30))
    bench.pass_time()
    bench.end(0)
    bench.pass_time(29)
    assert len(bench.cluster.objects("jobs")) == 1
    bench.pass_time(1)
    assert bench.cluster.objects("jobs") == bench.cluster.objects("pods") == []


def test_what_a_job_owns_goes_with_it(bench: Bench) -> None:
    bench.cluster.apply(job("a"))
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "a", "uid": bench.job("a")["metadata"]["uid"]}
    child = job("b")
    child["metadata"]["ownerReferences"] = [owner]
    bench.cluster.apply(child)
    bench.pass_time()
    assert bench.num_started == 2
    bench.cluster.delete("jobs", "a", NAMESPACE)
    bench.pass_time()
    assert bench.cluster.objects("jobs") == bench.cluster.objects("pods") == []
    assert all(container.signals == ["SIGTERM"] for container in bench.scripted.containers)


def test_a_pod_that_breaks_the_standard_of_its_namespace_is_never_made_and_the_event_says_why(bench: Bench) -> None:
    bench.cluster.apply(job("a", pod_spec(securityContext={})))
    bench.pass_time()
    assert bench.cluster.pods() == []
    (event,) = bench.cluster.objects("events")
    assert event["reason"] == "FailedCreate"
    assert 'violates PodSecurity "restricted:latest"' in event["message"]
    assert 'container "main" must set securityContext.capabilities.drop=["ALL"]' in event["message"]


def test_a_missing_image_secret_or_service_account_is_named(bench: Bench) -> None:
    secret = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "token"}}}]
    bench.cluster.apply(job("a", pod_spec(image="registry.invalid/absent:1")), job("b", pod_spec(env=secret)))
    bench.cluster.apply(job("c", pod_spec() | {"serviceAccountName": "absent"}))
    bench.pass_time()
    waiting = [pod["status"]["containerStatuses"][0]["state"]["waiting"] for pod in bench.cluster.pods()]
    assert [state["reason"] for state in waiting] == ["ErrImagePull", "CreateContainerConfigError"]
    assert waiting[1]["message"] == 'secret "absent" not found'
    (event,) = bench.cluster.objects("events")
    assert 'serviceaccount "absent" not found' in event["message"]


def test_quotas_and_limit_ranges_are_kept(bench: Bench) -> None:
    where = {"name": "limits", "namespace": NAMESPACE}
    hard = {"limits.memory": "3Gi", "requests.nvidia.com/gpu": "1"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": where, "spec": {"hard": hard}}
    bench.cluster.apply(quota, job("a"))
    bench.pass_time()
    assert "must specify limits.memory" in bench.cluster.objects("events")[0]["message"]
    limits = [{"type": "Container", "default": {"memory": "2Gi"}}]
    bench.cluster.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": where, "spec": {"limits": limits}})
    bench.pass_time(10)
    assert bench.cluster.pods()[0]["spec"]["containers"][0]["resources"]["limits"]["memory"] == "2Gi"
    bench.cluster.apply(job("b"))
    bench.pass_time()
    assert "exceeded quota: limits, requested: limits.memory" in bench.cluster.objects("events")[-1]["message"]


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
def test_a_job_that_a_real_server_refuses_is_refused(bench: Bench, spec: dict[str, Any], fault: str) -> None:
    with pytest.raises(RefusedError, match=fault.replace("(", r"\(")) as refused:
        bench.cluster.apply(job("a", spec))
    assert refused.value.code == 422
