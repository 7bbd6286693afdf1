"""`dss`: Distilling Step-by-Step (arXiv 2305.02301), `L = alpha L_label + (1 - alpha) L_rationale` with a fixed alpha.

One stage; the rationale prompt is `explain: x` and carries no label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from r2d.training.data import Batch
from r2d.training.methods.base import Method, joint_loss, label_pass

if TYPE_CHECKING:
    from r2d.training.stage2 import Stage2Trainer


class DSS(Method):
    """Two tasks that never meet. There is no schedule to wait for: any evaluation may be selected."""

    armed_from_step = 0.0

    @property
    def label_weight(self) -> float:
        return self.config.dss_alpha

    def loss(self, trainer: Stage2Trainer, model: Any, batch: Batch, num_tokens: dict[str, int]) -> Tensor:
        labels = label_pass(trainer, model, batch, num_tokens)
        # The rows were tokenised with the prompt of the method, which holds no label.
        prompts = batch["rationale_prompt"]
        alpha = self.config.dss_alpha
        return joint_loss(trainer, model, batch, num_tokens, labels=labels, prompts=prompts, alpha=alpha)
