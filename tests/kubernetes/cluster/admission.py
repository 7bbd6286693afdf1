"""Admission: defaults, schema, rules that no schema states, PodSecurity and quotas."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from tests.kubernetes.cluster.objects import Address, Object, RefusedError, Store, is_finished

SCHEMA_VERSION = "1.37"
"""The Kubernetes release whose schemas are used; the server says that it is of this version."""

_LABEL_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
_ENFORCE = "pod-security.kubernetes.io/enforce"
_RESTRICTED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "secret"}
_RESTRICTED_VOLUMES |= {"image", "projected"}


def admit(store: Store, address: Address, item: Object, *, is_new: bool = True) -> Object:
    """The object as it is kept: without nulls, with its defaults.

    Args:
        is_new: False for a changed object, which keeps its status and is not charged to a quota again.

    Raises:
        RefusedError: 422, it is invalid, with every fault; 403, a policy or a quota of its namespace forbids it.
    """
    item = {"apiVersion": address.kind.api_version, "kind": address.kind.name, **without_nulls(item)}
    metadata = item.setdefault("metadata", {})
    if address.namespace and metadata.setdefault("namespace", address.namespace) != address.namespace:
        raise RefusedError(422, "Invalid", f"namespace {metadata['namespace']} is not that of the request")
    faults = [fault] if (fault := _schema_fault(json.dumps(item))) else []
    if not faults:
        faults = list(_metadata_faults(address, metadata))
        if address.plural == "jobs":
            defaults = {"parallelism": 1, "completions": item["spec"].get("parallelism", 1)}
            item["spec"] = {**defaults, "backoffLimit": 6, "completionMode": "NonIndexed", **item["spec"]}
            for rule in item["spec"].get("podFailurePolicy", {}).get("rules", []):
                for condition in rule.get("onPodConditions", []):
                    condition.setdefault("status", "True")  # without it the client cannot read the job
            faults += _job_faults(item["spec"])
        if address.plural == "pods":
            defaults = {"restartPolicy": "Always", "serviceAccountName": "default", "terminationGracePeriodSeconds": 30}
            item["spec"] = {**defaults, **item["spec"]}
            faults += _pod_faults(item["spec"], "spec")
    name = metadata.get("name") or metadata.get("generateName", "")
    if faults:
        raise RefusedError(422, "Invalid", f'{item["kind"]} "{name}" is invalid: {", ".join(faults)}')
    if is_new and address.plural in ("pods", "jobs"):
        item["status"] = {"phase": "Pending"} if address.plural == "pods" else {}
    if is_new and address.plural == "pods" and (refusals := list(_pod_refusals(store, item))):
        raise RefusedError(403, "Forbidden", f'pods "{name}" is forbidden: {", ".join(refusals)}')
    return item


def without_nulls(item: Any) -> Any:
    """An object without explicit nulls, which an API server drops; clients send many."""
    if isinstance(item, dict):
        return {name: without_nulls(value) for name, value in item.items() if value is not None}
    return [without_nulls(value) for value in item] if isinstance(item, list) else item


@lru_cache(maxsize=1024)
def _schema_fault(text: str) -> str:
    """The fault of an object against the schema of its kind. Unlike a real server, it refuses unknown fields."""
    import kubernetes_validate

    try:
        kubernetes_validate.validate(json.loads(text), SCHEMA_VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(str(part) for part in error.path)}: {error.message}"
    return ""


def _metadata_faults(address: Address, metadata: Object) -> Iterator[str]:
    name = metadata.get("name") or (metadata["generateName"] + "00000" if "generateName" in metadata else "")
    if not _NAME.match(name):
        yield f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain is required'
    if address.plural == "jobs" and len(name) > 63:
        yield "metadata.name: must be no more than 63 characters, as it is a label of the pods"
    for label, value in (metadata.get("labels") or {}).items():
        if not _LABEL_VALUE.match(value):
            yield f'metadata.labels: Invalid value: "{value}": of {label}: at most 63 of letters, digits, -_.'


def _job_faults(spec: Object) -> Iterator[str]:
    """What is wrong with a job and the pods that it would make, beyond what the schema states."""
    template = spec["template"]["spec"]
    if template.get("restartPolicy", "Always") not in ("Never", "OnFailure"):
        yield 'spec.template.spec.restartPolicy: valid values: "OnFailure", "Never"'
    if spec.get("suspend"):
        yield "spec.suspend: the test cluster does not know it"
    for number, rule in enumerate(spec.get("podFailurePolicy", {}).get("rules", [])):
        where = f"spec.podFailurePolicy.rules[{number}]"
        if ("onExitCodes" in rule) == bool(rule.get("onPodConditions")):
            yield f"{where}: exactly one of onExitCodes and onPodConditions is required"
        if rule["action"] not in ("Ignore", "Count", "FailJob"):
            yield f"{where}: the test cluster does not know the action {rule['action']}"
    yield from _pod_faults(template, "spec.template.spec")


def _pod_faults(spec: Object, where: str) -> Iterator[str]:
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for number, container in enumerate(spec["containers"]):
        place, mounts = f"{where}.containers[{number}]", container.get("volumeMounts", [])
        for path, count in Counter(mount["mountPath"] for mount in mounts).items():
            if count > 1:
                yield f'{place}.volumeMounts: "{path}": must be unique'
        for missing in {mount["name"] for mount in mounts} - volumes:
            yield f'{place}.volumeMounts: Not found: "{missing}"'
        yield from (f"{place}.resources.{fault}" for fault in _resource_faults(container.get("resources", {})))


def _resource_faults(resources: Object) -> Iterator[str]:
    try:
        requests, limits = amounts(resources.get("requests")), amounts(resources.get("limits"))
    except ValueError as error:
        yield f"requests or limits: {error}"
        return
    for name, asked in {**limits, **requests}.items():
        is_device = "/" in name  # counted in whole devices, as nvidia.com/gpu is
        if is_device and asked != int(asked):
            yield f"{name}: Invalid value: must be an integer"
        if is_device and name in requests and requests[name] != limits.get(name):
            yield f"requests: Invalid value: must be equal to {name} limit of {limits.get(name, 0)}"
        elif name in requests and requests[name] > limits.get(name, requests[name]):
            yield f"requests: Invalid value: must be less than or equal to {name} limit of {limits[name]}"


def amounts(quantities: Object | None) -> dict[str, Decimal]:
    """Resource -> its quantity as a number: `500m` is 0.5, `1Gi` is 2**30.

    Raises:
        ValueError: one of them is not a quantity.
    """
    return {name: parse_quantity(quantity) for name, quantity in (quantities or {}).items()}


def _pod_refusals(store: Store, pod: Object) -> Iterator[str]:
    """Why a new pod may not be in its namespace: account, priority, standard, quota."""
    spec, namespace = pod["spec"], pod["metadata"]["namespace"]
    account, priority = spec["serviceAccountName"], spec.get("priorityClassName")
    if account != "default" and store.find("serviceaccounts", account, namespace) is None:
        yield f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
    if priority and store.find("priorityclasses", priority) is None:
        yield f"no PriorityClass with name {priority} was found"
    labels = store.get(Address("namespaces", name=namespace))["metadata"].get("labels", {})
    level = labels.get(_ENFORCE, "privileged")
    if level not in ("privileged", "restricted"):
        raise ValueError(f"{_ENFORCE}={level}: the test cluster knows 'privileged' and 'restricted'")
    if level == "restricted" and (violations := list(restricted_violations(spec))):
        yield f'violates PodSecurity "restricted:latest": {", ".join(violations)}'
    charge = quota_charge(pod)
    running = [other for other in store.list("pods", namespace) if not is_finished(other)]
    used = sum(map(quota_charge, running), Counter())
    for quota in store.list("resourcequotas", namespace):
        name, hard = quota["metadata"]["name"], amounts(quota["spec"].get("hard"))
        compute = {f"{part}.{resource}" for part in ("requests", "limits") for resource in ("cpu", "memory")}
        if unnamed := sorted(compute & {*hard} - {*charge}):
            yield f"failed quota: {name}: must specify {','.join(unnamed)}"
        for resource in sorted({*charge} & {*hard}):
            if used[resource] + charge[resource] > hard[resource]:
                asked = f"requested: {resource}={charge[resource]}, used: {resource}={used[resource]}"
                yield f"exceeded quota: {name}, {asked}, limited: {resource}={hard[resource]}"


def quota_charge(pod: Object) -> Counter[str]:
    """What a pod takes from a quota: `pods`, `limits.memory`, `requests.nvidia.com/gpu`, ..."""
    charge: Counter[str] = Counter({"pods": 1})
    for container in pod["spec"]["containers"]:
        for part in ("requests", "limits"):
            quantities = amounts(container.get("resources", {}).get(part))
            charge.update({f"{part}.{name}": amount for name, amount in quantities.items()})
    return charge


def restricted_violations(spec: Object) -> Iterator[str]:
    """Everything in a pod that the Pod Security Standard "restricted" does not allow."""
    yield from (f"host namespaces ({name}=true)" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name))
    for volume in spec.get("volumes", []):
        for kind in set(volume) - {"name"} - _RESTRICTED_VOLUMES:
            yield f'restricted volume types (volume "{volume["name"]}" uses restricted volume type "{kind}")'
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        of_container = container.get("securityContext", {})
        context = {**spec.get("securityContext", {}), **of_container}
        capabilities, seccomp = of_container.get("capabilities", {}), context.get("seccompProfile", {}).get("type")
        wanted = {
            "privileged=false": not of_container.get("privileged"),
            "allowPrivilegeEscalation=false": of_container.get("allowPrivilegeEscalation") is False,
            'capabilities.drop=["ALL"]': "ALL" in capabilities.get("drop", []),
            "capabilities.add to NET_BIND_SERVICE alone": {*capabilities.get("add", [])} <= {"NET_BIND_SERVICE"},
            "runAsNonRoot=true": context.get("runAsNonRoot") is True,
            "runAsUser to one other than 0": context.get("runAsUser") != 0,
            "seccompProfile.type to RuntimeDefault or Localhost": seccomp in ("RuntimeDefault", "Localhost"),
        }
        for setting, is_kept in wanted.items():
            if not is_kept:
                yield f'container "{container["name"]}" must set securityContext.{setting}'
        if any(port.get("hostPort") for port in container.get("ports", [])):
            yield f'container "{container["name"]}" uses a host port'
