"""Training on several processes: how ranks are started, what they add up, and what they must agree on.

There is a process for each GPU that a step sees; with one GPU, or none, nothing is started. The weights do not depend
on the number, up to the order of sums. For several nodes see `steps.train_on_nodes`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from r2d import errors
from r2d.errors import ConfigError, TrainingError, UnexpectedError
from r2d.signals import leave, signals_caught
from r2d.training.work import OnLog, ranks_folder

logger = logging.getLogger(__name__)

PROCESSES_VARIABLE = "R2D_PROCESSES"
RANK_MODULE = "r2d.training.rank"
"""What a rank runs. It trains both stages, so it is started by name: Stage 1 does not depend on Stage 2's code."""
METRICS_PREFIX = "r2d-metrics "
"""Begins a line in which the first rank gives metrics to the process that started it."""
FAILURE_FILE = "failure-of-rank-{}.json"
FACT_OF_FAILURE = re.compile(r"^ +(rank|exitcode) +: (.+)")
"""In the summary of `torch.distributed.run`, whose last part is about the process that ended first."""
SECONDS_TO_SAVE = 50
"""Time that ranks have for a checkpoint when told to end; less than configs/kubernetes.yaml grants a pod."""


@dataclass(frozen=True)
class Node:
    """One of several nodes, and where the first of them is reached."""

    rank: int
    count: int
    main_address: str
    main_port: int


def num_processes() -> int:
    """`R2D_PROCESSES` where it is set, else a process for each GPU; at least one."""
    value = os.environ.get(PROCESSES_VARIABLE, "")
    if not value:
        return max(1, torch.cuda.device_count())
    if not value.isdecimal() or value == "0":
        raise ConfigError(f"{PROCESSES_VARIABLE}: found {value!r}; allowed: a number from 1, or leave it unset")
    return int(value)


def is_rank() -> bool:
    """Whether this process was started by `torch.distributed.run`."""
    return "RANK" in os.environ


def num_ranks() -> int:
    """Number of ranks that train together, on all nodes; 1 in a process that is no rank."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def start_ranks(work_dir: Path, on_log: OnLog | None = None, node: Node | None = None) -> None:
    """Start the ranks of this node, by default the only one, on the work of a folder, and wait for them.

    A SIGTERM is passed on to the ranks, which save a checkpoint and end; then this process ends by it too.

    Args:
        on_log: receives the metrics of the first rank; all other output is logged.

    Raises:
        TrainingError: or another of our errors, as a rank raised it; or a rank ended without a reason.
    """
    folder = ranks_folder(work_dir)
    for stale in folder.glob(FAILURE_FILE.format("*")):
        stale.unlink(missing_ok=True)
    meeting = ["--standalone"]
    if node is not None:
        meeting = [f"--nnodes={node.count}", f"--node-rank={node.rank}"]
        meeting += [f"--master-addr={node.main_address}", f"--master-port={node.main_port}"]
    options = ["--shutdown-timeout", str(SECONDS_TO_SAVE), "--nproc-per-node", str(num_processes())]
    command = [sys.executable, "-m", "torch.distributed.run", *meeting, *options, "-m", RANK_MODULE, str(work_dir)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace"
    )
    assert process.stdout is not None
    received: list[int] = []
    first_to_end: dict[str, str] = {}

    def pass_on(number: int) -> None:
        received.append(number)
        process.terminate()

    try:
        with signals_caught(pass_on, once=True):
            for line in process.stdout:
                if not line.startswith(METRICS_PREFIX):
                    logger.info("%s", line.rstrip())
                    first_to_end |= re.findall(FACT_OF_FAILURE, line)  # the last that torch's summary names
                elif on_log is not None:
                    on_log(*json.loads(line.removeprefix(METRICS_PREFIX)))
            exit_code = process.wait()
    finally:
        process.terminate()
        process.wait()
    if received:
        leave(received[0])
    failures = {
        path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob(FAILURE_FILE.format("*")))
    }
    foreseen = [failure for failure in failures.values() if failure["kind"] != UnexpectedError.__name__]
    # Where one ended without a reason, an unforeseen error of others comes of that.
    for failure in foreseen or (failures.values() if len(failures) == num_processes() else ()):
        raise getattr(errors, failure["kind"])(failure["message"])
    if exit_code:
        first = ", ".join(f"{name} {value}" for name, value in first_to_end.items()) or "torch.distributed.run itself"
        said = [f"\n  {name}: {failure['message']}" for name, failure in failures.items()]
        raise TrainingError(
            f"a training process ended with exit code {exit_code}; the first that ended was {first}; the last lines in "
            f"the log say why{''.join(said)}"
        )


# --- Among the ranks of a step; with one process nothing happens ---


def shared(module: nn.Module) -> DistributedDataParallel:
    """The module, whose backward pass leaves the mean of the gradients over the ranks, sent while others are computed.

    Parameters that a loss does not use are looked for, which also keeps the order of the sums from step to step.
    """
    return DistributedDataParallel(
        module, find_unused_parameters=True, broadcast_buffers=False, gradient_as_bucket_view=True
    )


def sum_over_ranks(counts: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Sums over the ranks, which must have the same names in the same order."""
    if num_ranks() == 1:
        return dict(counts)
    sums = torch.tensor(list(counts.values()), dtype=torch.float64, device=device)
    torch.distributed.all_reduce(sums)
    return dict(zip(counts, sums.tolist(), strict=True))


def any_rank(fact: bool, device: torch.device) -> bool:
    """Whether it is true on at least one rank; the same answer on all."""
    return sum_over_ranks({"fact": float(fact)}, device)["fact"] > 0
