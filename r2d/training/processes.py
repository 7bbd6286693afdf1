"""Training on several processes: a stage's work in a folder, and `torch.distributed.run` that starts ranks on it.

In a step there is a process for each GPU that it sees; with one GPU, or none, nothing is started. The weights do not
depend on the number, up to the order of sums: see `r2d.training.ranks`. On several nodes `start_ranks` is called on
each of them, with the same folder on a volume that all share: see `steps.train_on_nodes`.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from r2d import errors
from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, Stage1Config, Stage2Config, StageConfig
from r2d.errors import ConfigError, TrainingError
from r2d.signals import leave, signals_caught
from r2d.training import train
from r2d.training.progress import OnLog
from r2d.training.train import StageResult

logger = logging.getLogger(__name__)

PROCESSES_VARIABLE = "R2D_PROCESSES"
FIGURES = "r2d-figures "
"""Begins a line with which the first rank hands figures to the process that started it."""

SECONDS_TO_SAVE = 50
"""What ranks that are told to end have for a checkpoint; less than configs/kubernetes.yaml grants a pod."""


@dataclass(frozen=True)
class Node:
    """One of several nodes, and where the first of them is found."""

    rank: int
    count: int
    main_address: str
    main_port: int


def num_processes() -> int:
    """`R2D_PROCESSES` where it is set, else a process for each GPU; at least one.

    Raises:
        ConfigError: the variable is no number from 1.
    """
    import torch

    wanted = os.environ.get(PROCESSES_VARIABLE, "")
    if not wanted:
        return max(1, torch.cuda.device_count())
    if not wanted.isdecimal() or wanted == "0":
        raise ConfigError(f"{PROCESSES_VARIABLE}: found {wanted!r}; allowed: a number from 1, or leave it unset")
    return int(wanted)


def train_stage1(
    examples: pa.Table,
    *,
    config: Stage1Config,
    model: ModelConfig,
    labels: LabelsConfig,
    work_dir: Path,
    start_folder: Path | None = None,
    on_log: OnLog | None = None,
) -> StageResult:
    """As `r2d.training.train.train_stage1`, on all GPUs."""
    if num_processes() == 1:
        return train.train_stage1(
            examples,
            config=config,
            model=model,
            labels=labels,
            work_dir=work_dir,
            start_folder=start_folder,
            on_log=on_log,
        )
    write_work(work_dir, examples, config=config, model=model, labels=labels, start_folder=start_folder)
    start_ranks(work_dir, on_log)
    return read_result(work_dir)


def train_stage2(
    examples: pa.Table,
    stage1_model: Path | None,
    *,
    config: Stage2Config,
    model: ModelConfig,
    labels: LabelsConfig,
    work_dir: Path,
    method: MethodConfig | None = None,
    start_folder: Path | None = None,
    on_log: OnLog | None = None,
) -> StageResult:
    """As `r2d.training.train.train_stage2`, on all GPUs."""
    if num_processes() == 1:
        return train.train_stage2(
            examples,
            stage1_model,
            config=config,
            model=model,
            labels=labels,
            work_dir=work_dir,
            method=method,
            start_folder=start_folder,
            on_log=on_log,
        )
    write_work(
        work_dir,
        examples,
        stage1_model,
        config=config,
        model=model,
        labels=labels,
        method=method or MethodConfig(),
        start_folder=start_folder,
    )
    start_ranks(work_dir, on_log)
    return read_result(work_dir)


def write_work(
    work_dir: Path,
    examples: pa.Table,
    stage1_model: Path | None = None,
    *,
    config: StageConfig,
    model: ModelConfig,
    labels: LabelsConfig,
    method: MethodConfig | None = None,
    start_folder: Path | None = None,
) -> None:
    """Leave in `work_dir` all that a rank needs: Stage 2 where a method is given, else Stage 1."""
    folder = _work_folder(work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    sections = {"config": config, "model": model, "labels": labels, "method": method}
    work: dict[str, Any] = {name: one and one.model_dump(mode="json") for name, one in sections.items()}
    work["stage1_model"] = stage1_model and str(stage1_model)
    work["start_folder"] = start_folder and str(start_folder)
    aside = folder / "examples.parquet.partial"
    pq.write_table(examples, aside)
    aside.replace(folder / "examples.parquet")
    _write_json(folder / "work.json", work)


def start_ranks(work_dir: Path, on_log: OnLog | None = None, node: Node | None = None) -> None:
    """Start the ranks of this node on the work of a folder, show what they print, and wait for them.

    Args:
        node: which of several nodes this is; by default it is the only one.

    Raises:
        TrainingError: or another of our errors, as a rank raised it; or a rank ended without a reason.
    """
    folder = _work_folder(work_dir)
    for stale in folder.glob("failure-of-rank-*.json"):
        stale.unlink(missing_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", *_rendezvous(node)]
    command += ["--shutdown-timeout", str(SECONDS_TO_SAVE)]
    command += ["--nproc-per-node", str(num_processes()), "-m", __name__, str(work_dir)]
    exit_code = _followed(command, on_log)
    for path in sorted(folder.glob("failure-of-rank-*.json")):
        failure = json.loads(path.read_text(encoding="utf-8"))
        raise getattr(errors, failure["kind"])(failure["message"])
    if exit_code:
        raise TrainingError(f"a training process ended with exit code {exit_code}; its last lines say why")


def read_result(work_dir: Path) -> StageResult:
    """What the ranks have left, once `start_ranks` has come back on the first node."""
    result = json.loads((_work_folder(work_dir) / "result.json").read_text(encoding="utf-8"))
    return StageResult(**result | {"model_folder": Path(result["model_folder"])})


def _rendezvous(node: Node | None) -> list[str]:
    if node is None:
        return ["--standalone"]
    return [
        f"--nnodes={node.count}",
        f"--node-rank={node.rank}",
        f"--master-addr={node.main_address}",
        f"--master-port={node.main_port}",
    ]


def _followed(command: Sequence[str], on_log: OnLog | None) -> int:
    """Run a command whose figures go to `on_log` and whose other lines are logged; its exit code.

    A SIGTERM goes on to the command, which saves a checkpoint and ends; then this process ends by it too.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace"
    )
    assert process.stdout is not None
    received: list[int] = []

    def hand_on(number: int) -> None:
        received.append(number)
        process.terminate()

    try:
        with signals_caught(hand_on, once=True):
            for line in process.stdout:
                if not line.startswith(FIGURES):
                    logger.info("%s", line.rstrip())
                elif on_log is not None:
                    step, figures = json.loads(line.removeprefix(FIGURES))
                    on_log(step, figures)
            exit_code = process.wait()
    finally:
        process.terminate()
        process.wait()
    if received:
        leave(received[0])
    return exit_code


def _work_folder(work_dir: Path) -> Path:
    return work_dir / "work"


def _write_json(path: Path, value: Any) -> None:
    aside = path.with_name(path.name + ".partial")
    aside.write_text(json.dumps(value), encoding="utf-8")
    aside.replace(path)


def _run_rank(work_dir: Path, rank: int) -> None:
    """What each rank does; the first leaves the result, and each that fails its reason."""
    folder = _work_folder(work_dir)
    try:
        result = _trained(work_dir, folder)
    except errors.R2DError as error:
        _write_json(folder / f"failure-of-rank-{rank}.json", {"kind": type(error).__name__, "message": str(error)})
        raise
    if rank == 0:
        _write_json(folder / "result.json", vars(result) | {"model_folder": str(result.model_folder)})


def _trained(work_dir: Path, folder: Path) -> StageResult:
    work = json.loads((folder / "work.json").read_text(encoding="utf-8"))
    examples = pq.read_table(folder / "examples.parquet")
    model, labels = ModelConfig.model_validate(work["model"]), LabelsConfig.model_validate(work["labels"])
    start_folder = Path(work["start_folder"]) if work["start_folder"] else None
    if work["method"] is None:
        return train.train_stage1(
            examples,
            config=Stage1Config.model_validate(work["config"]),
            model=model,
            labels=labels,
            work_dir=work_dir,
            start_folder=start_folder,
            on_log=_print_figures,
        )
    return train.train_stage2(
        examples,
        Path(work["stage1_model"]) if work["stage1_model"] else None,
        config=Stage2Config.model_validate(work["config"]),
        model=model,
        labels=labels,
        work_dir=work_dir,
        method=MethodConfig.model_validate(work["method"]),
        start_folder=start_folder,
        on_log=_print_figures,
    )


def _print_figures(step: int, figures: Mapping[str, float]) -> None:
    print(FIGURES + json.dumps([step, dict(figures)]), flush=True)


def main() -> None:
    """A rank, as `torch.distributed.run` starts it."""
    rank = int(os.environ["RANK"])
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, format="%(message)s")
    _run_rank(Path(sys.argv[1]), rank)


if __name__ == "__main__":
    main()
