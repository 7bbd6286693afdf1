"""`no_sampling`: the ablation of `r2d` whose rationale prompts carry the gold label throughout, `pi = 0`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from r2d.training.data import Batch
from r2d.training.methods.base import Method, joint_loss

if TYPE_CHECKING:
    from r2d.training.stage2 import Stage2Trainer


class NoSampling(Method):
    """Nothing is decoded. Selection is armed where that of `r2d` is, so that the two differ in one thing."""

    def loss(self, trainer: Stage2Trainer, batch: Batch, num_tokens: dict[str, float]) -> Tensor:
        alpha = self.schedule.alpha_at(trainer.state.global_step)
        prompts = trainer.rationale_prompts(batch, batch["gold_label"])
        return joint_loss(trainer, batch, num_tokens, prompts=prompts, alpha=alpha, pi=0.0)
