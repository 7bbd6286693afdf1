"""Every object we would send is one that Kubernetes knows, and the overlays are what they say they are."""

from __future__ import annotations

import json
import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.kubernetes.manifests import K8S, OVERLAYS, ROOT, built, files, has_kubectl, overlay, pods, zenml_jobs

SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
VERSIONS = sorted(
    (path.name.split("-")[0][1:] for path in SCHEMAS.glob("*-strict")), key=lambda v: int(v.split(".")[1])
)
NEWEST = [version.removesuffix(".0") for version in VERSIONS[-3:]]
CUSTOM = {"ClusterQueue", "LocalQueue", "ResourceFlavor"}
"""Kueue's own kinds, which have no schema among Kubernetes' own."""

needs_kubectl = pytest.mark.skipif(not has_kubectl(), reason="kubectl, which brings kustomize, is not installed")


def require_valid(manifest: dict[str, Any], version: str) -> None:
    if manifest["kind"] not in CUSTOM:
        _validate(json.dumps(manifest), version)


@cache
def _validate(manifest: str, version: str) -> None:
    """What overlays share is looked at once."""
    kubernetes_validate.validate(json.loads(manifest), version, strict=True)


@pytest.fixture(scope="module")
def jobs() -> dict[str, dict[str, Any]]:
    return zenml_jobs()


@pytest.mark.parametrize("version", NEWEST)
def test_every_file_is_valid(version: str) -> None:
    for manifests in files().values():
        for manifest in manifests:
            require_valid(manifest, version)


def test_the_validation_sees_a_misspelt_field() -> None:
    (manifest,) = files()["jobs/fetch-model.yaml"]
    wrong = {**manifest, "spec": {**manifest["spec"], "backofLimit": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        require_valid(wrong, NEWEST[-1])


@pytest.mark.parametrize("version", NEWEST)
def test_what_zenml_makes_of_the_config_is_valid(jobs: dict[str, dict[str, Any]], version: str) -> None:
    for job in jobs.values():
        require_valid(job, version)


@needs_kubectl
@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_builds_and_is_valid(name: str) -> None:
    manifests = overlay(name)
    keys = [(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in manifests]
    assert len(set(keys)) == len(keys) > 20
    for manifest in manifests:
        require_valid(manifest, NEWEST[-1])


@needs_kubectl
@pytest.mark.parametrize("name", OVERLAYS)
def test_the_image_is_set_in_one_place(name: str, tmp_path: Path) -> None:
    """The client, MLflow and, through R2D_IMAGE, the steps all follow it."""
    shutil.copytree(K8S, tmp_path / "k8s")
    edited = tmp_path / "k8s" / "overlays" / ("dev" if name == "dev" else "gpu") / "kustomization.yaml"
    text = edited.read_text(encoding="utf-8")
    assert text.count("newName: reason2decide, newTag: 0.1.0") == 1
    edited.write_text(text.replace("newName: reason2decide, newTag: 0.1.0", "newName: other.invalid/r2d, newTag: abc"))
    found = list(pods(built(tmp_path / "k8s" / "overlays" / name)))
    images = {container["image"] for pod in found for container in pod.containers}
    assert "other.invalid/r2d:abc" in images
    assert not [image for image in images if "reason2decide" in image]
    (client,) = [pod for pod in found if pod.workload == "CronJob retraining"]
    variables = {variable["name"]: variable.get("value") for variable in client.containers[0]["env"]}
    assert variables["R2D_IMAGE"] == "other.invalid/r2d:abc"


@needs_kubectl
def test_overlays_differ_in_what_they_are_for() -> None:
    def quota(name: str) -> str:
        (found,) = [m for m in overlay(name) if m["kind"] == "ResourceQuota"]
        return str(found["spec"]["hard"]["requests.nvidia.com/gpu"])

    assert {name: quota(name) for name in OVERLAYS} == {"dev": "1", "gpu": "2", "gpu-mig": "4", "spot": "2"}
    assert {m["metadata"]["name"] for m in overlay("dev")} >= {"minio", "minio-bucket"}
    assert not {m["metadata"]["name"] for m in overlay("gpu")} & {"minio", "minio-bucket"}
    (queue,) = [m for m in overlay("spot") if m["kind"] == "ClusterQueue"]
    assert [flavor["name"] for flavor in queue["spec"]["resourceGroups"][0]["flavors"]] == ["gpu-spot", "gpu"]


@needs_kubectl
@pytest.mark.parametrize("name", OVERLAYS)
def test_every_claim_account_and_priority_that_is_named_is_there(name: str, jobs: dict[str, dict[str, Any]]) -> None:
    manifests = overlay(name)
    there: dict[str, set[str]] = {}
    for manifest in manifests:
        there.setdefault(manifest["kind"], set()).add(manifest["metadata"]["name"])
    for pod in pods([*manifests, *jobs.values()]):
        assert pod.spec.get("serviceAccountName", "default") in there["ServiceAccount"], pod.workload
        assert pod.spec.get("priorityClassName") in {None, *there["PriorityClass"]}, pod.workload
        volumes = pod.spec.get("volumes", ())
        claims = {v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v}
        assert claims <= there["PersistentVolumeClaim"], pod.workload


@needs_kubectl
def test_the_steps_on_a_gpu_name_the_queue_of_kueue(jobs: dict[str, dict[str, Any]]) -> None:
    label = "kueue.x-k8s.io/queue-name"
    queued = {pod.labels[label] for pod in pods(list(jobs.values())) if pod.gpus}
    assert queued == {m["metadata"]["name"] for m in overlay("spot") if m["kind"] == "LocalQueue"}
    assert not [pod for pod in pods(list(jobs.values())) if label in pod.labels and not pod.gpus]


@needs_kubectl
@pytest.mark.parametrize("name", OVERLAYS)
def test_one_run_fits_into_the_quota(name: str, jobs: dict[str, dict[str, Any]]) -> None:
    """The largest step beside the client, the orchestrator and the services."""
    (quota,) = [m["spec"]["hard"] for m in overlay(name) if m["kind"] == "ResourceQuota"]
    services = pods([m for m in overlay(name) if m["metadata"].get("namespace") == "reason2decide"])
    largest = max(pods(list(jobs.values())), key=lambda pod: _memory(pod.containers))
    (watcher,) = pods([jobs["orchestrator"]])
    assert sum(_memory(pod.containers) for pod in [*services, largest, watcher]) <= int(quota["limits.memory"][:-2])
    assert largest.gpus <= int(quota["requests.nvidia.com/gpu"])


def _memory(containers: list[dict[str, Any]]) -> float:
    """Gibibytes."""
    limits = [container["resources"]["limits"]["memory"] for container in containers]
    return sum(float(limit[:-2]) / {"Gi": 1, "Mi": 1024}[limit[-2:]] for limit in limits)


def test_the_retraining_job_starts_the_config_that_is_shipped() -> None:
    (cron,) = files()["base/retraining.yaml"]
    (container,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    config = container["command"][-1].split("--config ")[1]
    assert (ROOT / config).exists()
    assert "zenml stack set reason2decide && exec r2d retrain" in container["command"][-1]
    stack = yaml.safe_load((K8S / "stack.yaml").read_text(encoding="utf-8"))
    assert stack["name"] == "reason2decide"
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    assert cron["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0


def test_the_helm_values_are_of_the_version_we_run() -> None:
    values = yaml.safe_load((K8S / "components" / "zenml" / "values.yaml").read_text(encoding="utf-8"))
    pins = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"zenml[server,local]=={values['zenml']['image']['tag']}" in pins
    assert values["zenml"]["database"]["url"].startswith("mysql://")


def test_what_enters_the_image_is_named() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    named = [line[1:] for line in lines if line.startswith("!")]
    assert [name for name in named if not os.path.exists(ROOT / name)] == []
    assert {"r2d", "steps", "pipelines", "mlops", "configs", "reason2decide.py", "requirements.lock"} <= set(named)
    assert ".zen" not in named, "ZenML would take it for a repository and write into it, on a read-only root"
