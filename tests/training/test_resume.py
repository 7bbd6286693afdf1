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
import torch

from r2d.errors import TrainingError
from r2d.modeling.load import load_pretrained
from r2d.training.checkpoints import COMPLETE_MARKER, latest_complete_checkpoint
from r2d.training.train import StageResult
from tests import warm
from tests.training.killed_run import STAGE2, train

ROOT = Path(__file__).resolve().parents[2]


def kill_at(
    stage: str, start: str, work_dir: Path, when: int | str, method: str = "r2d", by: signal.Signals = signal.SIGKILL
) -> str:
    """What the killed process said."""
    command = ["python", "-m", "tests.training.killed_run", stage, start, str(work_dir), str(when), method]
    finished = warm.run([*command, by.name], cwd=ROOT, environment=os.environ | {"PYTHONPATH": str(ROOT)})
    expected = -by if by is signal.SIGKILL else 128 + by
    assert finished.returncode == expected, finished.stderr[-2000:]
    return finished.stdout


@pytest.fixture(scope="module")
def undisturbed(stage1_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., StageResult]:
    """The run that nothing happens to, by stage and method; each is made once."""

    @cache
    def run(stage: str, method: str = "r2d") -> StageResult:
        return train(stage, str(stage1_model), tmp_path_factory.mktemp("undisturbed"), method=method)

    return run


def assert_as_if_undisturbed(resumed: StageResult, undisturbed: StageResult) -> None:
    def without_times(result: StageResult) -> dict[str, Any]:
        return {name: value for name, value in result.summary().items() if "second" not in name}

    def evaluations(result: StageResult) -> list[dict[str, float]]:
        return [record for record in result.history if "eval_loss" in record]

    assert without_times(resumed) == without_times(undisturbed)
    assert evaluations(resumed) == evaluations(undisturbed)
    ours, theirs = (load_pretrained(str(result.model_folder))[0] for result in (resumed, undisturbed))
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "method", "steps"),
    [
        ("1", "r2d", (9, 18)),
        *[("2", method, (9, 21)) for method in ("r2d", "r2d_c", "sft", "dss", "stage2_only", "no_sampling")],
    ],
)
def test_a_run_killed_twice_gives_the_weights_and_the_curve_of_one_never_killed(
    stage: str,
    method: str,
    steps: tuple[int, int],
    stage1_model: Path,
    undisturbed: Callable[..., StageResult],
    tmp_path: Path,
) -> None:
    start = str(stage1_model)
    for step in steps:
        kill_at(stage, start, tmp_path / "killed", step, method)
    # Only the second kill leaves a later checkpoint: the run went on and did not begin anew.
    checkpoint = latest_complete_checkpoint(tmp_path / "killed" / "checkpoints")
    assert checkpoint is not None
    assert steps[0] < int(checkpoint.name.split("-")[1]) < steps[1]

    resumed = train(stage, start, tmp_path / "killed", method=method)
    assert_as_if_undisturbed(resumed, undisturbed(stage, method))


@pytest.mark.slow
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
    start = str(stage1_model)
    said = kill_at(stage, start, tmp_path / "told", told_at, by=signal.SIGTERM)
    assert f"stage {stage}: SIGTERM; saves a checkpoint of step {saved} and ends\n" in said
    checkpoint = latest_complete_checkpoint(tmp_path / "told" / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.name == f"checkpoint-{saved}"

    resumed = train(stage, start, tmp_path / "told")
    assert_as_if_undisturbed(resumed, undisturbed(stage))


@pytest.mark.slow
def test_two_processes_told_to_end_save_a_checkpoint_of_both(
    stage1_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("R2D_PROCESSES", "2")
    said = kill_at("2", str(stage1_model), tmp_path, 3, by=signal.SIGTERM)
    checkpoint = latest_complete_checkpoint(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert f"SIGTERM; saves a checkpoint of step {checkpoint.name.split('-')[1]} and ends" in said
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in checkpoint.iterdir()}


@pytest.mark.slow
def test_a_checkpoint_whose_writing_was_cut_off_is_skipped_with_a_warning(
    stage1_model: Path,
    undisturbed: Callable[..., StageResult],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    start = str(stage1_model)
    kill_at("2", start, tmp_path / "killed", 21)
    checkpoints = tmp_path / "killed" / "checkpoints"
    newest = latest_complete_checkpoint(checkpoints)
    assert newest is not None
    (newest / COMPLETE_MARKER).unlink()
    (newest / "model.safetensors").write_bytes(b"cut off")

    resumed = train("2", start, tmp_path / "killed")
    assert f"checkpoint {newest} was not written to its end" in caplog.text
    assert_as_if_undisturbed(resumed, undisturbed("2"))


@pytest.mark.slow
@pytest.mark.parametrize("written", ["model.safetensors", "optimizer.pt", "trainer_state.json", COMPLETE_MARKER])
def test_a_run_killed_while_a_checkpoint_is_being_written_loses_no_bit(
    written: str, stage1_model: Path, undisturbed: Callable[..., StageResult], tmp_path: Path
) -> None:
    """Killed as soon as that file of checkpoint 8 is there; what is resumed from is a whole one, 4 or 8."""
    start = str(stage1_model)
    newest = tmp_path / "killed" / "checkpoints" / "checkpoint-8"
    kill_at("2", start, tmp_path / "killed", str(newest / written))
    assert newest.exists()
    assert not newest.with_name("checkpoint-12").exists()

    resumed = train("2", start, tmp_path / "killed")
    assert_as_if_undisturbed(resumed, undisturbed("2"))
    assert resumed.training_seconds > 0


@pytest.fixture(scope="module")
def killed(stage1_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a Stage 2 killed at step 9; to be copied before it is gone on with."""
    work_dir = tmp_path_factory.mktemp("killed")
    kill_at("2", str(stage1_model), work_dir, 9)
    return work_dir


@pytest.mark.slow
def test_a_run_with_another_config_does_not_go_on_from_the_checkpoint(
    stage1_model: Path, killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(killed, tmp_path / "killed")
    changed = STAGE2.model_copy(update={"learning_rate": 1e-4, "patience": 9})
    monkeypatch.setattr("tests.training.killed_run.STAGE2", changed)
    with pytest.raises(TrainingError, match=r"training\.learning_rate: 0\.005 in the checkpoint, 0\.0001 now\nRemove"):
        train("2", str(stage1_model), tmp_path / "killed")
    less_memory = STAGE2.model_copy(update={"gradient_accumulation_steps": 4})
    monkeypatch.setattr("tests.training.killed_run.STAGE2", less_memory)
    assert train("2", str(stage1_model), tmp_path / "killed").stopped_at_step == STAGE2.max_steps


@pytest.mark.slow
def test_a_checkpoint_holds_tokenizer_label_set_and_config_beside_the_weights(killed: Path) -> None:
    checkpoint = latest_complete_checkpoint(killed / "checkpoints")
    assert checkpoint is not None
    names = {path.name for path in checkpoint.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "reason2decide.json", "trainer_state.json"} <= names
