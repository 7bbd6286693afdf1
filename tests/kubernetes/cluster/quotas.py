"""LimitRange defaults and ResourceQuota, as far as pods and jobs are counted."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from tests.kubernetes.cluster.quantities import amount, amounts
from tests.kubernetes.cluster.refusals import forbidden
from tests.kubernetes.cluster.store import Object, Store, is_finished


def apply_limit_ranges(store: Store, pod: Object) -> None:
    """Give each container the defaults of the namespace's limit ranges, then hold it to their bounds.

    Raises:
        RefusedError: 403, a container asks for less than `min` or more than `max`.
    """
    limits = [
        limit
        for limit_range in store.list("limitranges", pod["metadata"]["namespace"])
        for limit in limit_range["spec"]["limits"]
        if limit["type"] == "Container"
    ]
    for container in pod["spec"]["containers"]:
        resources = container.setdefault("resources", {})
        for limit in limits:
            _set_defaults(resources, "limits", limit.get("default"))
            _set_defaults(resources, "requests", limit.get("defaultRequest"))
        # A request that nobody named is the limit.
        _set_defaults(resources, "requests", resources.get("limits"))
        for limit in limits:
            _check_bounds(pod, container, limit)


def _set_defaults(resources: dict[str, Any], part: str, defaults: dict[str, Any] | None) -> None:
    if defaults:
        resources[part] = {**defaults, **(resources.get(part) or {})}


def _check_bounds(pod: Object, container: dict[str, Any], limit: dict[str, Any]) -> None:
    resources = container["resources"]
    for part, bound, is_outside in (
        ("requests", "min", lambda asked, allowed: asked < allowed),
        ("limits", "max", lambda asked, allowed: asked > allowed),
    ):
        for name, allowed in (limit.get(bound) or {}).items():
            asked = (resources.get(part) or {}).get(name)
            if asked is None or is_outside(amount(asked), amount(allowed)):
                word = "minimum" if bound == "min" else "maximum"
                raise forbidden(
                    f'pods "{pod["metadata"]["name"]}" is forbidden: {word} {name} usage per Container is {allowed}, '
                    f"but {part[:-1]} is {asked or 'not set'}"
                )


def check_quotas(store: Store, item: Object, plural: str) -> None:
    """Hold a new pod or job to the namespace's quotas.

    Raises:
        RefusedError: 403, with what is asked, used and allowed, or with what a quota wants named.
    """
    namespace = item["metadata"]["namespace"]
    charge = _charge(item, plural)
    for quota in store.list("resourcequotas", namespace):
        hard = amounts(quota["spec"].get("hard"))
        unnamed = [name for name in hard if plural == "pods" and _is_per_container(name) and name not in charge]
        where = f'{plural} "{item["metadata"].get("name", "")}" is forbidden'
        if unnamed:
            raise forbidden(f"{where}: failed quota: {quota['metadata']['name']}: must specify {','.join(unnamed)}")
        for name in sorted(set(charge) & set(hard)):
            used = _used(store, namespace, plural, name)
            if used + charge[name] > hard[name]:
                raise forbidden(
                    f"{where}: exceeded quota: {quota['metadata']['name']}, requested: {name}={_shown(charge[name])}, "
                    f"used: {name}={_shown(used)}, limited: {name}={_shown(hard[name])}"
                )


def _is_per_container(name: str) -> bool:
    return name in ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory", "cpu", "memory")


def _used(store: Store, namespace: str, plural: str, name: str) -> Fraction:
    counted = (item for item in store.list(plural, namespace) if plural != "pods" or not is_finished(item))
    return sum((_charge(item, plural).get(name, Fraction()) for item in counted), Fraction())


def _charge(item: Object, plural: str) -> dict[str, Fraction]:
    """What an object takes from a quota."""
    if plural != "pods":
        return {f"count/{plural}.batch": Fraction(1)}
    charge = {"pods": Fraction(1), "count/pods": Fraction(1)}
    for container in item["spec"]["containers"]:
        for part in ("requests", "limits"):
            for name, quantity in amounts((container.get("resources") or {}).get(part)).items():
                for key in (f"{part}.{name}", *((name,) if part == "requests" else ())):
                    charge[key] = charge.get(key, Fraction()) + quantity
    return charge


def _shown(quantity: Fraction) -> str:
    return str(quantity if quantity.denominator == 1 else float(quantity))
