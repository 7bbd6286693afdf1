"""What ZenML's Kubeflow orchestrator hands to Kubeflow Pipelines for configs/kubeflow.yaml: see test_kubeflow.py.

ZENML_CONFIG_PATH=... R2D_IMAGE=... R2D_REGISTRY=... python -m tests.kubernetes.kubeflow_session pipeline.yaml

Runs in the environment of k8s/kubeflow/requirements.txt. Nobody listens where the pipelines' API should be: the file is
written, and its upload fails.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLOSED = "http://127.0.0.1:1/pipeline"


def main(target: Path) -> None:
    """Compile on a stack with the Kubeflow orchestrator and, for the rest, the components of k8s/stack.yaml."""
    from zenml.client import Client
    from zenml.utils.env_utils import get_runtime_environment

    from pipelines.training import reason2decide

    use_kubeflow()
    pipeline = reason2decide.with_options(config_path=str(ROOT / "configs" / "kubeflow.yaml"))
    pipeline.prepare()
    snapshot = pipeline._create_snapshot(**pipeline._run_args)
    stack = Client().active_stack
    orchestrator = stack.orchestrator
    orchestrator.submit_pipeline(
        snapshot,
        stack,
        base_environment={},
        step_environments={
            name: get_runtime_environment(config=step.config, stack=stack)
            for name, step in snapshot.step_configurations.items()
        },
    )
    (written,) = Path(orchestrator.pipeline_directory).glob("*.yaml")
    shutil.copy(written, target)


def use_kubeflow() -> None:
    """As docs/kubernetes.md registers it."""
    from zenml.client import Client
    from zenml.enums import StackComponentType

    from mlops.stack import apply_stack

    client = Client()
    for name, keys in (("object-store", ("key", "secret")), ("mlflow", ("username", "password"))):
        client.create_secret(name, dict.fromkeys(keys, "value"))
    apply_stack(ROOT / "k8s" / "stack.yaml")
    kind = StackComponentType.ORCHESTRATOR
    client.create_stack_component("kubeflow", "kubeflow", kind, {"kubeflow_hostname": CLOSED})
    others = {type_: some[0].name for type_, some in client.active_stack_model.components.items() if type_ != kind}
    client.create_stack("kubeflow", {**others, kind: "kubeflow"})
    client.activate_stack("kubeflow")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
