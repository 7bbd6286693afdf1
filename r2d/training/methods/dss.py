"""`dss`: Distilling Step-by-Step (arXiv 2305.02301), `L = alpha L_label + (1 - alpha) L_rationale` with a fixed alpha.

One stage; the rationale prompt is `explain: x` and carries no label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from r2d.training.data import Batch
from r2d.training.methods.base import Method, joint_loss

if TYPE_CHECKING:
    from r2d.training.stage2 import Stage2Trainer


class DSS(Method):
    """Label and rationale are separate tasks on the same note. Without a schedule, any evaluation may be selected."""

    def loss(self, trainer: Stage2Trainer, batch: Batch, num_tokens: dict[str, float]) -> Tensor:
        # The prompts of the method hold no label, whichever is given.
        prompts = trainer.rationale_prompts(batch, batch["gold_label"])
        return joint_loss(trainer, batch, num_tokens, prompts=prompts, alpha=self.schedule.alpha)
