"""The API: what each request does to the store, for whom."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import Any

from tests.kubernetes.cluster.access import Access, Attempt
from tests.kubernetes.cluster.admission import SCHEMA_VERSION, admit, without_nulls
from tests.kubernetes.cluster.launches import Launcher
from tests.kubernetes.cluster.refusals import (
    RefusedError,
    bad_request,
    method_not_allowed,
    unauthorized,
    unsupported_media_type,
)
from tests.kubernetes.cluster.resources import RESOURCES, Target, target_of
from tests.kubernetes.cluster.selectors import matches_fields, matches_labels
from tests.kubernetes.cluster.store import Object, Store

MERGE_PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json")
DISRUPTED = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}


@dataclass(frozen=True)
class Request:
    """An HTTP request, read."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    authorization: str = ""
    content_type: str = "application/json"
    body: bytes = b""

    def json(self) -> Any:
        try:
            return json.loads(self.body or b"{}")
        except ValueError as error:
            raise bad_request(f"the body is no JSON: {error}") from error


@dataclass(frozen=True)
class Entry:
    """A line of the audit log."""

    user: str
    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    code: int


class Api:
    """Answers requests."""

    def __init__(self, store: Store, access: Access, launcher: Launcher) -> None:
        self.store = store
        self.access = access
        self.launcher = launcher
        self.audit: list[Entry] = []

    def answer(self, request: Request) -> tuple[int, Any]:
        """Status code and body: an object, or text for a log."""
        try:
            document = _discovery(request.path.rstrip("/"))
            if document is not None:
                return 200, document
            user = self.access.user(request.authorization)
            if user is None:
                raise unauthorized()
            return self._audited(user, request)
        except RefusedError as refusal:
            return refusal.code, refusal.status()

    def _audited(self, user: str, request: Request) -> tuple[int, Any]:
        target = target_of(request.path)
        attempt = Attempt.of(user, _verb(request, target), target)
        code = 500
        try:
            with self.store.lock:
                self.access.check(attempt)
                code, answer = self._serve(user, request, target)
                # What goes out is a copy: the cluster goes on changing its own.
                return code, copy.deepcopy(answer)
        except RefusedError as refusal:
            code = refusal.code
            raise
        finally:
            facts = (attempt.verb, attempt.group, attempt.resource, attempt.namespace, attempt.name)
            self.audit.append(Entry(user, *facts, code))

    def _serve(self, user: str, request: Request, target: Target) -> tuple[int, Any]:
        if target.resource.plural == "selfsubjectaccessreviews" and request.method == "POST":
            return 201, self.access.review(user, request.json())
        match request.method, target.subresource:
            case "GET", "log":
                return 200, self._log(target)
            case "POST", "eviction":
                return 201, self.evict(target)
            case "GET", "":
                return 200, self.store.get(target) if target.name else self._list(request, target)
            case "POST", "" if not target.name:
                return 201, self.store.create(target, admit(self.store, target, request.json()))
            case "PATCH", "" if target.name:
                return 200, self._patch(request, target)
            case "PUT", "" if target.name:
                return 200, self.store.replace(target, self._kept_status(target, request.json()))
            case "DELETE", "" if target.name:
                return 200, self._delete(request, target)
        raise method_not_allowed(f"the server does not allow this method on the requested resource: {request.method}")

    def evict(self, target: Target) -> Object:
        """Take a pod away from its node, as a drain does."""
        pod = self.store.get(target)
        condition = DISRUPTED | {"message": "Eviction API: evicting", "lastTransitionTime": self.store.timestamp()}
        pod["status"].setdefault("conditions", []).append(condition)
        self.store.delete(Target(target.resource, target.namespace, target.name))
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    def _list(self, request: Request, target: Target) -> Object:
        if request.query.get("watch") in ("true", "1"):
            raise method_not_allowed("the test cluster serves no watches; ZenML's orchestrator polls")
        labels, fields = request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
        items = [
            item
            for item in self.store.list(target.resource.plural, target.namespace)
            if matches_labels(labels, item["metadata"].get("labels") or {})
            and matches_fields(fields, target.resource.plural, item)
        ]
        kind = {"kind": f"{target.resource.kind}List", "apiVersion": target.resource.api_version}
        return kind | {"metadata": {"resourceVersion": str(self.store.version)}, "items": items}

    def _log(self, target: Target) -> str:
        self.store.get(target)
        path = self.launcher.log(target.namespace, target.name)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def _patch(self, request: Request, target: Target) -> Object:
        if request.content_type not in MERGE_PATCHES:
            raise unsupported_media_type(f"{request.content_type}: the test cluster takes {', '.join(MERGE_PATCHES)}")
        patch = request.json()
        if request.content_type == MERGE_PATCHES[1] and _has_list(patch):
            raise unsupported_media_type("the test cluster does not merge lists strategically")
        return self.store.replace(target, self._kept_status(target, merged(self.store.get(target), patch)))

    def _kept_status(self, target: Target, item: Object) -> Object:
        """An object as it replaces another one: checked anew, with the old one's status."""
        old = self.store.get(target)
        new = admit(self.store, target, item, is_new=False)
        return new | ({"status": old["status"]} if "status" in old else {})

    def _delete(self, request: Request, target: Target) -> Object:
        options = without_nulls(request.json())
        policy = options.get("propagationPolicy") or request.query.get("propagationPolicy") or "Background"
        grace = options.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
        seconds = None if grace is None else float(grace)
        return self.store.delete(target, grace_seconds=seconds, foreground=policy == "Foreground")


def merged(item: Any, patch: Any) -> Any:
    """An object with a JSON merge patch applied: null removes, objects are merged, all else is replaced."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(item) if isinstance(item, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def _has_list(patch: Any) -> bool:
    if isinstance(patch, dict):
        return any(_has_list(value) for value in patch.values())
    return isinstance(patch, list)


def _verb(request: Request, target: Target) -> str:
    if request.method == "GET" and not target.name:
        return "watch" if request.query.get("watch") in ("true", "1") else "list"
    verbs = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    return verbs[request.method]


def _discovery(path: str) -> Object | None:
    """The documents with which clients find out what there is."""
    groups = sorted({resource.group for resource in RESOURCES if resource.group})
    if path == "/version":
        major, minor = SCHEMA_VERSION.split(".")
        facts = {"gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}
        return {"major": major, "minor": minor, "gitVersion": f"v{SCHEMA_VERSION}.0-test", **facts}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        version = [{"groupVersion": f"{group}/v1", "version": "v1"} for group in groups]
        listed = zip(groups, version, strict=True)
        return {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [{"name": name, "versions": [one], "preferredVersion": one} for name, one in listed],
        }
    for group in ("", *groups):
        if path == (f"/apis/{group}/v1" if group else "/api/v1"):
            return _resource_list(group)
    return None


def _resource_list(group: str) -> Object:
    verbs = ["create", "delete", "get", "list", "patch", "update"]
    resources = [
        {"name": r.plural, "singularName": r.kind.lower(), "namespaced": r.namespaced, "kind": r.kind, "verbs": verbs}
        for r in RESOURCES
        if r.group == group
    ]
    version = f"{group}/v1" if group else "v1"
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
