"""Runs that a killed process has left as running, in ZenML and in MLflow: the next run of the same machine closes them.

Each run names the process that works on it. Only where that process is surely gone is its run closed: never one of
another machine or container, and never one whose process lives. Steps in pods name none: there the cluster knows.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from zenml.models import PipelineRunResponse

logger = logging.getLogger(__name__)

OWNER_KEY = "r2d.process"
"""Of a ZenML run's `extra`, and the tag of an MLflow run."""


@dataclass(frozen=True)
class Process:
    """A process, so that no other is taken for it: not on another machine, nor after a restart with the same number."""

    host: str
    machine: str
    """Id of the installation; empty in most containers."""
    boot: str
    """Id of this start of the machine."""
    namespace: str
    """Of process numbers: a container has its own."""
    pid: int
    started: str
    """In ticks since the machine started, which no set clock changes."""

    @classmethod
    def this(cls) -> Process | None:
        """This process; None where the system does not tell (only Linux does)."""
        started = _start_of(os.getpid())
        if started is None:
            return None
        machine, boot = (_first_line(path) for path in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"))
        namespace = os.readlink("/proc/self/ns/pid")
        return cls(socket.gethostname(), machine, boot, namespace, os.getpid(), started)

    @classmethod
    def of(cls, text: str | None) -> Process | None:
        """The process that a run names; None where it names none."""
        with suppress(TypeError, ValueError):
            return cls(**json.loads(text or ""))
        return None

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    def is_gone(self) -> bool:
        """Whether it surely runs no more, as seen from this process."""
        here = Process.this()
        if here is None or (self.host, self.machine) != (here.host, here.machine):
            return False
        if self.boot != here.boot:
            return bool(self.machine)  # the machine was started anew
        return self.namespace == here.namespace and _start_of(self.pid) != self.started

    def is_alive(self) -> bool:
        """Whether it surely runs, in this container or on this machine, and is another process than this one."""
        here = Process.this()
        is_near = here is not None and replace(self, pid=here.pid, started=here.started) == here
        return is_near and self != here and _start_of(self.pid) == self.started


def _start_of(pid: int) -> str | None:
    """When a living process was started; None where there is none of that number, or only its remains (a zombie)."""
    fields = _first_line(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return None if not fields or fields[0] in "ZX" else fields[19]


def _first_line(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
    return ""


def open_zenml_runs() -> list[tuple[PipelineRunResponse, Process]]:
    """The runs that have not ended, with the process that works on each, where one is named."""
    from zenml.client import Client
    from zenml.enums import ExecutionStatus

    unfinished = json.dumps([status.value for status in ExecutionStatus if not status.is_finished])
    runs = Client().list_pipeline_runs(status=f"oneof:{unfinished}", size=500, hydrate=True).items
    return [(run, owner) for run in runs if (owner := Process.of(run.config.extra.get(OWNER_KEY)))]


def close_zenml_runs(runs: Sequence[PipelineRunResponse]) -> None:
    """Close runs of killed processes, with their steps, as failed."""
    from zenml.client import Client
    from zenml.enums import ExecutionStatus
    from zenml.models import ExceptionInfo, StepRunUpdate
    from zenml.orchestrators.publish_utils import publish_failed_pipeline_run
    from zenml.utils.time_utils import utc_now

    store, reason = Client().zen_store, ExceptionInfo(traceback="", message="the process of this run was killed")
    for run in runs:
        for step in run.steps.values():
            if not step.status.is_finished:
                update = StepRunUpdate(status=ExecutionStatus.FAILED, end_time=utc_now(), exception_info=reason)
                store.update_run_step(step.id, update)
        publish_failed_pipeline_run(run.id, reason)
        logger.warning("run %s: its process was killed; it is closed as failed", run.name)


def close_dead_mlflow_runs(client: MlflowClient, experiment: str) -> None:
    """Close the runs whose process on this machine is gone, as killed, and models half packed as failed."""
    from mlflow.entities import LoggedModelStatus

    for run in client.search_runs([experiment], "attributes.status = 'RUNNING'"):
        owner = Process.of(run.data.tags.get(OWNER_KEY))
        if owner is not None and owner.is_gone():
            for model in client.search_logged_models([experiment], f"source_run_id = '{run.info.run_id}'"):
                if model.status == LoggedModelStatus.PENDING:
                    client.finalize_logged_model(model.model_id, LoggedModelStatus.FAILED)
            client.set_terminated(run.info.run_id, "KILLED")
