"""`r2d`: joint training with task-level scheduled sampling, `L2 = alpha(t) L_label + (1 - alpha(t)) L_rationale`.

For each example on its own, the label in the rationale prompt is the model's own with probability pi(t), else gold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from r2d.training.data import Batch
from r2d.training.methods.base import LabelPass, Method, joint_loss, label_pass
from r2d.training.sampling import uniform_draw

if TYPE_CHECKING:
    from r2d.training.stage2 import Stage2Trainer


class R2D(Method):
    """The paper's Stage 2."""

    def loss(self, trainer: Stage2Trainer, model: Any, batch: Batch, num_tokens: dict[str, int]) -> Tensor:
        step = trainer.state.global_step
        alpha, pi = self.schedule.alpha_at(step), self.schedule.pi_at(step)
        labels = label_pass(trainer, model, batch, num_tokens)
        prompts = self.sampled_prompts(trainer, batch, pi, labels)
        return joint_loss(trainer, model, batch, num_tokens, labels=labels, prompts=prompts, alpha=alpha, pi=pi)

    def sampled_prompts(self, trainer: Stage2Trainer, batch: Batch, pi: float, labels: LabelPass) -> list[list[int]]:
        """Rationale prompts with gold labels, but for the drawn rows, whose prompt carries the model's own label.

        Only drawn rows are decoded (departure 3), in eval mode. States of the training pass would carry its dropout
        into the label (departures 2 and 10), so the encoder runs again, unless the model has no dropout.
        """
        step, seed = trainer.state.global_step, trainer.stage2.seed
        drawn = [row for row, id_ in enumerate(batch["id"]) if uniform_draw(seed, step, id_) < pi]
        label_prompts = batch["label_prompt"]
        predicted = trainer.decode([label_prompts[row] for row in drawn], labels.encoded(drawn))
        return with_own_labels(trainer, batch, dict(zip(drawn, predicted, strict=True)))


def with_own_labels(trainer: Stage2Trainer, batch: Batch, own: dict[int, str]) -> list[list[int]]:
    """The rationale prompts of a batch, with the model's own label in the given rows."""
    prompts, texts, gold = batch["rationale_prompt"], batch["text"], batch["gold_label"]
    composed = trainer.prompts.rationale_prompts([texts[row] for row in own], list(own.values()))
    for row, prompt in zip(own, composed, strict=True):
        prompts[row] = prompt
    trainer.note(predicted_label_fraction=len(own) / len(batch))
    if own:
        trainer.note(decoded_label_accuracy=sum(label == gold[row] for row, label in own.items()) / len(own))
    return prompts
