"""A run that was killed goes on from its checkpoint by the literal command, also with what helps against the cause."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.pipelines.conftest import BIN, Run, Workplace

KILLED_AFTER_CHECKPOINT = 20


def kill_in_stage2(workplace: Workplace, config: dict[str, Any]) -> None:
    """Start the run and kill it once Stage 2 has kept a checkpoint."""
    command = [str(BIN / "zenml"), "pipeline", "run", "reason2decide", "--config"]
    command.append(workplace.write_config("killed.yaml", config))
    folder = workplace.folder
    process = warm.start(command, cwd=folder, environment=workplace.environment, folder=folder)
    work = Path(workplace.environment["XDG_CACHE_HOME"]) / "reason2decide"
    complete = f"train_stage2-*/checkpoints/checkpoint-{KILLED_AFTER_CHECKPOINT}/manifest.json"
    while process.is_alive() and not list(work.glob(complete)):
        time.sleep(0.005)
    assert process.is_alive(), (folder / "err").read_text(encoding="utf-8")[-2000:]
    process.kill()
    process.join()


@pytest.mark.slow
def test_a_killed_stage_goes_on_with_what_helps_against_its_end(
    first_run: Run, workplace: Workplace, tiny_config: dict[str, Any]
) -> None:
    config = copy.deepcopy(tiny_config)
    config["registration"]["model_name"] = "toy-killed"
    config["stage2"] |= {"max_steps": 200, "eval_every_steps": 100, "save_every_steps": 10}
    kill_in_stage2(workplace, config)
    config["stage2"] |= {
        "patience": 9, "gradient_accumulation_steps": 2, "save_every_steps": 50, "activation_checkpointing": True,
        "max_loss_growth": 20.0,
    }  # fmt: skip
    resumed = workplace.run(config)
    assert "train_stage1" in resumed.cached
    steps = [int(words.split()[0]) for words in resumed.output.split("goes on from step ")[1:]]
    assert len(steps) == 1, resumed.output[-2000:]
    assert steps[0] >= KILLED_AFTER_CHECKPOINT
