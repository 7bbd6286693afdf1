"""Stage 1, rationale foundation: `L1 = -log p(r* | explain: x)`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from r2d.modeling.backends.backend import Task
from r2d.training.data import Batch
from r2d.training.trainer import StageTrainer


class Stage1Trainer(StageTrainer):
    """Learns to explain; selected and stopped by validation loss."""

    stage_name = "stage 1"
    target_columns = ("rationale",)

    def batch_loss(self, batch: Batch, num_tokens: dict[str, float]) -> Tensor:
        task: Task[Any] = Task(batch["prompt"], batch["rationale"], num_tokens["rationale"])
        return self.backend.losses([task]).total

    def validate(self) -> dict[str, float]:
        loss, num_tokens = 0.0, 0
        for rows in self.validation_batches("prompt"):
            loss += float(self.backend.token_losses(self.backend.encode(rows["prompt"]), rows["rationale"]).sum())
            num_tokens += sum(map(len, rows["rationale"]))
        return {"loss": loss / num_tokens}
