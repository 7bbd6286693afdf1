"""A loss that is no number, or explodes, ends the run at the step where it happens; made to happen for real."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainerCallback

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.training import Stage2Config
from r2d.errors import TrainingError
from r2d.training import trainer as trainer_module
from r2d.training.loss_guard import LossGuard
from r2d.training.train import train_stage2
from r2d.training.trainer import StageTrainer

STEP = 7


class AtStep(TrainerCallback):
    """Changes the weights behind the last but one step, so that `STEP` is the first to see it."""

    def __init__(self, change: Any) -> None:
        self.change = change

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> None:
        if state.global_step + 1 >= STEP:
            with torch.no_grad():
                self.change(model)


def train_with(monkeypatch: pytest.MonkeyPatch, change: Any, **arguments: Any) -> tuple[str, list[str]]:
    """The message of the error, and the ids of the rows of step `STEP`."""
    seen: list[tuple[int, list[str]]] = []
    original = StageTrainer.compute_loss

    def compute_loss(self: StageTrainer, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        if self.state.global_step == 0 and not seen:
            self.add_callback(AtStep(change))
            self.callback_handler.callbacks[-1].on_step_begin(self.args, self.state, self.control, model)
        seen.append((self.state.global_step + 1, inputs["batch"]["id"]))
        return original(self, model, inputs, *rest, **named)

    monkeypatch.setattr(trainer_module.StageTrainer, "compute_loss", compute_loss)
    with pytest.raises(TrainingError) as raised:
        train_stage2(**arguments)
    return str(raised.value), [row for step, rows in seen if step == STEP for row in rows]


@pytest.fixture
def arguments(
    examples: pa.Table,
    stage1_model: Path,
    stage2_config: Stage2Config,
    model_config: ModelConfig,
    labels: LabelsConfig,
    tmp_path: Path,
) -> dict[str, Any]:
    return {
        "examples": examples, "stage1_model": stage1_model, "config": stage2_config, "model": model_config,
        "labels": labels, "work_dir": tmp_path,
    }  # fmt: skip


@pytest.mark.parametrize("parts", [1, 2])
def test_a_weight_that_is_no_number_stops_training_at_its_step_with_the_rows_and_the_last_good_checkpoint(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch, examples: pa.Table, parts: int
) -> None:
    arguments["config"] = arguments["config"].model_copy(update={"gradient_accumulation_steps": parts})

    def spoil(model: Any) -> None:
        model.get_input_embeddings().weight[0, 0] = math.nan
        model.lm_head.weight[:] = math.nan

    message, rows = train_with(monkeypatch, spoil, **arguments)
    assert f"stage 2: the loss is nan at step {STEP}, on rows {', '.join(rows)}. " in message
    assert f"the last good checkpoint is {arguments['work_dir'] / 'checkpoints' / 'checkpoint-5'}" in message
    assert "learning_rate (now 0.005)" in message
    assert not any(text in message for text in examples["text"].to_pylist())


def test_an_exploding_loss_stops_training_with_its_size(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    message, _ = train_with(monkeypatch, lambda model: model.lm_head.weight.normal_(0, 1000), **arguments)
    last = STEP + 4
    assert f"at step {last} is the last of 5 in a row above 10 times the median" in message
    assert "raise max_loss_growth" in message


def test_weights_that_are_no_numbers_are_never_written_to_a_checkpoint(tmp_path: Path) -> None:
    """The loss of the step is sound and its gradient is not: the next loss would tell, after a checkpoint."""
    guard = LossGuard("stage 2", max_loss_growth=10)
    model = torch.nn.Linear(2, 2)
    with torch.no_grad():
        model.weight[0, 1] = math.inf
    with pytest.raises(TrainingError, match="after step 5 the weights are no numbers"):
        step(guard, 5, [1.0], model=model, output_dir=tmp_path, should_save=True)


def test_on_a_gpu_losses_are_read_together_and_the_step_and_rows_are_named_exactly(tmp_path: Path) -> None:
    guard = LossGuard("stage 2", max_loss_growth=10)
    for number in range(1, 10):
        step(guard, number, [1.0, math.nan if number == 4 else 1.0], output_dir=tmp_path, device="cuda")
    with pytest.raises(TrainingError, match=r"the loss is nan at step 4, on rows 4-1-a, 4-1-b\. "):
        step(guard, 10, [1.0, 1.0], output_dir=tmp_path, device="cuda", should_log=True)


@given(losses=st.lists(st.floats(0.01, 8.0), min_size=1, max_size=60), seed=st.randoms())
def test_losses_below_where_training_began_never_stop_it(losses: list[float], seed: Any) -> None:
    guard = LossGuard("stage 2", max_loss_growth=2)
    for number, loss in enumerate([8.0] * 10 + losses, start=1):
        step(guard, number, [loss])


@given(before=st.lists(st.floats(0.5, 2.0), min_size=10, max_size=150), at=st.integers(0, 3))
def test_four_bad_steps_are_borne_and_five_are_not_also_across_a_resume(before: list[float], at: int) -> None:
    guard = LossGuard("stage 2", max_loss_growth=10)
    losses = [*before, *[50.0] * 4, 1.0, *[50.0] * 5]
    resumed_at = len(before) + 5 + at
    for number, loss in enumerate(losses, start=1):
        if number - 1 == resumed_at:
            kept = {"LossGuard": guard.state()}
            guard = LossGuard("stage 2", max_loss_growth=10)
            guard.on_train_begin(None, Named(global_step=number - 1, stateful_callbacks=kept), None)
        if number == len(losses):
            with pytest.raises(TrainingError, match="the loss explodes"):
                step(guard, number, [loss])
        else:
            step(guard, number, [loss])


class Named:
    """An object with these attributes, in place of the Trainer's."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


def step(
    guard: LossGuard, number: int, losses: list[float], *, model: Any = None, output_dir: Path = Path("none"),
    device: str = "cpu", **control: bool,
) -> None:  # fmt: skip
    """An optimiser step of micro-batches with these losses, as the Trainer reports it."""
    for part, loss in enumerate(losses):
        guard.saw(torch.tensor(loss), {"id": [f"{number}-{part}-a", f"{number}-{part}-b"]})  # type: ignore[arg-type]
    said = dict.fromkeys(("should_log", "should_save", "should_evaluate", "should_training_stop"), False) | control
    arguments = Named(
        device=torch.device(device), output_dir=str(output_dir), learning_rate=1e-3, max_grad_norm=1.0, bf16=False
    )
    guard.on_step_end(arguments, Named(global_step=number), Named(**said), model=model)
