"""A run that was killed goes on from its checkpoint by the literal command, also with what helps against the cause."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.conftest import BIN, Workplace

KILLED_AFTER_CHECKPOINT = 20


def kill_in_stage2(workplace: Workplace, config: dict[str, Any]) -> None:
    """Start the run in a process of its own and kill it once Stage 2 has kept a checkpoint."""
    command = [str(BIN / "zenml"), "pipeline", "run", "reason2decide", "--config"]
    command.append(workplace.write_config("killed.yaml", config))
    with (workplace.folder / "killed.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=workplace.folder, env=workplace.environment, stdout=log, stderr=log, start_new_session=True
        )
        work = Path(workplace.environment["XDG_CACHE_HOME"]) / "reason2decide"
        complete = f"train_stage2-*/checkpoints/checkpoint-{KILLED_AFTER_CHECKPOINT}/complete.json"
        while process.poll() is None and not list(work.glob(complete)):
            time.sleep(0.005)
        assert process.poll() is None, (workplace.folder / "killed.log").read_text()[-2000:]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_killed_stage_goes_on_with_what_helps_against_its_end(
    workplace: Workplace, tiny_config: dict[str, Any]
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
