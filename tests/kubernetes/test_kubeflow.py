"""ZenML's Kubeflow orchestrator compiles our pipeline to what Kubeflow Pipelines runs: its intermediate representation.

In the environment that docs/kubernetes.md tells to make; installing it takes most of the time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.manifests import IMAGE, ROOT, run_session

pytestmark = pytest.mark.cluster

STEPS = {
    "load-examples", "validate-examples", "ingest-rationales", "train-stage1", "train-stage2", "train-sft", "evaluate",
    "register-model",
}  # fmt: skip


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of the environment that the commands of docs/kubernetes.md make."""
    folder, wheels = tmp_path_factory.mktemp("environment") / "venv", os.environ.get("PIP_FIND_LINKS")
    environment = ({"UV_FIND_LINKS": wheels} if wheels else {}) | os.environ
    for words in (
        f"venv --python {sys.executable} {folder}",
        f"pip sync --python {folder} --no-verify-hashes requirements.lock",
        f"pip install --python {folder} --no-deps --requirements k8s/kubeflow/requirements.txt",
    ):
        command = [Path(sys.executable).parent / "uv", *words.split()]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def written(python: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What ZenML wrote for Kubeflow out of configs/kubeflow.yaml: the pipeline, and what its pods get."""
    return run_session("kubeflow", tmp_path_factory.mktemp("kubeflow"), python)


@pytest.fixture(scope="module")
def compiled(written: str) -> dict[str, Any]:
    return next(yaml.safe_load_all(written))


@pytest.fixture(scope="module")
def containers(compiled: dict[str, Any]) -> dict[str, Any]:
    """Step -> its container."""
    executors = compiled["deploymentSpec"]["executors"].items()
    return {name.removeprefix("exec-"): executor["container"] for name, executor in executors}


def test_every_step_is_a_container_of_our_image(containers: dict[str, Any]) -> None:
    assert set(containers) == STEPS
    for name, container in containers.items():
        assert container["image"] == IMAGE
        assert container["command"] == ["python", "-m", "zenml.entrypoints.entrypoint"]
        assert container["args"][-1] == name.replace("-", "_")


def test_steps_wait_for_those_whose_artifacts_they_read(compiled: dict[str, Any]) -> None:
    tasks = compiled["root"]["dag"]["tasks"]
    after = {name: set(task.get("dependentTasks", [])) for name, task in tasks.items()}
    assert after["load-examples"] == set()
    assert after["validate-examples"] == {"load-examples"}
    assert after["train-stage1"] == {"ingest-rationales"}
    assert after["train-stage2"] == {"ingest-rationales", "train-stage1"}
    assert after["evaluate"] == {"ingest-rationales", "train-stage2", "train-sft"}
    assert after["register-model"] >= {"evaluate", "train-stage2"}


def test_a_training_step_is_given_what_it_needs(written: str, containers: dict[str, Any]) -> None:
    pipeline, platform = yaml.safe_load_all(written)
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for name in STEPS:
        resources, pod = containers[name]["resources"], pods[f"exec-{name}"]
        has_gpu = name in {"train-stage1", "train-stage2", "train-sft", "evaluate"}
        assert resources["resourceMemoryLimit"] == ("16Gi" if has_gpu else "6Gi")
        assert resources.get("accelerator", {}).get("resourceType") == ("nvidia.com/gpu" if has_gpu else None)
        assert ("nodeSelector" in pod, "tolerations" in pod) == (has_gpu, has_gpu)
        assert [claim["constant"] for claim in pod["pvcMount"]] == ["checkpoints", "model-cache", "data"]
        assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": "10001", "runAsGroup": "10001"}
        assert pod["activeDeadlineSeconds"] == "86400"
        retries = pipeline["root"]["dag"]["tasks"][name]["retryPolicy"]["maxRetryCount"]
        assert retries == (5 if has_gpu else 2), name


def test_the_token_is_in_a_secret_and_not_in_the_file(written: str) -> None:
    _, platform = yaml.safe_load_all(written)
    for pod in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        (secret,) = pod["secretAsEnv"]
        assert secret["secretName"] == "zenml-client"
        assert secret["keyToEnv"] == [{"envVar": "ZENML_STORE_API_KEY", "secretKey": "api-key"}]
    assert "the token" not in written
    assert "ZENML_STORE_API_TOKEN" not in written
