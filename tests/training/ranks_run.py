"""Trains Stage 2 of the toy task without dropout, on as many processes as it is started with: see test_ranks.py.

python -m torch.distributed.run --nproc-per-node 2 -m tests.training.ranks_run WORK_DIR PARTS KILL_AT_STEP_OR_0
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from r2d.config.model import ModelConfig, ScratchConfig
from r2d.config.training import MethodConfig, Stage2Config
from r2d.training import selection, train
from tests.conftest import TOY_LABELS, toy_examples

MODEL = ModelConfig(
    name="scratch",
    scratch=ScratchConfig(vocab_size=150, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, dropout_rate=0.0),
    max_input_tokens=48,
    max_rationale_tokens=12,
    max_label_tokens=8,
)
# pi goes from 0 at step 1 to 0.9 at step 10. The rate is low where Adam would blow up the last bits of a gradient.
STAGE2 = Stage2Config(
    max_steps=12, eval_every_steps=3, save_every_steps=4, learning_rate=1e-3, batch_size=8, precision="fp32",
    warmup_fraction=0.1, sampling_fraction=0.6, patience=9, validation_rationales=4,
)  # fmt: skip
RANK = int(os.environ.get("RANK", "0"))


def result_file(work_dir: Path, rank: int) -> Path:
    return work_dir / f"result-of-rank-{rank}.json"


def counted(function: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        calls.append(function.__name__)
        return function(*arguments, **named)

    return call


def train_toy(work_dir: Path, parts: int, kill_at_step: int = 0) -> train.StageResult:
    """Stage 2 in that many micro-batches a step; when asked to, every rank dies as soon as that step was evaluated."""

    def on_log(step: int, figures: Mapping[str, float]) -> None:
        if step == kill_at_step and "eval_loss" in figures:
            os.kill(os.getpid(), signal.SIGKILL)

    return train.train_stage2(
        toy_examples(),
        None,
        config=STAGE2.model_copy(update={"gradient_accumulation_steps": parts}),
        model=MODEL,
        labels=TOY_LABELS,
        work_dir=work_dir,
        method=MethodConfig(name="stage2_only"),
        on_log=on_log,
    )


def run(work_dir: Path, parts: int, kill_at_step: int) -> None:
    """Leaves in a file what this rank was given back and which of the writing functions it called."""
    written: list[str] = []
    selection.save_weights = counted(selection.save_weights, written)
    train.finish_model_folder = counted(train.finish_model_folder, written)
    result = train_toy(work_dir, parts, kill_at_step)
    kept = {"history": result.history, "summary": result.summary(), "written": written}
    result_file(work_dir, RANK).write_text(json.dumps(kept, default=str), encoding="utf-8")


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
