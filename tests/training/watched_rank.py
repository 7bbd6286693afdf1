"""A rank that also says what it wrote and was given back, and can be killed at a step: see test_distributed.py.

It is started in place of `r2d.training.rank`. KILL_AT_STEP in the environment: as soon as that step was evaluated.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from r2d.training import checkpointing, rank, sharded_optimizer, trainer
from r2d.training.stage2 import train_stage2
from r2d.training.work import OnLog, StageResult, StageWork


def report_file(work_dir: Path, rank: int) -> Path:
    return work_dir / f"report-of-rank-{rank}.json"


def kept_numbers(optimizer: Any) -> int:
    """Numbers of the optimiser's state that this rank keeps."""
    return sum(value.numel() for state in optimizer.optim.state.values() for value in state.values())


def run(work_dir: Path) -> None:
    called: list[str] = []
    optimizers: list[Any] = []

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            called.append(function.__name__)
            return function(*arguments, **named)

        return call

    def train(work: StageWork[Any], on_log: OnLog) -> StageResult:
        def log_or_die(step: int, metrics: Mapping[str, float]) -> None:
            if str(step) == os.environ.get("KILL_AT_STEP") and "eval_loss" in metrics:
                os.kill(os.getpid(), signal.SIGKILL)
            on_log(step, metrics)

        result = train_stage2(work, log_or_die)
        report = {"summary": result.summary(), "written": called, "state": sum(map(kept_numbers, optimizers))}
        report_file(work_dir, int(os.environ["RANK"])).write_text(json.dumps(report), encoding="utf-8")
        return result

    class Optimizer(sharded_optimizer.ShardedOptimizer):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            optimizers.append(self)

    sharded_optimizer.ShardedOptimizer = Optimizer  # type: ignore[misc]
    checkpointing.save_weights = counted(checkpointing.save_weights)
    trainer.finish_model_folder = counted(trainer.finish_model_folder)
    rank.train_stage2 = train
    rank.main()


if __name__ == "__main__":
    run(Path(sys.argv[1]))
