"""What a person sees while a stage trains: what is going to happen, a line every few seconds, an honest time left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from r2d.training.ranks import num_ranks
from r2d.training.step_clock import StepClock

if TYPE_CHECKING:
    from r2d.training.data import Batch

logger = logging.getLogger(__name__)
T = TypeVar("T")

OnLog = Callable[[int, Mapping[str, float]], None]
"""Receives (optimiser step, figures) as soon as they are known; for a tracker such as MLflow."""

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_VALIDATION_LINES = 15.0

SHOWN = {
    "loss": "loss {:.3f}",
    "alpha": "alpha {:.2f}",
    "predicted_label_fraction": "predicted labels {:.0%}",
    "decoded_label_accuracy": "of them right {:.0%}",
    "eval_loss": "validation loss {:.3f}",
    "eval_macro_f1": "macro-F1 {:.3f}",
    "eval_accuracy": "accuracy {:.3f}",
    "eval_rationale_loss": "rationale loss {:.3f}",
    "eval_rationale_bleu": "rationale BLEU {:.1f}",
    "num_examples_per_second": "{:,.0f} rows/s",
    "num_target_tokens_per_second": "{:,.0f} target tokens/s",
}


class Progress(TrainerCallback, ExportableState):
    """Logs step, figures, speed and time left, and hands each figure to `on_log`.

    Its times travel in the Trainer's checkpoint: those of a resumed run are the sums over its sessions, without the
    work that was lost between the last checkpoint and the end of a session.
    """

    def __init__(self, stage: str, on_log: OnLog | None) -> None:
        self.stage = stage
        self.forward = on_log
        self.clock = StepClock()
        self.last_line_at = 0.0
        self.first_step = 0
        self.num_examples = self.num_target_tokens = 0
        """Since the last training record."""
        self.window_seconds = 0.0
        """Seconds of training steps at the last training record."""
        self.sums = {"training_seconds": 0.0, "step_seconds": 0.0, "num_examples": 0.0}
        """Of the sessions before this one; `num_examples` of this one too."""

    @property
    def training_seconds(self) -> float:
        """Wall seconds in the training loop, with its evaluations and checkpoints."""
        return self.sums["training_seconds"] + self.clock.total_seconds

    @property
    def num_examples_per_second(self) -> float:
        """Training rows in a second of training steps, without evaluations and checkpoints."""
        seconds = self.sums["step_seconds"] + self.clock.step_seconds
        return self.sums["num_examples"] / seconds if seconds else 0.0

    def saw(self, batch: Batch, target_columns: Sequence[str]) -> None:
        """Count a micro-batch."""
        self.num_examples += len(batch)
        self.num_target_tokens += sum(batch.num_tokens(column) for column in target_columns)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step:
            self.sums = dict(state.stateful_callbacks[type(self).__name__]["attributes"])
        self.clock.start()
        self.last_line_at = time.monotonic()
        self.first_step = state.global_step
        resumed = f"; goes on from step {self.first_step:,}" if self.first_step else ""
        plan = _plan(args, state.max_steps, kwargs["model"], kwargs["train_dataloader"])
        logger.info("%s: %s%s", self.stage, plan, resumed)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if control.should_evaluate or control.should_save:
            self.clock.leave_steps()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.clock.end_of("evaluation")
        if control.should_save:
            self.clock.leave_steps()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.clock.end_of("checkpoint")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.clock.stop()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        if "train_runtime" in logs:
            return  # the Trainer's own last record counts this session alone, its evaluations as training
        if "loss" in logs:
            speed = self._speed_since_last_record(args.world_size)
            logs |= speed
            state.log_history[-1].update(speed)
        figures = {name: value for name, value in logs.items() if isinstance(value, int | float) and name != "epoch"}
        if not state.is_world_process_zero:
            return
        if self.forward is not None:
            self.forward(state.global_step, figures)
        evaluated = any(name.startswith("eval_") for name in logs)
        if not evaluated and time.monotonic() - self.last_line_at < SECONDS_BETWEEN_LINES:
            return
        self.last_line_at = time.monotonic()
        shown = [text.format(figures[name]) for name, text in SHOWN.items() if name in figures]
        if shown:
            shown += [] if evaluated else self._left(args, state)
            logger.info("%s: step %d/%d, %s", self.stage, state.global_step, state.max_steps, ", ".join(shown))

    def _speed_since_last_record(self, world_size: int) -> dict[str, float]:
        seconds = self.clock.step_seconds - self.window_seconds
        speed = {
            "num_examples_per_second": self.num_examples * world_size / seconds,
            "num_target_tokens_per_second": self.num_target_tokens * world_size / seconds,
        }
        self.sums["num_examples"] += self.num_examples * world_size
        self.num_examples = self.num_target_tokens = 0
        self.window_seconds += seconds
        return speed

    def _left(self, args: Any, state: Any) -> list[str]:
        """Of training steps, evaluations and checkpoints; an evaluation not seen yet is named, not guessed."""
        done = state.global_step - self.first_step
        to_come = state.max_steps - state.global_step
        if not done or not to_come:
            return []
        num_evaluations = state.max_steps // args.eval_steps - state.global_step // args.eval_steps
        num_saves = state.max_steps // args.save_steps - state.global_step // args.save_steps
        evaluation = self.clock.mean_seconds("evaluation")
        seconds = to_come * self.clock.step_seconds / done + num_saves * (self.clock.mean_seconds("checkpoint") or 0.0)
        if evaluation is None and num_evaluations:
            evaluations = f"{num_evaluations} evaluation{'s' if num_evaluations > 1 else ''}"
            return [f"at most {duration(seconds)} and {evaluations} left"]
        return [f"at most {duration(seconds + num_evaluations * (evaluation or 0.0))} left"]

    def state(self) -> dict[str, Any]:
        sums = {
            "training_seconds": self.training_seconds,
            "step_seconds": self.sums["step_seconds"] + self.clock.step_seconds,
            "num_examples": self.sums["num_examples"] + self.num_examples * num_ranks(),
        }
        return {"args": {}, "attributes": sums}


def _plan(args: Any, max_steps: int, model: Any, dataloader: Any) -> str:
    """What is going to happen, in a line."""
    import torch

    counts = [parameter.numel() for parameter in model.parameters()]
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    frozen = f", {trained:,} of them trained" if trained != sum(counts) else ""
    parts = args.gradient_accumulation_steps
    batch = args.train_batch_size * parts * args.world_size
    divided = f" in {parts} parts" if parts > 1 else ""
    devices = f" on each of {args.world_size} devices" if args.world_size > 1 else ""
    name = torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else str(args.device)
    num_rows = len(dataloader.dataset)
    return (
        f"{sum(counts):,} parameters{frozen}, {num_rows:,} training rows, at most {max_steps:,} steps of {batch} rows"
        f"{divided}{devices} ({max_steps * batch / num_rows:.1f} epochs), evaluation every {args.eval_steps:,} steps, "
        f"{'bf16' if args.bf16 else 'fp32'} on {name}"
    )


def said_when_long(items: Sequence[T], what: str) -> Iterator[T]:
    """The items; where they take long, a line now and then says how far they are."""
    started_at = said_at = time.monotonic()
    for index, item in enumerate(items):
        now = time.monotonic()
        if now - said_at >= SECONDS_BETWEEN_VALIDATION_LINES:
            said_at = now
            left = (now - started_at) / index * (len(items) - index)
            logger.info("%s: batch %d of %d, about %s left", what, index, len(items), duration(left))
        yield item


def duration(seconds: float) -> str:
    """`m:ss`, or `h:mm:ss` from an hour on."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"
