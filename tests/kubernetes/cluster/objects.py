"""The objects of the test cluster: their kinds and addresses, the store that keeps them, and refused requests."""

from __future__ import annotations

import copy
import re
import secrets
import threading
import uuid
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
_PATH = re.compile(r"/(?:api|apis/([^/]+))/v1(?:/namespaces/([^/]+)(?=/))?/([^/]+)(?:/([^/]+))?(?:/([^/]+))?")


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
        if match := _PATH.fullmatch(path):
            group, namespace, plural, name, subresource = (part or "" for part in match.groups())
            if plural in KINDS and KINDS[plural].group == group:
                return cls(plural, namespace, name, subresource)
        raise RefusedError(404, "NotFound", f"{path} not found")

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
    """

    def __init__(self, lock: threading.RLock) -> None:
        self.lock = lock
        self.removed_pods: list[Object] = []
        self._objects: dict[Address, Object] = {}

    def create(self, address: Address, item: Object) -> Object:
        """Keep a new object under the name in its metadata, or one made from `generateName`."""
        metadata = item["metadata"]
        if not metadata.get("name"):
            metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
        if address.namespace:
            self.get(Address("namespaces", name=address.namespace))
        address = Address(address.plural, address.namespace, metadata["name"])
        if address in self._objects:
            raise RefusedError(409, "AlreadyExists", f'{address.qualified} "{address.name}" already exists')
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp()}
        return self.replace(address, item)

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
        """Put an object in the place of the old one."""
        self._objects[address] = item
        return item

    def save_status(self, item: Object) -> None:
        """A kubelet has changed the status of an object; here it changed the object itself."""

    def delete(self, address: Address) -> Object:
        """Mark an object for removal; `sweep` removes it, a running pod only when its container has ended."""
        item = self.get(address)
        item["metadata"].setdefault("deletionTimestamp", timestamp())
        if address.plural == "pods":
            item["metadata"]["deletionGracePeriodSeconds"] = item["spec"]["terminationGracePeriodSeconds"]
        return item

    def sweep(self) -> None:
        """The garbage collector: deletes objects whose owner is gone, and removes marked objects."""
        alive = {item["metadata"]["uid"] for item in self._objects.values()}
        for address, item in list(self._objects.items()):
            is_pod = address.plural == "pods"
            owners = {owner["uid"] for owner in item["metadata"].get("ownerReferences") or []}
            if owners and not owners & alive:
                self.delete(address)
            runs = is_pod and "nodeName" in item["spec"] and not is_finished(item)
            if "deletionTimestamp" in item["metadata"] and not runs:
                del self._objects[address]
                self.removed_pods += [copy.deepcopy(item)] if is_pod else []


def timestamp() -> str:
    """The present time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_finished(pod: Object) -> bool:
    """Whether the container of a pod has ended."""
    return pod["status"].get("phase") in ("Succeeded", "Failed")
