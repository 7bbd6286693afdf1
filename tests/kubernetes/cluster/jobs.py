"""The job controller: pods for jobs, what their failures mean, and when a job has ended."""

from __future__ import annotations

import copy
import secrets
from typing import Any

from tests.kubernetes.cluster.admission import admit
from tests.kubernetes.cluster.refusals import RefusedError
from tests.kubernetes.cluster.resources import Target, by_plural
from tests.kubernetes.cluster.store import Object, Store, is_finished, key_of, owned_pods

FINALIZER = "batch.kubernetes.io/job-tracking"
"""Keeps a pod until its end has been counted, even if it is deleted meanwhile."""

INDEX = "batch.kubernetes.io/job-completion-index"


class JobController:
    """Brings every job one step nearer to what it asks for, each time `step` is called."""

    def __init__(self, store: Store, backoff_seconds: float) -> None:
        self.store = store
        self.backoff_seconds = backoff_seconds
        self._retry_at: dict[str, float] = {}

    def step(self) -> None:
        for job in self.store.list("jobs"):
            if finished_as(job):
                self._remove_when_old(job)
            elif "deletionTimestamp" not in job["metadata"]:
                self._advance(job)
        self._release_pods()

    def _advance(self, job: Object) -> None:
        spec, status = job["spec"], job["status"]
        if "startTime" not in status:
            status |= {"startTime": self.store.timestamp(), "active": 0, "succeeded": 0, "failed": 0, "ready": 0}
            self.store.touch(job)
        failure = self._count_ended(job)
        deadline = spec.get("activeDeadlineSeconds")
        if failure is None and deadline is not None and self.store.seconds_since(status["startTime"]) >= deadline:
            failure = ("DeadlineExceeded", "Job was active longer than specified deadline")
        if failure is None and status["failed"] > spec["backoffLimit"]:
            failure = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
        if failure is not None:
            for pod in self._active(job):
                self.store.delete(key_of(pod))
            self._end(job, "Failed", *failure)
        elif status["succeeded"] >= spec["completions"]:
            status["completionTime"] = self.store.timestamp()
            self._end(job, "Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        elif not spec.get("suspend"):
            self._make_pods(job)

    def _count_ended(self, job: Object) -> tuple[str, str] | None:
        """Take ended pods into the job's status; the reason and message with which one of them ends the job."""
        status = job["status"]
        for pod in list(owned_pods(self.store, job)):
            if FINALIZER not in pod["metadata"].get("finalizers", []) or not _has_ended(pod):
                continue
            pod["metadata"]["finalizers"].remove(FINALIZER)
            self.store.touch(job)
            if pod["status"]["phase"] == "Succeeded":
                status["succeeded"] += 1
                _note_index(status, pod)
                continue
            rule, action = matching_rule(job["spec"].get("podFailurePolicy"), pod)
            if action == "FailJob":
                return "PodFailurePolicy", _rule_message(pod, rule)
            if action == "Count":
                status["failed"] += 1
                wait = min(self.backoff_seconds * 2 ** (status["failed"] - 1), 360)
                self._retry_at[job["metadata"]["uid"]] = self.store.now() + wait
        return None

    def _active(self, job: Object) -> list[Object]:
        # A pod that is being stopped still counts: with a failure policy, its replacement waits until it has ended.
        return [pod for pod in owned_pods(self.store, job) if FINALIZER in pod["metadata"].get("finalizers", [])]

    def _make_pods(self, job: Object) -> None:
        spec, status, active = job["spec"], job["status"], self._active(job)
        indexed = spec["completionMode"] == "Indexed"
        wanted = min(spec["parallelism"], spec["completions"] - status["succeeded"]) - len(active)
        taken = {pod["metadata"].get("annotations", {}).get(INDEX) for pod in active} | _done(status)
        free = [number for number in range(spec["completions"]) if str(number) not in taken]
        waits = self.store.now() < self._retry_at.get(job["metadata"]["uid"], 0)
        for number in free[: 0 if waits else max(wanted, 0)] if indexed else range(0 if waits else max(wanted, 0)):
            try:
                active.append(self._make_pod(job, number if indexed else None))
            except RefusedError as refusal:
                self.store.event(job, "FailedCreate", f"Error creating: {refusal}")
                self._retry_at[job["metadata"]["uid"]] = self.store.now() + self.backoff_seconds
                break
        if status["active"] != len(active):
            status["active"] = len(active)
            self.store.touch(job)

    def _make_pod(self, job: Object, index: int | None) -> Object:
        template = copy.deepcopy(job["spec"]["template"])
        name, uid = job["metadata"]["name"], job["metadata"]["uid"]
        metadata = template.get("metadata") or {}
        metadata.pop("creationTimestamp", None)
        labels = {"job-name": name, "controller-uid": uid}
        labels |= {f"batch.kubernetes.io/{label}": value for label, value in labels.items()}
        metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
        metadata["finalizers"] = [FINALIZER]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid}
        metadata["ownerReferences"] = [owner | {"controller": True, "blockOwnerDeletion": True}]
        if index is not None:
            metadata["annotations"] = {**(metadata.get("annotations") or {}), INDEX: str(index)}
            metadata["labels"][INDEX] = str(index)
            name = f"{name}-{index}"
            template["spec"]["hostname"] = name
            for container in template["spec"]["containers"]:
                variable = {"name": "JOB_COMPLETION_INDEX", "value": str(index)}
                container["env"] = [*(container.get("env") or []), variable]
        metadata["name"] = f"{name[:57]}-{secrets.token_hex(3)[:5]}"
        target = Target(by_plural("pods"), job["metadata"]["namespace"])
        pod = admit(self.store, target, {"metadata": metadata, "spec": template["spec"]})
        return self.store.create(target, pod)

    def _release_pods(self) -> None:
        """Let go of ended pods that no running job will count."""
        counting = {
            job["metadata"]["uid"]
            for job in self.store.list("jobs")
            if not finished_as(job) and "deletionTimestamp" not in job["metadata"]
        }
        for pod in self.store.list("pods"):
            owners = {owner["uid"] for owner in pod["metadata"].get("ownerReferences") or []}
            if FINALIZER in pod["metadata"].get("finalizers", []) and _has_ended(pod) and not owners & counting:
                pod["metadata"]["finalizers"].remove(FINALIZER)

    def _end(self, job: Object, kind: str, reason: str, message: str) -> None:
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        condition |= {"lastTransitionTime": self.store.timestamp(), "lastProbeTime": self.store.timestamp()}
        job["status"].setdefault("conditions", []).append(condition)
        job["status"]["active"] = 0
        self.store.touch(job)

    def _remove_when_old(self, job: Object) -> None:
        seconds = job["spec"].get("ttlSecondsAfterFinished")
        ended = job["status"]["conditions"][-1]["lastTransitionTime"]
        if seconds is not None and self.store.seconds_since(ended) >= seconds:
            self.store.delete(key_of(job))


def finished_as(job: Object) -> str:
    """`Complete`, `Failed`, or empty while the job runs."""
    conditions = job["status"].get("conditions") or []
    return next((c["type"] for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), "")


def matching_rule(policy: dict[str, Any] | None, pod: Object) -> tuple[int, str]:
    """Number and action of the first rule of a pod failure policy that fits a failed pod; else -1 and `Count`."""
    codes = [
        (container["name"], container["state"]["terminated"]["exitCode"])
        for container in pod["status"].get("containerStatuses") or []
        if "terminated" in container["state"]
    ]
    conditions = {(condition["type"], condition["status"]) for condition in pod["status"].get("conditions") or []}
    for number, rule in enumerate((policy or {}).get("rules", [])):
        exits = rule.get("onExitCodes")
        if exits is not None:
            is_in = exits["operator"] == "In"
            named = [code for name, code in codes if exits.get("containerName", name) == name and code != 0]
            if any((code in exits["values"]) == is_in for code in named):
                return number, rule["action"]
        elif conditions & {(c["type"], c["status"]) for c in rule["onPodConditions"]}:
            return number, rule["action"]
    return -1, "Count"


def _rule_message(pod: Object, rule: int) -> str:
    metadata = pod["metadata"]
    container = pod["status"]["containerStatuses"][0]
    code = container["state"]["terminated"]["exitCode"]
    return (
        f"Container {container['name']} for pod {metadata['namespace']}/{metadata['name']} failed with exit code "
        f"{code} matching FailJob rule at index {rule}"
    )


def _has_ended(pod: Object) -> bool:
    return is_finished(pod) or ("deletionTimestamp" in pod["metadata"] and "nodeName" not in pod["spec"])


def _note_index(status: dict[str, Any], pod: Object) -> None:
    index = pod["metadata"].get("annotations", {}).get(INDEX)
    if index is not None:
        status["completedIndexes"] = ",".join(sorted({*_done(status), index}, key=int))


def _done(status: dict[str, Any]) -> set[str]:
    return set(filter(None, status.get("completedIndexes", "").split(",")))
