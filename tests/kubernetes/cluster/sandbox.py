"""A container without a container engine: the command in namespaces of its own, by bubblewrap.

The process is PID 1 under the user id of the pod, without capabilities, and sees /usr of this machine, its image's
folders and its volumes, and nothing else. It shares the network of this machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.cluster.launches import Launch

_OF_THIS_MACHINE = tuple(f"/etc/{name}" for name in ("ssl", "ld.so.cache", "nsswitch.conf", "hosts", "mime.types"))


@dataclass
class Sandbox:
    """A container that was started."""

    process: subprocess.Popen[bytes]
    first_process: int

    def poll(self) -> int | None:
        """The exit code, 128 + the signal where one ended it; None while it runs."""
        return self.process.poll()

    def terminate(self) -> None:
        """SIGTERM to its first process; as PID 1, it only arrives where the program handles it."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.first_process, number)


def start(launch: Launch) -> Sandbox:
    """Start a container; its output goes to the log."""
    launch.log.parent.mkdir(parents=True, exist_ok=True)
    facts, facts_end = os.pipe()
    try:
        with launch.log.open("wb") as log:
            process = subprocess.Popen(
                [*arguments(launch, facts_end), "--", *launch.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[facts_end],
            )
    finally:
        os.close(facts_end)
    with os.fdopen(facts, "rb") as stream:
        told = stream.read()
    # Nothing is told where bubblewrap itself fails; its words are in the log, and its exit code is the container's.
    return Sandbox(process, json.loads(told)["child-pid"] if told else process.pid)


def arguments(launch: Launch, facts_fd: int) -> list[str]:
    """bubblewrap's command line up to the container's own command."""
    words = ["bwrap", "--info-fd", str(facts_fd), "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"]
    words += ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", launch.hostname[:63]]
    words += ["--uid", str(launch.user), "--gid", str(launch.group)]
    words += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--dir", "/tmp", "--dir", "/var/tmp"]
    for name in ("bin", "sbin", "lib", "lib64"):
        words += ["--symlink", f"usr/{name}", f"/{name}"]
    for path in _OF_THIS_MACHINE:
        words += ["--ro-bind-try", path, path]
    for mount in sorted(launch.mounts, key=lambda mount: mount.path.count("/")):
        words += ["--ro-bind" if mount.read_only else "--bind", str(mount.source), mount.path]
    if launch.read_only_root:
        words += ["--remount-ro", "/"]
    for name, value in launch.environment.items():
        words += ["--setenv", name, value]
    return [*words, "--chdir", launch.working_dir]


def obstacle() -> str:
    """Why no container can be started on this machine; empty where one can."""
    if shutil.which("bwrap") is None:
        return "the command `bwrap` is missing: install the Debian package `bubblewrap` (apt-get install bubblewrap)"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        launch = Launch(["/usr/bin/true"], {}, [], "/", "trial", 10001, 10001, read_only_root=True, log=log)
        if start(launch).process.wait() == 0:
            return ""
        return f"bubblewrap cannot make its namespaces on this machine: {log.read_text(encoding='utf-8').strip()}"
