"""The objects of the cluster: what etcd and the generic part of an API server do."""

from __future__ import annotations

import copy
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from tests.kubernetes.cluster.refusals import already_exists, conflict, not_found
from tests.kubernetes.cluster.resources import Target, by_plural

Object = dict[str, Any]
FINISHED = ("Succeeded", "Failed")


class Store:
    """Objects by resource, namespace and name. Whoever reads and then writes holds `lock`."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.lock = threading.RLock()
        self.now = now
        self.removed: list[Object] = []
        self._objects: dict[Target, Object] = {}
        self.version = 0

    def timestamp(self) -> str:
        return datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def seconds_since(self, timestamp: str) -> float:
        return self.now() - datetime.fromisoformat(timestamp).timestamp()

    def create(self, target: Target, item: Object) -> Object:
        """Keep a new object; `target` has no name, that of the object or its `generateName` is used."""
        metadata = item.setdefault("metadata", {})
        if not metadata.get("name"):
            metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
        if target.resource.namespaced:
            metadata["namespace"] = target.namespace
            if Target(by_plural("namespaces"), name=target.namespace) not in self._objects:
                raise not_found(f'namespaces "{target.namespace}"')
        key = Target(target.resource, target.namespace, metadata["name"])
        if key in self._objects:
            raise already_exists(f'{key.resource.qualified} "{key.name}"')
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": self.timestamp()}
        item |= {"kind": target.resource.kind, "apiVersion": target.resource.api_version}
        self._objects[key] = item
        self.touch(item)
        return item

    def touch(self, item: Object) -> None:
        """Give a changed object its new version."""
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)

    def get(self, target: Target) -> Object:
        try:
            return self._objects[Target(target.resource, target.namespace, target.name)]
        except KeyError:
            raise not_found(f'{target.resource.qualified} "{target.name}"') from None

    def find(self, plural: str, name: str, namespace: str = "") -> Object | None:
        return self._objects.get(Target(by_plural(plural), namespace, name))

    def list(self, plural: str, namespace: str = "") -> list[Object]:
        """The objects of a resource, of all namespaces where none is named, oldest first."""
        keys = [key for key in self._objects if key.resource.plural == plural]
        return [self._objects[key] for key in keys if not namespace or key.namespace == namespace]

    def replace(self, target: Target, item: Object) -> Object:
        """Put an object in the place of another; what only the server sets stays.

        Raises:
            RefusedError: 409, the object has changed since the caller read it.
        """
        old = self.get(target)["metadata"]
        given = item["metadata"].get("resourceVersion")
        if given and given != old["resourceVersion"]:
            raise conflict(
                f'Operation cannot be fulfilled on {target.resource.qualified} "{target.name}": the object has been '
                "modified; please apply your changes to the latest version and try again"
            )
        item["metadata"] |= {name: old[name] for name in ("name", "uid", "creationTimestamp")}
        if target.resource.namespaced:
            item["metadata"]["namespace"] = target.namespace
        self._objects[Target(target.resource, target.namespace, target.name)] = item
        self.touch(item)
        return item

    def delete(self, target: Target, *, grace_seconds: float | None = None, foreground: bool = False) -> Object:
        """Mark an object for removal; `sweep` removes it when nothing holds it any more."""
        item = self.get(target)
        metadata = item["metadata"]
        if "deletionTimestamp" not in metadata:
            metadata["deletionTimestamp"] = self.timestamp()
            if target.resource.plural == "pods":
                default = item["spec"].get("terminationGracePeriodSeconds", 30)
                metadata["deletionGracePeriodSeconds"] = default if grace_seconds is None else grace_seconds
            if foreground:
                metadata.setdefault("finalizers", []).append("foregroundDeletion")
            self.touch(item)
        return item

    def sweep(self) -> None:
        """The garbage collector: dependents of what is gone, and marked objects that nothing holds."""
        alive = {item["metadata"]["uid"] for item in self._objects.values()}
        going = {item["metadata"]["uid"] for item in self._objects.values() if _waits_for_dependents(item)}
        for key, item in list(self._objects.items()):
            owners = _owners(item)
            if owners and (not owners & alive or owners & going):
                self.delete(key)
        owned = {uid for item in self._objects.values() for uid in _owners(item)}
        for key, item in list(self._objects.items()):
            metadata = item["metadata"]
            if _waits_for_dependents(item) and metadata["uid"] not in owned:
                metadata["finalizers"].remove("foregroundDeletion")
            if "deletionTimestamp" in metadata and not metadata.get("finalizers") and not _runs(item):
                self.removed.append(copy.deepcopy(self._objects.pop(key)))

    def event(self, about: Object, reason: str, message: str) -> None:
        """An event on an object, as `kubectl describe` shows it; a repeated one is counted."""
        metadata = about["metadata"]
        for event in self.list("events", metadata["namespace"]):
            if (event["involvedObject"]["uid"], event["reason"], event["message"]) == (
                metadata["uid"],
                reason,
                message,
            ):
                event["count"] += 1
                return
        reference = {"kind": about["kind"], "name": metadata["name"], "uid": metadata["uid"]}
        reference["namespace"] = metadata["namespace"]
        target = Target(by_plural("events"), metadata["namespace"])
        event = {"involvedObject": reference, "reason": reason, "message": message, "type": "Warning", "count": 1}
        self.create(target, {"metadata": {"generateName": metadata["name"] + "."}, **event})


def key_of(item: Object) -> Target:
    """Where an object lies."""
    from tests.kubernetes.cluster.resources import by_kind

    metadata = item["metadata"]
    return Target(by_kind(item["apiVersion"], item["kind"]), metadata.get("namespace", ""), metadata["name"])


def is_finished(pod: Object) -> bool:
    return pod["status"].get("phase") in FINISHED


def owned_pods(store: Store, owner: Object) -> Iterator[Object]:
    """The pods that belong to an object."""
    metadata = owner["metadata"]
    for pod in store.list("pods", metadata["namespace"]):
        if any(reference["uid"] == metadata["uid"] for reference in pod["metadata"].get("ownerReferences") or []):
            yield pod


def _owners(item: Object) -> set[str]:
    return {owner["uid"] for owner in item["metadata"].get("ownerReferences") or []}


def _waits_for_dependents(item: Object) -> bool:
    return "foregroundDeletion" in (item["metadata"].get("finalizers") or [])


def _runs(item: Object) -> bool:
    """Whether a container of this pod may still run on a node."""
    return item["kind"] == "Pod" and "nodeName" in item["spec"] and not is_finished(item)
