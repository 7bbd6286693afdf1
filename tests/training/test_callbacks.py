"""A loss that is no number or explodes ends the run where it happens; memory that runs out says what to change.

The limit of memory is simulated at the outermost edge, the call of the backend, which raises there what torch raises.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainerControl

from r2d.config.training import MethodConfig, Stage2Config
from r2d.data.examples import with_columns
from r2d.errors import TrainingError
from r2d.modeling.backends.backend import Losses, Task
from r2d.modeling.backends.packed import PackedT5
from r2d.training.callbacks import LossGuard, is_out_of_memory
from r2d.training.stage2 import train_stage2
from r2d.training.trainer import StageTrainer
from r2d.training.work import StageWork
from tests.conftest import changed
from tests.training.conftest import assert_same_weights

STEP = 7
MOST_ROWS = 3


def spoilt_run(
    work: StageWork[Stage2Config], change: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> tuple[str, list[str]]:
    """Change the weights so that step `STEP` is the first to see it: the error, and the places of the step's rows."""
    places: list[str] = []
    original = StageTrainer.compute_loss

    def compute_loss(self: StageTrainer, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        step = self.state.global_step + 1
        if step >= STEP:
            with torch.no_grad():
                change(model)
        places.extend(inputs["batch"]["place"] if step == STEP else [])
        return original(self, model, inputs, *rest, **named)

    monkeypatch.setattr(StageTrainer, "compute_loss", compute_loss)
    with pytest.raises(TrainingError) as raised:
        train_stage2(work)
    return str(raised.value), places


@pytest.mark.parametrize("parts", [1, 2])
def test_a_weight_that_is_no_number_stops_training_at_its_step_with_the_rows_and_the_last_good_checkpoint(
    work: StageWork[Stage2Config], monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    def spoil(model: Any) -> None:
        model.get_input_embeddings().weight[0, 0] = math.nan
        model.lm_head.weight[:] = math.nan

    places = [f"toy.csv: row {number}" for number in range(work.examples.num_rows)]
    placed = replace(work, examples=with_columns(work.examples, place=places))
    message, rows = spoilt_run(changed(placed, gradient_accumulation_steps=parts), spoil, monkeypatch)
    named = "toy.csv: " + ", ".join(row.removeprefix("toy.csv: ") for row in rows)
    assert f"stage 2: the loss is nan at step {STEP}, on rows {named}. " in message
    assert f"the last good checkpoint is {work.work_dir / 'checkpoints' / 'checkpoint-5'}" in message
    assert "learning_rate (now 0.005)" in message
    assert not any(cell in message for name in ("id", "text") for cell in work.examples[name].to_pylist())


def step(
    guard: LossGuard, number: int, losses: list[float], *, model: Any = None, output_dir: Path = Path("none"),
    device: str = "cpu", **control: bool,
) -> None:  # fmt: skip
    """An optimiser step of micro-batches with these losses, as the Trainer reports it."""
    for part, loss in enumerate(losses):
        guard.add(torch.tensor(loss), {"place": [f"a.csv: row {number}-{part}", f"b.csv: row {number}-{part}"]})  # type: ignore[arg-type]
    arguments = SimpleNamespace(
        device=torch.device(device), output_dir=str(output_dir), learning_rate=1e-3, max_grad_norm=1.0, bf16=False
    )
    guard.on_step_end(arguments, SimpleNamespace(global_step=number), TrainerControl(**control), model=model)


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
    with pytest.raises(TrainingError, match=r"the loss is nan at step 4, on rows a\.csv: row 4-1; b\.csv: row 4-1\. "):
        step(guard, 10, [1.0, 1.0], output_dir=tmp_path, device="cuda", should_log=True)


@given(losses=st.lists(st.floats(0.01, 8.0), min_size=1, max_size=60))
def test_losses_below_where_training_began_never_stop_it(losses: list[float]) -> None:
    guard = LossGuard("stage 2", max_loss_growth=2)
    for number, loss in enumerate([8.0] * 10 + losses, start=1):
        step(guard, number, [loss])


@given(rationale=st.floats(1e-4, 1.0), label=st.floats(0.1, 20.0), warmup=st.integers(1, 200))
def test_a_label_loss_that_joins_with_alpha_never_stops_training(rationale: float, label: float, warmup: int) -> None:
    """Stage 1 may leave a rationale loss of 0.003, and alpha begins at 0."""
    guard = LossGuard("stage 2", max_loss_growth=10)
    for number in range(2 * warmup + 20):
        alpha = 0.7 * min(1.0, number / warmup)
        step(guard, number + 1, [alpha * label + (1 - alpha) * rationale])


@given(before=st.lists(st.floats(0.5, 2.0), min_size=10, max_size=150), at=st.integers(0, 3))
def test_four_bad_steps_are_borne_and_five_are_not_also_across_a_resume(before: list[float], at: int) -> None:
    guard = LossGuard("stage 2", max_loss_growth=10)
    losses = [*before, *[50.0] * 4, 1.0, *[50.0] * 5]
    resumed_at = len(before) + 5 + at
    for number, loss in enumerate(losses, start=1):
        if number - 1 == resumed_at:
            kept = {"LossGuard": guard.state()}
            guard = LossGuard("stage 2", max_loss_growth=10)
            guard.on_train_begin(None, SimpleNamespace(global_step=number - 1, stateful_callbacks=kept), None)
        if number == len(losses):
            message = f"50 at step {number} is the last of 5 in a row above 10 times the median.*raise max_loss_growth"
            with pytest.raises(TrainingError, match=message):
                step(guard, number, [loss])
        else:
            step(guard, number, [loss])


@pytest.fixture
def rows_seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each training pass, in order; more than `MOST_ROWS` do not fit."""
    seen: list[int] = []
    original = PackedT5.losses

    def losses(self: PackedT5, tasks: Sequence[Task[Any]]) -> Losses:
        if torch.is_grad_enabled():
            seen.append(len(tasks[0].targets))
            if seen[-1] > MOST_ROWS:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return original(self, tasks)

    monkeypatch.setattr(PackedT5, "losses", losses)
    return seen


def test_out_of_memory_names_what_to_change_in_order_with_present_values(
    work: StageWork[Stage2Config], rows_seen: list[int]
) -> None:
    with pytest.raises(TrainingError) as raised:
        train_stage2(work)
    lines = str(raised.value).splitlines()
    assert lines[0].startswith("stage 2: out of memory on ")
    assert "with 8 rows at once" in lines[0]
    assert " ".join(line.split()[1] for line in lines[1:-1]) == (
        "stage2.gradient_accumulation_steps stage2.activation_checkpointing: model.max_input_tokens "
        "model.max_rationale_tokens a"
    )
    assert "from 1 to 2, or stage2.auto_batch: true" in lines[1]
    assert "batch_size stays 8" in lines[1]


@pytest.mark.parametrize("method", ["r2d", "r2d_c"])
def test_auto_batch_takes_the_largest_parts_that_fit_and_trains_as_if_they_had_been_configured(
    work: StageWork[Stage2Config], rows_seen: list[int], method: str, caplog: pytest.LogCaptureFixture
) -> None:
    work = changed(replace(work, method=MethodConfig(name=method)), max_steps=8)
    configured = train_stage2(changed(work, gradient_accumulation_steps=4))
    rows_seen.clear()
    with caplog.at_level(logging.INFO, logger="r2d"):
        chosen = train_stage2(changed(replace(work, work_dir=work.work_dir / "auto"), auto_batch=True))
    assert max(rows_seen[2:]) <= 2, "8 and 4 rows do not fit, 2 do"
    assert chosen.summary()["gradient_accumulation_steps"] == 4
    assert "auto_batch: 2 rows at once fit: gradient_accumulation_steps is 4" in caplog.text
    assert_same_weights(chosen, configured)  # trying must leave no trace


def test_auto_batch_gives_up_where_not_even_one_row_fits(
    work: StageWork[Stage2Config], rows_seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.MOST_ROWS", 0)
    with pytest.raises(TrainingError, match=r"\n  1\. stage2\.activation_checkpointing: true") as raised:
        train_stage2(changed(work, auto_batch=True))
    assert rows_seen == [8, 4, 2, 1]
    assert "with 1 row at once" in str(raised.value)


def test_what_torch_raises_on_a_cpu_is_known() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60)
    assert is_out_of_memory(raised.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))
