"""A step of 8 rows is the same step in one piece, in two parts, and on two processes of one machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch

from r2d.config.training import MethodName
from r2d.data.examples import split_of
from r2d.errors import ConfigError, R2DError, TrainingError
from r2d.training import distributed
from r2d.training.checkpointing import latest_complete_checkpoint
from r2d.training.distributed import Node, num_processes, start_ranks
from r2d.training.stage2 import train_stage2
from r2d.training.work import StageResult, ranks_folder, write_work
from tests.training.conftest import assert_same_weights, ranks_work, weights_of
from tests.training.watched_rank import report_file

# Sums in another order differ in the last of float32's 7 digits; 12 steps of Adam at 1e-3 have kept that at 2.4e-7.
WEIGHTS_ATOL = 1e-5
LOSS_ATOL = 1e-5
SAME_METRICS = (
    "loss", "label_loss", "rationale_loss", "cycle_loss", "predicted_label_fraction", "alpha", "pi", "tau",
    "confidence", "grad_norm",
)  # fmt: skip
OTHER_METHODS = [name for name in get_args(MethodName) if name != "stage2_only"]


@pytest.fixture(scope="module")
def two_processes() -> Any:
    """Training starts two ranks on the CPU, 4 rows of a step each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setenv("R2D_PROCESSES", "2")
        patch.setattr(distributed, "RANK_MODULE", "tests.training.watched_rank")
        yield patch


@pytest.fixture(scope="module")
def one_piece(tmp_path_factory: pytest.TempPathFactory) -> StageResult:
    """One process with 8 rows at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("R2D_PROCESSES", "1")
        return train_stage2(ranks_work(tmp_path_factory.mktemp("one-piece")))


@pytest.fixture(scope="module")
def causal_in_one_piece(causal_model: Path, tmp_path_factory: pytest.TempPathFactory) -> StageResult:
    """The same of a causal model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("R2D_PROCESSES", "1")
        return train_stage2(ranks_work(tmp_path_factory.mktemp("causal-in-one-piece"), start=causal_model))


@pytest.fixture(scope="module")
def two_ranks(two_processes: Any, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    work_dir = tmp_path_factory.mktemp("two-ranks")
    logged: list[tuple[int, Mapping[str, float]]] = []
    result = train_stage2(ranks_work(work_dir), lambda step, metrics: logged.append((step, metrics)))
    reports = [json.loads(report_file(work_dir, rank).read_text(encoding="utf-8")) for rank in (0, 1)]
    return SimpleNamespace(work_dir=work_dir, result=result, logged=logged, reports=reports)


def assert_same_training(ours: StageResult, theirs: StageResult) -> None:
    for name in ("selected_step", "metric", "stopped_at_step"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.best_value == pytest.approx(theirs.best_value, abs=LOSS_ATOL)
    for mine, other in zip(ours.history, theirs.history, strict=True):
        assert mine.keys() == other.keys()
        for name in mine:
            if name in SAME_METRICS or name.startswith("eval_"):
                assert mine[name] == pytest.approx(other[name], abs=LOSS_ATOL), (mine["step"], name)
    torch.testing.assert_close(weights_of(ours), weights_of(theirs), rtol=0.0, atol=WEIGHTS_ATOL)


@pytest.mark.slow
def test_two_parts_of_a_step_train_as_one_piece(
    one_piece: StageResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("R2D_PROCESSES", "1")
    assert_same_training(one_piece, train_stage2(ranks_work(tmp_path, parts=2)))


@pytest.mark.slow
def test_two_parts_of_a_step_train_a_causal_model_as_one_piece(
    causal_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("R2D_PROCESSES", "1")
    one, two = (train_stage2(ranks_work(tmp_path / str(n), n, "r2d_c", causal_model)) for n in (1, 2))
    assert_same_training(one, two)


@pytest.mark.slow
def test_two_processes_train_as_one_though_they_decode_different_numbers_of_rows(
    one_piece: StageResult, two_ranks: SimpleNamespace
) -> None:
    records = two_ranks.result.history
    fractions = [record["predicted_label_fraction"] for record in records if "predicted_label_fraction" in record]
    assert 0.0 < fractions[0] < 0.9
    assert_same_training(one_piece, two_ranks.result)
    assert [step for step, metrics in two_ranks.logged if "eval_loss" in metrics] == [3, 6, 9, 12]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "killed_at"), [("t5", ""), ("causal", ""), ("causal", "6")])
def test_four_processes_train_as_one_and_go_on_as_two_where_they_are_killed(
    family: str,
    killed_at: str,
    one_piece: StageResult,
    causal_in_one_piece: StageResult,
    causal_model: Path,
    two_processes: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two rows of a step each, of which `r2d` draws none, one or both."""
    alone = one_piece if family == "t5" else causal_in_one_piece
    work = ranks_work(tmp_path, start=None if family == "t5" else causal_model)
    monkeypatch.setenv("R2D_PROCESSES", "4")
    if killed_at:
        monkeypatch.setenv("KILL_AT_STEP", killed_at)
        with pytest.raises(TrainingError, match="a training process ended with exit code"):
            train_stage2(work)
        monkeypatch.delenv("KILL_AT_STEP")
        monkeypatch.setenv("R2D_PROCESSES", "2")
    together = train_stage2(work)
    if not killed_at:
        assert_same_training(alone, together)
    torch.testing.assert_close(weights_of(together), weights_of(alone), rtol=0.0, atol=WEIGHTS_ATOL)


@pytest.mark.slow
def test_the_first_rank_alone_writes_the_model_and_all_are_given_the_same_result(two_ranks: SimpleNamespace) -> None:
    first, second = two_ranks.reports
    assert "save_weights" in first["written"]
    assert first["written"][-1] == "finish_model_folder"
    assert second["written"] == []
    first, second = ({k: v for k, v in report["summary"].items() if "second" not in k} for report in two_ranks.reports)
    assert first == second
    names = {path.name for path in two_ranks.work_dir.iterdir()}
    assert names == {"best", "work", "lock", "holder.json", "report-of-rank-0.json", "report-of-rank-1.json"}


@pytest.mark.slow
def test_each_rank_keeps_a_share_of_the_optimiser_s_state(two_ranks: SimpleNamespace) -> None:
    """Adam's two numbers for each parameter, and a count of steps for each tensor."""
    weights = weights_of(two_ranks.result).values()
    whole = sum(2 * weight.numel() + 1 for weight in weights)
    shares = [report["state"] for report in two_ranks.reports]
    assert sum(shares) == whole
    assert max(shares) < 0.7 * whole


@pytest.mark.slow
def test_two_processes_killed_after_a_checkpoint_end_with_the_bits_of_a_run_never_killed(
    two_ranks: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KILL_AT_STEP", "6")
    with pytest.raises(TrainingError, match=r"exit code 1; the first that ended was rank 0 .*, exitcode -9 "):
        train_stage2(ranks_work(tmp_path))
    checkpoint = latest_complete_checkpoint(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-4"
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in checkpoint.iterdir()}

    monkeypatch.delenv("KILL_AT_STEP")
    resumed = train_stage2(ranks_work(tmp_path))
    assert_same_weights(resumed, two_ranks.result)
    ours, theirs = ([row for row in result.history if "eval_loss" in row] for result in (resumed, two_ranks.result))
    assert ours == theirs


@pytest.mark.slow
@pytest.mark.parametrize("method", OTHER_METHODS)
def test_every_method_begun_on_two_processes_and_resumed_on_one_trains_as_on_one_alone(
    method: MethodName, two_processes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`r2d_c` renews tau at steps 2, 5 and 8 from the confidences of both, and has some of both at the checkpoint."""
    monkeypatch.setenv("KILL_AT_STEP", "12")
    logged: list[Mapping[str, float]] = []
    with pytest.raises(TrainingError, match="a training process ended with exit code"):
        train_stage2(ranks_work(tmp_path / "two", method=method), lambda step, metrics: logged.append(metrics))
    checkpoint = latest_complete_checkpoint(tmp_path / "two" / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-8"
    monkeypatch.setenv("R2D_PROCESSES", "1")
    resumed, alone = (train_stage2(ranks_work(tmp_path / name, method=method)) for name in ("two", "one"))
    torch.testing.assert_close(weights_of(resumed), weights_of(alone), rtol=0.0, atol=WEIGHTS_ATOL)
    ours, theirs = ([row for row in result.history if "eval_loss" in row] for result in (resumed, alone))
    assert [row["step"] for row in ours] == [3, 6, 9, 12]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, abs=LOSS_ATOL)
    (together,), (record,) = ([row for row in rows if "loss" in row] for rows in (logged, alone.history))
    for name in record.keys() & SAME_METRICS:
        assert together[name] == pytest.approx(record[name], abs=LOSS_ATOL), name
    if method == "r2d_c":
        assert 0 < record["tau"] < 1
        assert 0 < record["predicted_label_fraction"] < record["pi"]


@pytest.mark.slow
def test_what_a_rank_raises_is_raised_here(two_processes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R2D_PROCESSES", "1")
    work = ranks_work(tmp_path)
    write_work(replace(work, examples=split_of(work.examples, "train")))
    with pytest.raises(TrainingError, match="stage 2: the validation split is empty"):
        start_ranks(tmp_path)


@pytest.mark.parametrize(
    ("wrote", "told"),
    [
        (("UnexpectedError", "TrainingError"), r"^reason 1$"),
        (("UnexpectedError", "UnexpectedError"), r"^reason 0$"),
        (("UnexpectedError",), r"exit code 1; the first that ended was rank 1 \(local_rank: 1\), exitcode -9 "
         r".*\n  failure-of-rank-0: reason 0$"),
        ((), r"the first that ended was torch.distributed.run itself;.*why$"),
    ],
)  # fmt: skip
def test_an_end_of_ranks_says_its_reason_or_who_ended_first(
    wrote: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unforeseen error stands for the end where every rank has one, and beside it where another ended in silence."""
    monkeypatch.setenv("R2D_PROCESSES", "2")
    summary = ["[0]:", "  rank      : 0 (local_rank: 0)", "  exitcode  : 1 (pid: 6)"]
    summary += ["Root Cause", "  rank      : 1 (local_rank: 1)", "  exitcode  : -9 (pid: 7)"]

    def start(command: list[str], **options: Any) -> SimpleNamespace:
        ranks_folder(tmp_path).mkdir()
        for rank, kind in enumerate(wrote):
            failure = {"kind": kind, "message": f"reason {rank}"}
            (ranks_folder(tmp_path) / f"failure-of-rank-{rank}.json").write_text(json.dumps(failure), encoding="utf-8")
        return SimpleNamespace(stdout=summary if wrote else [], terminate=lambda: None, wait=lambda: 1)

    monkeypatch.setattr(distributed.subprocess, "Popen", start)
    with pytest.raises(R2DError, match=told):
        start_ranks(tmp_path)


def test_a_batch_that_cannot_be_divided_evenly_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R2D_PROCESSES", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(TrainingError) as caught:
        train_stage2(ranks_work(tmp_path, parts=2))
    assert str(caught.value) == (
        "batch_size 8 cannot be divided into 2 gradient_accumulation_steps on 3 processes; choose a multiple of 6"
    )


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
    commands: list[list[str]] = []

    def start(command: list[str], **options: Any) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(stdout=(), terminate=lambda: None, wait=lambda: 0)

    monkeypatch.setattr(distributed.subprocess, "Popen", start)
    start_ranks(tmp_path, node=Node(rank=1, count=2, main_address="first.invalid", main_port=29500))
    assert {"--nnodes=2", "--node-rank=1", "--master-addr=first.invalid", "--master-port=29500"} <= set(commands[0])
