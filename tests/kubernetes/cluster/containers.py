"""Pods as real OCI containers: the image built from k8s/Dockerfile, started by podman and runc. Needs root.

`Cluster(folder, {reference: IMAGE}, start=Engine(name_of_the_built_image).start)`
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.cluster.launches import Image, Launch

BUILT = os.environ.get("R2D_BUILT_IMAGE", "localhost/reason2decide:test")
IMAGE = Image(folders={}, environment={"OMP_NUM_THREADS": "1"}, working_dir="/app")
"""All else that a container gets from its image, the engine takes out of the built one."""
PODMAN = ("podman", "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs")


@dataclass
class Container:
    """A container that was started."""

    process: subprocess.Popen[bytes]
    name: str

    def poll(self) -> int | None:
        return self.process.poll()

    def terminate(self) -> None:
        self._send("TERM")

    def kill(self) -> None:
        self._send("KILL")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)

    def _send(self, signal: str) -> None:
        # One that has just ended cannot be signalled, and need not be.
        subprocess.run([*PODMAN, "kill", "--signal", signal, self.name], capture_output=True, check=False)


@dataclass(frozen=True)
class Engine:
    """Starts containers of one image."""

    image: str = BUILT

    def start(self, launch: Launch) -> Container:
        """Start a container; its output goes to the log."""
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        name = f"r2d-{uuid.uuid4().hex[:12]}"
        for mount in launch.mounts:
            if not mount.read_only:
                mount.source.chmod(0o777)  # as an emptyDir is; on a claim it stands for fsGroup
        with launch.log.open("wb") as log:
            command = [*PODMAN, *self.arguments(launch, name), self.image, *launch.command]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        return Container(process, name)

    def arguments(self, launch: Launch, name: str) -> list[str]:
        """podman's command line up to the image."""
        words = ["run", "--rm", "--pull", "never", "--runtime", str(shutil.which("runc")), "--name", name]
        words += ["--network", "host", "--hostname", launch.hostname[:63], "--workdir", launch.working_dir]
        words += ["--user", f"{launch.user}:{launch.group}", "--cap-drop", "ALL"]
        words += ["--security-opt", "no-new-privileges", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]
        if launch.read_only_root:
            words += ["--read-only", "--read-only-tmpfs=false"]
        for mount in launch.mounts:
            words += ["--volume", f"{mount.source}:{mount.path}:{'ro' if mount.read_only else 'rw'}"]
        for variable, value in launch.environment.items():
            words += ["--env", f"{variable}={value}"]
        return words


def obstacle(image: str = BUILT) -> str:
    """Why no container of the image can be started on this machine; empty where one can."""
    for program in ("podman", "runc"):
        if shutil.which(program) is None:
            return f"the command `{program}` is missing: install the Debian package `{program}`"
    if os.geteuid() != 0:
        return "containers on the network of this machine, as other users, need root"
    found = subprocess.run([*PODMAN, "image", "exists", image], capture_output=True, text=True, check=False)
    if found.returncode:
        return f"there is no image {image}: build it with `sh k8s/local-image.sh`, or name yours in R2D_BUILT_IMAGE"
    launch = Launch(["true"], {}, [], "/", "trial", 10001, 10001, read_only_root=True, log=Path(os.devnull))
    command = [*PODMAN, *Engine(image).arguments(launch, f"r2d-{uuid.uuid4().hex[:12]}"), image, "true"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"podman cannot start a container on this machine: {tried.stderr.strip()[-300:]}" if tried.returncode else ""
