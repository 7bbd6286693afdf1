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

from tests.kubernetes.manifests import IMAGE, ROOT, read_yaml, run_session

pytestmark = pytest.mark.cluster

STEPS = {
    "load-examples", "validate-examples", "ingest-rationales", "train-stage1", "train-stage2", "evaluate",
    "register-model",
}  # fmt: skip


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of the environment that the commands of docs/kubernetes.md make."""
    folder, wheels = tmp_path_factory.mktemp("environment") / "venv", os.environ.get("PIP_FIND_LINKS")
    environment = ({"UV_FIND_LINKS": wheels} if wheels else {}) | os.environ
    for words in (
        f"venv --python {sys.executable} {folder}",
        f"pip sync --python {folder} requirements.lock",
        f"pip install --python {folder} --no-deps --requirements k8s/kubeflow/requirements.txt",
    ):
        command = [Path(sys.executable).parent / "uv", *words.split()]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def compiled(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ZenML wrote for Kubeflow out of configs/kubeflow.yaml."""
    return yaml.safe_load(run_session("kubeflow", tmp_path_factory.mktemp("kubeflow"), python))


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
    assert after["evaluate"] == {"ingest-rationales", "train-stage2"}
    assert after["register-model"] >= {"evaluate", "train-stage2"}


def test_what_kubeflow_is_not_told_is_what_the_documentation_says(
    compiled: dict[str, Any], containers: dict[str, Any]
) -> None:
    """CPUs, and else nothing: when a newer ZenML tells more, docs/kubernetes.md and the config are out of date."""
    for container in containers.values():
        assert container["resources"] == {"cpuLimit": 2.0, "resourceCpuLimit": "2.0"}
    assert "platforms" not in compiled
    text = yaml.safe_dump(compiled)
    for word in ("retryPolicy", "volume", "toleration", "nodeSelector", "securityContext"):
        assert word not in text


def test_a_gpu_that_is_asked_for_is_lost_on_the_way(python: Path) -> None:
    """Why the config asks for none: `pod_settings` are never kept, and `node_selectors` not at the second look."""
    program = (
        "from zenml.integrations.kubeflow.flavors import kubeflow_orchestrator_flavor as flavor\n"
        "Settings = flavor.KubeflowOrchestratorSettings\n"
        "gpu = {'node_selectors': {'accelerator': 'nvidia.com/gpu'}}\n"
        "first = Settings(**gpu)\n"
        "again = Settings.model_validate(first.model_dump(exclude=set(first.model_extra)))\n"
        "print([settings.pod_settings.node_selectors for settings in (first, again, Settings(pod_settings=gpu))])"
    )
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "[{'accelerator': 'nvidia.com/gpu'}, {}, {}]"


def test_the_run_is_that_of_the_demo() -> None:
    assert read_yaml("configs/kubeflow.yaml")["parameters"] == read_yaml("configs/demo.yaml")["parameters"]
