"""What ZenML does with our stack and our configs, each time in a process and with a ZenML of its own, as JSON or YAML.

    ZENML_CONFIG_PATH=... R2D_IMAGE=... R2D_REGISTRY=... python -m tests.kubernetes.zenml_sessions NAME TARGET

NAME is `stack`, `doctor` or `kubeflow`; `run_session` in manifests.py runs them.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kubernetes.client import ApiClient
from zenml.client import Client
from zenml.enums import StackComponentType
from zenml.integrations.kubernetes import manifest_utils
from zenml.integrations.kubernetes.kube_utils import apply_default_resource_requests
from zenml.utils.env_utils import get_runtime_environment

from mlops.doctor import examine
from mlops.stack import apply_stack
from pipelines.training import reason2decide
from r2d.errors import R2DError

ROOT = Path(__file__).resolve().parents[2]
STACK = ROOT / "k8s" / "stack.yaml"
ORCHESTRATOR = StackComponentType.ORCHESTRATOR


def make_secrets() -> None:
    """The secrets that k8s/stack.yaml refers to."""
    for name, keys in (("object-store", ("key", "secret")), ("mlflow", ("username", "password"))):
        Client().create_secret(name, dict.fromkeys(keys, "value"))


def make_stack(name: str, **components: str) -> None:
    """A stack like that of k8s/stack.yaml with some other components, by type."""
    names = {type_: parts[0].name for type_, parts in Client().get_stack("reason2decide").components.items()}
    Client().create_stack(name, names | {StackComponentType(type_): other for type_, other in components.items()})


def stack(target: Path) -> None:
    """Write `applied` (situation -> lines or error of `apply_stack`) and `jobs` (what ZenML makes of our config)."""

    def applied(path: Path = STACK, *, dry_run: bool = False) -> list[str]:
        try:
            return apply_stack(path, dry_run=dry_run)
        except R2DError as error:
            return str(error).splitlines()

    lines = {"dry run": applied(dry_run=True), "without secrets": applied()}
    assert [stack.name for stack in Client().list_stacks()] == ["default"]
    make_secrets()
    lines |= {"first": applied(), "second": applied()}
    lines["active"] = [Client().active_stack_model.name]
    os.environ["R2D_BUCKET"] = "other"
    lines |= {"moved, dry run": applied(dry_run=True), "moved": applied(), "moved, again": applied()}

    text, path = STACK.read_text(encoding="utf-8"), target.parent / "stack.yaml"
    wrong = text.replace('secret: "{{object-store.secret}}"', "secret: abc").replace("incluster", "in_cluster")
    path.write_text(wrong, encoding="utf-8")
    lines["wrong"] = applied(path)
    path.write_text(text[: text.index("  model_registry:")], encoding="utf-8")
    lines |= {"smaller": applied(path), "smaller, again": applied(path), "restored": applied()}
    target.write_text(json.dumps({"applied": lines, "jobs": compiled_jobs()}), encoding="utf-8")


def compiled_jobs() -> dict[str, Any]:
    """Step, or `orchestrator` -> manifest of the job that ZenML makes of it for configs/kubernetes.yaml.

    The jobs are built by the functions of ZenML that build them in the orchestrator's pod; nothing is sent anywhere.
    """
    pipeline = reason2decide.with_options(config_path=str(ROOT / "configs" / "kubernetes.yaml"))
    pipeline.prepare()
    snapshot, *_ = pipeline._compile(**pipeline._run_args)
    orchestrator = Client().active_stack.orchestrator
    whole_run = SimpleNamespace(pipeline_configuration=snapshot.pipeline_configuration)
    manifests = {"orchestrator": _job(orchestrator.get_settings(whole_run), snapshot, "orchestrator")}
    for name, step in snapshot.step_configurations.items():
        manifests[name] = _job(orchestrator.get_settings(step), snapshot, name, step.config.retry)
    return manifests


def _job(settings: Any, snapshot: Any, name: str, retry: Any = None) -> dict[str, Any]:
    is_step = name != "orchestrator"
    wanted = settings.pod_settings if is_step else settings.orchestrator_pod_settings
    pod = manifest_utils.build_pod_manifest(
        pod_name=None,
        image_name=snapshot.pipeline_configuration.docker_settings.parent_image,
        command=["python"],
        args=[],
        privileged=settings.privileged,
        pod_settings=apply_default_resource_requests(memory="400Mi", pod_settings=wanted),
        service_account_name=settings.step_pod_service_account_name if is_step else settings.service_account_name,
        env={},
        labels={},
        termination_grace_period_seconds=settings.pod_stop_grace_period,
    )
    retries = retry.max_retries if retry else 0
    job = manifest_utils.build_job_manifest(
        job_name=name.replace("_", "-"),
        pod_template=manifest_utils.pod_template_manifest_from_pod(pod),
        backoff_limit=retries + settings.backoff_limit_margin if is_step else settings.orchestrator_job_backoff_limit,
        ttl_seconds_after_finished=settings.ttl_seconds_after_finished,
        active_deadline_seconds=settings.active_deadline_seconds,
        pod_failure_policy=settings.pod_failure_policy,
    )
    manifest: dict[str, Any] = ApiClient().sanitize_for_serialization(job)
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    # ZenML sends some empty, under names that no API server knows: it drops them with a warning.
    container["securityContext"] = {key: v for key, v in container["securityContext"].items() if v is not None}
    return {"apiVersion": "batch/v1", "kind": "Job", **manifest}


def doctor(target: Path) -> None:
    """Write situation -> name of a finding of `r2d doctor` -> the finding, or the error.

    The kubeconfig has the contexts `admin` and `step`.
    """

    def findings(name: str, *, seconds: float = 60.0) -> dict[str, Any]:
        return {finding.name: asdict(finding) for finding in examine(name, image_seconds=seconds)}

    make_secrets()
    apply_stack(STACK)
    results: dict[str, Any] = {"services down": findings("reason2decide")}

    # The same stack with a folder as its store, and with an account that may do nothing.
    client, store = Client(), StackComponentType.ARTIFACT_STORE
    client.create_stack_component("folder", "local", store, {"path": str(target.parent)})
    configuration = client.get_stack_component(ORCHESTRATOR, "kubernetes").configuration
    configuration |= {"kubernetes_context": "step"}
    client.create_stack_component("as-step", "kubernetes", ORCHESTRATOR, configuration)
    make_stack("with-store", artifact_store="folder")
    make_stack("without-rights", artifact_store="folder", orchestrator="as-step")
    os.environ["R2D_IMAGE"] = "registry.invalid/nowhere:1.0"
    results["no image"] = findings("with-store", seconds=5.0)
    results["no rights"] = findings("without-rights")
    for name in ("default", "unknown"):
        try:
            results[name] = findings(name)
        except R2DError as error:
            results[name] = str(error)
    target.write_text(json.dumps(results), encoding="utf-8")


def kubeflow(target: Path) -> None:
    """Write what ZenML's Kubeflow orchestrator hands to Kubeflow Pipelines for configs/kubeflow.yaml.

    Runs in the environment of k8s/kubeflow/requirements.txt. Nobody listens where the pipelines' API should be: the
    file is written, and its upload fails.
    """
    make_secrets()
    apply_stack(STACK)
    closed = {"kubeflow_hostname": "http://127.0.0.1:1/pipeline"}
    Client().create_flavor("mlops.kubeflow.Flavor", ORCHESTRATOR)
    Client().create_stack_component("kubeflow", "r2d-kubeflow", ORCHESTRATOR, closed)
    make_stack("kubeflow", orchestrator="kubeflow")
    Client().activate_stack("kubeflow")
    pipeline = reason2decide.with_options(config_path=str(ROOT / "configs" / "kubeflow.yaml"))
    pipeline.prepare()
    snapshot, active = pipeline._create_snapshot(**pipeline._run_args), Client().active_stack
    environments = {
        name: get_runtime_environment(config=step.config, stack=active) | {"ZENML_STORE_API_TOKEN": "the token"}
        for name, step in snapshot.step_configurations.items()
    }
    active.orchestrator.submit_pipeline(snapshot, active, base_environment={}, step_environments=environments)
    (written,) = Path(active.orchestrator.pipeline_directory).glob("*.yaml")
    target.write_text(written.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    {"stack": stack, "doctor": doctor, "kubeflow": kubeflow}[sys.argv[1]](Path(sys.argv[2]))
