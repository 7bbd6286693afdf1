"""Trains one stage of the toy task in a process of its own and kills it as soon as metrics of a given step are there,
or a given file: see test_resume.py.

python -m tests.training.killed_run STAGE MODEL_FOLDER WORK_DIR METHOD VARIANT STEP_OR_FILE SIGNAL
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from r2d.config.model import LoraConfig
from r2d.config.training import MethodConfig, StageConfig
from r2d.training.stage1 import train_stage1
from r2d.training.stage2 import train_stage2
from r2d.training.work import StageResult
from tests.conftest import TOY_MODEL, toy_work
from tests.training.conftest import STAGE1, STAGE2


def train(
    stage: str,
    start: str,
    work_dir: Path,
    method: str = "r2d",
    variant: str = "",
    *,
    config: StageConfig | None = None,
    kill_at: int | None = None,
    kill_by: signal.Signals = signal.SIGKILL,
) -> StageResult:
    """Train a stage by a method; when asked to, kill this process as soon as that step was logged or evaluated.

    The variants `fp32` and `bf16` have adapters beside weights of that precision; `packed` packs rows in bf16.
    """
    due = [kill_at]

    def on_log(step: int, metrics: Mapping[str, float]) -> None:
        if step in due:
            due.clear()
            os.kill(os.getpid(), kill_by)

    if stage == "1":
        return train_stage1(toy_work(work_dir, config or STAGE1), on_log)
    chosen = MethodConfig(name=method, cycle={"tau_every_steps": 4})
    model, config = TOY_MODEL, config or STAGE2
    if variant == "packed":
        config = config.model_copy(update={"precision": "bf16", "layout": "packed"})
    elif variant:
        model = model.model_copy(update={"lora": LoraConfig(rank=4, alpha=8, dropout=0.1, base=variant)})
        config = config.model_copy(update={"precision": variant})
    stage1_model = Path(start) if chosen.has_stage1 else None
    work = toy_work(work_dir, config, method=chosen, stage1_model=stage1_model, model=model)
    return train_stage2(work, on_log)


def kill_when_there(file: Path) -> None:
    """Kill this process without warning while it goes on writing."""
    while not file.exists():
        time.sleep(0.0005)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    stage, start, work_dir, method, variant, when, kill_by = sys.argv[1:]
    if not when.isdecimal():
        threading.Thread(target=kill_when_there, args=[Path(when)], daemon=True).start()
    kill_at = int(when) if when.isdecimal() else None
    train(stage, start, Path(work_dir), method, variant, kill_at=kill_at, kill_by=signal.Signals[kill_by])
