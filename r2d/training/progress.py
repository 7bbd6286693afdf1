"""What a person sees while a stage trains: the plan, a line every few seconds, an honest time left."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from r2d.reports.formatting import duration
from r2d.text import plural
from r2d.training.data import Batch
from r2d.training.distributed import num_ranks
from r2d.training.work import OnLog

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 5.0

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
    """Logs step, metrics, speed and time left, and passes each metric to `on_log`.

    All but evaluations and checkpoints counts as training steps. Times travel in the Trainer's checkpoint: those of a
    resumed run are the sums over its sessions, without the work that was lost at the end of a session.
    """

    def __init__(self, stage: str, on_log: OnLog | None) -> None:
        self.stage = stage
        self.tracker = on_log
        self.started_at: float | None = None
        self.stopped_at: float | None = None
        self.paused_at: float | None = None
        self.pauses: dict[str, list[float]] = defaultdict(list)
        """Seconds of each `evaluation` and of each `checkpoint` of this session."""
        self.last_line_at = 0.0
        self.first_step = 0
        self.num_examples = self.num_target_tokens = 0
        """Since the last training record."""
        self.recorded_seconds = 0.0
        """Seconds of training steps at the last training record."""
        self.sums = {"training_seconds": 0.0, "step_seconds": 0.0, "num_examples": 0.0}
        """Of the sessions before this one; `num_examples` of this one too."""

    @property
    def session_seconds(self) -> float:
        return 0.0 if self.started_at is None else (self.stopped_at or time.monotonic()) - self.started_at

    @property
    def step_seconds(self) -> float:
        """Of this session, without evaluations and checkpoints."""
        pause = 0.0 if self.paused_at is None else time.monotonic() - self.paused_at
        return self.session_seconds - sum(map(sum, self.pauses.values())) - pause

    @property
    def training_seconds(self) -> float:
        """Wall seconds in the training loop, with its evaluations and checkpoints."""
        return self.sums["training_seconds"] + self.session_seconds

    @property
    def num_examples_per_second(self) -> float:
        """Training rows in a second of training steps, without evaluations and checkpoints."""
        seconds = self.sums["step_seconds"] + self.step_seconds
        return self.sums["num_examples"] / seconds if seconds else 0.0

    def add(self, batch: Batch, target_columns: Sequence[str]) -> None:
        self.num_examples += len(batch)
        self.num_target_tokens += sum(batch.num_tokens(column) for column in target_columns)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step:
            self.sums = dict(state.stateful_callbacks[type(self).__name__]["attributes"])
        self.started_at = self.last_line_at = time.monotonic()
        self.first_step = state.global_step
        resumed = f"; goes on from step {self.first_step:,}" if self.first_step else ""
        num_rows = len(kwargs["train_dataloader"].dataset)
        logger.info("%s: %s%s", self.stage, plan(args, state.max_steps, kwargs["model"], num_rows), resumed)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if control.should_evaluate or control.should_save:
            self.paused_at = time.monotonic()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._end_pause("evaluation")
        if control.should_save:
            self.paused_at = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._end_pause("checkpoint")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.stopped_at = time.monotonic()

    def _end_pause(self, name: str) -> None:
        if self.paused_at is not None:
            self.pauses[name].append(time.monotonic() - self.paused_at)
            self.paused_at = None

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        if "train_runtime" in logs:
            return  # the Trainer's own last record counts this session alone, its evaluations as training
        if "loss" in logs:
            seconds = self.step_seconds - self.recorded_seconds
            num_examples = self.num_examples * args.world_size
            logs["num_examples_per_second"] = num_examples / seconds
            logs["num_target_tokens_per_second"] = self.num_target_tokens * args.world_size / seconds
            state.log_history[-1].update(logs)
            self.sums["num_examples"] += num_examples
            self.num_examples = self.num_target_tokens = 0
            self.recorded_seconds += seconds
        if not state.is_world_process_zero:
            return
        metrics = {name: value for name, value in logs.items() if isinstance(value, int | float) and name != "epoch"}
        if self.tracker is not None:
            self.tracker(state.global_step, metrics)
        is_evaluation = any(name.startswith("eval_") for name in logs)
        if not is_evaluation and time.monotonic() - self.last_line_at < SECONDS_BETWEEN_LINES:
            return
        self.last_line_at = time.monotonic()
        shown = [text.format(metrics[name]) for name, text in SHOWN.items() if name in metrics]
        if shown:
            left = "" if is_evaluation else self._time_left(args, state)
            line = ", ".join(shown) + left
            logger.info("%s: step %d/%d, %s", self.stage, state.global_step, state.max_steps, line)

    def _time_left(self, args: Any, state: Any) -> str:
        """Of training steps, evaluations and checkpoints; an evaluation not seen yet is named, not guessed."""
        done, to_come = state.global_step - self.first_step, state.max_steps - state.global_step
        if not done or not to_come:
            return ""
        num_evaluations, num_saves = (
            state.max_steps // every - state.global_step // every for every in (args.eval_steps, args.save_steps)
        )
        means = {name: fmean(seconds) for name, seconds in self.pauses.items()}
        seconds = to_come * self.step_seconds / done
        seconds += num_evaluations * means.get("evaluation", 0.0) + num_saves * means.get("checkpoint", 0.0)
        unknown = ""
        if num_evaluations and "evaluation" not in means:
            unknown = f" and {plural(num_evaluations, 'evaluation')}"
        return f", at most {duration(seconds)}{unknown} left"

    def state(self) -> dict[str, dict[str, float]]:
        """For the Trainer's checkpoint: args (none), attributes."""
        sums = {
            "training_seconds": self.training_seconds,
            "step_seconds": self.sums["step_seconds"] + self.step_seconds,
            "num_examples": self.sums["num_examples"] + self.num_examples * num_ranks(),
        }
        return {"args": {}, "attributes": sums}


def plan(args: Any, max_steps: int, model: Any, num_rows: int) -> str:
    """One line: parameters, rows, steps, evaluations, precision and device."""
    counts = [parameter.numel() for parameter in model.parameters()]
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    frozen = f", {trained:,} of them trained" if trained != sum(counts) else ""
    parts = args.gradient_accumulation_steps
    batch = args.train_batch_size * parts * args.world_size
    divided = f" in {parts} parts" if parts > 1 else ""
    devices = f" on each of {args.world_size} devices" if args.world_size > 1 else ""
    name = torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else str(args.device)
    return (
        f"{sum(counts):,} parameters{frozen}, {num_rows:,} training rows, at most {max_steps:,} steps of {batch} rows"
        f"{divided}{devices} ({max_steps * batch / num_rows:.1f} epochs), evaluation every {args.eval_steps:,} steps, "
        f"{'bf16' if args.bf16 else 'fp32'} on {name}"
    )
