"""The Pod Security Standard "restricted", enforced where a namespace's label says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.kubernetes.cluster.refusals import forbidden
from tests.kubernetes.cluster.store import Object, Store

LABEL = "pod-security.kubernetes.io/enforce"
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip


def check_pod_security(store: Store, pod: Object) -> None:
    """Let a pod pass that keeps the standard of its namespace.

    Raises:
        RefusedError: 403, with everything that is wrong with it.
    """
    namespace = store.find("namespaces", pod["metadata"]["namespace"]) or {"metadata": {}}
    level = (namespace["metadata"].get("labels") or {}).get(LABEL, "privileged")
    if level == "privileged":
        return
    if level != "restricted":
        raise ValueError(f"{LABEL}={level}: the test cluster knows 'privileged' and 'restricted'")
    faults = list(violations(pod["spec"]))
    if faults:
        raise forbidden(
            f'pods "{pod["metadata"].get("name", "")}" is forbidden: violates PodSecurity "restricted:latest": '
            + ", ".join(faults)
        )


def violations(spec: dict[str, Any]) -> Iterator[str]:
    """Everything in a pod that "restricted" does not allow."""
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"host namespaces ({name}=true)"
    for volume in spec.get("volumes") or []:
        for kind in set(volume) - {"name"} - VOLUMES:
            yield f'restricted volume types (volume "{volume["name"]}" uses restricted volume type "{kind}")'
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        yield from _container_violations(container, spec.get("securityContext") or {})


def _container_violations(container: dict[str, Any], of_pod: dict[str, Any]) -> Iterator[str]:
    context = container.get("securityContext") or {}
    merged = {**of_pod, **context}
    name = f'container "{container["name"]}"'
    if context.get("privileged"):
        yield f"privileged ({name} must not set securityContext.privileged=true)"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"allowPrivilegeEscalation != false ({name} must set securityContext.allowPrivilegeEscalation=false)"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []):
        yield f'unrestricted capabilities ({name} must set securityContext.capabilities.drop=["ALL"])'
    if set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield f"unrestricted capabilities ({name} must not include more than NET_BIND_SERVICE in capabilities.add)"
    if merged.get("runAsNonRoot") is not True:
        yield f"runAsNonRoot != true (pod or {name} must set securityContext.runAsNonRoot=true)"
    if merged.get("runAsUser") == 0:
        yield f"runAsUser=0 (pod or {name} must not set runAsUser=0)"
    if (merged.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield (
            f"seccompProfile (pod or {name} must set securityContext.seccompProfile.type to "
            '"RuntimeDefault" or "Localhost")'
        )
    if any(port.get("hostPort") for port in container.get("ports") or []):
        yield f"hostPort ({name} uses a host port)"
