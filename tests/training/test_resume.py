"""A run killed without warning and started again ends with the bits it would have ended with."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from r2d.errors import TrainingError
from r2d.modeling.manifest import MANIFEST_FILE
from r2d.training.checkpointing import RUN_FILE, latest_complete_checkpoint
from r2d.training.work import StageResult
from tests import warm
from tests.training.conftest import STAGE2, assert_same_weights
from tests.training.killed_run import train

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@dataclass
class KillableRun:
    """A stage that is trained in processes that can be killed, and at last in this one."""

    start: Path
    work_dir: Path
    undisturbed: Callable[..., StageResult]
    """The run that nothing happens to, by stage, start model, method and variant."""
    stage: str = "2"
    method: str = "r2d"
    variant: str = ""

    def kill(self, when: int | str, by: signal.Signals = signal.SIGKILL) -> str:
        """Kill it at a step, or as soon as a file is there; the output of the process."""
        arguments = (self.stage, self.start, self.work_dir, self.method, self.variant, when, by.name)
        command = ["python", "-m", "tests.training.killed_run", *map(str, arguments)]
        finished = warm.run(command, cwd=ROOT, environment=os.environ | {"PYTHONPATH": str(ROOT)})
        assert finished.returncode == (-by if by is signal.SIGKILL else 128 + by), finished.stderr[-2000:]
        assert "missing keys" not in finished.stderr  # tied weights lie in a checkpoint once
        return finished.stdout

    @property
    def checkpoint(self) -> Path:
        """The newest complete one."""
        checkpoint = latest_complete_checkpoint(self.work_dir / "checkpoints")
        assert checkpoint is not None
        return checkpoint

    def train(self, **config: Any) -> StageResult:
        """Train to the end, with other values in the config."""
        changed = STAGE2.model_copy(update=config) if config else None
        return train(self.stage, str(self.start), self.work_dir, self.method, self.variant, config=changed)

    def assert_ends_as_if_undisturbed(self) -> None:
        resumed, expected = self.train(), self.undisturbed(self.stage, self.start, self.method, self.variant)
        assert resumed.training_seconds > 0
        for part in (
            lambda result: {name: value for name, value in result.summary().items() if "second" not in name},
            lambda result: [record for record in result.history if "eval_loss" in record],
        ):
            assert part(resumed) == part(expected)
        assert_same_weights(resumed, expected)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., StageResult]:
    return cache(lambda stage, start, *rest: train(stage, str(start), tmp_path_factory.mktemp("undisturbed"), *rest))


@pytest.fixture
def run(stage1_model: Path, undisturbed: Callable[..., StageResult], tmp_path: Path) -> KillableRun:
    return KillableRun(stage1_model, tmp_path / "run", undisturbed)


@pytest.mark.parametrize(
    ("stage", "method", "variant"),
    [
        ("1", "r2d", ""),
        *[("2", method, "") for method in ("r2d", "r2d_c", "sft", "dss", "stage2_only", "no_sampling")],
        pytest.param("2", "r2d", "fp32", id="2-r2d-lora"),
        pytest.param("2", "r2d", "packed", id="2-r2d-packed"),
    ],
)
def test_a_run_killed_twice_gives_the_weights_and_the_curve_of_one_never_killed(
    stage: str, method: str, variant: str, run: KillableRun
) -> None:
    run.stage, run.method, run.variant = stage, method, variant
    first, second = (9, 18) if stage == "1" else (9, 21)
    run.kill(first)
    run.kill(second)
    # Only the second kill leaves a later checkpoint: the run went on and did not begin anew.
    assert first < int(run.checkpoint.name.split("-")[1]) < second
    run.assert_ends_as_if_undisturbed()


@pytest.mark.parametrize("variant", ["fp32", "bf16"])
def test_a_causal_model_with_adapters_that_was_killed_ends_with_the_same_bits_too(
    variant: str, run: KillableRun, causal_model: Path
) -> None:
    run.start, run.method, run.variant = causal_model, "r2d_c", variant
    run.kill(21)
    run.assert_ends_as_if_undisturbed()


@pytest.mark.parametrize(
    ("stage", "told_at", "saved"),
    [
        pytest.param("1", 9, 9, id="stage 1, while it evaluates"),
        pytest.param("2", 9, 9, id="while it evaluates"),
        pytest.param("2", 10, 11, id="between two steps"),
        pytest.param("2", 30, 30, id="in the last step"),
    ],
)
def test_a_run_told_to_end_saves_a_checkpoint_first_and_goes_on_from_it(
    stage: str, told_at: int, saved: int, run: KillableRun
) -> None:
    run.stage = stage
    output = run.kill(told_at, by=signal.SIGTERM)
    assert f"stage {stage}: SIGTERM; saves a checkpoint of step {saved} and ends\n" in output
    assert run.checkpoint.name == f"checkpoint-{saved}"
    names = {path.name for path in run.checkpoint.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "reason2decide.json", "trainer_state.json"} <= names
    run.assert_ends_as_if_undisturbed()


def test_two_processes_told_to_end_save_a_checkpoint_of_both(run: KillableRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("R2D_PROCESSES", "2")
    output = run.kill(3, by=signal.SIGTERM)
    assert f"SIGTERM; saves a checkpoint of step {run.checkpoint.name.split('-')[1]} and ends" in output
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in run.checkpoint.iterdir()}


@pytest.mark.parametrize(
    "written", ["model.safetensors", "optimizer.pt", "trainer_state.json", RUN_FILE, MANIFEST_FILE]
)
def test_a_run_killed_while_a_checkpoint_is_being_written_loses_no_bit(written: str, run: KillableRun) -> None:
    """Killed as soon as that file of checkpoint 8 is there; what is resumed from is a whole one, 4 or 8."""
    newest = run.work_dir / "checkpoints" / "checkpoint-8"
    run.kill(str(newest / written))
    assert newest.exists()
    assert not newest.with_name("checkpoint-12").exists()
    run.assert_ends_as_if_undisturbed()


def test_a_run_with_another_config_does_not_go_on_from_the_checkpoint(run: KillableRun) -> None:
    run.kill(9)
    with pytest.raises(TrainingError, match=r"training\.learning_rate: 0\.005 in the checkpoint, 0\.0001 now\nRemove"):
        run.train(learning_rate=1e-4, patience=9)
    assert run.train(gradient_accumulation_steps=4).stopped_at_step == STAGE2.max_steps
