"""Which node a pod runs on: node selector, affinity, taints, and room for what it requests."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

from tests.kubernetes.cluster.quantities import amounts
from tests.kubernetes.cluster.store import Object, Store, is_finished


def schedule(store: Store) -> None:
    """Bind each waiting pod to the first node that takes it, or say on the pod why none does."""
    for pod in store.list("pods"):
        if "nodeName" in pod["spec"] or "deletionTimestamp" in pod["metadata"]:
            continue
        reasons: list[str] = []
        for node in store.list("nodes"):
            found = obstacles(store, pod, node)
            if not found:
                pod["spec"]["nodeName"] = node["metadata"]["name"]
                _set_scheduled(store, pod, {"status": "True"})
                break
            reasons += found
        else:
            message = _unavailable(store, pod, reasons)
            _set_scheduled(store, pod, {"status": "False", "reason": "Unschedulable", "message": message})
            store.event(pod, "FailedScheduling", message)


def obstacles(store: Store, pod: Object, node: Object) -> list[str]:
    """Why a node cannot take a pod; empty if it can."""
    spec, labels = pod["spec"], node["metadata"].get("labels") or {}
    if claims := _missing_claims(store, pod):
        return [f'persistentvolumeclaim "{claim}" not found' for claim in claims]
    untolerated = [taint for taint in node["spec"].get("taints") or [] if not _is_tolerated(taint, spec)]
    if untolerated:
        taint = untolerated[0]
        return [f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"]
    if not _is_selected(spec, labels):
        return ["node(s) didn't match Pod's node affinity/selector"]
    free = _free(store, node)
    return [
        f"Insufficient {name}"
        for name, asked in requests(pod).items()
        if asked > free.get(name, Fraction()) and name != "ephemeral-storage"
    ]


def requests(pod: Object) -> dict[str, Fraction]:
    """What a pod's containers request together."""
    total: dict[str, Fraction] = {}
    for container in pod["spec"]["containers"]:
        for name, asked in amounts((container.get("resources") or {}).get("requests")).items():
            total[name] = total.get(name, Fraction()) + asked
    return total


def _free(store: Store, node: Object) -> dict[str, Fraction]:
    free = amounts(node["status"]["allocatable"])
    for pod in store.list("pods"):
        if pod["spec"].get("nodeName") == node["metadata"]["name"] and not is_finished(pod):
            for name, asked in requests(pod).items():
                free[name] = free.get(name, Fraction()) - asked
    return free


def _missing_claims(store: Store, pod: Object) -> list[str]:
    names = [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"].get("volumes") or []
        if "persistentVolumeClaim" in volume
    ]
    return [name for name in names if not store.find("persistentvolumeclaims", name, pod["metadata"]["namespace"])]


def _is_tolerated(taint: dict[str, str], spec: dict[str, Any]) -> bool:
    if taint["effect"] == "PreferNoSchedule":
        return True
    for toleration in spec.get("tolerations") or []:
        any_value = toleration.get("operator", "Equal") == "Exists"
        if (
            toleration.get("key", taint["key"] if any_value else None) == taint["key"]
            and (any_value or toleration.get("value", "") == taint.get("value", ""))
            and toleration.get("effect", taint["effect"]) == taint["effect"]
        ):
            return True
    return False


def _is_selected(spec: dict[str, Any], labels: dict[str, str]) -> bool:
    if any(labels.get(name) != value for name, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if affinity is None:
        return True
    terms = affinity["nodeSelectorTerms"]
    return any(all(_fulfils(labels, wanted) for wanted in term.get("matchExpressions") or []) for term in terms)


def _fulfils(labels: dict[str, str], wanted: dict[str, Any]) -> bool:
    value, operator = labels.get(wanted["key"]), wanted["operator"]
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) == (operator == "Exists")
    if operator in ("In", "NotIn"):
        return (value in wanted["values"]) == (operator == "In")
    bound = int(wanted["values"][0])
    return value is not None and (int(value) > bound if operator == "Gt" else int(value) < bound)


def _unavailable(store: Store, pod: Object, reasons: list[str]) -> str:
    counts = Counter(reasons)
    detail = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    return f"0/{len(store.list('nodes'))} nodes are available: {detail}."


def _set_scheduled(store: Store, pod: Object, facts: dict[str, str]) -> None:
    conditions = pod["status"].setdefault("conditions", [])
    old = next((condition for condition in conditions if condition["type"] == "PodScheduled"), None)
    if old is not None and all(old.get(name) == value for name, value in facts.items()):
        return
    kept = [condition for condition in conditions if condition is not old]
    new = {"type": "PodScheduled", "lastTransitionTime": store.timestamp(), **facts}
    pod["status"]["conditions"] = [*kept, new]
    store.touch(pod)
