"""The objects of a real API server, in the shape in which the kubelet of the test cluster looks at its store."""

from __future__ import annotations

import json
import ssl
import time
from datetime import UTC, datetime
from typing import Any

import httpx2

from tests.kubernetes.cluster.resources import Target, by_plural
from tests.kubernetes.cluster.store import Object

# What a kubelet says of a pod; the rest of the status is the scheduler's.
OF_THE_KUBELET = ("phase", "startTime", "podIP", "hostIP", "containerStatuses")


class RemoteStore:
    """Asks the API server each time; remembers every pod that it has seen."""

    def __init__(self, address: str, token: str, context: ssl.SSLContext) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx2.Client(base_url=address, headers=headers, verify=context, timeout=60, trust_env=False)
        self.pods: dict[str, Object] = {}
        self.newest_pods: list[Object] = []

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Object:
        """One request.

        Raises:
            LookupError: there is no such object, or no such kind of object.
            RuntimeError: it was refused.
        """
        content = None if body is None else json.dumps(body)
        answer = self._http.request(method, path, content=content, headers={"Content-Type": content_type})
        if answer.is_success:
            return answer.json()
        message = f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        raise LookupError(message) if answer.status_code == 404 else RuntimeError(message)

    def merge(self, path: str, changes: Object) -> Object:
        """A JSON merge patch."""
        return self.call("PATCH", path, changes, "application/merge-patch+json")

    # What the kubelet asks of its store.

    def find(self, plural: str, name: str, namespace: str = "") -> Object | None:
        try:
            return self.call("GET", path_of(Target(by_plural(plural), namespace, name)))
        except LookupError:
            return None

    def list(self, plural: str, labels: str = "") -> list[Object]:
        """The objects of all namespaces. Not from the server's cache, in which a pod that has ended still runs."""
        path = path_of(Target(by_plural(plural)))
        items = self.call("GET", f"{path}?labelSelector={labels}" if labels else path)["items"]
        if plural == "pods" and not labels:
            self.newest_pods = items
            self.pods |= {pod["metadata"]["uid"]: pod for pod in items}
        return items

    def touch(self, item: Object) -> None:
        """Tell how a pod is; it may be gone by now."""
        status = {name: item["status"][name] for name in OF_THE_KUBELET if name in item["status"]}
        try:
            self.merge(path_of(pod_target(item, "status")), {"status": status})
        except LookupError:
            return

    def now(self) -> float:
        return time.time()

    def timestamp(self) -> str:
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_target(pod: Object, subresource: str = "") -> Target:
    return Target(by_plural("pods"), pod["metadata"]["namespace"], pod["metadata"]["name"], subresource)


def path_of(target: Target) -> str:
    """Where the API has an object, or all of a resource."""
    group = target.resource.group
    namespace = f"namespaces/{target.namespace}" if target.namespace else ""
    root = f"/apis/{group}/v1" if group else "/api/v1"
    return "/".join(filter(None, (root, namespace, target.resource.plural, target.name, target.subresource)))
