"""Stops a run whose loss is no number or explodes, at the step where that happens, and names the rows of the batch."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from r2d.errors import TrainingError
from r2d.training.checkpoints import latest_complete_checkpoint

if TYPE_CHECKING:
    from r2d.training.data import Batch

STEPS_OF_MEDIAN = 100
"""An explosion is measured against the median of the last this many sound steps."""
STEPS_OF_START = 10
"""The loss that training began with is the mean of this many steps."""
STEPS_IN_A_ROW = 5
"""So many exploded steps end the run; one bad batch does not."""
NUM_IDS_NAMED = 64

Part = tuple[Tensor, list[str]]
"""Loss (scalar, on the device) and row ids of a micro-batch."""


class LossGuard(TrainerCallback, ExportableState):
    """Looks at the loss of every optimiser step.

    On a CPU at once. On a GPU reading a loss would hold up every step, so the losses stay there and are read together
    where the Trainer logs, evaluates or saves: up to ten steps later, but always before anything is kept, and the
    message names the very step. Its state travels in the checkpoint.
    """

    def __init__(self, stage: str, *, max_loss_growth: float) -> None:
        self.stage = stage
        self.max_loss_growth = max_loss_growth
        self.parts: list[Part] = []
        self.unread: list[tuple[int, list[Part]]] = []
        self.start: list[float] = []
        self.recent: deque[float] = deque(maxlen=STEPS_OF_MEDIAN)
        self.num_exploded = 0

    def saw(self, loss: Tensor, batch: Batch) -> None:
        """Keep the loss of a micro-batch, weighted by the tokens of its whole step, until it is read."""
        self.parts.append((loss.detach(), batch["id"]))

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step:
            kept = state.stateful_callbacks[type(self).__name__]["attributes"]
            self.start, self.num_exploded = kept["start"], kept["num_exploded"]
            self.recent.extend(kept["recent"])

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> None:
        self.unread.append((state.global_step, self.parts))
        self.parts = []
        kept_next = control.should_save or control.should_evaluate
        if args.device.type == "cpu" or control.should_log or kept_next or control.should_training_stop:
            self._read(args)
        if kept_next and not _all_finite(model):
            raise TrainingError(
                f"{self.stage}: after step {state.global_step} the weights are no numbers, though the loss was one: "
                f"a gradient overflowed. {_advice(args)}"
            )

    def _read(self, args: Any) -> None:
        unread, self.unread = self.unread, []
        values = iter(torch.stack([loss.float() for _, parts in unread for loss, _ in parts]).tolist())
        for step, parts in unread:
            losses = [next(values) for _ in parts]
            self._judge(step, losses, [ids for _, ids in parts], args)

    def _judge(self, step: int, losses: list[float], ids: list[list[str]], args: Any) -> None:
        loss = sum(losses)
        if not math.isfinite(loss):
            spoilt = [row for some, part in zip(ids, losses, strict=True) if not math.isfinite(part) for row in some]
            everything = [row for some in ids for row in some]
            raise TrainingError(
                f"{self.stage}: the loss is {loss} at step {step}, on rows {_named(spoilt or everything)}. "
                f"{_advice(args)}"
            )
        if not self._exploded(loss):
            self.num_exploded = 0
            self.recent.append(loss)
            if len(self.start) < STEPS_OF_START:
                self.start.append(loss)
            return
        self.num_exploded += 1
        if self.num_exploded == STEPS_IN_A_ROW:
            raise TrainingError(
                f"{self.stage}: the loss explodes: {loss:.3g} at step {step} is the last of {STEPS_IN_A_ROW} in a row "
                f"above {self.max_loss_growth:g} times the median of the steps before ({median(self.recent):.3g}) and "
                f"above the loss that training began with ({_mean(self.start):.3g}); rows "
                f"{_named([row for some in ids for row in some])}. {_advice(args)}, or raise max_loss_growth"
            )

    def _exploded(self, loss: float) -> bool:
        if not self.recent:
            return False
        return loss > self.max_loss_growth * median(self.recent) and loss > _mean(self.start)

    def state(self) -> dict[str, Any]:
        kept = {"start": self.start, "recent": list(self.recent), "num_exploded": self.num_exploded}
        return {"args": {}, "attributes": kept}


def _all_finite(model: Any) -> bool:
    return bool(torch.stack([parameter.detach().isfinite().all() for parameter in model.parameters()]).all())


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _named(ids: list[str]) -> str:
    more = f" and {len(ids) - NUM_IDS_NAMED} more" if len(ids) > NUM_IDS_NAMED else ""
    return ", ".join(ids[:NUM_IDS_NAMED]) + more


def _advice(args: Any) -> str:
    checkpoint = latest_complete_checkpoint(Path(args.output_dir))
    kept = f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint was written before"
    precision = ", use precision fp32" if args.bf16 else ""
    return (
        f"Look at those rows; {kept}. Lower learning_rate (now {args.learning_rate:g}) or max_grad_norm "
        f"(now {args.max_grad_norm:g}){precision}"
    )
