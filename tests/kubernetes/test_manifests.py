"""Every object we would send is one that Kubernetes knows, and the overlays are what they say they are."""

from __future__ import annotations

import json
import re
import shutil
from decimal import Decimal
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
from kubernetes.utils.quantity import parse_quantity
from kubernetes_validate.utils import all_versions

from tests.kubernetes.manifests import (
    K8S,
    OVERLAYS,
    ROOT,
    Manifest,
    Pod,
    build,
    manifests,
    named,
    overlay,
    pods,
    read_yaml,
    step_pods,
    zenml_jobs,
)

VERSIONS = [version.removesuffix(".0") for version in [*dict.fromkeys(all_versions())][-3:]]
QUEUE = "kueue.x-k8s.io/queue-name"
FOREIGN_KINDS = {"ClusterQueue", "LocalQueue", "ResourceFlavor", "Certificate", "ClusterIssuer"}
"""Of Kueue and cert-manager; they have no schema among Kubernetes' own."""


@pytest.fixture(params=OVERLAYS)
def built(request: pytest.FixtureRequest) -> list[Manifest]:
    return overlay(request.param)


def require_valid(manifest: Manifest, version: str) -> None:
    if manifest["kind"] not in FOREIGN_KINDS:
        _validate(json.dumps(manifest), version)


@cache
def _validate(manifest: str, version: str) -> None:
    """What overlays share is validated once."""
    kubernetes_validate.validate(json.loads(manifest), version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_file_and_every_job_that_zenml_makes_of_the_config_is_valid(version: str) -> None:
    for manifest in [*manifests(), *zenml_jobs().values()]:
        require_valid(manifest, version)


def test_the_validation_sees_a_misspelt_field() -> None:
    job = named(manifests(), "Job")["fetch-model"]
    with pytest.raises(kubernetes_validate.ValidationError):
        require_valid({**job, "spec": {**job["spec"], "backofLimit": 3}}, VERSIONS[-1])


def test_an_overlay_builds_and_is_valid(built: list[Manifest]) -> None:
    keys = {(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in built}
    assert len(keys) == len(built) > 20
    for item in built:
        require_valid(item, VERSIONS[-1])


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_image_is_set_in_one_place(name: str, tmp_path: Path) -> None:
    """The client, ZenML, MLflow and, through R2D_IMAGE, the steps all follow it."""
    shutil.copytree(K8S, tmp_path / "k8s")
    edited = tmp_path / "k8s" / "overlays" / ("dev" if name == "dev" else "gpu") / "kustomization.yaml"
    text, digest = edited.read_text(encoding="utf-8"), f"sha256:{'1' * 64}"
    ours = r"newName: reason2decide, (newTag: 0\.1\.0|digest: \S+)}"
    edited.write_text(re.sub(ours, f'newName: other.invalid/r2d, digest: "{digest}"}}', text))
    by_workload = {pod.workload: pod for pod in pods(build(tmp_path / "k8s" / "overlays" / name))}
    images = {container["image"] for pod in by_workload.values() for container in pod.containers}
    assert f"other.invalid/r2d@{digest}" in images
    assert not [image for image in images if "reason2decide" in image]
    (client,) = by_workload["CronJob retraining"].containers
    assert {"name": "R2D_IMAGE", "value": f"other.invalid/r2d@{digest}"} in client["env"]


def test_overlays_differ_in_what_they_are_for() -> None:
    quotas = {name: named(overlay(name), "ResourceQuota")["reason2decide"]["spec"]["hard"] for name in OVERLAYS}
    gpus = {name: hard["requests.nvidia.com/gpu"] for name, hard in quotas.items()}
    assert gpus == {"dev": "1", "gpu": "2", "gpu-mig": "4", "spot": "2"}
    assert {m["metadata"]["name"] for m in overlay("dev")} >= {"minio", "minio-bucket"}
    assert not {m["metadata"]["name"] for m in overlay("gpu")} & {"minio", "minio-bucket"}
    (queue,) = named(overlay("spot"), "ClusterQueue").values()
    assert [flavor["name"] for flavor in queue["spec"]["resourceGroups"][0]["flavors"]] == ["gpu-spot", "gpu"]


def test_every_claim_account_and_priority_that_a_pod_names_exists(built: list[Manifest]) -> None:
    accounts, priorities, claims = (
        set(named(built, kind)) for kind in ("ServiceAccount", "PriorityClass", "PersistentVolumeClaim")
    )
    for pod in pods([*built, *zenml_jobs().values()]):
        assert pod.spec.get("serviceAccountName", "default") in accounts, pod.workload
        assert pod.spec.get("priorityClassName") in {None, *priorities}, pod.workload
        volumes = [v["persistentVolumeClaim"] for v in pod.spec.get("volumes", ()) if "persistentVolumeClaim" in v]
        assert {volume["claimName"] for volume in volumes} <= claims, pod.workload


def test_the_steps_on_a_gpu_and_no_others_name_the_queue_of_kueue() -> None:
    (queue,) = named(overlay("spot"), "LocalQueue")
    for name, pod in step_pods().items():
        assert pod.labels.get(QUEUE) == (queue if pod.gpus else None), name


def test_one_run_fits_into_the_quota(built: list[Manifest]) -> None:
    """The largest step beside the client, the orchestrator and the services."""

    def memory(pod: Pod) -> Decimal:
        return sum(parse_quantity(container["resources"]["limits"]["memory"]) for container in pod.containers)

    quota = named(built, "ResourceQuota")["reason2decide"]["spec"]["hard"]
    services = pods([m for m in built if m["metadata"].get("namespace") == "reason2decide"])
    beside = sum(map(memory, [*services, *pods([zenml_jobs()["orchestrator"]])]))
    assert max(map(memory, step_pods().values())) + beside <= parse_quantity(quota["limits.memory"])
    assert max(pod.gpus for pod in step_pods().values()) <= int(quota["requests.nvidia.com/gpu"])


def test_the_retraining_job_starts_the_shipped_config_on_the_shipped_stack_once() -> None:
    cronjob = named(manifests(), "CronJob")["retraining"]["spec"]
    spec = cronjob["jobTemplate"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    command = container["command"][-1]
    assert f"zenml stack set {read_yaml('k8s/stack.yaml')['name']} && exec r2d retrain" in command
    assert (ROOT / command.split("--config ")[1].strip()).exists()
    assert (cronjob["concurrencyPolicy"], spec["backoffLimit"]) == ("Forbid", 0)


def test_what_enters_the_image_is_named() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    entries = {line[1:] for line in lines if line.startswith("!")}
    assert [name for name in entries if not (ROOT / name).exists()] == []
    assert {"r2d", "steps", "pipelines", "mlops", "configs", "reason2decide.py", "requirements.lock"} <= entries
    assert ".zen" not in entries, "ZenML would take it for a repository and write into it, on a read-only root"


def test_the_run_for_kubeflow_is_that_of_the_demo() -> None:
    assert read_yaml("configs/kubeflow.yaml")["parameters"] == read_yaml("configs/demo.yaml")["parameters"]
