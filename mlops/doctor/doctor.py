"""`r2d doctor --stack NAME`: whether a run could start on a stack, a line each, with the fix where it could not."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from mlops.doctor.findings import (
    Finding,
    judge_gpus,
    judge_rights,
    judge_storage,
    judge_zenml,
    most_gpus,
    required_rights,
)
from mlops.doctor.image import TIMEOUT_SECONDS, look_at_image, plain
from r2d.errors import ConfigError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from zenml.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
RIGHTS = ROOT / "k8s" / "base" / "rbac.yaml"
SETTINGS = ROOT / "configs" / "kubernetes.yaml"


def examine(stack_name: str, *, image_seconds: float = 300.0) -> Iterator[Finding]:
    """Look at everything that a run on the stack needs; every look is taken, whatever the ones before it found.

    Starts one short pod, to see that the nodes can pull the image, that admission lets it in and what it holds, and
    writes, reads and removes one small object in the artifact store.

    Args:
        image_seconds: how long to wait for that pod.

    Raises:
        ConfigError: there is no stack of that name, or it does not run on Kubernetes.
    """
    from zenml.client import Client
    from zenml.stack import Stack

    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "AWS_MAX_ATTEMPTS"):
        os.environ.setdefault(name, "2")  # else a service that is down keeps us for minutes
    yield _looked("zenml server", _zenml, "is the server up? zenml login URL")
    try:
        stack = Stack.from_model(Client().get_stack(stack_name, allow_name_prefix_match=False))
    except KeyError:
        raise ConfigError(
            f"no stack {stack_name!r} on the ZenML server; make it: r2d stack apply k8s/stack.yaml"
        ) from None
    if stack.orchestrator.flavor != "kubernetes":
        raise ConfigError(
            f"stack {stack_name!r} runs on {stack.orchestrator.flavor!r}, and only 'kubernetes' can be examined"
        )
    namespace = stack.orchestrator.config.kubernetes_namespace
    yield _looked("artifact store", lambda: _artifact_store(stack), "check path, endpoint and keys in k8s/stack.yaml")
    yield _looked("mlflow", lambda: _mlflow(stack), "check tracking_uri and the secret `mlflow` in k8s/stack.yaml")
    try:
        api: ApiClient = stack.orchestrator.get_kube_client()
    except Exception as error:
        fix = "set R2D_KUBE_CONTEXT to one of `kubectl config get-contexts` and apply the stack again"
        yield Finding("api server", False, _shown(error), fix)
        return
    yield _looked("api server", lambda: _api_server(api), "check the context, the network and the account's key")
    yield _looked("rights", lambda: _rights(api, namespace), "kubectl auth can-i --list")
    admin = "ask someone who may list nodes, pods and storage classes, or run this with such an account"
    yield _looked("gpu nodes", lambda: _gpus(api, namespace), admin)
    yield _looked("volumes", lambda: _volumes(api, namespace), admin)
    yield _looked("image", lambda: look_at_image(api, namespace, image_seconds), f"kubectl -n {namespace} get events")


def _looked(name: str, look: Callable[[], Finding], fix: str) -> Finding:
    """A look that could not be taken is a failure with its reason."""
    try:
        return look()
    except Exception as error:
        return Finding(name, False, _shown(error), fix)


def _shown(error: Exception) -> str:
    """One line; an answer of the API server by its status and message alone."""
    from kubernetes.client import ApiException

    if isinstance(error, ApiException):
        message = ""
        with suppress(ValueError, TypeError, AttributeError):
            message = json.loads(error.body)["message"]
        return f"{error.status} {message or error.reason}"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _zenml() -> Finding:
    import zenml
    from zenml.client import Client

    store = Client().zen_store
    return judge_zenml(store.url, zenml.__version__, str(store.get_store_info().version))


def _artifact_store(stack: Stack) -> Finding:
    store = stack.artifact_store
    path, content = f"{store.path.rstrip('/')}/r2d-doctor-{uuid.uuid4().hex}", "written by r2d doctor"
    with store.open(path, "w") as file:
        file.write(content)
    try:
        with store.open(path, "r") as file:
            found = file.read()
    finally:
        store.remove(path)
    if found != content:
        fix = "another writer or a cache stands between; give the store's own endpoint"
        return Finding("artifact store", False, f"{store.path}: what was read is not what was written", fix)
    return Finding("artifact store", True, f"{store.path}: written, read, removed")


def _mlflow(stack: Stack) -> Finding:
    tracker = stack.experiment_tracker
    if tracker is None or tracker.flavor != "mlflow":
        return Finding("mlflow", False, "the stack has no MLflow tracker", "r2d stack apply k8s/stack.yaml")
    import mlflow
    from mlflow import MlflowClient

    tracker.configure_mlflow()
    uri = tracker.get_tracking_uri()
    MlflowClient(uri, uri).search_registered_models(max_results=1)
    return Finding("mlflow", True, f"{uri}: answers, the registry too; client {mlflow.__version__}")


def _api_server(api: ApiClient) -> Finding:
    from kubernetes.client import VersionApi

    version = VersionApi(api).get_code(_request_timeout=TIMEOUT_SECONDS)
    detail = f"{api.configuration.host}, {version.git_version}"
    if (int(version.major), int(version.minor.rstrip("+"))) < (1, 31):
        return Finding("api server", False, detail, "upgrade to 1.31 or newer, where pod failure policies are final")
    return Finding("api server", True, detail)


def _rights(api: ApiClient, namespace: str) -> Finding:
    from kubernetes.client import AuthorizationV1Api

    manifests = list(yaml.safe_load_all(RIGHTS.read_text(encoding="utf-8")))
    answers = {}
    for group, resource, verb in required_rights(manifests, "submitter"):
        resource_name, _, subresource = resource.partition("/")
        asked = {"namespace": namespace, "group": group, "resource": resource_name, "verb": verb}
        review = {"spec": {"resourceAttributes": asked | ({"subresource": subresource} if subresource else {})}}
        answer = AuthorizationV1Api(api).create_self_subject_access_review(review, _request_timeout=TIMEOUT_SECONDS)
        answers[group, resource, verb] = bool(answer.status.allowed)
    return judge_rights(namespace, answers)


def _gpus(api: ApiClient, namespace: str) -> Finding:
    from kubernetes.client import CoreV1Api

    core = CoreV1Api(api)
    nodes = plain(api, core.list_node(_request_timeout=TIMEOUT_SECONDS))
    pods = plain(api, core.list_pod_for_all_namespaces(_request_timeout=TIMEOUT_SECONDS))
    answer = core.list_namespaced_resource_quota(namespace, _request_timeout=TIMEOUT_SECONDS)
    wanted = most_gpus(yaml.safe_load(SETTINGS.read_text(encoding="utf-8")))
    return judge_gpus(nodes, pods, wanted=wanted, quotas=plain(api, answer))


def _volumes(api: ApiClient, namespace: str) -> Finding:
    from kubernetes.client import CoreV1Api, StorageV1Api

    answer = CoreV1Api(api).list_namespaced_persistent_volume_claim(namespace, _request_timeout=TIMEOUT_SECONDS)
    claims = plain(api, answer)
    classes = []
    if any(claim.get("status", {}).get("phase") != "Bound" for claim in claims):
        classes = plain(api, StorageV1Api(api).list_storage_class(_request_timeout=TIMEOUT_SECONDS))
    return judge_storage(claims, classes, namespace)
