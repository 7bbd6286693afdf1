"""The look of `r2d doctor` at the image: one short pod that is pulled, admitted, scheduled, and prints its versions."""

from __future__ import annotations

import json
import os
import time
import uuid
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any

from mlops.doctor.findings import Finding, judge_image

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

COMPARED = ("zenml", "mlflow", "torch", "transformers")
"""Packages whose versions must be the same here and in the image."""
TIMEOUT_SECONDS = 20
"""Of one request to the API server."""


def plain(api: ApiClient, answer: Any) -> list[dict[str, Any]]:
    """The items of a list as the API server sent them."""
    items: list[dict[str, Any]] = api.sanitize_for_serialization(answer)["items"]
    return items


def look_at_image(api: ApiClient, namespace: str, seconds: float) -> Finding:
    """Run one pod that prints its versions: pulled, admitted, scheduled and started, or not."""
    from kubernetes.client import BatchV1Api, CoreV1Api

    image = os.environ.get("R2D_IMAGE", "")
    if not image:
        return Finding("image", False, "R2D_IMAGE is not set", "set it to the image that configs/kubernetes.yaml runs")
    batch, core, name = BatchV1Api(api), CoreV1Api(api), f"r2d-doctor-{uuid.uuid4().hex[:8]}"
    batch.create_namespaced_job(namespace, _version_job(name, image), _request_timeout=TIMEOUT_SECONDS)
    try:
        reason, deadline = "no pod was made for the job", time.monotonic() + seconds
        while time.monotonic() < deadline:
            pods = plain(api, core.list_namespaced_pod(namespace, label_selector=f"job-name={name}"))
            for pod in pods:
                reason = _waiting_for(pod)
                if pod["status"].get("phase") in ("Succeeded", "Failed"):
                    # As bytes: the client would read a line of JSON and give back Python's way of writing it.
                    raw = core.read_namespaced_pod_log(pod["metadata"]["name"], namespace, _preload_content=False)
                    log = raw.data.decode("utf-8", errors="replace")
                    if pod["status"]["phase"] == "Failed":
                        fix = f"kubectl -n {namespace} describe job {name}"
                        return Finding("image", False, f"{image} started and failed: {log.strip()[-200:]}", fix)
                    here = {package: installed_version(package) for package in COMPARED}
                    return judge_image(image, here, json.loads(log.strip().splitlines()[-1]))
            time.sleep(1.0)
        fix = f"kubectl -n {namespace} get events; is the name right, may the nodes pull it, is there room for a pod?"
        return Finding("image", False, f"{image} did not run within {seconds:.0f} s: {reason}", fix)
    finally:
        batch.delete_namespaced_job(name, namespace, propagation_policy="Background")


def _waiting_for(pod: dict[str, Any]) -> str:
    status = pod["status"]
    for container in status.get("containerStatuses") or []:
        if waiting := container.get("state", {}).get("waiting"):
            return f"{waiting.get('reason')}: {waiting.get('message', '')}".strip(": ")
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason')}: {condition.get('message', '')}"
    return f"its pod is {status.get('phase', 'Pending')}"


def _version_job(name: str, image: str) -> dict[str, Any]:
    """A job as restricted as the steps are."""
    code = f"import importlib.metadata as m, json; print(json.dumps({{p: m.version(p) for p in {COMPARED!r}}}))"
    container = {
        "name": "main", "image": image, "command": ["python", "-c", code],
        "resources": {name: {"cpu": "500m", "memory": "512Mi"} for name in ("requests", "limits")},
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        },
    }  # fmt: skip
    pod = {
        "restartPolicy": "Never", "serviceAccountName": "step", "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }  # fmt: skip
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0, "activeDeadlineSeconds": 600, "ttlSecondsAfterFinished": 600,
            "template": {"metadata": {"labels": {"app.kubernetes.io/name": "r2d-doctor"}}, "spec": pod},
        },
    }  # fmt: skip
