"""`sft`: supervised fine-tuning on the label alone, `predict: x -> y*`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from r2d.training.data import Batch
from r2d.training.methods.base import Method, label_task

if TYPE_CHECKING:
    from r2d.training.stage2 import Stage2Trainer


class SFT(Method):
    """Writes no rationale. There is no schedule to wait for: any evaluation may be selected."""

    target_columns = ("label",)
    label_weight = 1.0

    def loss(self, trainer: Stage2Trainer, batch: Batch, num_tokens: dict[str, float]) -> Tensor:
        losses = trainer.backend.losses([label_task(trainer, batch, num_tokens)])
        trainer.note_losses(label_loss=losses.of_tasks[0])
        return losses.total
