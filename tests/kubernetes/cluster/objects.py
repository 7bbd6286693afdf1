"""The objects of the test cluster: their kinds and addresses, the store that keeps them, and refused requests."""

from __future__ import annotations

import copy
import secrets
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

Object = dict[str, Any]


class Kind(NamedTuple):
    """A kind of object: its API group, its name, and whether its objects lie in a namespace."""

    group: str
    name: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/v1" if self.group else "v1"


RBAC = "rbac.authorization.k8s.io"
KINDS = {
    "namespaces": Kind("", "Namespace", namespaced=False),
    "nodes": Kind("", "Node", namespaced=False),
    "pods": Kind("", "Pod"),
    "services": Kind("", "Service"),
    "secrets": Kind("", "Secret"),
    "serviceaccounts": Kind("", "ServiceAccount"),
    "events": Kind("", "Event"),
    "persistentvolumeclaims": Kind("", "PersistentVolumeClaim"),
    "resourcequotas": Kind("", "ResourceQuota"),
    "limitranges": Kind("", "LimitRange"),
    "jobs": Kind("batch", "Job"),
    "cronjobs": Kind("batch", "CronJob"),
    "networkpolicies": Kind("networking.k8s.io", "NetworkPolicy"),
    "priorityclasses": Kind("scheduling.k8s.io", "PriorityClass", namespaced=False),
    "roles": Kind(RBAC, "Role"),
    "rolebindings": Kind(RBAC, "RoleBinding"),
    "selfsubjectaccessreviews": Kind("authorization.k8s.io", "SelfSubjectAccessReview", namespaced=False),
}
"""Plural name -> kind: everything that the API server knows."""


class RefusedError(Exception):
    """A request that the API server refuses: an HTTP status, and the reason of Kubernetes' `Status` object."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason

    def status(self) -> Object:
        """The body of the answer."""
        what = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        return what | {"message": str(self), "reason": self.reason, "code": self.code}


class Address(NamedTuple):
    """Where an object lies; without a name, the objects of a kind, and without a namespace, those of all namespaces."""

    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @classmethod
    def of(cls, item: Object) -> Address:
        """The address of an object by its own kind and metadata; an object without a namespace is in `default`.

        Raises:
            ValueError: the cluster has no such kind.
        """
        for plural, kind in KINDS.items():
            if (kind.api_version, kind.name) == (item["apiVersion"], item["kind"]):
                metadata = item["metadata"]
                namespace = metadata.get("namespace", "default") if kind.namespaced else ""
                return cls(plural, namespace, metadata.get("name", ""))
        raise ValueError(f"the test cluster has no {item['kind']} of {item['apiVersion']}; it has {[*KINDS]}")

    @classmethod
    def from_path(cls, path: str) -> Address:
        """The address that the path of a request means: `/api/v1/...` or `/apis/<group>/v1/...`.

        Raises:
            RefusedError: 404, the API has no such path.
        """
        match path.strip("/").split("/"):
            case ["api", "v1", *rest]:
                group = ""
            case ["apis", group, "v1", *rest]:
                pass
            case _:
                raise RefusedError(404, "NotFound", f"{path} not found")
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        address = cls(rest[0], namespace, *rest[1:3]) if 0 < len(rest) <= 3 else cls("")
        if address.plural not in KINDS or KINDS[address.plural].group != group:
            raise RefusedError(404, "NotFound", f"{path} not found")
        return address

    @property
    def kind(self) -> Kind:
        return KINDS[self.plural]

    @property
    def resource(self) -> str:
        """As RBAC names it: `pods`, `pods/log`."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural

    @property
    def qualified(self) -> str:
        """The plural name as errors give it: `pods`, `jobs.batch`."""
        return f"{self.plural}.{self.kind.group}" if self.kind.group else self.plural

    @property
    def path(self) -> str:
        """The path of a request for it."""
        root = f"/apis/{self.kind.group}/v1" if self.kind.group else "/api/v1"
        namespace = f"namespaces/{self.namespace}" if self.namespace else ""
        return "/".join(filter(None, (root, namespace, self.plural, self.name, self.subresource)))


class Store:
    """Objects by address.

    Args:
        lock: held by whoever reads and then writes.
        now: the clock, in seconds since 1970.
    """

    def __init__(self, lock: threading.RLock, now: Callable[[], float]) -> None:
        self.lock = lock
        self.now = now
        self.removed: list[Object] = []
        self._objects: dict[Address, Object] = {}

    def timestamp(self) -> str:
        """The present time as Kubernetes writes it."""
        return datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def seconds_since(self, timestamp: str) -> float:
        return self.now() - datetime.fromisoformat(timestamp).timestamp()

    def create(self, address: Address, item: Object) -> Object:
        """Keep a new object under the name in its metadata, or one made from `generateName`."""
        metadata = item["metadata"]
        if not metadata.get("name"):
            metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
        if address.namespace and Address("namespaces", name=address.namespace) not in self._objects:
            raise RefusedError(404, "NotFound", f'namespaces "{address.namespace}" not found')
        address = Address(address.plural, address.namespace, metadata["name"])
        if address in self._objects:
            raise RefusedError(409, "AlreadyExists", f'{address.qualified} "{address.name}" already exists')
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": self.timestamp()}
        self._objects[address] = item
        return item

    def get(self, address: Address) -> Object:
        """The object at an address.

        Raises:
            RefusedError: 404, there is none.
        """
        item = self.find(address.plural, address.name, address.namespace)
        if item is None:
            raise RefusedError(404, "NotFound", f'{address.qualified} "{address.name}" not found')
        return item

    def find(self, plural: str, name: str, namespace: str = "") -> Object | None:
        """The object of that name, or None."""
        return self._objects.get(Address(plural, namespace, name))

    def list(self, plural: str, namespace: str = "") -> list[Object]:
        """The objects of a kind, of all namespaces where none is named, oldest first."""
        return [
            item
            for address, item in self._objects.items()
            if address.plural == plural and namespace in ("", address.namespace)
        ]

    def replace(self, address: Address, item: Object) -> Object:
        """Put a changed object in the place of the old one."""
        self._objects[address] = item
        return item

    def save_status(self, item: Object) -> None:
        """A kubelet has changed the status of an object; here it changed the object itself."""

    def delete(self, address: Address) -> Object:
        """Mark an object for removal; `sweep` removes it, a running pod only when its container has ended."""
        item = self.get(address)
        item["metadata"].setdefault("deletionTimestamp", self.timestamp())
        if address.plural == "pods":
            item["metadata"]["deletionGracePeriodSeconds"] = item["spec"]["terminationGracePeriodSeconds"]
        return item

    def sweep(self) -> None:
        """The garbage collector: deletes objects whose owner is gone, and removes marked objects."""
        alive = {item["metadata"]["uid"] for item in self._objects.values()}
        for address, item in list(self._objects.items()):
            owners = {owner["uid"] for owner in item["metadata"].get("ownerReferences") or []}
            if owners and not owners & alive:
                self.delete(address)
            runs = address.plural == "pods" and "nodeName" in item["spec"] and not is_finished(item)
            if "deletionTimestamp" in item["metadata"] and not runs:
                self.removed.append(copy.deepcopy(self._objects.pop(address)))

    def event(self, about: Object, reason: str, message: str) -> None:
        """Record an event on an object, once, as `kubectl describe` shows it."""
        metadata = about["metadata"]
        reference = {"kind": about["kind"], **{name: metadata[name] for name in ("name", "namespace", "uid")}}
        event = {"involvedObject": reference, "reason": reason, "message": message, "type": "Warning"}
        address = Address("events", metadata["namespace"])
        if not any(event.items() <= other.items() for other in self.list(*address[:2])):
            names = {"generateName": metadata["name"] + ".", "namespace": metadata["namespace"]}
            self.create(address, {"apiVersion": "v1", "kind": "Event", "metadata": names, **event})


def is_finished(pod: Object) -> bool:
    """Whether the container of a pod has ended."""
    return pod["status"].get("phase") in ("Succeeded", "Failed")
