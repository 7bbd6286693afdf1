"""Memory: what to change when it runs out, and `auto_batch`, which finds out before training how much fits."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from r2d.config.model import ModelConfig
from r2d.config.training import StageConfig
from r2d.errors import TrainingError
from r2d.training.ranks import num_ranks

if TYPE_CHECKING:
    from r2d.training.trainer import StageTrainer

logger = logging.getLogger(__name__)

CPU_MESSAGES = ("can't allocate memory", "not enough memory")
"""What torch's CPU allocator says in a plain RuntimeError (`std::bad_alloc` is one too)."""

StageT = TypeVar("StageT", bound=StageConfig)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on a GPU or in the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in (*CPU_MESSAGES, "bad_alloc"))


@contextmanager
def memory_explained(stage: str, config: StageConfig, model: ModelConfig) -> Iterator[None]:
    """Turn running out of memory into a `TrainingError` that says what to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(_what_to_change(stage, config, model)) from error


def with_fitting_parts(make_trainer: Callable[[StageT], StageTrainer], config: StageT, model: ModelConfig) -> StageT:
    """The config with the smallest `gradient_accumulation_steps` whose micro-batches fit into memory.

    Tries a forward and backward pass over the longest rows, with room kept for the optimiser's state, for one divisor
    of `batch_size` after the other. Trainers made for it are thrown away; weights and random state stay as they were.
    The decodes of Stage 2 and of validation are not tried: without gradients they need less.

    Raises:
        TrainingError: not even one row fits, or there are several processes, which would have to try together.
    """
    if num_ranks() > 1:
        raise TrainingError(
            f"auto_batch tries on one process; found {num_ranks()}. Set gradient_accumulation_steps by hand (run once "
            "with one process and auto_batch to find it) and auto_batch: false"
        )
    for parts in divisors(config.batch_size, at_least=config.gradient_accumulation_steps):
        tried = config.model_copy(update={"gradient_accumulation_steps": parts})
        rows = config.batch_size // parts
        trainer = make_trainer(tried)
        try:
            _try_longest_rows(trainer)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if rows == 1:
                raise TrainingError(_what_to_change(trainer.stage_name, tried, model)) from error
            logger.info("auto_batch: %s at once do not fit", _rows(rows))
        else:
            logger.info("auto_batch: %s at once fit: gradient_accumulation_steps is %d", _rows(rows), parts)
            return tried
        _free()
    raise AssertionError("batch_size is a divisor of itself")


def divisors(number: int, *, at_least: int) -> list[int]:
    """Ascending."""
    return [one for one in range(at_least, number + 1) if number % one == 0]


def _try_longest_rows(trainer: StageTrainer) -> None:
    """Two backward passes with the optimiser's state in memory: the second meets the gradients of the first."""
    dataset, device = trainer.train_dataset, trainer.args.device
    longest = np.argsort(-np.asarray(dataset.lengths), kind="stable")[: trainer.args.train_batch_size]
    inputs = trainer.data_collator([dataset[int(row)] for row in longest])
    trained = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        trainer.model.train()
        try:
            held = [torch.zeros_like(parameter) for parameter in trained for _ in ("exp_avg", "exp_avg_sq")]
            for _ in range(2):
                _, num_tokens = trainer.get_batch_samples(iter([inputs]), 1, device)
                with trainer.compute_loss_context_manager():
                    loss = trainer.compute_loss(trainer.model, inputs, num_items_in_batch=num_tokens)
                loss.backward()
            del held
        finally:
            trainer.model.zero_grad(set_to_none=True)


def _free() -> None:
    """Give back what a failed try has left: its trainer lives in cycles."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _what_to_change(stage: str, config: StageConfig, model: ModelConfig) -> str:
    """The knobs in the order in which they change the result least, with their present values."""
    section, parts = stage.replace(" ", ""), config.gradient_accumulation_steps
    rows = config.batch_size // parts
    larger = divisors(config.batch_size, at_least=parts + 1)
    advice = []
    if larger:
        automatic = "" if config.auto_batch else f", or {section}.auto_batch: true, which finds the value"
        advice.append(
            f"{section}.gradient_accumulation_steps from {parts} to {larger[0]}{automatic} (the same result, as "
            f"batch_size stays {config.batch_size})"
        )
    if not config.activation_checkpointing:
        advice.append(f"{section}.activation_checkpointing: true (the same losses, more time)")
    advice.append(f"model.max_input_tokens below {model.max_input_tokens} (cuts longer notes)")
    advice.append(f"model.max_rationale_tokens below {model.max_rationale_tokens} (cuts longer rationales)")
    advice.append(f"a smaller model than {model.name!r}")
    numbered = "".join(f"\n  {number}. {one}" for number, one in enumerate(advice, start=1))
    return (
        f"{stage}: out of memory on {_device()}, with {_rows(rows)} at once. What helps, in the order in which it "
        f"changes the result least:{numbered}\nAfter a change in `{section}` the same work_dir goes on from its last "
        "checkpoint"
    )


def _rows(number: int) -> str:
    return f"{number} row{'s' if number > 1 else ''}"


def _device() -> str:
    if not torch.cuda.is_available():
        return "this machine (no GPU is used)"
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"
