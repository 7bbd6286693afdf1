"""What a kubelet reads out of a pod before it starts the container: image, environment, volumes, user."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.kubernetes.cluster.store import Object

TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class Image:
    """What stands for a container image: folders of this machine, read-only, at the places the image has them."""

    folders: Mapping[str, Path]
    environment: Mapping[str, str]
    working_dir: str = "/"
    user: int = 10001
    entrypoint: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mount:
    """A folder or file of this machine at a path in the container."""

    source: Path
    path: str
    read_only: bool


@dataclass(frozen=True)
class Launch:
    """One container, ready to start."""

    command: list[str]
    environment: dict[str, str]
    mounts: list[Mount]
    working_dir: str
    hostname: str
    user: int
    group: int
    read_only_root: bool
    log: Path


class StartError(Exception):
    """A container that cannot be made; `reason` is that of its `waiting` state."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Objects(Protocol):
    """Where that which a pod refers to is looked up."""

    def find(self, plural: str, name: str, namespace: str = "") -> Object | None: ...


@dataclass(frozen=True)
class Launcher:
    """Makes launches.

    Args:
        token: a token for the service account of that namespace and name.
        folder: volumes, logs and pod folders go below it.
        images: what can be pulled, by reference.
        api_environment: how a container finds the API server.
    """

    store: Objects
    token: Callable[[str, str], str]
    folder: Path
    images: Mapping[str, Image]
    api_environment: Mapping[str, str]
    ca_certificate: Path

    def launch(self, pod: Object) -> Launch:
        """Everything about the container of a pod.

        Raises:
            StartError: with the reason that a real kubelet gives.
        """
        spec = pod["spec"]
        if len(spec["containers"]) != 1 or spec.get("initContainers") or spec["restartPolicy"] != "Never":
            message = "the test cluster runs pods of one container with restartPolicy Never"
            raise StartError("CreateContainerConfigError", message)
        (container,) = spec["containers"]
        image = self.images.get(container["image"])
        if image is None:
            raise StartError("ErrImagePull", f'failed to pull image "{container["image"]}": not found')
        security = {**(spec.get("securityContext") or {}), **(container.get("securityContext") or {})}
        user = security.get("runAsUser", image.user)
        if security.get("runAsNonRoot") and user == 0:
            raise StartError("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")
        environment = self._environment(pod, container, image)
        command = [*(container.get("command") or image.entrypoint), *(container.get("args") or [])]
        return Launch(
            command=[_expanded(word, environment) for word in command],
            environment=environment,
            mounts=self._mounts(pod, container, image),
            working_dir=container.get("workingDir", image.working_dir),
            hostname=spec.get("hostname", pod["metadata"]["name"]),
            user=user,
            group=security.get("runAsGroup", user),
            read_only_root=security.get("readOnlyRootFilesystem", False),
            log=self.log(pod["metadata"]["namespace"], pod["metadata"]["name"]),
        )

    def log(self, namespace: str, name: str) -> Path:
        """The file of a pod's output."""
        return self.folder / "logs" / namespace / f"{name}.log"

    def volume(self, namespace: str, claim: str) -> Path:
        """The folder behind a PersistentVolumeClaim."""
        return self.folder / "volumes" / namespace / claim

    def pod_folder(self, pod: Object) -> Path:
        return self.folder / "pods" / pod["metadata"]["uid"]

    def _environment(self, pod: Object, container: dict[str, Any], image: Image) -> dict[str, str]:
        environment = {**image.environment, **self.api_environment}
        namespace = pod["metadata"]["namespace"]
        for source in container.get("envFrom") or []:
            for plural, field in (("configmaps", "configMapRef"), ("secrets", "secretRef")):
                if field in source:
                    for name, content in self._contents(plural, source[field], namespace).items():
                        environment[source.get("prefix", "") + name] = content.decode()
        for variable in container.get("env") or []:
            value = variable.get("value", "")
            if "valueFrom" in variable:
                value = self._value_from(variable["valueFrom"], pod)
            environment[variable["name"]] = _expanded(value, environment)
        return environment

    def _value_from(self, source: dict[str, Any], pod: Object) -> str:
        for plural, field in (("configmaps", "configMapKeyRef"), ("secrets", "secretKeyRef")):
            if field in source:
                reference = source[field]
                contents = self._contents(plural, reference, pod["metadata"]["namespace"])
                if reference["key"] in contents:
                    return contents[reference["key"]].decode()
                if reference.get("optional"):
                    return ""
                message = f"couldn't find key {reference['key']} in {plural} {reference['name']}"
                raise StartError("CreateContainerConfigError", message)
        if "fieldRef" in source:
            value: Any = pod
            for part in source["fieldRef"]["fieldPath"].split("."):
                value = (value or {}).get(part)
            return str(value or "")
        raise StartError("CreateContainerConfigError", f"the test cluster does not know {sorted(source)}")

    def _contents(self, plural: str, reference: dict[str, Any], namespace: str) -> dict[str, bytes]:
        """The entries of a Secret or ConfigMap."""
        found = self.store.find(plural, reference["name"], namespace)
        if found is None:
            if reference.get("optional"):
                return {}
            kind = plural.removesuffix("s")
            raise StartError("CreateContainerConfigError", f'{kind} "{reference["name"]}" not found')
        data = found.get("data") or {}
        if plural == "configmaps":
            return {name: value.encode() for name, value in data.items()}
        return {name: base64.b64decode(value) for name, value in data.items()}

    def _mounts(self, pod: Object, container: dict[str, Any], image: Image) -> list[Mount]:
        mounts = [Mount(source, path, read_only=True) for path, source in image.folders.items()]
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or []}
        for mount in container.get("volumeMounts") or []:
            volume = volumes[mount["name"]]
            source = self._source(pod, volume)
            if "subPath" in mount:
                source = source / mount["subPath"]
                source.mkdir(parents=True, exist_ok=True)
            claim = volume.get("persistentVolumeClaim") or {}
            read_only = mount.get("readOnly", False) or claim.get("readOnly", False)
            mounts.append(Mount(source, mount["mountPath"], read_only or "configMap" in volume or "secret" in volume))
        # A real API server has written the volume with the token into the pod.
        if all(mount.path != TOKEN_FOLDER for mount in mounts) and self._mounts_token(pod):
            mounts.append(Mount(self._token_folder(pod), TOKEN_FOLDER, read_only=True))
        return mounts

    def _source(self, pod: Object, volume: dict[str, Any]) -> Path:
        """The folder of this machine behind a volume."""
        namespace, folder = pod["metadata"]["namespace"], self.pod_folder(pod) / "volumes" / volume["name"]
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        if "persistentVolumeClaim" in volume:
            folder = self.volume(namespace, volume["persistentVolumeClaim"]["claimName"])
        elif "emptyDir" not in volume:
            for plural, field, key in (("configmaps", "configMap", "name"), ("secrets", "secret", "secretName")):
                if field in volume:
                    reference = {**volume[field], "name": volume[field][key]}
                    folder.mkdir(parents=True, exist_ok=True)
                    for name, content in self._contents(plural, reference, namespace).items():
                        (folder / name).write_bytes(content)
                    return folder
            kinds = sorted(set(volume) - {"name"})
            raise StartError("CreateContainerConfigError", f"the test cluster has no volumes of kind {kinds}")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _mounts_token(self, pod: Object) -> bool:
        spec = pod["spec"]
        account = self.store.find("serviceaccounts", spec["serviceAccountName"], pod["metadata"]["namespace"]) or {}
        return spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True))

    def _token_folder(self, pod: Object) -> Path:
        namespace, folder = pod["metadata"]["namespace"], self.pod_folder(pod) / "token"
        if not folder.exists():
            folder.mkdir(parents=True)
            token = self.token(namespace, pod["spec"]["serviceAccountName"])
            (folder / "token").write_text(token, encoding="utf-8")
            (folder / "namespace").write_text(namespace, encoding="utf-8")
            (folder / "ca.crt").write_bytes(self.ca_certificate.read_bytes())
        return folder


def _expanded(text: str, environment: Mapping[str, str]) -> str:
    """`$(NAME)` replaced by the variable, as Kubernetes does in commands and values."""
    return re.sub(r"\$\((\w+)\)", lambda found: environment.get(found[1], found[0]), text)
