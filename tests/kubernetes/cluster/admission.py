"""What an object goes through before it is kept: defaults, schema, rules that no schema states, policies."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from tests.kubernetes.cluster.pod_rules import job_faults, pod_faults
from tests.kubernetes.cluster.pod_security import check_pod_security
from tests.kubernetes.cluster.quotas import apply_limit_ranges, check_quotas
from tests.kubernetes.cluster.refusals import forbidden, invalid
from tests.kubernetes.cluster.resources import Target
from tests.kubernetes.cluster.store import Object, Store

SCHEMA_VERSION = "1.37"
"""Of which Kubernetes release the schemas are, and the version that the server says it has."""

_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
_LABEL_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")


def admit(store: Store, target: Target, item: Object, *, is_new: bool = True) -> Object:
    """The object as it is kept; of one that replaces another, the status and the policies are left alone.

    Raises:
        RefusedError: 403 or 422, with what is wrong.
    """
    item = without_nulls(item)
    item.setdefault("kind", target.resource.kind)
    item.setdefault("apiVersion", target.resource.api_version)
    metadata = item.setdefault("metadata", {})
    if target.resource.namespaced and metadata.setdefault("namespace", target.namespace) != target.namespace:
        raise invalid(f"the namespace of the object ({metadata['namespace']}) is not that of the request")
    check_schema(item)
    faults = list(_metadata_faults(target, metadata))
    if target.resource.plural == "jobs":
        _set_job_defaults(item["spec"])
        faults += job_faults(item)
    if target.resource.plural == "pods":
        _set_pod_defaults(item["spec"])
        faults += pod_faults(item["spec"], "spec")
    if faults:
        name = metadata.get("name") or metadata.get("generateName", "")
        raise invalid(f'{target.resource.kind}{_dotted(target)} "{name}" is invalid: {", ".join(faults)}')
    if is_new and target.resource.plural in ("pods", "jobs"):
        item["status"] = {"phase": "Pending"} if target.resource.plural == "pods" else {}
        if target.resource.plural == "pods":
            _admit_pod(store, item)
        check_quotas(store, item, target.resource.plural)
    return item


def without_nulls(item: Any) -> Any:
    """An object without explicit nulls, which an API server drops (clients send many)."""
    if isinstance(item, dict):
        return {name: without_nulls(value) for name, value in item.items() if value is not None}
    if isinstance(item, list):
        return [without_nulls(value) for value in item]
    return item


def check_schema(item: Object) -> None:
    """Hold an object to the schema of its kind; unlike a real server by default, unknown fields are refused.

    Raises:
        RefusedError: 422, with the path of the fault.
    """
    if fault := _schema_fault(json.dumps(item)):
        raise invalid(f'{item["kind"]} "{item["metadata"].get("name", "")}" is invalid: {fault}')


@lru_cache(maxsize=1024)
def _schema_fault(text: str) -> str:
    import kubernetes_validate

    try:
        kubernetes_validate.validate(json.loads(text), SCHEMA_VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(str(part) for part in error.path)}: {error.message}"
    return ""


def _set_job_defaults(spec: dict[str, Any]) -> None:
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("completions", spec["parallelism"])
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    for rule in (spec.get("podFailurePolicy") or {}).get("rules", []):
        for condition in rule.get("onPodConditions") or []:
            condition.setdefault("status", "True")


def _set_pod_defaults(spec: dict[str, Any]) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("terminationGracePeriodSeconds", 30)


def _admit_pod(store: Store, pod: Object) -> None:
    metadata, spec = pod["metadata"], pod["spec"]
    where = f'pods "{metadata.get("name", "")}" is forbidden'
    account = spec["serviceAccountName"]
    if account != "default" and store.find("serviceaccounts", account, metadata["namespace"]) is None:
        raise forbidden(
            f"{where}: error looking up service account {metadata['namespace']}/{account}: "
            f'serviceaccount "{account}" not found'
        )
    priority = spec.get("priorityClassName", "")
    if priority and not priority.startswith("system-") and store.find("priorityclasses", priority) is None:
        raise forbidden(f"{where}: no PriorityClass with name {priority} was found")
    apply_limit_ranges(store, pod)
    check_pod_security(store, pod)


def _metadata_faults(target: Target, metadata: dict[str, Any]) -> list[str]:
    faults = []
    name = metadata.get("name") or (metadata.get("generateName", "") + "00000" if "generateName" in metadata else "")
    if not name:
        faults.append("metadata.name: Required value: name or generateName is required")
    elif not _NAME.match(name) and not target.resource.group.startswith("rbac"):
        faults.append(f'metadata.name: Invalid value: "{name}": must be a lowercase RFC 1123 subdomain')
    for label, value in (metadata.get("labels") or {}).items():
        if not _LABEL_VALUE.match(value):
            faults.append(f'metadata.labels: Invalid value: "{value}": of {label}: at most 63 of letters, digits, -_.')
    return faults


def _dotted(target: Target) -> str:
    return f".{target.resource.group}" if target.resource.group else ""
