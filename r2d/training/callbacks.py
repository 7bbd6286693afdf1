"""What watches over a run: a loss that is no number or explodes, signals to end, and memory that runs out."""

from __future__ import annotations

import gc
import logging
import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import Trainer, TrainerCallback

from r2d.config.model import ModelConfig
from r2d.config.training import StageConfig
from r2d.errors import DivergedError, TrainingError
from r2d.signals import leave, signals_caught
from r2d.text import plural
from r2d.training.checkpointing import ResumableCallback, latest_complete_checkpoint
from r2d.training.data import Batch
from r2d.training.distributed import any_rank, num_ranks

logger = logging.getLogger(__name__)

STEPS_OF_MEDIAN = 100
"""An explosion is measured against the median of this many sound steps."""
STEPS_OF_START = 10
"""The loss that training began with is the mean of this many steps, which are not judged: in the first, alpha is 0, so
that the label loss is not in it."""
STEPS_IN_A_ROW = 5
"""So many exploded steps end the run; one bad batch does not."""
NUM_ROWS_NAMED = 64
CPU_MESSAGES = ("can't allocate memory", "not enough memory", "bad_alloc")
"""Messages of torch's CPU allocator in a plain RuntimeError (`std::bad_alloc` is one too)."""

ConfigT = TypeVar("ConfigT", bound=StageConfig)


class LossGuard(ResumableCallback):
    """Stops a run whose loss is no number or explodes, and names the step and its rows.

    On a CPU at once. On a GPU, where reading a loss would hold up every step, losses are read together where the
    Trainer logs, evaluates or saves: up to ten steps later, but always before anything is kept.
    """

    kept = ("start", "recent", "num_exploded")

    def __init__(self, stage: str, *, max_loss_growth: float) -> None:
        self.stage, self.max_loss_growth = stage, max_loss_growth
        self.parts: list[tuple[Tensor, list[str]]] = []
        """Loss (scalar, on the device) of each micro-batch of the step under way, and the places of its rows."""
        self.unread: list[tuple[int, list[tuple[Tensor, list[str]]]]] = []
        """Steps with their parts."""
        self.start: list[float] = []
        self.recent: list[float] = []
        self.num_exploded = 0

    def add(self, loss: Tensor, batch: Batch) -> None:
        """Keep the loss of a micro-batch, weighted by the tokens of its whole step, until it is read."""
        self.parts.append((loss.detach(), batch["place"]))

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> None:
        self.unread.append((state.global_step, self.parts))
        self.parts = []
        is_kept_next = control.should_save or control.should_evaluate
        if args.device.type == "cpu" or control.should_log or is_kept_next or control.should_training_stop:
            unread, self.unread = self.unread, []
            losses = iter(torch.stack([loss.float() for _, parts in unread for loss, _ in parts]).tolist())
            for step, parts in unread:
                self._check(step, [(next(losses), places) for _, places in parts], args)
        if not is_kept_next:
            return
        are_finite = torch.stack([parameter.detach().isfinite().all() for parameter in model.parameters()])
        if not are_finite.all():
            raise DivergedError(
                f"{self.stage}: after step {state.global_step} the weights are no numbers, though the loss was one: "
                f"a gradient overflowed. {_advice(args)}"
            )

    def _check(self, step: int, parts: list[tuple[float, list[str]]], args: Any) -> None:
        loss = sum(part for part, _ in parts)
        places = [place for _, rows in parts for place in rows]
        if not math.isfinite(loss):
            spoilt = [place for part, rows in parts if not math.isfinite(part) for place in rows]
            raise DivergedError(
                f"{self.stage}: the loss is {loss} at step {step}, on rows {_named(spoilt or places)}. {_advice(args)}"
            )
        is_start = len(self.start) < STEPS_OF_START
        if is_start or loss <= self.max_loss_growth * median(self.recent) or loss <= fmean(self.start):
            self.num_exploded = 0
            self.recent = [*self.recent, loss][-STEPS_OF_MEDIAN:]
            self.start = [*self.start, loss][:STEPS_OF_START]
            return
        self.num_exploded += 1
        if self.num_exploded == STEPS_IN_A_ROW:
            raise DivergedError(
                f"{self.stage}: the loss explodes: {loss:.3g} at step {step} is the last of {STEPS_IN_A_ROW} in a row "
                f"above {self.max_loss_growth:g} times the median of the steps before ({median(self.recent):.3g}) and "
                f"above the loss that training began with ({fmean(self.start):.3g}); rows {_named(places)}. "
                f"{_advice(args)}, or raise max_loss_growth"
            )


def _named(places: list[str]) -> str:
    """The places of rows, each file once; an id may be a name, and a message is kept in logs and databases."""
    rows: dict[str, list[str]] = {}
    for place in places[:NUM_ROWS_NAMED]:
        file, _, row = place.rpartition(": ")
        rows.setdefault(file, []).append(row)
    more = f" and {len(places) - NUM_ROWS_NAMED} more" if len(places) > NUM_ROWS_NAMED else ""
    return "; ".join(f"{file}: {', '.join(of_file)}" for file, of_file in rows.items()) + more


def _advice(args: Any) -> str:
    checkpoint = latest_complete_checkpoint(Path(args.output_dir))
    last = f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint was written before"
    precision = ", use precision fp32" if args.bf16 else ""
    return (
        f"Look at those rows; {last}. Lower learning_rate (now {args.learning_rate:g}) or max_grad_norm "
        f"(now {args.max_grad_norm:g}){precision}"
    )


class SaveOnSignal(TrainerCallback):
    """On SIGINT or SIGTERM: the step under way is finished, or the evaluation, and a checkpoint written; then it ends.

    A second signal ends the process at once. With several ranks all save as soon as one was told. It must be the first
    callback: others look at what it asks for. transformers' own `enable_jit_checkpoint` (5.23) does less: no SIGINT,
    nothing after an evaluation, no agreement among ranks, and no `on_save`, which marks a checkpoint as complete.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.received: int | None = None
        self.is_announced = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while training; if a signal came, end as it would have: by `SystemExit` or the earlier handler."""

        def receive(number: int) -> None:
            self.received = number

        with signals_caught(receive, once=True):
            yield
        if self.received is not None:
            leave(self.received)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not any_rank(self.received is not None, args.device):
            return
        self.received = self.received or signal.SIGTERM
        control.should_save = control.should_training_stop = True
        if state.is_world_process_zero and not self.is_announced:
            self.is_announced = True
            name = signal.Signals(self.received).name
            logger.warning("%s: %s; saves a checkpoint of step %d and ends", self.stage, name, state.global_step)

    on_evaluate = on_step_end


# --- Memory ---


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on a GPU or in the machine."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in CPU_MESSAGES)


@contextmanager
def memory_explained(stage: str, config: StageConfig, model: ModelConfig) -> Iterator[None]:
    """Turn running out of memory into a `TrainingError` that says what to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(_memory_advice(stage, config, model)) from error


def fit_micro_batches(
    make_trainer: Callable[[ConfigT], Trainer], stage: str, config: ConfigT, model: ModelConfig
) -> ConfigT:
    """The config with the smallest `gradient_accumulation_steps` whose micro-batches fit into memory (`auto_batch`).

    Tries a forward and backward pass over the longest rows, with room kept for the optimiser's state, for one divisor
    of `batch_size` after the other; weights and random state stay as they were. Decodes are not tried: without
    gradients they need less.

    Raises:
        TrainingError: not even one row fits, or there are several processes, which would have to try together.
    """
    if num_ranks() > 1:
        raise TrainingError(
            f"auto_batch tries on one process; found {num_ranks()}. Set gradient_accumulation_steps by hand (run once "
            "with one process and auto_batch to find it) and auto_batch: false"
        )
    for parts in divisors(config.batch_size, at_least=config.gradient_accumulation_steps):
        candidate = config.model_copy(update={"gradient_accumulation_steps": parts})
        rows = plural(config.batch_size // parts, "row")
        try:
            _try_longest_rows(make_trainer(candidate))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if parts == config.batch_size:
                raise TrainingError(_memory_advice(stage, candidate, model)) from error
            logger.info("auto_batch: %s at once do not fit", rows)
        else:
            logger.info("auto_batch: %s at once fit: gradient_accumulation_steps is %d", rows, parts)
            return candidate
        gc.collect()  # the trainer of a failed try lives in cycles
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    raise AssertionError("batch_size is a divisor of itself")


def divisors(number: int, *, at_least: int) -> list[int]:
    """Divisors of `number` from `at_least` on, ascending."""
    return [divisor for divisor in range(at_least, number + 1) if number % divisor == 0]


def _try_longest_rows(trainer: Trainer) -> None:
    """Two backward passes with the optimiser's state in memory: the second meets the gradients of the first."""
    dataset, device = trainer.train_dataset, trainer.args.device
    longest = np.argsort(-dataset.lengths(), kind="stable")[: trainer.args.train_batch_size]
    inputs = trainer.data_collator([dataset[int(row)] for row in longest])
    trained = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        trainer.model.train()
        try:
            optimizer_state = [torch.zeros_like(parameter) for parameter in trained for _ in ("exp_avg", "exp_avg_sq")]
            for _ in range(2):
                _, num_tokens = trainer.get_batch_samples(iter([inputs]), 1, device)
                with trainer.compute_loss_context_manager():
                    loss = trainer.compute_loss(trainer.model, inputs, num_items_in_batch=num_tokens)
                loss.backward()
            del optimizer_state
        finally:
            trainer.model.zero_grad(set_to_none=True)


def _memory_advice(stage: str, config: StageConfig, model: ModelConfig) -> str:
    """The knobs in the order in which they change the result least, with their present values."""
    section, parts = stage.replace(" ", ""), config.gradient_accumulation_steps
    larger = divisors(config.batch_size, at_least=parts + 1)
    automatic = "" if config.auto_batch else f", or {section}.auto_batch: true, which finds the value"
    advice = [
        f"model.max_input_tokens below {model.max_input_tokens} (cuts longer notes)",
        f"model.max_rationale_tokens below {model.max_rationale_tokens} (cuts longer rationales)",
        f"a smaller model than {model.name!r}",
    ]
    if not config.activation_checkpointing:
        advice.insert(0, f"{section}.activation_checkpointing: true (the same losses, more time)")
    if larger:
        same = f"(the same result, as batch_size stays {config.batch_size})"
        advice.insert(0, f"{section}.gradient_accumulation_steps from {parts} to {larger[0]}{automatic} {same}")
    numbered = "".join(f"\n  {number}. {knob}" for number, knob in enumerate(advice, start=1))
    gpu = torch.cuda.get_device_properties(torch.cuda.current_device()) if torch.cuda.is_available() else None
    device = f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" if gpu else "this machine (no GPU is used)"
    return (
        f"{stage}: out of memory on {device}, with {plural(config.batch_size // parts, 'row')} at once. What helps, in "
        f"the order in which it changes the result least:{numbered}\nAfter a change in `{section}` the same work_dir "
        "goes on from its last checkpoint"
    )
