"""`no_sampling`: the ablation of `r2d` whose rationale prompts carry the gold label throughout, `pi = 0`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from r2d.training.data import Batch
from r2d.training.methods.base import Method, joint_loss, label_pass

if TYPE_CHECKING:
    from r2d.training.stage2 import Stage2Trainer


class NoSampling(Method):
    """Nothing is decoded. Selection is armed where that of `r2d` is, so that the two differ in one thing."""

    def loss(self, trainer: Stage2Trainer, model: Any, batch: Batch, num_tokens: dict[str, int]) -> Tensor:
        alpha = self.schedule.alpha_at(trainer.state.global_step)
        labels = label_pass(trainer, model, batch, num_tokens)
        prompts = batch["rationale_prompt"]
        return joint_loss(trainer, model, batch, num_tokens, labels=labels, prompts=prompts, alpha=alpha, pi=0.0)
