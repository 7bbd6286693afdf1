"""A run killed without warning and started again ends with the bits it would have ended with."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from r2d.errors import TrainingError
from r2d.training.checkpointing import COMPLETE_MARKER, latest_complete_checkpoint
from r2d.training.work import StageResult
from tests import warm
from tests.training.conftest import STAGE2, assert_same_weights
from tests.training.killed_run import train

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def kill_at(
    stage: str,
    start: Path,
    work_dir: Path,
    when: int | str,
    *,
    method: str = "r2d",
    lora_rank: int = 0,
    by: signal.Signals = signal.SIGKILL,
) -> str:
    """What the killed process said."""
    command = ["python", "-m", "tests.training.killed_run", stage, str(start), str(work_dir), str(when), method]
    command += [str(lora_rank), by.name]
    finished = warm.run(command, cwd=ROOT, environment=os.environ | {"PYTHONPATH": str(ROOT)})
    expected = -by if by is signal.SIGKILL else 128 + by
    assert finished.returncode == expected, finished.stderr[-2000:]
    return finished.stdout


def newest_checkpoint(work_dir: Path) -> Path:
    checkpoint = latest_complete_checkpoint(work_dir / "checkpoints")
    assert checkpoint is not None
    return checkpoint


@pytest.fixture(scope="module")
def undisturbed(stage1_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., StageResult]:
    """The run that nothing happens to, by stage and method; each is made once."""

    @cache
    def run(stage: str = "2", method: str = "r2d", lora_rank: int = 0) -> StageResult:
        work_dir = tmp_path_factory.mktemp("undisturbed")
        return train(stage, str(stage1_model), work_dir, method=method, lora_rank=lora_rank)

    return run


def assert_as_if_undisturbed(resumed: StageResult, undisturbed: StageResult) -> None:
    def without_times(result: StageResult) -> dict[str, Any]:
        return {name: value for name, value in result.summary().items() if "second" not in name}

    def evaluations(result: StageResult) -> list[dict[str, float]]:
        return [record for record in result.history if "eval_loss" in record]

    assert without_times(resumed) == without_times(undisturbed)
    assert evaluations(resumed) == evaluations(undisturbed)
    assert_same_weights(resumed, undisturbed)


@pytest.mark.parametrize(
    ("stage", "method", "lora_rank", "steps"),
    [
        ("1", "r2d", 0, (9, 18)),
        *[("2", method, 0, (9, 21)) for method in ("r2d", "r2d_c", "sft", "dss", "stage2_only", "no_sampling")],
        pytest.param("2", "r2d", 4, (9, 21), id="2-r2d-lora"),
    ],
)
def test_a_run_killed_twice_gives_the_weights_and_the_curve_of_one_never_killed(
    stage: str,
    method: str,
    lora_rank: int,
    steps: tuple[int, int],
    stage1_model: Path,
    undisturbed: Callable[..., StageResult],
    tmp_path: Path,
) -> None:
    options: dict[str, Any] = {"method": method, "lora_rank": lora_rank}
    for step in steps:
        kill_at(stage, stage1_model, tmp_path, step, **options)
    # Only the second kill leaves a later checkpoint: the run went on and did not begin anew.
    assert steps[0] < int(newest_checkpoint(tmp_path).name.split("-")[1]) < steps[1]
    resumed = train(stage, str(stage1_model), tmp_path, **options)
    assert_as_if_undisturbed(resumed, undisturbed(stage, **options))


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
    stage: str,
    told_at: int,
    saved: int,
    stage1_model: Path,
    undisturbed: Callable[..., StageResult],
    tmp_path: Path,
) -> None:
    output = kill_at(stage, stage1_model, tmp_path, told_at, by=signal.SIGTERM)
    assert f"stage {stage}: SIGTERM; saves a checkpoint of step {saved} and ends\n" in output
    assert newest_checkpoint(tmp_path).name == f"checkpoint-{saved}"
    assert_as_if_undisturbed(train(stage, str(stage1_model), tmp_path), undisturbed(stage))


def test_two_processes_told_to_end_save_a_checkpoint_of_both(
    stage1_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("R2D_PROCESSES", "2")
    output = kill_at("2", stage1_model, tmp_path, 3, by=signal.SIGTERM)
    checkpoint = newest_checkpoint(tmp_path)
    assert f"SIGTERM; saves a checkpoint of step {checkpoint.name.split('-')[1]} and ends" in output
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in checkpoint.iterdir()}


@pytest.mark.parametrize("written", ["model.safetensors", "optimizer.pt", "trainer_state.json", COMPLETE_MARKER])
def test_a_run_killed_while_a_checkpoint_is_being_written_loses_no_bit(
    written: str, stage1_model: Path, undisturbed: Callable[..., StageResult], tmp_path: Path
) -> None:
    """Killed as soon as that file of checkpoint 8 is there; what is resumed from is a whole one, 4 or 8."""
    newest = tmp_path / "checkpoints" / "checkpoint-8"
    kill_at("2", stage1_model, tmp_path, str(newest / written))
    assert newest.exists()
    assert not newest.with_name("checkpoint-12").exists()
    resumed = train("2", str(stage1_model), tmp_path)
    assert_as_if_undisturbed(resumed, undisturbed())
    assert resumed.training_seconds > 0


@pytest.fixture(scope="module")
def killed(stage1_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a Stage 2 killed at step 9; to be copied before it is gone on with."""
    work_dir = tmp_path_factory.mktemp("killed")
    kill_at("2", stage1_model, work_dir, 9)
    return work_dir


def test_a_checkpoint_whose_writing_was_cut_off_is_skipped_with_a_warning(
    stage1_model: Path,
    killed: Path,
    undisturbed: Callable[..., StageResult],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    work_dir = shutil.copytree(killed, tmp_path / "killed")
    newest = newest_checkpoint(work_dir)
    (newest / COMPLETE_MARKER).unlink()
    (newest / "model.safetensors").write_bytes(b"cut off")
    resumed = train("2", str(stage1_model), work_dir)
    assert f"checkpoint {newest} was not written to its end" in caplog.text
    assert_as_if_undisturbed(resumed, undisturbed())


def test_a_run_with_another_config_does_not_go_on_from_the_checkpoint(
    stage1_model: Path, killed: Path, tmp_path: Path
) -> None:
    start, work_dir = str(stage1_model), shutil.copytree(killed, tmp_path / "killed")
    other = STAGE2.model_copy(update={"learning_rate": 1e-4, "patience": 9})
    with pytest.raises(TrainingError, match=r"training\.learning_rate: 0\.005 in the checkpoint, 0\.0001 now\nRemove"):
        train("2", start, work_dir, config=other)
    less_memory = STAGE2.model_copy(update={"gradient_accumulation_steps": 4})
    assert train("2", start, work_dir, config=less_memory).stopped_at_step == STAGE2.max_steps


def test_a_checkpoint_holds_tokenizer_label_set_and_config_beside_the_weights(killed: Path) -> None:
    names = {path.name for path in newest_checkpoint(killed).iterdir()}
    assert {"model.safetensors", "tokenizer.json", "reason2decide.json", "trainer_state.json"} <= names
