"""The kubelet of every node: starts the container of a bound pod, watches it, and stops it when the pod is deleted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tests.kubernetes.cluster.launches import Launch, Launcher, StartError
from tests.kubernetes.cluster.store import Object, is_finished


class Container(Protocol):
    """A running container."""

    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Pods(Protocol):
    """Where a kubelet finds its pods, and tells how they are: the store of the cluster, or a real API server."""

    def list(self, plural: str) -> list[Object]: ...
    def touch(self, item: Object) -> None: ...
    def now(self) -> float: ...
    def timestamp(self) -> str: ...


@dataclass
class Running:
    """A container and, once it was asked to stop, when its patience ends."""

    container: Container
    kill_at: float | None = None


class Kubelet:
    """Brings every bound pod one step nearer to what it asks for, each time `step` is called."""

    def __init__(self, store: Pods, launcher: Launcher, start: Callable[[Launch], Container]) -> None:
        self.store = store
        self.launcher = launcher
        self.start = start
        self._running: dict[str, Running] = {}

    def step(self) -> None:
        for pod in self.store.list("pods"):
            if "nodeName" not in pod["spec"] or is_finished(pod):
                continue
            running = self._running.get(pod["metadata"]["uid"])
            if running is not None:
                self._watch(pod, running)
            elif "deletionTimestamp" in pod["metadata"]:
                self._set_phase(pod, "Failed")
            else:
                self._try_start(pod)

    def container(self, pod: Object) -> Container:
        """The running container of a pod, for a test that does it harm."""
        return self._running[pod["metadata"]["uid"]].container

    def stop_all(self) -> None:
        """Kill what still runs, as when the machine goes down."""
        for running in self._running.values():
            running.container.kill()

    def _try_start(self, pod: Object) -> None:
        try:
            launch = self.launcher.launch(pod)
        except StartError as error:
            self._set_state(pod, "Pending", {"waiting": {"reason": error.reason, "message": str(error)}})
            return
        self._running[pod["metadata"]["uid"]] = Running(self.start(launch))
        pod["status"] |= {"startTime": self.store.timestamp(), "podIP": "127.0.0.1", "hostIP": "127.0.0.1"}
        self._set_state(pod, "Running", {"running": {"startedAt": self.store.timestamp()}})

    def _watch(self, pod: Object, running: Running) -> None:
        code = running.container.poll()
        if code is not None:
            del self._running[pod["metadata"]["uid"]]
            self._set_ended(pod, code)
            shutil.rmtree(self.launcher.pod_folder(pod), ignore_errors=True)
        elif "deletionTimestamp" in pod["metadata"]:
            if running.kill_at is None:
                running.container.terminate()
                running.kill_at = self.store.now() + pod["metadata"]["deletionGracePeriodSeconds"]
            elif self.store.now() >= running.kill_at:
                running.container.kill()

    def _set_ended(self, pod: Object, code: int) -> None:
        began = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        reason = "Completed" if code == 0 else "Error"
        ended = {"exitCode": code, "reason": reason, "startedAt": began, "finishedAt": self.store.timestamp()}
        self._set_state(pod, "Succeeded" if code == 0 else "Failed", {"terminated": ended})

    def _set_state(self, pod: Object, phase: str, state: dict[str, Any]) -> None:
        (container,) = pod["spec"]["containers"][:1]
        runs = "running" in state
        status = {"name": container["name"], "image": container["image"], "imageID": "", "restartCount": 0}
        statuses = [status | {"ready": runs, "started": runs, "state": state, "lastState": {}}]
        if pod["status"].get("containerStatuses") != statuses:
            pod["status"]["containerStatuses"] = statuses
            self._set_phase(pod, phase)

    def _set_phase(self, pod: Object, phase: str) -> None:
        pod["status"]["phase"] = phase
        self.store.touch(pod)
