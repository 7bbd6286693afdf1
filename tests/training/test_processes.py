"""A stage on several processes of one machine: the same door, the same result, the same errors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from r2d.config.training import MethodConfig
from r2d.data.examples import split_of
from r2d.errors import ConfigError, TrainingError
from r2d.training import processes
from r2d.training.processes import Node, num_processes, start_ranks, train_stage2, write_work
from tests.conftest import TOY_LABELS, toy_examples
from tests.training.ranks_run import MODEL, STAGE2, train_toy
from tests.training.test_ranks import LOSS_ATOL, WEIGHTS_ATOL

METHOD = MethodConfig(name="stage2_only")


@pytest.mark.slow
def test_two_processes_give_the_weights_the_figures_and_the_result_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    one = train_toy(tmp_path / "one", parts=1)
    monkeypatch.setenv("R2D_PROCESSES", "2")
    seen: list[tuple[int, Mapping[str, float]]] = []
    two = train_stage2(
        toy_examples(),
        None,
        config=STAGE2,
        model=MODEL,
        labels=TOY_LABELS,
        work_dir=tmp_path / "two",
        method=METHOD,
        on_log=lambda step, figures: seen.append((step, figures)),
    )
    assert (two.selected_step, two.metric, two.stopped_at_step) == (one.selected_step, one.metric, one.stopped_at_step)
    assert two.best_value == pytest.approx(one.best_value, abs=LOSS_ATOL)
    assert [step for step, figures in seen if "eval_loss" in figures] == [3, 6, 9, 12]
    weights = load_file(two.model_folder / "model.safetensors")
    for name, weight in load_file(one.model_folder / "model.safetensors").items():
        torch.testing.assert_close(weights[name], weight, rtol=0.0, atol=WEIGHTS_ATOL)


@pytest.mark.slow
def test_what_a_rank_raises_is_raised_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("R2D_PROCESSES", "1")
    training_alone = split_of(toy_examples(), "train")
    write_work(tmp_path, training_alone, config=STAGE2, model=MODEL, labels=TOY_LABELS, method=METHOD)
    with pytest.raises(TrainingError, match="stage 2: the validation split is empty"):
        start_ranks(tmp_path)


def test_the_number_of_processes_is_that_of_the_gpus_or_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("R2D_PROCESSES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert num_processes() == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert num_processes() == 4
    monkeypatch.setenv("R2D_PROCESSES", "2")
    assert num_processes() == 2
    for wrong in ("0", "many"):
        monkeypatch.setenv("R2D_PROCESSES", wrong)
        with pytest.raises(ConfigError, match=f"R2D_PROCESSES: found '{wrong}'"):
            num_processes()


def test_a_node_of_several_meets_the_others_at_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R2D_PROCESSES", "1")
    write_work(tmp_path, toy_examples(), config=STAGE2, model=MODEL, labels=TOY_LABELS, method=METHOD)
    commands: list[list[str]] = []

    def followed(command: list[str], on_log: object) -> int:
        commands.append(command)
        return 0

    monkeypatch.setattr(processes, "_followed", followed)
    start_ranks(tmp_path, node=Node(rank=1, count=2, main_address="first.invalid", main_port=29500))
    assert {"--nnodes=2", "--node-rank=1", "--master-addr=first.invalid", "--master-port=29500"} <= set(commands[0])
