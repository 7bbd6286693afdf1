"""Stage 1, rationale foundation: `L1 = -log p(r* | explain: x)`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from r2d.training.data import Batch
from r2d.training.trainer import StageTrainer


class Stage1Trainer(StageTrainer):
    """Learns to explain; selected and stopped by validation loss."""

    stage_name = "stage 1"
    target_columns = ("rationale",)

    def batch_loss(self, model: Any, batch: Batch, num_tokens: dict[str, int]) -> Tensor:
        return self.target_loss(model, batch["prompt"], batch["rationale"], num_tokens["rationale"])

    def validate(self) -> dict[str, float]:
        tokens = self.validation.tokens
        rows = range(len(self.validation))
        return {
            "loss": self.validation_loss([tokens["prompt"][i] for i in rows], [tokens["rationale"][i] for i in rows])
        }
