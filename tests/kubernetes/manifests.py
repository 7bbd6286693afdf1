"""What we would send to a cluster: our files, the overlays as kustomize builds them, and the jobs that ZenML makes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from tests import warm

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
IMAGE = f"registry.invalid/reason2decide@sha256:{'0' * 64}"
NOT_MANIFESTS = {"stack.yaml", "kustomization.yaml", "checkov.yaml"}

Manifest = dict[str, Any]


def read_yaml(path: str) -> Any:
    """A YAML file of the project."""
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@cache
def manifests() -> list[Manifest]:
    """The manifests of all files below k8s/."""
    paths = sorted(path for path in K8S.rglob("*.yaml") if path.name not in NOT_MANIFESTS)
    assert len(paths) > 12
    return [manifest for path in paths for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def named(items: Iterable[Manifest], kind: str) -> dict[str, Manifest]:
    """The manifests of a kind by name."""
    return {item["metadata"].get("name", ""): item for item in items if item["kind"] == kind}


def build(folder: Path) -> list[Manifest]:
    """A kustomization as `kubectl kustomize` builds it; skips the test where there is no kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl, which has kustomize, is missing")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@cache
def overlay(name: str) -> list[Manifest]:
    """An overlay of ours, built."""
    return build(K8S / "overlays" / name)


@cache
def stack_session() -> dict[str, Any]:
    """What `zenml_sessions.py` writes for `stack`."""
    with TemporaryDirectory() as folder:
        return json.loads(run_session("stack", Path(folder)))


def zenml_jobs() -> dict[str, Manifest]:
    """Step, or `orchestrator` -> the job that ZenML makes of configs/kubernetes.yaml."""
    return stack_session()["jobs"]


def run_session(name: str, folder: Path, python: Path | None = None, **environment: str) -> str:
    """What a session of `zenml_sessions.py` writes, in a process with a ZenML of its own; maybe by another Python."""
    target = folder / "answers"
    variables = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "ZENML_CONFIG_PATH": f"{folder}/zenml",
        "R2D_IMAGE": IMAGE,
        "R2D_REGISTRY": "registry.invalid",
        # A pipeline asks for the champion before its first step; the stack's own MLflow is not there.
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        **environment,
    }
    command = [str(python or "python"), "-m", "tests.kubernetes.zenml_sessions", name, str(target)]
    if python is None:
        done = warm.run(command, cwd=folder, environment=variables)
    else:
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return target.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Pod:
    """The pod of a workload."""

    workload: str
    namespace: str
    labels: dict[str, str]
    spec: Manifest

    @property
    def containers(self) -> list[Manifest]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def gpus(self) -> int:
        return sum(int(container["resources"]["limits"].get("nvidia.com/gpu", 0)) for container in self.containers)


def pods(items: Iterable[Manifest]) -> Iterator[Pod]:
    """The pod template of every workload."""
    for item in items:
        spec = item.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template is not None:
            name = item["metadata"]["name"]
            namespace = item["metadata"].get("namespace", "reason2decide")
            yield Pod(f"{item['kind']} {name}", namespace, template["metadata"].get("labels", {}), template["spec"])


def step_pods() -> dict[str, Pod]:
    """Step -> the pod that ZenML makes of it."""
    return {name: next(pods([job])) for name, job in zenml_jobs().items() if name != "orchestrator"}
