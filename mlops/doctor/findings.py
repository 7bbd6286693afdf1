"""What `r2d doctor` says: judgements over what a cluster answered, given as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GPU = "nvidia.com/gpu"
CLAIMS = ("checkpoints", "model-cache", "data")
"""The volumes that every step mounts (k8s/base/volumes.yaml)."""


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    """What to do about it; empty where it is in order."""

    def __str__(self) -> str:
        line = f"{'ok  ' if self.ok else 'FAIL'}  {self.name:<15} {self.detail}"
        return line if self.ok else f"{line}\n      {'':<15} fix: {self.fix}"


def judge_zenml(url: str, client_version: str, server_version: str) -> Finding:
    """Pods can reach a server alone, never a database file; and both sides must be of one version."""
    if not url.startswith(("http://", "https://")):
        fix = "zenml login URL, or set ZENML_STORE_URL and ZENML_STORE_API_KEY"
        return Finding("zenml server", False, "this client uses a database of its own, which no pod reaches", fix)
    if server_version != client_version:
        fix = f"helm upgrade the server to {client_version} (k8s/components/zenml), or install its version here"
        return Finding("zenml server", False, f"{url} is {server_version}, this client {client_version}", fix)
    return Finding("zenml server", True, f"{url}, version {server_version}")


def required_rights(manifests: Iterable[Mapping[str, Any]], role: str) -> list[tuple[str, str, str]]:
    """(API group, resource, verb) of every right that a Role of the manifests grants."""
    (found,) = [item for item in manifests if item["kind"] == "Role" and item["metadata"]["name"] == role]
    return [
        (group, resource, verb)
        for rule in found["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def judge_rights(namespace: str, rights: Mapping[tuple[str, str, str], bool]) -> Finding:
    """Whether this account may do all that starting a run takes."""
    lacking = [f"{verb} {resource}" for (_, resource, verb), allowed in rights.items() if not allowed]
    if lacking:
        fix = f"kubectl -n {namespace} create rolebinding submit --role=submitter --user=YOU (k8s/base/rbac.yaml)"
        return Finding("rights", False, f"this account may not: {', '.join(lacking)}", fix)
    return Finding("rights", True, f"all {len(rights)} that starting a run takes in {namespace}")


def most_gpus(settings: Mapping[str, Any]) -> int:
    """GPUs that a run with these ZenML settings (configs/kubernetes.yaml) asks for in its largest step."""
    steps = [step["settings"]["orchestrator"]["pod_settings"]["resources"] for step in settings["steps"].values()]
    return max(_gpus(resources["limits"]) for resources in steps)


def judge_gpus(
    nodes: Sequence[Mapping[str, Any]],
    pods: Sequence[Mapping[str, Any]],
    *,
    wanted: int,
    quotas: Sequence[Mapping[str, Any]] = (),
) -> Finding:
    """GPUs that the nodes offer, less those that unfinished pods have asked for.

    Args:
        nodes, pods: of the whole cluster, as the API gives them.
        wanted: GPUs of one step.
        quotas: of the namespace of the steps.
    """
    limits = [quota["spec"].get("hard", {}).get(f"requests.{GPU}") for quota in quotas]
    allowed = min((int(limit) for limit in limits if limit is not None), default=wanted)
    if allowed < wanted:
        fix = f"raise requests.{GPU} in the quota of your overlay, or lower {GPU} in configs/kubernetes.yaml"
        return Finding("gpu nodes", False, f"the quota allows {allowed} GPUs; one step asks for {wanted}", fix)
    offered = {
        node["metadata"]["name"]: _gpus(node["status"].get("allocatable"))
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
            free[node] -= sum(_gpus(one.get("resources", {}).get("limits")) for one in pod["spec"]["containers"])
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


def judge_storage(claims: Sequence[Mapping[str, Any]], classes: Sequence[Mapping[str, Any]], namespace: str) -> Finding:
    """Whether the volumes of the steps are there, and, where one is not bound, whether a class could make it."""
    phases = {claim["metadata"]["name"]: claim.get("status", {}).get("phase", "Pending") for claim in claims}
    missing = [name for name in CLAIMS if name not in phases]
    if missing:
        fix = f"kubectl apply -k k8s/overlays/gpu, or create them in {namespace} (k8s/base/volumes.yaml)"
        return Finding("volumes", False, f"no claim {', '.join(missing)} in {namespace}", fix)
    default = [item["metadata"]["name"] for item in classes if _is_default(item)]
    waiting = [name for name in CLAIMS if phases[name] != "Bound"]
    lazy = {item["metadata"]["name"] for item in classes if item.get("volumeBindingMode") == "WaitForFirstConsumer"}
    if waiting and not lazy.intersection(default):
        fix = f"kubectl -n {namespace} describe pvc {waiting[0]}; it may need a class with ReadWriteMany"
        shown = f"default storage class {', '.join(default) or 'none'}"
        return Finding("volumes", False, f"{', '.join(waiting)} not bound; {shown}", fix)
    later = f"; {', '.join(waiting)} will be bound on first use" if waiting else ""
    return Finding("volumes", True, ", ".join(CLAIMS) + later)


def judge_image(image: str, here: Mapping[str, str], there: Mapping[str, str]) -> Finding:
    """Whether the versions in the image are those of this client.

    Args:
        here, there: package -> version; a local part (`+cpu`) does not count.
    """
    other = [
        f"{name} {there.get(name, 'missing')} (here {version})"
        for name, version in here.items()
        if _public(there.get(name, "")) != _public(version)
    ]
    if other:
        fix = "build the image from this commit (k8s/Dockerfile), or install what the image has"
        return Finding("image", False, f"{image} starts, but has {', '.join(other)}", fix)
    shown = ", ".join(f"{name} {version}" for name, version in there.items())
    return Finding("image", True, f"{image} starts; {shown}")


def _gpus(resources: Mapping[str, Any] | None) -> int:
    return int((resources or {}).get(GPU, 0))


def _is_default(storage_class: Mapping[str, Any]) -> bool:
    annotations = storage_class["metadata"].get("annotations") or {}
    return annotations.get("storageclass.kubernetes.io/is-default-class") == "true"


def _public(version: str) -> str:
    return version.split("+")[0]
