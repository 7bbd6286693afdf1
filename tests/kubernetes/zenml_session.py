"""A ZenML of its own, to which our stack is applied and for which our config is compiled; what came of it, as JSON.

ZENML_CONFIG_PATH=... R2D_IMAGE=... R2D_REGISTRY=... python -m tests.kubernetes.zenml_session answers.json

The jobs are built by the functions of ZenML that build them in the orchestrator's pod; nothing is sent anywhere.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STACK = ROOT / "k8s" / "stack.yaml"


def main(target: Path) -> None:
    """Write `applied` (what each call of `apply_stack` said) and `jobs` (step, or `orchestrator` -> its job)."""
    target.write_text(json.dumps({"applied": applied(target.parent), "jobs": compiled_jobs()}), encoding="utf-8")


def applied(folder: Path) -> dict[str, list[str]]:
    """Name of a situation -> the lines of `apply_stack` in it, or its error."""
    from zenml.client import Client

    said = {"dry run": _apply(dry_run=True), "without secrets": _apply()}
    assert [stack.name for stack in Client().list_stacks()] == ["default"]
    for name, keys in (("object-store", ("key", "secret")), ("mlflow", ("username", "password"))):
        Client().create_secret(name, dict.fromkeys(keys, "value"))
    said |= {"first": _apply(), "second": _apply()}
    said["active"] = [Client().active_stack_model.name]
    os.environ["R2D_BUCKET"] = "other"
    said |= {"moved, dry run": _apply(dry_run=True), "moved": _apply(), "moved, again": _apply()}

    text = STACK.read_text(encoding="utf-8")
    wrong = text.replace('secret: "{{object-store.secret}}"', "secret: abc").replace("incluster", "in_cluster")
    (folder / "wrong.yaml").write_text(wrong, encoding="utf-8")
    said["wrong"] = _apply(folder / "wrong.yaml")
    (folder / "smaller.yaml").write_text(text[: text.index("  model_registry:")], encoding="utf-8")
    said |= {"smaller": _apply(folder / "smaller.yaml"), "smaller, again": _apply(folder / "smaller.yaml")}
    said["restored"] = _apply()
    return said


def _apply(path: Path = STACK, *, dry_run: bool = False) -> list[str]:
    from mlops.stack import apply_stack
    from r2d.errors import R2DError

    try:
        return apply_stack(path, dry_run=dry_run)
    except R2DError as error:
        return str(error).splitlines()


def compiled_jobs() -> dict[str, Any]:
    """Step, or `orchestrator` -> manifest of the job that ZenML makes of it."""
    from zenml.client import Client

    from pipelines.training import reason2decide

    pipeline = reason2decide.with_options(config_path=str(ROOT / "configs" / "kubernetes.yaml"))
    pipeline.prepare()
    snapshot, *_ = pipeline._compile(**pipeline._run_args)
    orchestrator = Client().active_stack.orchestrator

    whole_run = _Container(snapshot.pipeline_configuration)
    jobs = {"orchestrator": _job(orchestrator.get_settings(whole_run), snapshot, "orchestrator")}
    for name, step in snapshot.step_configurations.items():
        jobs[name] = _job(orchestrator.get_settings(step), snapshot, name, step.config.retry)
    return jobs


class _Container:
    """What `get_settings` asks for the settings of a whole run."""

    def __init__(self, configuration: Any) -> None:
        self.pipeline_configuration = configuration


def _job(settings: Any, snapshot: Any, name: str, retry: Any = None) -> dict[str, Any]:
    from kubernetes.client import ApiClient
    from zenml.integrations.kubernetes.kube_utils import apply_default_resource_requests
    from zenml.integrations.kubernetes.manifest_utils import (
        build_job_manifest,
        build_pod_manifest,
        pod_template_manifest_from_pod,
    )

    of_step = name != "orchestrator"
    wanted = settings.pod_settings if of_step else settings.orchestrator_pod_settings
    pod = build_pod_manifest(
        pod_name=None,
        image_name=snapshot.pipeline_configuration.docker_settings.parent_image,
        command=["python"],
        args=[],
        privileged=settings.privileged,
        pod_settings=apply_default_resource_requests(memory="400Mi", pod_settings=wanted),
        service_account_name=settings.step_pod_service_account_name if of_step else settings.service_account_name,
        env={},
        labels={},
        termination_grace_period_seconds=settings.pod_stop_grace_period,
    )
    retries = retry.max_retries if retry else 0
    job = build_job_manifest(
        job_name=name.replace("_", "-"),
        pod_template=pod_template_manifest_from_pod(pod),
        backoff_limit=retries + settings.backoff_limit_margin if of_step else settings.orchestrator_job_backoff_limit,
        ttl_seconds_after_finished=settings.ttl_seconds_after_finished,
        active_deadline_seconds=settings.active_deadline_seconds,
        pod_failure_policy=settings.pod_failure_policy,
    )
    manifest: dict[str, Any] = ApiClient().sanitize_for_serialization(job)
    context = manifest["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    for key in [key for key, value in context.items() if value is None]:
        del context[key]  # ZenML sends these empty, under names that no API server knows: it drops them with a warning
    return {"apiVersion": "batch/v1", "kind": "Job", **manifest}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
