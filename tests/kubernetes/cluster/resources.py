"""Which resources the API server knows, and what the path of a request means."""

from __future__ import annotations

from dataclasses import dataclass

from tests.kubernetes.cluster.refusals import not_found


@dataclass(frozen=True)
class Resource:
    """A kind of object and where it lies in the API."""

    group: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/v1" if self.group else "v1"

    @property
    def qualified(self) -> str:
        """As errors name it: `jobs.batch`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


RBAC = "rbac.authorization.k8s.io"
RESOURCES = (
    Resource("", "namespaces", "Namespace", namespaced=False),
    Resource("", "nodes", "Node", namespaced=False),
    Resource("", "pods", "Pod"),
    Resource("", "services", "Service"),
    Resource("", "secrets", "Secret"),
    Resource("", "configmaps", "ConfigMap"),
    Resource("", "serviceaccounts", "ServiceAccount"),
    Resource("", "events", "Event"),
    Resource("", "persistentvolumeclaims", "PersistentVolumeClaim"),
    Resource("", "resourcequotas", "ResourceQuota"),
    Resource("", "limitranges", "LimitRange"),
    Resource("batch", "jobs", "Job"),
    Resource("batch", "cronjobs", "CronJob"),
    Resource("networking.k8s.io", "networkpolicies", "NetworkPolicy"),
    Resource("scheduling.k8s.io", "priorityclasses", "PriorityClass", namespaced=False),
    Resource(RBAC, "roles", "Role"),
    Resource(RBAC, "rolebindings", "RoleBinding"),
    Resource(RBAC, "clusterroles", "ClusterRole", namespaced=False),
    Resource(RBAC, "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
    Resource("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False),
)
SUBRESOURCES = {("pods", "log"), ("pods", "eviction")}


def by_plural(plural: str) -> Resource:
    """The resource of that plural name; for the cluster's own use, where the name is known to be right."""
    return next(resource for resource in RESOURCES if resource.plural == plural)


def by_kind(api_version: str, kind: str) -> Resource:
    """The resource of a manifest."""
    for resource in RESOURCES:
        if (resource.api_version, resource.kind) == (api_version, kind):
            return resource
    raise ValueError(f"the test cluster has no {kind} of {api_version}; it knows {[r.kind for r in RESOURCES]}")


@dataclass(frozen=True)
class Target:
    """What a request is about; `name` and `subresource` may be empty, `namespace` is where none is meant."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def full_resource(self) -> str:
        """As rules name it: `pods`, `pods/log`."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural


def target_of(path: str) -> Target:
    """The target of `/api/v1/...` or `/apis/<group>/v1/...`.

    Raises:
        RefusedError: 404, for a path that no resource has.
    """
    parts = path.strip("/").split("/")
    if parts[:2] == ["api", "v1"]:
        group, parts = "", parts[2:]
    elif len(parts) > 2 and parts[0] == "apis" and parts[2] == "v1":
        group, parts = parts[1], parts[3:]
    else:
        raise not_found(path)
    namespace = ""
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = (*parts, "", "", "")[:3]
    for resource in RESOURCES:
        if (resource.group, resource.plural) == (group, plural) and len(parts) <= 3:
            if subresource and (plural, subresource) not in SUBRESOURCES:
                break
            return Target(resource, namespace, name, subresource)
    raise not_found(path)
