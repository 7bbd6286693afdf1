"""What a schema cannot see: every pod is as restricted as it can be, and every right and door has its reason."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from r2d.config.loading import read_parameters
from tests.kubernetes.manifests import K8S, ROOT, Manifest, Pod, files, pods, zenml_jobs

NEEDS_A_TOKEN = {"submitter", "orchestrator"}
OURS = {"reason2decide:0.1.0", "registry.invalid/reason2decide:0.1.0"}
CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "kubernetes.yaml").read_text(encoding="utf-8"))
NODES: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "cluster" / "multi_node.yaml").read_text("utf-8"))
NODES = NODES["settings"]


def every_manifest() -> list[Manifest]:
    return [manifest for manifests in files().values() for manifest in manifests]


def every_pod() -> list[Pod]:
    found = [*pods(every_manifest()), *pods(list(zenml_jobs().values()))]
    assert len(found) >= 14
    return found


@pytest.fixture(scope="module")
def steps() -> dict[str, Pod]:
    """Of the run: step -> its pod."""
    return {name: next(pods([job])) for name, job in zenml_jobs().items() if name != "orchestrator"}


def test_every_pod_meets_the_standard_restricted() -> None:
    for pod in every_pod():
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] is True, pod.workload
        assert context["runAsUser"] >= 999, pod.workload
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, pod.workload
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod.spec), pod.workload
        assert not [volume for volume in pod.spec.get("volumes", ()) if "hostPath" in volume], pod.workload
        for container in pod.containers:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, pod.workload
            assert own["readOnlyRootFilesystem"] is True, pod.workload
            assert own["capabilities"] == {"drop": ["ALL"]}, pod.workload
            assert not own.get("privileged"), pod.workload


def test_our_image_runs_as_the_user_that_it_was_made_for() -> None:
    dockerfile = (K8S / "Dockerfile").read_text(encoding="utf-8")
    (user,) = re.findall(r"^USER (\d+):\d+$", dockerfile, flags=re.MULTILINE)
    ours = [pod for pod in every_pod() if pod.containers[0]["image"] in OURS]
    assert len(ours) > 8
    assert {pod.spec["securityContext"]["runAsUser"] for pod in ours} == {int(user)}


def test_every_container_has_requests_and_limits_and_memory_is_not_overcommitted() -> None:
    for pod in every_pod():
        for container in pod.containers:
            requests, limits = container["resources"]["requests"], container["resources"]["limits"]
            assert {"cpu", "memory"} <= set(requests) & set(limits), pod.workload
            assert requests["memory"] == limits["memory"], pod.workload


def test_every_scratch_volume_has_a_size() -> None:
    for pod in every_pod():
        for volume in pod.spec.get("volumes", ()):
            assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"], pod.workload


def test_gpus_are_requested_as_they_are_limited_and_only_on_gpu_nodes(steps: dict[str, Pod]) -> None:
    assert {name for name, pod in steps.items() if pod.gpus} == {"train_stage1", "train_stage2", "evaluate"}
    for name, pod in steps.items():
        (container,) = pod.containers
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert requests.get("nvidia.com/gpu") == limits.get("nvidia.com/gpu"), name
        (term,) = pod.spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
            "nodeSelectorTerms"
        ]
        (expression,) = term["matchExpressions"]
        assert (expression["key"], expression["values"]) == ("nvidia.com/gpu.present", ["true"])
        assert expression["operator"] == ("In" if pod.gpus else "NotIn"), f"{name}: a CPU step never sits on a GPU node"
        assert bool(pod.spec.get("tolerations")) == bool(pod.gpus), name


def test_the_config_names_only_steps_that_the_run_has(steps: dict[str, Pod]) -> None:
    """ZenML passes over a step that it does not know, and training would run on a CPU."""
    assert set(CONFIG["steps"]) <= set(steps)


def test_a_step_has_what_training_needs(steps: dict[str, Pod]) -> None:
    for name, pod in steps.items():
        (container,) = pod.containers
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        variables = {variable["name"]: variable["value"] for variable in container["env"]}
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        assert set(mounts) == {"/tmp", "/dev/shm", "/checkpoints", "/models", "/data"}, name
        assert volumes[mounts["/dev/shm"]["name"]]["emptyDir"]["medium"] == "Memory"
        assert variables["R2D_WORK_DIR"] in mounts
        assert mounts["/data"]["readOnly"]
        assert mounts["/models"]["readOnly"]
    model = read_parameters(ROOT / "configs" / "kubernetes.yaml")["model"]["name"]
    assert model.startswith("/models/")


def test_a_lost_node_is_retried_and_nothing_waits_for_ever() -> None:
    for name, job in zenml_jobs().items():
        first, second = job["spec"]["podFailurePolicy"]["rules"]
        assert (first["action"], second["action"]) == ("Ignore", "Count"), f"{name}: the first rule that fits counts"
        assert first["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
        assert job["spec"]["backoffLimit"] >= 2, name
        assert 0 < job["spec"]["activeDeadlineSeconds"] <= zenml_jobs()["orchestrator"]["spec"]["activeDeadlineSeconds"]
        assert job["spec"]["ttlSecondsAfterFinished"] > 0, name
    assert CONFIG["retry"]["max_retries"] >= 1, "without a retry an eviction fails the step"


def test_no_code_is_downloaded_into_a_read_only_root() -> None:
    docker = CONFIG["settings"]["docker"]
    assert docker["skip_build"] is True
    assert not docker["allow_download_from_artifact_store"]
    assert not docker["allow_download_from_code_repository"]


def test_the_order_of_priority_is_orchestrator_training_step(steps: dict[str, Pod]) -> None:
    value = {m["metadata"]["name"]: m["value"] for m in every_manifest() if m["kind"] == "PriorityClass"}
    watcher = next(pods([zenml_jobs()["orchestrator"]]))
    ranked = [watcher, steps["train_stage2"], steps["load_examples"]]
    values = [value[pod.spec["priorityClassName"]] for pod in ranked]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 3


def test_a_token_is_mounted_only_where_the_api_is_called() -> None:
    accounts = {
        (m["metadata"]["namespace"], m["metadata"]["name"]): m.get("automountServiceAccountToken", True)
        for m in every_manifest()
        if m["kind"] == "ServiceAccount"
    }
    assert {name for (_, name), mounted in accounts.items() if mounted} == NEEDS_A_TOKEN
    for pod in every_pod():
        account = pod.spec.get("serviceAccountName", "default")
        mounted = pod.spec.get("automountServiceAccountToken", account in NEEDS_A_TOKEN)
        assert mounted == (account in NEEDS_A_TOKEN), pod.workload


def test_nobody_has_a_right_beyond_those_that_a_run_was_seen_to_use() -> None:
    rights = {
        m["metadata"]["name"]: {
            (resource, verb) for rule in m["rules"] for resource in rule["resources"] for verb in rule["verbs"]
        }
        for m in every_manifest()
        if m["kind"] == "Role"
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
    assert not [m for m in every_manifest() if m["kind"] in ("ClusterRole", "ClusterRoleBinding")]
    bound = [subject["name"] for m in every_manifest() if m["kind"] == "RoleBinding" for subject in m["subjects"]]
    assert sorted(bound) == ["orchestrator", "orchestrator", "submitter"], "the account `step` is bound to nothing"


def test_a_pod_of_multi_node_is_given_what_a_training_step_is_given() -> None:
    node, shared = NODES["step_operator"]["pod_settings"], CONFIG["settings"]["orchestrator"]["pod_settings"]
    own = CONFIG["steps"]["train_stage1"]["settings"]["orchestrator"]["pod_settings"]
    for name in ("resources", "node_selectors", "tolerations"):
        assert node[name] == own[name], name
    assert node["container_security_context"] == shared["container_security_context"]
    assert node["additional_pod_spec_args"] == shared["additional_pod_spec_args"] | own["additional_pod_spec_args"]
    for name in ("volumes", "volume_mounts", "env"):
        assert [one for one in node[name] if one not in shared[name]] == [], name
    starter = NODES["orchestrator"]["pod_settings"]
    assert starter == NODES["orchestrator"]["orchestrator_pod_settings"]
    assert starter == CONFIG["settings"]["orchestrator"]["orchestrator_pod_settings"]


def test_every_image_is_pinned() -> None:
    for pod in every_pod():
        for container in pod.containers:
            tag = container["image"].rpartition(":")[2]
            assert "/" not in tag, f"{pod.workload}: no tag"
            assert re.search(r"\d+\.\d+|RELEASE\.\d{4}", tag), f"{pod.workload}: {tag} moves"


def test_no_file_holds_a_secret() -> None:
    assert not [m for m in every_manifest() if m["kind"] == "Secret"]
    for pod in every_pod():
        for container in pod.containers:
            for variable in container.get("env", ()):
                if re.search(r"PASSWORD|SECRET|TOKEN|KEY", variable["name"]):
                    assert "secretKeyRef" in variable.get("valueFrom", {}), f"{pod.workload}: {variable['name']}"


def test_every_door_is_for_someone_and_the_namespace_denies_the_rest() -> None:
    policies = {m["metadata"]["name"]: m["spec"] for m in every_manifest() if m["kind"] == "NetworkPolicy"}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    labels = [*(pod.labels for pod in every_pod()), NODES["step_operator"]["pod_settings"]["labels"]]
    for name, policy in policies.items():
        assert [one for one in labels if _selects(policy["podSelector"], one)], f"{name} is for no pod"
        for rule in [*policy.get("ingress", ()), *policy.get("egress", ())]:
            assert rule["ports"], name
            assert rule.get("to") or rule.get("from"), f"{name}: to or from everywhere"


def test_no_step_reaches_the_internet() -> None:
    """Private addresses alone, but for the pod that fetches a model."""
    for manifest in every_manifest():
        if manifest["kind"] != "NetworkPolicy" or manifest["metadata"]["name"] == "fetch-to-hub":
            continue
        blocks = [
            peer["ipBlock"]["cidr"]
            for rule in manifest["spec"].get("egress", ())
            for peer in rule["to"]
            if "ipBlock" in peer
        ]
        assert set(blocks) <= {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}, manifest["metadata"]["name"]
    (hub,) = [m for m in every_manifest() if m["metadata"].get("name") == "fetch-to-hub"]
    selected = [pod.workload for pod in every_pod() if _selects(hub["spec"]["podSelector"], pod.labels)]
    assert selected == ["Job fetch-model-"]


def test_only_client_and_orchestrator_reach_the_api_server() -> None:
    (door,) = [m for m in every_manifest() if m["metadata"].get("name") == "run-to-api-server"]
    selected = [pod.workload for pod in every_pod() if _selects(door["spec"]["podSelector"], pod.labels)]
    assert selected == ["CronJob retraining", "Job orchestrator"]


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    for expression in selector.get("matchExpressions", ()):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
