"""`sft`: supervised fine-tuning on the label alone, `predict: x -> y*`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from r2d.training.data import Batch
from r2d.training.methods.base import Method, label_pass

if TYPE_CHECKING:
    from r2d.training.stage2 import Stage2Trainer


class SFT(Method):
    """Writes no rationale. There is no schedule to wait for: any evaluation may be selected."""

    target_columns = ("label",)
    armed_from_step = 0.0
    label_weight = 1.0

    def loss(self, trainer: Stage2Trainer, model: Any, batch: Batch, num_tokens: dict[str, int]) -> Tensor:
        labels = label_pass(trainer, model, batch, num_tokens)
        trainer.note_losses(label_loss=labels.loss)
        return labels.loss
