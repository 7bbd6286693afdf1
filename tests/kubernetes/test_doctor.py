"""`r2d doctor`: each line says what is in order or not, and what to do; on a test cluster and on plain answers."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import pytest
import yaml

from mlops.doctor import (
    CLAIMS,
    COMPARED_PACKAGES,
    Finding,
    check_gpus,
    check_image,
    check_rights,
    check_volumes,
    check_zenml,
    most_gpus,
    required_rights,
)
from tests.kubernetes.cluster.cluster import Cluster, node
from tests.kubernetes.cluster.kubelet import Image, Launch
from tests.kubernetes.manifests import IMAGE, K8S, manifests, read_yaml, run_session

GPU = "nvidia.com/gpu"
LABELS = {"nvidia.com/gpu.present": "true"}
QUOTA = {"spec": {"hard": {"requests.nvidia.com/gpu": "1", "pods": "30"}}}


def gpu_node(name: str, gpus: int, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": LABELS, **metadata}, "status": {"allocatable": {GPU: gpus}}}


def gpu_pod(node_name: str, phase: str = "Running") -> dict[str, Any]:
    container = {"resources": {"limits": {GPU: "1"}}}
    return {"spec": {"nodeName": node_name, "containers": [container, {}]}, "status": {"phase": phase}}


def test_free_gpus_are_those_that_unfinished_pods_have_not_asked_for() -> None:
    nodes = [gpu_node("a", 2), gpu_node("b", 1), {"metadata": {"name": "c"}, "status": {"allocatable": {"cpu": "4"}}}]
    pods = [gpu_pod("a"), gpu_pod("b", "Succeeded"), {"spec": {"containers": [{}]}, "status": {}}]
    assert check_gpus(nodes, pods, wanted=1) == Finding("gpu nodes", True, "2 with 3 GPUs, 2 free")


@pytest.mark.parametrize(
    ("nodes", "pods", "wanted", "detail"),
    [
        ([{"metadata": {"name": "c"}, "status": {}}], [], 1, "none of 1 nodes offers nvidia.com/gpu"),
        ([gpu_node("a", 1)], [gpu_pod("a")], 1, "1 with 1 GPUs, 0 free; no node has 1 free"),
        ([gpu_node("a", 1), gpu_node("b", 1)], [], 2, "no node has the 2 that one step asks for"),
        ([gpu_node("a", 1, labels={})], [], 1, "steps would not find a"),
        ([{**gpu_node("a", 1), "spec": {"unschedulable": True}}], [], 1, "none of 1 nodes"),
    ],
)
def test_a_step_that_would_wait_is_told_why(nodes: list[Any], pods: list[Any], wanted: int, detail: str) -> None:
    finding = check_gpus(nodes, pods, wanted=wanted)
    assert not finding.ok
    assert detail in finding.detail
    assert finding.fix


def test_a_step_that_asks_for_more_than_the_quota_is_refused_before_it_waits() -> None:
    assert most_gpus(read_yaml("configs/kubernetes.yaml")) == 1
    finding = check_gpus([gpu_node("a", 4)], [], wanted=2, quotas=[QUOTA])
    assert finding.detail == "the quota allows 1 GPUs; one step asks for 2"
    assert check_gpus([gpu_node("a", 4)], [], wanted=1, quotas=[QUOTA, {"spec": {"hard": {"pods": "3"}}}]).ok


def test_volumes_are_there_or_bound_on_first_use() -> None:
    def default_class(mode: str) -> dict[str, Any]:
        annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
        return {"metadata": {"name": mode, "annotations": annotations}, "volumeBindingMode": mode}

    bound = [{"metadata": {"name": name}, "status": {"phase": "Bound"}} for name in CLAIMS]
    waiting = [*bound[:2], {"metadata": {"name": "data"}, "status": {"phase": "Pending"}}]
    lazy, eager = default_class("WaitForFirstConsumer"), default_class("Immediate")
    assert check_volumes(bound, [], "ns").ok
    assert check_volumes(waiting, [lazy], "ns").detail.endswith("data will be bound on first use")
    assert check_volumes(waiting, [eager], "ns").detail == "data not bound; default storage class Immediate"
    assert check_volumes(waiting, [{**lazy, "metadata": {"name": "lazy"}}], "ns").detail.endswith("class none")
    assert check_volumes(bound[:1], [lazy], "ns").detail == "no claim model-cache, data in ns"


def test_the_rights_asked_for_are_those_of_the_role_that_is_shipped() -> None:
    rights = required_rights(manifests(), "submitter")
    assert ("batch", "jobs", "create") in rights
    assert ("", "pods/log", "get") in rights
    allowed = dict.fromkeys(rights, True)
    assert check_rights("ns", allowed).ok
    assert check_rights("ns", allowed | {("", "pods", "list"): False}).detail == "this account may not: list pods"


def test_versions_must_be_equal_but_for_their_local_part() -> None:
    installed = {"torch": "2.13.0+cpu", "zenml": "0.98.0"}
    image = f"i@sha256:{'0' * 64}"
    assert check_image(image, installed, {"torch": "2.13.0", "zenml": "0.98.0"}).ok
    assert check_image("i:1.0", installed, {"torch": "2.13.0", "zenml": "0.98.0"}).fix.startswith("set R2D_IMAGE to")
    assert check_image(image, installed, {"torch": "2.12.0"}).detail == (
        f"{image} starts, but has torch 2.12.0 (here 2.13.0+cpu), zenml missing (here 0.98.0)"
    )
    assert check_zenml("https://zenml.invalid", "0.98.0", "0.98.0").ok
    assert "0.97.0" in check_zenml("https://zenml.invalid", "0.98.0", "0.97.0").detail
    assert not check_zenml("sqlite:///zenml.db", "0.98.0", "0.98.0").ok


def test_a_failure_is_shown_with_its_fix() -> None:
    assert str(Finding("rights", True, "all")) == "ok    rights          all"
    lines = str(Finding("rights", False, "none", "ask")).splitlines()
    assert lines[0] == "FAIL  rights          none"
    assert lines[1].strip() == "fix: ask"


class PrintsItsVersions:
    """A container that has run the doctor's command as soon as it is started."""

    def __init__(self, launch: Launch) -> None:
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        launch.log.write_text(json.dumps({name: version(name) for name in COMPARED_PACKAGES}), encoding="utf-8")

    def poll(self) -> int:
        return 0


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Situation -> name -> finding, of `examine` on a test cluster with our namespace, quota, rights and volumes."""
    folder = tmp_path_factory.mktemp("doctor")
    image = Image(folders={}, environment={"PATH": "/usr/bin"})
    with Cluster(folder / "cluster", {IMAGE: image}, start=PrintsItsVersions) as cluster:
        cluster.apply(*(K8S / "base" / f"{name}.yaml" for name in ("namespace", "rbac", "priorities", "limits")))
        claims = [m for m in manifests() if m["kind"] == "PersistentVolumeClaim" and m["metadata"]["name"] in CLAIMS]
        cluster.apply(*({**claim, "status": {"phase": "Bound"}} for claim in claims))
        cpu = {"cpu": "8", "memory": "32Gi", "pods": "110"}
        cluster.apply(node("cpu-0", cpu, {}), node("gpu-0", cpu | {GPU: "2"}, LABELS))
        # One kubeconfig of two contexts: `admin`, and `step`, the account without any right.
        admin, step = (
            yaml.safe_load(cluster.kubeconfig(account, "reason2decide").read_text("utf-8")) for account in ("", "step")
        )
        contexts = [admin["contexts"][0] | {"name": "admin"}, step["contexts"][0] | {"name": "step"}]
        both = {"contexts": contexts, "users": admin["users"] + step["users"], "current-context": "admin"}
        (folder / "kubeconfig.yaml").write_text(yaml.safe_dump(admin | both), encoding="utf-8")
        answer = run_session(
            "doctor",
            folder,
            KUBECONFIG=str(folder / "kubeconfig.yaml"),
            R2D_KUBE_CONTEXT="admin",
            R2D_S3_ENDPOINT="http://127.0.0.1:9",
            R2D_MLFLOW_URL="http://127.0.0.1:9",
            AWS_MAX_ATTEMPTS="1",
            MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
        )
        assert cluster.faults == []
        assert cluster.objects("jobs") == [], "the doctor leaves nothing behind"
    return json.loads(answer)


def test_every_look_is_taken_whatever_the_ones_before_it_found(findings: dict[str, Any]) -> None:
    by_name = findings["services down"]
    assert list(by_name) == [
        "zenml server", "artifact store", "mlflow", "api server", "rights", "gpu nodes", "volumes", "image",
    ]  # fmt: skip
    failed = [name for name, finding in by_name.items() if not finding["ok"]]
    assert failed == ["zenml server", "artifact store", "mlflow"], by_name
    assert all(finding["fix"] for finding in by_name.values() if not finding["ok"])
    assert "a database of its own" in by_name["zenml server"]["detail"]
    assert by_name["gpu nodes"]["detail"] == "1 with 2 GPUs, 2 free"
    assert by_name["rights"]["detail"].startswith("all 9 ")


def test_the_image_is_run_as_restricted_as_a_step(findings: dict[str, Any]) -> None:
    """Admission by the standard `restricted` and the quota stand between: the job would be refused."""
    image = findings["services down"]["image"]
    assert image["ok"], image
    assert f"zenml {version('zenml')}" in image["detail"]


def test_an_image_that_cannot_be_pulled_is_named_with_the_reason(findings: dict[str, Any]) -> None:
    image = findings["no image"]["image"]
    assert not image["ok"]
    assert "registry.invalid/nowhere:1.0 did not run within 5 s: ErrImagePull" in image["detail"]
    assert findings["no image"]["artifact store"]["ok"]


def test_an_account_without_rights_is_told_so(findings: dict[str, Any]) -> None:
    by_name = findings["no rights"]
    assert by_name["api server"]["ok"]
    assert by_name["rights"]["detail"].startswith("this account may not: create jobs, get jobs")
    for name in ("gpu nodes", "volumes", "image"):
        assert not by_name[name]["ok"], name
        assert by_name[name]["detail"].startswith("403 "), name


def test_only_a_kubernetes_stack_can_be_examined(findings: dict[str, Any]) -> None:
    assert findings["default"] == "stack 'default' runs on 'local', and only 'kubernetes' can be examined"
    assert "make it: r2d stack apply k8s/stack.yaml" in findings["unknown"]
