"""A run killed without warning and started again ends with the bits it would have ended with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from r2d.errors import TrainingError
from r2d.modeling.load import load_pretrained
from r2d.training.checkpoints import COMPLETE_MARKER, latest_complete_checkpoint
from tests.training.killed_run import STAGE2, train

ROOT = Path(__file__).resolve().parents[2]


def kill_at(stage: str, start: str, work_dir: Path, when: int | str, method: str = "r2d") -> None:
    command = [sys.executable, "-m", "tests.training.killed_run", stage, start, str(work_dir), str(when), method]
    finished = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert finished.returncode == -signal.SIGKILL, finished.stderr[-2000:]


def without_times(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in summary.items() if "second" not in name}


def assert_bit_equal(ours: Path, theirs: Path) -> None:
    ours_model, theirs_model = load_pretrained(str(ours))[0], load_pretrained(str(theirs))[0]
    for (name, a), b in zip(ours_model.named_parameters(), theirs_model.parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "method", "steps"),
    [
        ("1", "r2d", (9, 18)),
        *[("2", method, (9, 21)) for method in ("r2d", "r2d_c", "sft", "dss", "stage2_only", "no_sampling")],
    ],
)
def test_a_run_killed_twice_gives_the_weights_and_the_curve_of_one_never_killed(
    stage: str, method: str, steps: tuple[int, int], stage1_model: Path, tmp_path: Path
) -> None:
    start = str(stage1_model)
    undisturbed = train(stage, start, tmp_path / "undisturbed", method=method)
    for step in steps:
        kill_at(stage, start, tmp_path / "killed", step, method)
    # Only the second kill leaves a later checkpoint: the run went on and did not begin anew.
    checkpoint = latest_complete_checkpoint(tmp_path / "killed" / "checkpoints")
    assert checkpoint is not None
    assert steps[0] < int(checkpoint.name.split("-")[1]) < steps[1]

    resumed = train(stage, start, tmp_path / "killed", method=method)
    assert without_times(resumed.summary()) == without_times(undisturbed.summary())
    assert_bit_equal(resumed.model_folder, undisturbed.model_folder)

    def evaluations(history: list[dict[str, float]]) -> list[dict[str, float]]:
        return [record for record in history if "eval_loss" in record]

    assert evaluations(resumed.history) == evaluations(undisturbed.history)


@pytest.mark.slow
def test_a_checkpoint_whose_writing_was_cut_off_is_skipped_with_a_warning(
    stage1_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start = str(stage1_model)
    undisturbed = train("2", start, tmp_path / "undisturbed")
    kill_at("2", start, tmp_path / "killed", 21)
    checkpoints = tmp_path / "killed" / "checkpoints"
    newest = latest_complete_checkpoint(checkpoints)
    assert newest is not None
    (newest / COMPLETE_MARKER).unlink()
    (newest / "model.safetensors").write_bytes(b"cut off")

    resumed = train("2", start, tmp_path / "killed")
    assert f"checkpoint {newest} was not written to its end" in caplog.text
    assert_bit_equal(resumed.model_folder, undisturbed.model_folder)


@pytest.mark.slow
@pytest.mark.parametrize("written", ["model.safetensors", "optimizer.pt", "trainer_state.json", COMPLETE_MARKER])
def test_a_run_killed_while_a_checkpoint_is_being_written_loses_no_bit(
    written: str, stage1_model: Path, tmp_path: Path
) -> None:
    """Killed as soon as that file of checkpoint 8 is there; what is resumed from is a whole one, 4 or 8."""
    start = str(stage1_model)
    undisturbed = train("2", start, tmp_path / "undisturbed")
    newest = tmp_path / "killed" / "checkpoints" / "checkpoint-8"
    kill_at("2", start, tmp_path / "killed", str(newest / written))
    assert newest.exists()
    assert not newest.with_name("checkpoint-12").exists()

    resumed = train("2", start, tmp_path / "killed")
    assert without_times(resumed.summary()) == without_times(undisturbed.summary())
    assert_bit_equal(resumed.model_folder, undisturbed.model_folder)
    assert resumed.training_seconds > 0


@pytest.mark.slow
def test_a_run_with_another_config_does_not_go_on_from_the_checkpoint(
    stage1_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at("2", str(stage1_model), tmp_path / "killed", 9)
    changed = STAGE2.model_copy(update={"learning_rate": 1e-4, "patience": 9})
    monkeypatch.setattr("tests.training.killed_run.STAGE2", changed)
    with pytest.raises(TrainingError, match=r"training\.learning_rate: 0\.005 in the checkpoint, 0\.0001 now\nRemove"):
        train("2", str(stage1_model), tmp_path / "killed")
    less_memory = STAGE2.model_copy(update={"gradient_accumulation_steps": 4})
    monkeypatch.setattr("tests.training.killed_run.STAGE2", less_memory)
    assert train("2", str(stage1_model), tmp_path / "killed").stopped_at_step == STAGE2.max_steps


@pytest.mark.slow
def test_a_checkpoint_holds_tokenizer_label_set_and_config_beside_the_weights(
    stage1_model: Path, tmp_path: Path
) -> None:
    kill_at("2", str(stage1_model), tmp_path / "killed", 9)
    checkpoint = latest_complete_checkpoint(tmp_path / "killed" / "checkpoints")
    assert checkpoint is not None
    names = {path.name for path in checkpoint.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "reason2decide.json", "trainer_state.json"} <= names
