"""Trains one stage of the toy task in a process of its own and kills it as soon as figures of a given step are there,
or a given file: see test_resume.py.

python -m tests.training.killed_run STAGE MODEL_FOLDER_OR_- WORK_DIR STEP_OR_FILE METHOD SIGNAL
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

from r2d.config.model import ModelConfig, ScratchConfig
from r2d.config.training import MethodConfig, Stage1Config, Stage2Config
from r2d.training.processes import train_stage1, train_stage2
from r2d.training.train import StageResult
from tests.conftest import TOY_LABELS, toy_examples

MODEL = ModelConfig(
    name="scratch",
    scratch=ScratchConfig(vocab_size=150, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, dropout_rate=0.1),
    max_input_tokens=48,
    max_rationale_tokens=12,
    max_label_tokens=8,
)
# 72 training rows make nine batches: these runs go through several epochs, and checkpoints fall inside them.
STAGE1 = Stage1Config(max_steps=24, eval_every_steps=3, save_every_steps=5, learning_rate=5e-3, batch_size=8)
STAGE2 = Stage2Config(
    max_steps=30, eval_every_steps=3, save_every_steps=4, learning_rate=5e-3, batch_size=8, precision="fp32",
    gradient_accumulation_steps=2, validation_rationales=4,
)  # fmt: skip


def train(
    stage: str,
    start: str,
    work_dir: Path,
    kill_at_step: int | None = None,
    method: str = "r2d",
    kill_by: signal.Signals = signal.SIGKILL,
) -> StageResult:
    """Train a stage by a method; when asked to, kill this process as soon as that step was logged or evaluated."""

    due = [kill_at_step]

    def on_log(step: int, figures: Mapping[str, float]) -> None:
        if step in due:
            due.clear()
            os.kill(os.getpid(), kill_by)

    common = {"model": MODEL, "labels": TOY_LABELS, "work_dir": work_dir, "on_log": on_log}
    if stage == "1":
        return train_stage1(toy_examples(), config=STAGE1, **common)
    chosen = MethodConfig(name=method, cycle={"tau_every_steps": 4})
    model = Path(start) if chosen.has_stage1 else None
    return train_stage2(toy_examples(), model, config=STAGE2, method=chosen, **common)


def kill_when_there(file: Path) -> None:
    """Kill this process without warning while it goes on writing."""
    while not file.exists():
        time.sleep(0.0005)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    stage, start, work_dir, when, method, kill_by = sys.argv[1:]
    if not when.isdecimal():
        threading.Thread(target=kill_when_there, args=[Path(when)], daemon=True).start()
    train(stage, start, Path(work_dir), int(when) if when.isdecimal() else None, method, signal.Signals[kill_by])
