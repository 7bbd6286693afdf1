"""What we would send to a cluster: our files, the overlays as kustomize builds them, and the jobs that ZenML makes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
IMAGE = "registry.invalid/reason2decide:0.1.0"
NOT_MANIFESTS = {"stack.yaml", "values.yaml", "kustomization.yaml"}

Manifest = dict[str, Any]


@cache
def files() -> dict[str, list[Manifest]]:
    """Path below k8s/ -> its manifests."""
    paths = sorted(path for path in K8S.rglob("*.yaml") if path.name not in NOT_MANIFESTS)
    read = {str(path.relative_to(K8S)): list(yaml.safe_load_all(path.read_text(encoding="utf-8"))) for path in paths}
    assert len(read) > 12
    return read


def built(folder: Path) -> list[Manifest]:
    """A kustomization as `kubectl kustomize` builds it."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@cache
def overlay(name: str) -> list[Manifest]:
    """An overlay of ours, built."""
    return built(K8S / "overlays" / name)


def has_kubectl() -> bool:
    """kustomize comes with kubectl; there is none in Debian or on PyPI."""
    return shutil.which("kubectl") is not None


@cache
def zenml_session() -> dict[str, Any]:
    """What `tests/kubernetes/zenml_session.py` saw."""
    with TemporaryDirectory() as folder:
        answers: dict[str, Any] = json.loads(session("zenml_session", Path(folder)))
        return answers


def session(module: str, folder: Path, python: str | Path = sys.executable) -> str:
    """What a module of this package leaves in a file, in a process and with a ZenML of its own."""
    target = folder / "answers"
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "ZENML_CONFIG_PATH": f"{folder}/zenml",
        "R2D_IMAGE": IMAGE,
        "R2D_REGISTRY": "registry.invalid",
        # A pipeline asks for the champion before its first step; the stack's own MLflow is not there.
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
    }
    command = [str(python), "-m", f"tests.kubernetes.{module}", str(target)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return target.read_text(encoding="utf-8")


def zenml_jobs() -> dict[str, Manifest]:
    """Step, or `orchestrator` -> the job that ZenML makes of configs/kubernetes.yaml."""
    jobs: dict[str, Manifest] = zenml_session()["jobs"]
    return jobs


@dataclass(frozen=True)
class Pod:
    """The pod of a workload."""

    workload: str
    labels: dict[str, str]
    spec: Manifest

    @property
    def containers(self) -> list[Manifest]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def gpus(self) -> int:
        return sum(int(one["resources"]["limits"].get("nvidia.com/gpu", 0)) for one in self.containers)


def pods(manifests: list[Manifest]) -> Iterator[Pod]:
    """The pod template of every workload."""
    for manifest in manifests:
        spec = manifest.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template is not None:
            name = manifest["metadata"].get("name") or manifest["metadata"]["generateName"]
            yield Pod(f"{manifest['kind']} {name}", template["metadata"].get("labels", {}), template["spec"])
