"""Containers for the kubelet: processes in namespaces of their own by bubblewrap, or the built image by podman.

A sandboxed process is PID 1 under the user id of the pod, without capabilities, and sees /usr of this machine, the
folders of its image and its volumes, and nothing else. It shares the network of this machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kubernetes.cluster.kubelet import Launch

BUILT_IMAGE = os.environ.get("R2D_BUILT_IMAGE", "localhost/reason2decide:test")
PODMAN = ("podman", "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs")
SEEN_OF_THIS_MACHINE = [f"/etc/{name}" for name in ("ssl", "ld.so.cache", "nsswitch.conf", "hosts", "mime.types")]


@dataclass
class RunningContainer:
    """A container whose first process gets the signals that `send` takes by name."""

    process: subprocess.Popen[bytes]
    send: Callable[[str], object]

    def poll(self) -> int | None:
        return self.process.poll()

    def terminate(self) -> None:
        self.send("TERM")

    def kill(self) -> None:
        self.send("KILL")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)


def start_sandbox(launch: Launch) -> RunningContainer:
    """Start a sandboxed process; its output goes to the log. As PID 1 it gets SIGTERM only if it handles it."""
    info, info_end = os.pipe()
    words = ["bwrap", "--info-fd", str(info_end), "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"]
    words += ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", launch.hostname[:63]]
    words += ["--uid", str(launch.user), "--gid", str(launch.group)]
    words += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--dir", "/tmp", "--dir", "/var/tmp"]
    for name in ("bin", "sbin", "lib", "lib64"):
        words += ["--symlink", f"usr/{name}", f"/{name}"]
    for path in SEEN_OF_THIS_MACHINE:
        words += ["--ro-bind-try", path, path]
    for mount in sorted(launch.mounts, key=lambda mount: mount.path.count("/")):
        words += ["--ro-bind" if mount.read_only else "--bind", str(mount.source), mount.path]
    if launch.read_only_root:
        words += ["--remount-ro", "/"]
    for variable, value in launch.environment.items():
        words += ["--setenv", variable, value]
    words += ["--chdir", launch.working_dir, "--", *launch.command]
    try:
        process = _started(words, launch.log, pass_fds=[info_end])
    finally:
        os.close(info_end)
    with os.fdopen(info, "rb") as stream:
        content = stream.read()
    # Empty where bubblewrap itself failed: its message is in the log, and its exit code is the container's.
    first_process = json.loads(content)["child-pid"] if content else process.pid

    def send(name: str) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(first_process, signal.Signals[f"SIG{name}"])

    return RunningContainer(process, send)


def sandbox_obstacle() -> str:
    """Why no process can be sandboxed on this machine; empty if it can."""
    if shutil.which("bwrap") is None:
        return "the command `bwrap` is missing: install the Debian package `bubblewrap` (apt-get install bubblewrap)"
    return _failure("bubblewrap cannot make its namespaces on this machine", start_sandbox)


def start_podman(launch: Launch) -> RunningContainer:
    """Start a container of the built image; its output goes to the log. Needs root."""
    name = f"r2d-{uuid.uuid4().hex[:12]}"
    words = [*PODMAN, "run", "--rm", "--pull", "never", "--runtime", str(shutil.which("runc")), "--name", name]
    words += ["--network", "host", "--hostname", launch.hostname[:63], "--workdir", launch.working_dir]
    words += ["--user", f"{launch.user}:{launch.group}", "--cap-drop", "ALL"]
    words += ["--security-opt", "no-new-privileges", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]
    if launch.read_only_root:
        words += ["--read-only", "--read-only-tmpfs=false"]
    for mount in launch.mounts:
        if not mount.read_only:
            mount.source.chmod(0o777)  # as an emptyDir is; on a claim it stands for fsGroup
        words += ["--volume", f"{mount.source}:{mount.path}:{'ro' if mount.read_only else 'rw'}"]
    for variable, value in launch.environment.items():
        words += ["--env", f"{variable}={value}"]

    def send(signal_name: str) -> None:  # a container that has just ended cannot be signalled, and need not be
        subprocess.run([*PODMAN, "kill", "--signal", signal_name, name], capture_output=True, check=False)

    return RunningContainer(_started([*words, BUILT_IMAGE, *launch.command], launch.log), send)


def podman_obstacle() -> str:
    """Why no container of the built image can be started on this machine; empty if it can."""
    for program in ("podman", "runc"):
        if shutil.which(program) is None:
            return f"the command `{program}` is missing: install the Debian package `{program}`"
    if os.geteuid() != 0:
        return "containers on the network of this machine, as other users, need root"
    if subprocess.run([*PODMAN, "image", "exists", BUILT_IMAGE], capture_output=True, check=False).returncode:
        return f"there is no image {BUILT_IMAGE}: `sh k8s/local-image.sh` builds it; R2D_BUILT_IMAGE names another"
    return _failure("podman cannot start a container on this machine", start_podman)


def _failure(what: str, start: Callable[[Launch], RunningContainer]) -> str:
    """What went wrong when a container that does nothing was started; empty if nothing did."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        trial = Launch(["/usr/bin/true"], {}, [], "/", "trial", 10001, 10001, read_only_root=True, log=log)
        return "" if start(trial).process.wait() == 0 else f"{what}: {log.read_text('utf-8').strip()[-300:]}"


def _started(words: list[str], log: Path, **options: Any) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, **options)
