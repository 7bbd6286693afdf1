"""The job controller and the scheduler: each call looks at all objects and does the next thing that is due."""

from __future__ import annotations

import copy
import logging
import secrets
import time
from collections import Counter
from datetime import datetime
from typing import Any

from tests.kubernetes.cluster.admission import admit, amounts, quota_charge
from tests.kubernetes.cluster.objects import Address, Object, RefusedError, Store, is_finished, timestamp

logger = logging.getLogger(__name__)
INDEX = "batch.kubernetes.io/job-completion-index"


class JobController:
    """Makes pods for jobs, counts how they end, and ends jobs."""

    def __init__(self, store: Store, backoff_seconds: float) -> None:
        self.store = store
        self.backoff_seconds = backoff_seconds
        self._counted: set[str] = set()
        self._retry_at: dict[str, float] = {}

    def step(self) -> None:
        for job in self.store.list("jobs"):
            if "conditions" not in job["status"] and "deletionTimestamp" not in job["metadata"]:
                self._advance(job)

    def _advance(self, job: Object) -> None:
        spec, uid = job["spec"], job["metadata"]["uid"]
        pods = self.store.list("pods", job["metadata"]["namespace"])
        pods = [pod for pod in pods if pod["metadata"].get("labels", {}).get("controller-uid") == uid]
        status = job["status"] = {"startTime": timestamp(), "succeeded": 0, "failed": 0, **job["status"]}
        failed_by = self._count_ended(job, pods)
        # A pod that is being stopped is still active: the one in its place waits until it has ended.
        active = [pod for pod in pods if pod["metadata"]["uid"] not in self._counted]
        status["active"] = len(active)
        seconds = time.time() - datetime.fromisoformat(status["startTime"]).timestamp()
        if failed_by:
            self._end(job, active, "Failed", "PodFailurePolicy", failed_by)
        elif seconds >= spec.get("activeDeadlineSeconds", float("inf")):
            self._end(job, active, "Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        elif status["failed"] > spec["backoffLimit"]:
            self._end(job, active, "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        elif status["succeeded"] >= spec["completions"]:
            self._end(job, active, "Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        elif time.time() >= self._retry_at.get(uid, 0):
            missing = [""] * spec["completions"]
            if spec["completionMode"] == "Indexed":
                succeeded = [pod for pod in pods if pod["status"]["phase"] == "Succeeded"]
                taken = {pod["metadata"]["annotations"][INDEX] for pod in active + succeeded}
                missing = [str(index) for index in range(spec["completions"]) if str(index) not in taken]
            num_missing = min(spec["parallelism"], spec["completions"] - status["succeeded"]) - len(active)
            try:
                for index in missing[: max(0, num_missing)]:
                    self._make_pod(job, index)
                    status["active"] += 1
            except RefusedError as refusal:
                logger.warning("job %s: no pod can be made: %s", job["metadata"]["name"], refusal)
                self._retry_at[uid] = time.time() + self.backoff_seconds

    def _count_ended(self, job: Object, pods: list[Object]) -> str:
        """Count the pods that have ended since the last step; a message, where one of them ends the job."""
        status = job["status"]
        for pod in pods:
            never_ran = "deletionTimestamp" in pod["metadata"] and "nodeName" not in pod["spec"]
            if pod["metadata"]["uid"] in self._counted or not (is_finished(pod) or never_ran):
                continue
            self._counted.add(pod["metadata"]["uid"])
            if pod["status"]["phase"] == "Succeeded":
                status["succeeded"] += 1
                continue
            number, action = matching_rule(job["spec"].get("podFailurePolicy", {}), pod)
            if action == "FailJob":
                name, code = _exit_codes(pod)[0]
                return f"Container {name} failed with exit code {code} matching FailJob rule at index {number}"
            if action == "Count":
                status["failed"] += 1
                wait = self.backoff_seconds * 2 ** (status["failed"] - 1)
                self._retry_at[job["metadata"]["uid"]] = time.time() + wait
        return ""

    def _make_pod(self, job: Object, index: str) -> None:
        template = copy.deepcopy(job["spec"]["template"])
        metadata, spec = template.get("metadata", {}), template["spec"]
        name, uid, namespace = (job["metadata"][key] for key in ("name", "uid", "namespace"))
        labels = {"job-name": name, "batch.kubernetes.io/job-name": name, "controller-uid": uid}
        if index:
            labels[INDEX] = index
            metadata["annotations"] = {**metadata.get("annotations", {}), INDEX: index}
            name = spec["hostname"] = f"{name}-{index}"
            for container in spec["containers"]:
                container["env"] = [*container.get("env", []), {"name": "JOB_COMPLETION_INDEX", "value": index}]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": uid}
        metadata |= {
            "name": f"{name[:57]}-{secrets.token_hex(3)[:5]}",
            "labels": {**metadata.get("labels", {}), **labels},
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        }
        address = Address("pods", namespace)
        self.store.create(address, admit(self.store, address, {"metadata": metadata, "spec": spec}))

    def _end(self, job: Object, active: list[Object], kind: str, reason: str, message: str) -> None:
        for pod in active:
            self.store.delete(Address.of(pod))
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        job["status"] |= {"conditions": [condition | {"lastTransitionTime": timestamp()}], "active": 0}


def matching_rule(policy: Object, pod: Object) -> tuple[int, str]:
    """Number and action of the first rule of a pod failure policy that fits a failed pod; else -1 and `Count`."""
    conditions = {(condition["type"], condition["status"]) for condition in pod["status"].get("conditions", [])}
    for number, rule in enumerate(policy.get("rules", [])):
        if exits := rule.get("onExitCodes"):
            codes = [code for name, code in _exit_codes(pod) if exits.get("containerName", name) == name and code]
            fits = any((code in exits["values"]) == (exits["operator"] == "In") for code in codes)
        else:
            fits = any((pattern["type"], pattern["status"]) in conditions for pattern in rule["onPodConditions"])
        if fits:
            return number, rule["action"]
    return -1, "Count"


def _exit_codes(pod: Object) -> list[tuple[str, int]]:
    """Name and exit code of each container that has ended."""
    statuses = pod["status"].get("containerStatuses", [])
    return [(s["name"], s["state"]["terminated"]["exitCode"]) for s in statuses if "terminated" in s["state"]]


def schedule(store: Store) -> None:
    """Bind each waiting pod to the first node that takes it, or say on the pod why no node does."""
    for pod in store.list("pods"):
        if "nodeName" in pod["spec"] or "deletionTimestamp" in pod["metadata"]:
            continue
        reasons: Counter[str] = Counter()
        for node in store.list("nodes"):
            obstacles = _obstacles(store, pod, node)
            if not obstacles:
                pod["spec"]["nodeName"] = node["metadata"]["name"]
                condition = {"type": "PodScheduled", "status": "True"}
                break
            reasons.update(obstacles)
        else:
            detail = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
            message = f"0/{len(store.list('nodes'))} nodes are available: {detail}."
            condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        pod["status"]["conditions"] = [condition]


def _obstacles(store: Store, pod: Object, node: Object) -> list[str]:
    """Why a node cannot take a pod: the first kind of reason, as a real scheduler gives it; empty if it can."""
    spec, labels = pod["spec"], node["metadata"].get("labels", {})
    claims = [v["persistentVolumeClaim"]["claimName"] for v in spec.get("volumes", []) if "persistentVolumeClaim" in v]
    for claim in claims:
        if not store.find("persistentvolumeclaims", claim, pod["metadata"]["namespace"]):
            return [f'persistentvolumeclaim "{claim}" not found']
    for taint in node["spec"]["taints"]:
        if not any(_tolerates(toleration, taint) for toleration in spec.get("tolerations", [])):
            return [f"node(s) had untolerated taint {{{taint['key']}: {taint['value']}}}"]
    required = spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    terms = required["nodeSelectorTerms"] if required else [{"matchExpressions": []}]
    if not labels.items() >= spec.get("nodeSelector", {}).items() or not any(
        all(_matches(labels, expression) for expression in term["matchExpressions"]) for term in terms
    ):
        return ["node(s) didn't match Pod's node affinity/selector"]
    free = Counter({f"requests.{name}": amount for name, amount in amounts(node["status"]["allocatable"]).items()})
    for other in store.list("pods"):
        if other["spec"].get("nodeName") == node["metadata"]["name"] and not is_finished(other):
            free.subtract(quota_charge(other))
    scarce = [name for name, amount in quota_charge(pod).items() if amount > free[name]]
    return [f"Insufficient {name.removeprefix('requests.')}" for name in scarce if name.startswith("requests.")]


def _tolerates(toleration: dict[str, str], taint: dict[str, str]) -> bool:
    any_value = toleration.get("operator", "Equal") == "Exists"
    return (
        toleration["key"] == taint["key"]
        and (any_value or toleration.get("value") == taint["value"])
        and toleration.get("effect", taint["effect"]) == taint["effect"]
    )


def _matches(labels: dict[str, str], expression: dict[str, Any]) -> bool:
    """Whether the labels of a node fulfil an expression of a node affinity."""
    if expression["operator"] not in ("In", "NotIn"):
        raise ValueError(f"the test cluster does not know the operator {expression['operator']}")
    return (labels.get(expression["key"]) in expression["values"]) == (expression["operator"] == "In")
