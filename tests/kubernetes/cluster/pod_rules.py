"""Rules of pods and jobs that a real API server checks and that no schema states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.kubernetes.cluster.quantities import amount, is_extended
from tests.kubernetes.cluster.store import Object


def job_faults(job: Object) -> Iterator[str]:
    """What is wrong with a job and the pods that it would make."""
    spec = job["spec"]
    template = spec["template"]["spec"]
    restart = template.get("restartPolicy", "Always")
    if restart not in ("Never", "OnFailure"):
        yield (
            f'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"; found "{restart}"'
        )
    if len(job["metadata"].get("name", "")) > 63:
        yield "metadata.name: must be no more than 63 characters, as it is a label of the pods"
    policy = spec.get("podFailurePolicy")
    if policy and restart != "Never":
        yield 'spec.template.spec.restartPolicy: Invalid value: only "Never" is supported with podFailurePolicy'
    names = {container["name"] for container in template["containers"]}
    for number, rule in enumerate((policy or {}).get("rules", [])):
        yield from _rule_faults(rule, f"spec.podFailurePolicy.rules[{number}]", names)
    yield from pod_faults(template, "spec.template.spec")


def _rule_faults(rule: dict[str, Any], where: str, containers: set[str]) -> Iterator[str]:
    if ("onExitCodes" in rule) == bool(rule.get("onPodConditions")):
        yield f"{where}: Invalid value: exactly one of onExitCodes and onPodConditions is required"
    if rule["action"] not in ("FailJob", "Ignore", "Count"):
        yield f'{where}.action: Unsupported value: "{rule["action"]}"'
    codes = rule.get("onExitCodes")
    if codes is None:
        return
    if codes.get("containerName", next(iter(containers))) not in containers:
        yield f'{where}.onExitCodes.containerName: Invalid value: "{codes["containerName"]}": no such container'
    if not codes["values"]:
        yield f"{where}.onExitCodes.values: Invalid value: at least one value is required"
    if codes["operator"] == "In" and 0 in codes["values"]:
        yield f"{where}.onExitCodes.values: Invalid value: 0 is not allowed with the operator In"


def pod_faults(spec: dict[str, Any], where: str) -> Iterator[str]:
    """What is wrong with a pod."""
    volumes = [volume["name"] for volume in spec.get("volumes") or []]
    for name in sorted({name for name in volumes if volumes.count(name) > 1}):
        yield f'{where}.volumes: Duplicate value: "{name}"'
    for number, container in enumerate(spec["containers"]):
        place = f"{where}.containers[{number}]"
        if not container.get("image"):
            yield f"{place}.image: Required value"
        paths = [mount["mountPath"] for mount in container.get("volumeMounts") or []]
        for path in sorted({path for path in paths if paths.count(path) > 1}):
            yield f'{place}.volumeMounts: Invalid value: "{path}": must be unique'
        for mount in container.get("volumeMounts") or []:
            if mount["name"] not in volumes:
                yield f'{place}.volumeMounts: Not found: "{mount["name"]}"'
        yield from _resource_faults(container.get("resources") or {}, f"{place}.resources")


def _resource_faults(resources: dict[str, Any], where: str) -> Iterator[str]:
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for part, quantities in (("requests", requests), ("limits", limits)):
        for name, quantity in quantities.items():
            try:
                number = amount(quantity)
            except ValueError as error:
                yield f"{where}.{part}[{name}]: Invalid value: {error}"
                return
            if is_extended(name) and number.denominator != 1:
                yield f'{where}.{part}[{name}]: Invalid value: "{quantity}": must be an integer'
    for name, asked in requests.items():
        limit = limits.get(name)
        if is_extended(name) and (limit is None or amount(asked) != amount(limit)):
            yield f'{where}.requests: Invalid value: "{asked}": must be equal to {name} limit of {limit or 0}'
        elif limit is not None and amount(asked) > amount(limit):
            yield f'{where}.requests: Invalid value: "{asked}": must be less than or equal to {name} limit of {limit}'
