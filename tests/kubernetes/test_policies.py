"""What a schema cannot see: every pod is as restricted as it can be, and every right and open port has its reason."""

from __future__ import annotations

import re
from typing import Any

import pytest
from kubernetes.utils.quantity import parse_quantity

from r2d.config.loading import read_parameters
from tests.kubernetes.cluster.admission import restricted_violations
from tests.kubernetes.manifests import (
    K8S,
    ROOT,
    Manifest,
    Pod,
    manifests,
    named,
    pods,
    read_yaml,
    step_pods,
    zenml_jobs,
)

OUR_IMAGES = {"reason2decide:0.1.0", "registry.invalid/reason2decide:0.1.0"}
CONFIG: Manifest = read_yaml("configs/kubernetes.yaml")
MULTI_NODE: Manifest = read_yaml("configs/cluster/multi_node.yaml")["settings"]


def every_pod() -> list[Pod]:
    every = [*pods(manifests()), *pods(zenml_jobs().values())]
    assert len(every) >= 14
    return every


def every_container() -> list[tuple[str, Manifest]]:
    """Workload and container."""
    return [(pod.workload, container) for pod in every_pod() for container in pod.containers]


def test_every_pod_meets_the_standard_restricted_and_cannot_write_its_root() -> None:
    for pod in every_pod():
        assert list(restricted_violations(pod.spec)) == [], pod.workload
        assert pod.spec["securityContext"]["runAsUser"] >= 999, pod.workload
    for workload, container in every_container():
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, workload
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, workload


def test_our_image_runs_as_the_user_that_it_was_made_for() -> None:
    (user,) = re.findall(r"^USER (\d+):\d+$", (K8S / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    ours = [pod for pod in every_pod() if pod.containers[0]["image"] in OUR_IMAGES]
    assert len(ours) > 8
    assert {pod.spec["securityContext"]["runAsUser"] for pod in ours} == {int(user)}


def test_every_container_has_requests_and_limits_that_are_allowed_and_memory_is_not_overcommitted() -> None:
    (allowed,) = named(manifests(), "LimitRange")["reason2decide"]["spec"]["limits"]
    for workload, container in every_container():
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        for name in ("cpu", "memory"):
            most = parse_quantity(allowed["max"][name])
            assert parse_quantity(requests[name]) <= parse_quantity(limits[name]) <= most, workload
        assert requests["memory"] == limits["memory"], workload


def test_every_scratch_volume_has_a_size() -> None:
    for pod in every_pod():
        for volume in pod.spec.get("volumes", ()):
            assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"], pod.workload


def test_every_image_is_pinned() -> None:
    for workload, container in every_container():
        tag = container["image"].rpartition(":")[2]
        assert "/" not in tag, f"{workload}: no tag"
        assert re.search(r"\d+\.\d+|RELEASE\.\d{4}", tag), f"{workload}: {tag} moves"


def test_no_file_holds_a_secret() -> None:
    assert named(manifests(), "Secret") == {}
    for workload, container in every_container():
        for variable in container.get("env", ()):
            if re.search(r"PASSWORD|SECRET|TOKEN|KEY", variable["name"]):
                assert "secretKeyRef" in variable.get("valueFrom", {}), f"{workload}: {variable['name']}"


# The steps of a run, as ZenML makes them of configs/kubernetes.yaml.


def test_the_config_names_only_steps_that_the_run_has() -> None:
    """ZenML passes over a step that it does not know, and training would run on a CPU."""
    assert set(CONFIG["steps"]) <= set(step_pods())


def test_gpus_are_requested_as_they_are_limited_and_only_on_gpu_nodes() -> None:
    assert {name for name, pod in step_pods().items() if pod.gpus} == {"train_stage1", "train_stage2", "evaluate"}
    for name, pod in step_pods().items():
        (container,) = pod.containers
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert requests.get("nvidia.com/gpu") == limits.get("nvidia.com/gpu"), name
        affinity = pod.spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        label = {"key": "nvidia.com/gpu.present", "operator": "In" if pod.gpus else "NotIn", "values": ["true"]}
        assert affinity == {"nodeSelectorTerms": [{"matchExpressions": [label]}]}, name
        assert bool(pod.spec.get("tolerations")) == bool(pod.gpus), name


def test_a_step_has_what_training_needs() -> None:
    for name, pod in step_pods().items():
        (container,) = pod.containers
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        assert set(mounts) == {"/tmp", "/dev/shm", "/checkpoints", "/models", "/data"}, name
        assert volumes[mounts["/dev/shm"]["name"]]["emptyDir"]["medium"] == "Memory"
        assert {variable["name"]: variable["value"] for variable in container["env"]}["R2D_WORK_DIR"] in mounts
        assert mounts["/data"]["readOnly"]
        assert mounts["/models"]["readOnly"]
    model = read_parameters(ROOT / "configs" / "kubernetes.yaml")["model"]["name"]
    assert model.startswith("/models/")


def test_a_lost_node_is_retried_and_nothing_waits_for_ever() -> None:
    longest = zenml_jobs()["orchestrator"]["spec"]["activeDeadlineSeconds"]
    for name, job in zenml_jobs().items():
        first, second = job["spec"]["podFailurePolicy"]["rules"]
        assert (first["action"], second["action"]) == ("Ignore", "Count"), f"{name}: the first rule that fits counts"
        assert first["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
        assert job["spec"]["backoffLimit"] >= 2, name
        assert 0 < job["spec"]["activeDeadlineSeconds"] <= longest
        assert job["spec"]["ttlSecondsAfterFinished"] > 0, name
    assert CONFIG["retry"]["max_retries"] >= 1, "without a retry an eviction fails the step"


def test_no_code_is_downloaded_into_a_read_only_root() -> None:
    docker = CONFIG["settings"]["docker"]
    assert docker["skip_build"] is True
    assert not docker["allow_download_from_artifact_store"]
    assert not docker["allow_download_from_code_repository"]


def test_the_order_of_priority_is_orchestrator_training_step() -> None:
    classes, steps = named(manifests(), "PriorityClass"), step_pods()
    ranked = [next(pods([zenml_jobs()["orchestrator"]])), steps["train_stage2"], steps["load_examples"]]
    first, second, third = (classes[pod.spec["priorityClassName"]]["value"] for pod in ranked)
    assert first > second > third


def test_a_pod_of_several_nodes_is_given_what_a_training_step_is_given() -> None:
    node, shared = MULTI_NODE["step_operator"]["pod_settings"], CONFIG["settings"]["orchestrator"]["pod_settings"]
    training = CONFIG["steps"]["train_stage1"]["settings"]["orchestrator"]["pod_settings"]
    for name in ("resources", "node_selectors", "tolerations"):
        assert node[name] == training[name], name
    assert node["container_security_context"] == shared["container_security_context"]
    assert node["additional_pod_spec_args"] == shared["additional_pod_spec_args"] | training["additional_pod_spec_args"]
    for name in ("volumes", "volume_mounts", "env"):
        assert [part for part in node[name] if part not in shared[name]] == [], name
    starter = MULTI_NODE["orchestrator"]["pod_settings"]
    assert starter == MULTI_NODE["orchestrator"]["orchestrator_pod_settings"]
    assert starter == CONFIG["settings"]["orchestrator"]["orchestrator_pod_settings"]


# Rights and network.


def test_a_token_is_mounted_only_where_the_api_is_called() -> None:
    accounts = [m for m in manifests() if m["kind"] == "ServiceAccount"]
    mounted = {m["metadata"]["name"] for m in accounts if m.get("automountServiceAccountToken", True)}
    assert mounted == {"submitter", "orchestrator"}
    for pod in every_pod():
        has_token = pod.spec.get("serviceAccountName", "default") in mounted
        assert pod.spec.get("automountServiceAccountToken", has_token) == has_token, pod.workload


def test_nobody_has_a_right_beyond_those_that_a_run_was_seen_to_use() -> None:
    rights = {
        name: {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
        for name, role in named(manifests(), "Role").items()
    }
    assert rights == {
        "submitter": {
            *(("jobs", verb) for verb in ("create", "get", "list", "delete")),
            ("pods", "list"),
            ("pods/log", "get"),
            *(("secrets", verb) for verb in ("create", "patch", "delete")),
        },
        "orchestrator": {
            *(("jobs", verb) for verb in ("create", "get", "list", "patch", "delete")),
            *(("pods", verb) for verb in ("get", "list")),
            ("secrets", "delete"),
        },
        "several-nodes": {("services", "create")},
    }
    assert not [m for m in manifests() if m["kind"] in ("ClusterRole", "ClusterRoleBinding")]
    bound = [subject["name"] for m in manifests() if m["kind"] == "RoleBinding" for subject in m["subjects"]]
    assert sorted(bound) == ["orchestrator", "orchestrator", "submitter"], "the account `step` is bound to nothing"


@pytest.fixture(scope="module")
def network() -> dict[str, Manifest]:
    """Name -> spec of each network policy."""
    return {name: policy["spec"] for name, policy in named(manifests(), "NetworkPolicy").items()}


def test_every_network_policy_is_for_a_pod_and_the_namespace_denies_the_rest(network: dict[str, Manifest]) -> None:
    assert network["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    every_labels = [*(pod.labels for pod in every_pod()), MULTI_NODE["step_operator"]["pod_settings"]["labels"]]
    for name, policy in network.items():
        assert any(_selects(policy["podSelector"], labels) for labels in every_labels), f"{name} is for no pod"
        for rule in [*policy.get("ingress", ()), *policy.get("egress", ())]:
            assert rule["ports"], name
            assert rule.get("to") or rule.get("from"), f"{name}: to or from everywhere"


def test_no_pod_reaches_the_internet_but_the_one_that_fetches_a_model(network: dict[str, Manifest]) -> None:
    for name, policy in network.items():
        peers = [peer for rule in policy.get("egress", ()) for peer in rule["to"]]
        blocks = {peer["ipBlock"]["cidr"] for peer in peers if "ipBlock" in peer}
        assert name == "fetch-to-hub" or blocks <= {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}, name
    assert _selected(network["fetch-to-hub"]) == ["Job fetch-model-"]


def test_only_client_and_orchestrator_reach_the_api_server(network: dict[str, Manifest]) -> None:
    assert _selected(network["run-to-api-server"]) == ["CronJob retraining", "Job orchestrator"]


def _selected(policy: Manifest) -> list[str]:
    return [pod.workload for pod in every_pod() if _selects(policy["podSelector"], pod.labels)]


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", ())
    assert {expression["operator"] for expression in expressions} <= {"In"}
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(expression["key"]) in expression["values"] for expression in expressions
    )
