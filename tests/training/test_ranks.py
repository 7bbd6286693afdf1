"""A step of 8 rows is the same step in one piece, in two parts, and on two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from r2d.errors import TrainingError
from r2d.training.checkpoints import latest_complete_checkpoint
from tests.training.ranks_run import STAGE2, result_file, train_toy

ROOT = Path(__file__).resolve().parents[2]
# Sums in another order differ in the last of float32's 7 digits; 12 steps of Adam at 1e-3 have kept that at 2.4e-7.
WEIGHTS_ATOL = 1e-5
LOSS_ATOL = 1e-5
SAME_FIGURES = ("loss", "label_loss", "rationale_loss", "predicted_label_fraction", "alpha", "pi", "grad_norm")
pytestmark = pytest.mark.slow


def start_two_ranks(work_dir: Path, kill_at_step: int = 0) -> subprocess.CompletedProcess[str]:
    """Two processes on one CPU, 4 rows each; the time limit is what a dead-lock runs into."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "tests.training.ranks_run", str(work_dir), "1", str(kill_at_step)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


def of_rank(work_dir: Path, rank: int) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(result_file(work_dir, rank).read_text(encoding="utf-8"))
    return result


@pytest.fixture(scope="module")
def one_piece(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, float]]]:
    """Work directory and history of one process with 8 rows at once."""
    work_dir = tmp_path_factory.mktemp("one-piece")
    return work_dir, train_toy(work_dir, parts=1).history


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work_dir = tmp_path_factory.mktemp("two-ranks")
    finished = start_two_ranks(work_dir)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return work_dir


def assert_same_training(
    ours: tuple[Path, list[dict[str, float]]], theirs: tuple[Path, list[dict[str, float]]]
) -> None:
    for mine, other in zip(ours[1], theirs[1], strict=True):
        assert mine.keys() == other.keys()
        for name in mine:
            if name in SAME_FIGURES or name.startswith("eval_"):
                assert mine[name] == pytest.approx(other[name], abs=LOSS_ATOL), (mine["step"], name)
    weights = load_file(ours[0] / "best" / "model.safetensors")
    for name, other_weight in load_file(theirs[0] / "best" / "model.safetensors").items():
        torch.testing.assert_close(weights[name], other_weight, rtol=0.0, atol=WEIGHTS_ATOL)


def test_two_parts_of_a_step_train_as_one_piece(one_piece: tuple[Path, list[dict[str, float]]], tmp_path: Path) -> None:
    assert_same_training(one_piece, (tmp_path, train_toy(tmp_path, parts=2).history))


def test_two_processes_train_as_one_though_they_decode_different_numbers_of_rows(
    one_piece: tuple[Path, list[dict[str, float]]], two_ranks: Path
) -> None:
    history = of_rank(two_ranks, 0)["history"]
    fractions = [record["predicted_label_fraction"] for record in history if "predicted_label_fraction" in record]
    assert 0.0 < fractions[0] < 0.9
    assert_same_training(one_piece, (two_ranks, history))


def test_the_first_rank_alone_writes_the_model_and_all_are_given_the_same_result(two_ranks: Path) -> None:
    first, second = of_rank(two_ranks, 0), of_rank(two_ranks, 1)
    assert "save_weights" in first["written"]
    assert first["written"][-1] == "finish_model_folder"
    assert second["written"] == []
    times = ("training_seconds", "num_examples_per_second")

    def without_times(summary: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in summary.items() if name not in times}

    assert without_times(first["summary"]) == without_times(second["summary"])
    assert {path.name for path in two_ranks.iterdir()} == {
        "best", "result-of-rank-0.json", "result-of-rank-1.json"
    }  # fmt: skip


def test_two_processes_killed_after_a_checkpoint_end_with_the_bits_of_a_run_never_killed(
    two_ranks: Path, tmp_path: Path
) -> None:
    assert start_two_ranks(tmp_path, kill_at_step=6).returncode != 0
    checkpoint = latest_complete_checkpoint(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-4"
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in checkpoint.iterdir()}

    finished = start_two_ranks(tmp_path)
    assert finished.returncode == 0, finished.stderr[-3000:]
    ours, theirs = (load_file(folder / "best" / "model.safetensors") for folder in (tmp_path, two_ranks))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    def evaluations(work_dir: Path) -> list[dict[str, float]]:
        return [record for record in of_rank(work_dir, 0)["history"] if "eval_loss" in record]

    assert evaluations(tmp_path) == evaluations(two_ranks)


def test_a_batch_that_cannot_be_dealt_out_evenly_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(TrainingError) as caught:
        train_toy(tmp_path, parts=2)
    assert str(caught.value) == (
        f"batch_size {STAGE2.batch_size} cannot be divided into 2 gradient_accumulation_steps on 3 processes; "
        "choose a multiple of 6"
    )
