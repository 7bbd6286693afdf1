"""`r2d`: joint training with task-level scheduled sampling, `L2 = alpha(t) L_label + (1 - alpha(t)) L_rationale`.

For each example on its own, the label in the rationale prompt is the model's own with probability pi(t), else gold.
`stage2_only` has no Stage 1 before it, `no_sampling` has pi = 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from r2d.training.data import Batch
from r2d.training.methods.base import Method, joint_loss
from r2d.training.sampling import uniform_draw

if TYPE_CHECKING:
    from r2d.training.stage2 import Stage2Trainer


class R2D(Method):
    """The paper's Stage 2."""

    def loss(self, trainer: Stage2Trainer, batch: Batch, num_tokens: dict[str, float]) -> Tensor:
        step, seed = trainer.state.global_step, trainer.stage2.seed
        alpha, pi = self.schedule.alpha_at(step), self.schedule.pi_at(step)
        drawn = [row for row, id_ in enumerate(batch["id"]) if uniform_draw(seed, step, id_) < pi]
        encoded = trainer.reusable_states(batch) if drawn else None
        predicted = trainer.decode(batch.take(drawn), encoded and encoded.take(drawn)) if drawn else []
        prompts = with_own_labels(trainer, batch, dict(zip(drawn, predicted, strict=True)))
        return joint_loss(trainer, batch, num_tokens, prompts=prompts, alpha=alpha, encoded=encoded, pi=pi)


def with_own_labels(trainer: Stage2Trainer, batch: Batch, own: dict[int, str]) -> list[list[int]]:
    """The rationale prompts of a batch, with the model's own label in the given rows and the gold one in the others."""
    gold = batch["gold_label"]
    trainer.note(predicted_label_fraction=len(own) / len(batch))
    if own:
        trainer.note(decoded_label_accuracy=sum(label == gold[row] for row, label in own.items()) / len(own))
    return trainer.rationale_prompts(batch, [own.get(row, label) for row, label in enumerate(gold)])
