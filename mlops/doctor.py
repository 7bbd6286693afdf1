"""`r2d doctor --stack NAME`: checks whether a run could start on a stack; one line a check, and how to fix what fails.

The `check_*` functions take plain values, as the API of the cluster gives them; `examine` asks the cluster for them.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any

import yaml

from mlops.code import ROOT
from r2d.errors import ConfigError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from zenml.stack import Stack

RIGHTS = ROOT / "k8s" / "base" / "rbac.yaml"
SETTINGS = ROOT / "configs" / "kubernetes.yaml"
GPU = "nvidia.com/gpu"
CLAIMS = ("checkpoints", "model-cache", "data")
"""The volumes that every step mounts (k8s/base/volumes.yaml)."""
COMPARED_PACKAGES = ("zenml", "mlflow", "torch", "transformers")
"""Packages whose versions must be the same here and in the image."""
TIMEOUT_SECONDS = 20
"""Of one request to the API server."""
Answer = Mapping[str, Any]
"""An object of the Kubernetes API as JSON."""


@dataclass(frozen=True)
class Finding:
    name: str
    ok: bool
    detail: str
    fix: str = ""
    """What to do about it; empty where it is in order."""

    def __str__(self) -> str:
        line = f"{'ok  ' if self.ok else 'FAIL'}  {self.name:<15} {self.detail}"
        return line if self.ok else f"{line}\n      {'':<15} fix: {self.fix}"


def examine(stack_name: str, *, image_seconds: float = 300.0) -> Iterator[Finding]:
    """Check everything that a run on the stack needs; a failed check does not stop the ones after it.

    Starts one short pod, to see that the nodes can pull the image, that admission lets it in and which versions it
    holds, and writes, reads and removes one small object in the artifact store.

    Args:
        image_seconds: how long to wait for that pod.

    Raises:
        ConfigError: there is no stack of that name, or it does not run on Kubernetes.
    """
    from zenml.client import Client
    from zenml.stack import Stack

    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "AWS_MAX_ATTEMPTS"):
        os.environ.setdefault(name, "2")  # by default, a service that is down takes minutes
    yield _finding_of("zenml server", _ask_zenml, "is the server up? zenml login URL")
    try:
        stack = Stack.from_model(Client().get_stack(stack_name, allow_name_prefix_match=False))
    except KeyError:
        raise ConfigError(
            f"no stack {stack_name!r} on the ZenML server (`zenml stack list` names them all); correct the name, or "
            "make it: r2d stack apply k8s/stack.yaml"
        ) from None
    if stack.orchestrator.flavor != "kubernetes":
        raise ConfigError(
            f"stack {stack_name!r} runs on {stack.orchestrator.flavor!r}, and only 'kubernetes' can be examined"
        )
    namespace = stack.orchestrator.config.kubernetes_namespace
    store_fix = "check path, endpoint and keys in k8s/stack.yaml"
    yield _finding_of("artifact store", partial(_use_artifact_store, stack), store_fix)
    mlflow_fix = "check tracking_uri and the secret `mlflow` in k8s/stack.yaml"
    yield _finding_of("mlflow", partial(_ask_mlflow, stack), mlflow_fix)
    try:
        cluster = Cluster(stack.orchestrator.get_kube_client(), namespace)
    except Exception as error:
        fix = "set R2D_KUBE_CONTEXT to one of `kubectl config get-contexts` and apply the stack again"
        yield Finding("api server", False, _one_line(error), fix)
        return
    admin_fix = "ask someone who may list nodes, pods and storage classes, or run this with such an account"
    yield _finding_of("api server", cluster.api_server, "check the context, the network and the account's key")
    yield _finding_of("rights", cluster.rights, "kubectl auth can-i --list")
    yield _finding_of("gpu nodes", cluster.gpu_nodes, admin_fix)
    yield _finding_of("volumes", cluster.volumes, admin_fix)
    yield _finding_of("image", partial(cluster.run_image, image_seconds), f"kubectl -n {namespace} get events")


def _finding_of(name: str, check: Callable[[], Finding], fix: str) -> Finding:
    """The finding of a check; a check that raises has failed, with the error as its detail."""
    try:
        return check()
    except Exception as error:
        return Finding(name, False, _one_line(error), fix)


def _one_line(error: Exception) -> str:
    """The error in one line; an answer of the API server by its status and message alone."""
    from kubernetes.client import ApiException

    if isinstance(error, ApiException):
        message = ""
        with suppress(ValueError, TypeError, AttributeError):
            message = json.loads(error.body)["message"]
        return f"{error.status} {message or error.reason}"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


# --- the services ---


def _ask_zenml() -> Finding:
    import zenml
    from zenml.client import Client

    store = Client().zen_store
    return check_zenml(store.url, zenml.__version__, str(store.get_store_info().version))


def check_zenml(url: str, client_version: str, server_version: str) -> Finding:
    """Whether pods can reach ZenML's store, and client and server are of one version."""
    if not url.startswith(("http://", "https://")):
        fix = "zenml login URL, or set ZENML_STORE_URL and ZENML_STORE_API_KEY"
        return Finding("zenml server", False, "this client uses a database of its own, which no pod reaches", fix)
    if server_version != client_version:
        fix = f"helm upgrade the server to {client_version} (k8s/components/zenml), or install its version here"
        return Finding("zenml server", False, f"{url} is {server_version}, this client {client_version}", fix)
    return Finding("zenml server", True, f"{url}, version {server_version}")


def _use_artifact_store(stack: Stack) -> Finding:
    store = stack.artifact_store
    path, content = f"{store.path.rstrip('/')}/r2d-doctor-{uuid.uuid4().hex}", "written by r2d doctor"
    with store.open(path, "w") as file:
        file.write(content)
    try:
        with store.open(path, "r") as file:
            read = file.read()
    finally:
        store.remove(path)
    if read != content:
        fix = "another writer or a cache stands between; give the store's own endpoint"
        return Finding("artifact store", False, f"{store.path}: what was read is not what was written", fix)
    return Finding("artifact store", True, f"{store.path}: written, read, removed")


def _ask_mlflow(stack: Stack) -> Finding:
    tracker = stack.experiment_tracker
    if tracker is None or tracker.flavor != "mlflow":
        return Finding("mlflow", False, "the stack has no MLflow tracker", "r2d stack apply k8s/stack.yaml")
    import mlflow
    from mlflow import MlflowClient

    tracker.configure_mlflow()
    uri = tracker.get_tracking_uri()
    MlflowClient(uri, uri).search_registered_models(max_results=1)
    return Finding("mlflow", True, f"{uri}: answers, the registry too; client {mlflow.__version__}")


# --- the cluster ---


@dataclass(frozen=True)
class Cluster:
    """The namespace in which the steps run, asked through the API server."""

    api: ApiClient
    namespace: str

    def items(self, ask: Callable[..., Any], *arguments: str, **selection: str) -> list[dict[str, Any]]:
        answer = ask(*arguments, **selection, _request_timeout=TIMEOUT_SECONDS)
        return self.api.sanitize_for_serialization(answer)["items"]

    def api_server(self) -> Finding:
        from kubernetes.client import VersionApi

        version = VersionApi(self.api).get_code(_request_timeout=TIMEOUT_SECONDS)
        detail = f"{self.api.configuration.host}, {version.git_version}"
        if (int(version.major), int(version.minor.rstrip("+"))) < (1, 31):
            return Finding(
                "api server", False, detail, "upgrade to 1.31 or newer, where pod failure policies are final"
            )
        return Finding("api server", True, detail)

    def rights(self) -> Finding:
        from kubernetes.client import AuthorizationV1Api

        authorization, allowed = AuthorizationV1Api(self.api), {}
        manifests = list(yaml.safe_load_all(RIGHTS.read_text(encoding="utf-8")))
        for group, resource, verb in required_rights(manifests, "submitter"):
            name, _, subresource = resource.partition("/")
            attributes = {"namespace": self.namespace, "group": group, "resource": name, "verb": verb}
            attributes |= {"subresource": subresource} if subresource else {}
            review = {"spec": {"resourceAttributes": attributes}}
            answer = authorization.create_self_subject_access_review(review, _request_timeout=TIMEOUT_SECONDS)
            allowed[group, resource, verb] = bool(answer.status.allowed)
        return check_rights(self.namespace, allowed)

    def gpu_nodes(self) -> Finding:
        from kubernetes.client import CoreV1Api

        core = CoreV1Api(self.api)
        nodes, pods = self.items(core.list_node), self.items(core.list_pod_for_all_namespaces)
        quotas = self.items(core.list_namespaced_resource_quota, self.namespace)
        wanted = most_gpus(yaml.safe_load(SETTINGS.read_text(encoding="utf-8")))
        return check_gpus(nodes, pods, wanted=wanted, quotas=quotas)

    def volumes(self) -> Finding:
        from kubernetes.client import CoreV1Api, StorageV1Api

        claims, classes = self.items(CoreV1Api(self.api).list_namespaced_persistent_volume_claim, self.namespace), []
        if any(claim.get("status", {}).get("phase") != "Bound" for claim in claims):
            classes = self.items(StorageV1Api(self.api).list_storage_class)
        return check_volumes(claims, classes, self.namespace)

    def run_image(self, seconds: float) -> Finding:
        """Run one pod that prints its versions: it is pulled, admitted, scheduled and started, or not."""
        from kubernetes.client import BatchV1Api, CoreV1Api

        image = os.environ.get("R2D_IMAGE", "")
        if not image:
            fix = "set it to the image that configs/kubernetes.yaml runs"
            return Finding("image", False, "R2D_IMAGE is not set", fix)
        batch, core, name = BatchV1Api(self.api), CoreV1Api(self.api), f"r2d-doctor-{uuid.uuid4().hex[:8]}"
        batch.create_namespaced_job(self.namespace, _version_job(name, image), _request_timeout=TIMEOUT_SECONDS)
        try:
            reason, deadline = "no pod was made for the job", time.monotonic() + seconds
            while time.monotonic() < deadline:
                for pod in self.items(core.list_namespaced_pod, self.namespace, label_selector=f"job-name={name}"):
                    reason = _waiting_reason(pod)
                    if pod["status"].get("phase") not in ("Succeeded", "Failed"):
                        continue
                    # As bytes: the client would read a line of JSON and give back Python's way of writing it.
                    raw = core.read_namespaced_pod_log(pod["metadata"]["name"], self.namespace, _preload_content=False)
                    log = raw.data.decode("utf-8", errors="replace").strip()
                    if pod["status"]["phase"] == "Failed":
                        fix = f"kubectl -n {self.namespace} describe job {name}"
                        return Finding("image", False, f"{image} started and failed: {log[-200:]}", fix)
                    installed = {package: installed_version(package) for package in COMPARED_PACKAGES}
                    return check_image(image, installed, json.loads(log.splitlines()[-1]))
                time.sleep(1.0)
            events = f"kubectl -n {self.namespace} get events"
            fix = f"{events}; is the name right, may the nodes pull it, is there room for a pod?"
            return Finding("image", False, f"{image} did not run within {seconds:.0f} s: {reason}", fix)
        finally:
            batch.delete_namespaced_job(name, self.namespace, propagation_policy="Background")


# --- the rights of this account ---


def required_rights(manifests: Iterable[Answer], role: str) -> list[tuple[str, str, str]]:
    """(API group, resource, verb) of every right that a Role of the manifests grants."""
    (manifest,) = [item for item in manifests if item["kind"] == "Role" and item["metadata"]["name"] == role]
    return [
        (group, resource, verb)
        for rule in manifest["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def check_rights(namespace: str, rights: Mapping[tuple[str, str, str], bool]) -> Finding:
    """Whether this account has every right that starting a run takes.

    Args:
        rights: (API group, resource, verb) -> whether it is allowed.
    """
    lacking = [f"{verb} {resource}" for (_, resource, verb), allowed in rights.items() if not allowed]
    if lacking:
        fix = f"kubectl -n {namespace} create rolebinding submit --role=submitter --user=YOU (k8s/base/rbac.yaml)"
        return Finding("rights", False, f"this account may not: {', '.join(lacking)}", fix)
    return Finding("rights", True, f"all {len(rights)} that starting a run takes in {namespace}")


# --- GPUs ---


def most_gpus(settings: Answer) -> int:
    """GPUs that a run with these ZenML settings (configs/kubernetes.yaml) asks for in its largest step."""
    steps = [step["settings"]["orchestrator"]["pod_settings"]["resources"] for step in settings["steps"].values()]
    return max(_num_gpus(resources["limits"]) for resources in steps)


def check_gpus(
    nodes: Sequence[Answer], pods: Sequence[Answer], *, wanted: int, quotas: Sequence[Answer] = ()
) -> Finding:
    """Whether a node has enough free GPUs: those it offers, less those that unfinished pods have asked for.

    Args:
        nodes, pods: of the whole cluster.
        wanted: GPUs of one step.
        quotas: of the namespace of the steps.
    """
    limits = [quota["spec"].get("hard", {}).get(f"requests.{GPU}") for quota in quotas]
    allowed = min((int(limit) for limit in limits if limit is not None), default=wanted)
    if allowed < wanted:
        fix = f"raise requests.{GPU} in the quota of your overlay, or lower {GPU} in configs/kubernetes.yaml"
        return Finding("gpu nodes", False, f"the quota allows {allowed} GPUs; one step asks for {wanted}", fix)
    offered = {
        node["metadata"]["name"]: _num_gpus(node["status"].get("allocatable"))
        for node in nodes
        if not node.get("spec", {}).get("unschedulable")
    }
    offered = {name: number for name, number in offered.items() if number}
    if not offered:
        fix = "add a node with a GPU and the NVIDIA GPU operator; kubectl describe node shows what it offers"
        return Finding("gpu nodes", False, f"none of {len(nodes)} nodes offers {GPU}", fix)
    free = dict(offered)
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if node in free and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            containers = pod["spec"]["containers"]
            free[node] -= sum(_num_gpus(container.get("resources", {}).get("limits")) for container in containers)
    detail = f"{len(offered)} with {sum(offered.values())} GPUs, {sum(free.values())} free"
    if max(offered.values()) < wanted:
        fix = f"lower {GPU} in configs/kubernetes.yaml, or add a node with more"
        return Finding("gpu nodes", False, f"{detail}; no node has the {wanted} that one step asks for", fix)
    unlabelled = [
        node["metadata"]["name"]
        for node in nodes
        if node["metadata"]["name"] in offered
        and node["metadata"].get("labels", {}).get("nvidia.com/gpu.present") != "true"
    ]
    if unlabelled:
        fix = f"kubectl label node {' '.join(unlabelled)} nvidia.com/gpu.present=true (GPU feature discovery does so)"
        return Finding("gpu nodes", False, f"{detail}; steps would not find {', '.join(unlabelled)}", fix)
    if max(free.values()) < wanted:
        fix = "wait, or free one; a step waits until its active_deadline_seconds are over"
        return Finding("gpu nodes", False, f"{detail}; no node has {wanted} free", fix)
    return Finding("gpu nodes", True, detail)


def _num_gpus(resources: Answer | None) -> int:
    return int((resources or {}).get(GPU, 0))


# --- volumes ---


def check_volumes(claims: Sequence[Answer], classes: Sequence[Answer], namespace: str) -> Finding:
    """Whether the volumes of the steps exist, and, where one is not bound, whether a storage class could make it."""
    phases = {claim["metadata"]["name"]: claim.get("status", {}).get("phase", "Pending") for claim in claims}
    missing = [name for name in CLAIMS if name not in phases]
    if missing:
        fix = f"kubectl apply -k k8s/overlays/gpu, or create them in {namespace} (k8s/base/volumes.yaml)"
        return Finding("volumes", False, f"no claim {', '.join(missing)} in {namespace}", fix)
    is_default = "storageclass.kubernetes.io/is-default-class"
    default = [
        item["metadata"]["name"]
        for item in classes
        if (item["metadata"].get("annotations") or {}).get(is_default) == "true"
    ]
    lazy = {item["metadata"]["name"] for item in classes if item.get("volumeBindingMode") == "WaitForFirstConsumer"}
    waiting = [name for name in CLAIMS if phases[name] != "Bound"]
    if waiting and not lazy.intersection(default):
        fix = f"kubectl -n {namespace} describe pvc {waiting[0]}; it may need a class with ReadWriteMany"
        detail = f"{', '.join(waiting)} not bound; default storage class {', '.join(default) or 'none'}"
        return Finding("volumes", False, detail, fix)
    later = f"; {', '.join(waiting)} will be bound on first use" if waiting else ""
    return Finding("volumes", True, ", ".join(CLAIMS) + later)


# --- the image ---


def check_image(image: str, installed: Mapping[str, str], in_image: Mapping[str, str]) -> Finding:
    """Whether the image is named by its digest, and the versions in it are those of this client.

    Args:
        installed, in_image: package -> version; a local part (`+cpu`) does not count.
    """
    if "@sha256:" not in image:
        fix = "set R2D_IMAGE to name@sha256:..., as `buildah push --digestfile FILE` writes it"
        return Finding("image", False, f"{image} is no digest: what a retry or another node runs may differ", fix)
    different = [
        f"{name} {in_image.get(name, 'missing')} (here {version})"
        for name, version in installed.items()
        if in_image.get(name, "").split("+")[0] != version.split("+")[0]
    ]
    if different:
        fix = "build the image from this commit (k8s/Dockerfile), or install what the image has"
        return Finding("image", False, f"{image} starts, but has {', '.join(different)}", fix)
    versions = ", ".join(f"{name} {version}" for name, version in in_image.items())
    return Finding("image", True, f"{image} starts; {versions}")


def _waiting_reason(pod: Answer) -> str:
    status = pod["status"]
    for container in status.get("containerStatuses") or []:
        if waiting := container.get("state", {}).get("waiting"):
            return f"{waiting.get('reason')}: {waiting.get('message', '')}".strip(": ")
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason')}: {condition.get('message', '')}"
    return f"its pod is {status.get('phase', 'Pending')}"


def _version_job(name: str, image: str) -> dict[str, object]:
    """A job that prints the versions in the image, as restricted as the steps are."""
    packages = repr(COMPARED_PACKAGES)
    code = f"import importlib.metadata as m, json; print(json.dumps({{p: m.version(p) for p in {packages}}}))"
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
