"""The kubelet of every node: what a pod asks for becomes a process, which is watched, and stopped with its pod."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.kubernetes.cluster.objects import Object, is_finished, timestamp

TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
CONTAINER_FIELDS = {
    "name", "image", "imagePullPolicy", "command", "args", "env", "resources", "securityContext", "volumeMounts",
    "terminationMessagePath", "terminationMessagePolicy",
}  # fmt: skip


@dataclass(frozen=True)
class Image:
    """What stands for a container image: folders of this machine, read-only, at their paths in the image."""

    folders: Mapping[str, Path]
    environment: Mapping[str, str]
    working_dir: str = "/"
    user: int = 10001


class Mount(NamedTuple):
    """A folder or file of this machine at a path in the container."""

    source: Path
    path: str
    read_only: bool


class Launch(NamedTuple):
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

    def __init__(self, message: str, reason: str = "CreateContainerConfigError") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class Running:
    """A container, its folder on this machine, and, once it was asked to stop, when it is killed."""

    container: Any
    folder: Path
    kill_at: float | None = None


class Kubelet:
    """Brings every bound pod one step nearer to what it asks for, each time `step` is called.

    Args:
        store: the `Store` of the test cluster, or the `RemoteStore` of a real control plane.
        cluster: the `BaseCluster` whose images can be pulled; volumes, logs and pods have folders below its own.
        start: starts a container, which has `poll` (its exit code once it has ended), `terminate` and `kill`.
    """

    def __init__(self, store: Any, cluster: Any, start: Callable[[Launch], Any]) -> None:
        self.store = store
        self.cluster = cluster
        self.start = start
        self._running: dict[str, Running] = {}

    def step(self) -> None:
        for pod in self.store.list("pods"):
            if "nodeName" not in pod["spec"] or is_finished(pod):
                continue
            if running := self._running.get(pod["metadata"]["uid"]):
                self._watch(pod, running)
            elif "deletionTimestamp" in pod["metadata"]:
                pod["status"]["phase"] = "Failed"
                self.store.save_status(pod)
            else:
                self._start(pod)

    def log(self, namespace: str, pod: str) -> Path:
        """The file of a pod's output."""
        return self.cluster.folder / "logs" / namespace / f"{pod}.log"

    def read_log(self, namespace: str, pod: str) -> str:
        """The output of a pod; empty where it has not started."""
        path = self.log(namespace, pod)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def kill(self, pod: Object) -> None:
        """End the container of a pod at once, as a crash does."""
        self._running[pod["metadata"]["uid"]].container.kill()

    def stop_all(self) -> None:
        """Kill what still runs, as when the machine goes down."""
        for running in self._running.values():
            running.container.kill()

    def _start(self, pod: Object) -> None:
        folder = self.cluster.folder / "pods" / pod["metadata"]["uid"]
        try:
            container = self.start(self._launch(pod, folder))
        except StartError as error:
            self._set_state(pod, "Pending", {"waiting": {"reason": error.reason, "message": str(error)}})
            return
        self._running[pod["metadata"]["uid"]] = Running(container, folder)
        pod["status"] |= {"startTime": timestamp(), "podIP": "127.0.0.1", "hostIP": "127.0.0.1"}
        self._set_state(pod, "Running", {"running": {"startedAt": timestamp()}})

    def _watch(self, pod: Object, running: Running) -> None:
        code = running.container.poll()
        if code is not None:
            del self._running[pod["metadata"]["uid"]]
            shutil.rmtree(running.folder, ignore_errors=True)
            phase, reason = ("Failed", "Error") if code else ("Succeeded", "Completed")
            ended = {"exitCode": code, "reason": reason, "finishedAt": timestamp()}
            self._set_state(pod, phase, {"terminated": ended})
        elif "deletionTimestamp" in pod["metadata"]:
            if running.kill_at is None:
                running.container.terminate()
                running.kill_at = time.time() + pod["metadata"]["deletionGracePeriodSeconds"]
            elif time.time() >= running.kill_at:
                running.container.kill()

    def _set_state(self, pod: Object, phase: str, state: Object) -> None:
        (container,) = pod["spec"]["containers"][:1]
        status = {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0}
        statuses = [status | {"ready": "running" in state, "state": state, "lastState": {}}]
        if pod["status"].get("containerStatuses") != statuses:
            pod["status"] |= {"containerStatuses": statuses, "phase": phase}
            self.store.save_status(pod)

    def _launch(self, pod: Object, folder: Path) -> Launch:
        """Everything about the container of a pod.

        Args:
            folder: for what lives as long as the pod.

        Raises:
            StartError: with the reason that a real kubelet gives, or for what the test cluster does not know.
        """
        spec, namespace = pod["spec"], pod["metadata"]["namespace"]
        if len(spec["containers"]) != 1 or spec.get("initContainers") or spec["restartPolicy"] != "Never":
            raise StartError("the test cluster runs pods of one container with restartPolicy Never")
        (container,) = spec["containers"]
        if unknown := set(container) - CONTAINER_FIELDS:
            raise StartError(f"the test cluster does not know {sorted(unknown)} of a container")
        image = self.cluster.images.get(container["image"])
        if image is None:
            raise StartError(f'failed to pull image "{container["image"]}": not found', "ErrImagePull")
        security = {**spec.get("securityContext", {}), **container.get("securityContext", {})}
        user = security.get("runAsUser", image.user)
        if security.get("runAsNonRoot") and user == 0:
            raise StartError("container has runAsNonRoot and image will run as root")
        api = {"KUBERNETES_SERVICE_HOST": "localhost", "KUBERNETES_SERVICE_PORT": str(self.cluster.port)}
        environment = {**image.environment, **api}
        for variable in container.get("env", []):
            value = variable.get("value", "")
            match variable.get("valueFrom"):
                case {"secretKeyRef": {"name": secret, "key": key}}:
                    contents = self._secret(secret, namespace)
                    if key not in contents:
                        raise StartError(f"couldn't find key {key} in Secret {namespace}/{secret}")
                    value = contents[key].decode()
                case source if source is not None:
                    raise StartError(f"the test cluster does not know the source of the variable {variable['name']}")
            environment[variable["name"]] = value
        return Launch(
            command=[*container.get("command", []), *container.get("args", [])],
            environment=environment,
            mounts=self._mounts(pod, container, image, folder),
            working_dir=image.working_dir,
            hostname=spec.get("hostname", pod["metadata"]["name"]),
            user=user,
            group=security.get("runAsGroup", user),
            read_only_root=security.get("readOnlyRootFilesystem", False),
            log=self.log(namespace, pod["metadata"]["name"]),
        )

    def _secret(self, name: str, namespace: str) -> dict[str, bytes]:
        secret = self.store.find("secrets", name, namespace)
        if secret is None:
            raise StartError(f'secret "{name}" not found')
        return {key: base64.b64decode(value) for key, value in secret.get("data", {}).items()}

    def _mounts(self, pod: Object, container: Object, image: Image, folder: Path) -> list[Mount]:
        """The folders of the image, the volumes of the pod, and the token of its account."""
        namespace, account_name = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
        mounts = [Mount(source, path, read_only=True) for path, source in image.folders.items()]
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            volume, source, contents = volumes[mount["name"]], folder / "volumes" / mount["name"], {}
            read_only = mount.get("readOnly", False)
            match volume:
                case {"persistentVolumeClaim": claim}:
                    source = self.cluster.volume(claim["claimName"], namespace)
                    read_only = read_only or claim.get("readOnly", False)
                case {"secret": secret}:
                    contents, read_only = self._secret(secret["secretName"], namespace), True
                case _ if "emptyDir" not in volume:
                    raise StartError(f"the test cluster does not know the volume {volume}")
            _write(source, contents)
            mounts.append(Mount(source, mount["mountPath"], read_only))
        account: Object = self.store.find("serviceaccounts", account_name, namespace) or {}
        mounts_token = account.get("automountServiceAccountToken", True)
        mounts_token = pod["spec"].get("automountServiceAccountToken", mounts_token)
        # A real API server has written the volume with the token into the pod.
        if mounts_token and all(mount.path != TOKEN_FOLDER for mount in mounts):
            token, authority = self.cluster.token(namespace, account_name), self.cluster.certificate.path.read_bytes()
            contents = {"token": token.encode(), "namespace": namespace.encode(), "ca.crt": authority}
            _write(folder / "token", contents)
            mounts.append(Mount(folder / "token", TOKEN_FOLDER, read_only=True))
        return mounts


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
