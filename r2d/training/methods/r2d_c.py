"""`r2d_c` (Reason2Decide-C): `r2d`, with confidence-adaptive sampling and a cycle from the rationale to its label.

`L = alpha L_label + (1 - alpha) L_rationale + lambda L_cycle`; the cycle joins at `T_w`. Departures from the published
code: the confidence leaves padding out (7), and the cycle has an attention mask, tau is renewed by optimiser step and
not by micro-batch, and nothing is decoded where nothing is drawn (15).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from r2d.config.training import MethodConfig, Stage2Config
from r2d.modeling.architectures import embedding_scale
from r2d.modeling.backends.backend import Encoded, Task, TokenIds
from r2d.training.data import Batch
from r2d.training.methods.base import Method, joint_loss, label_task
from r2d.training.methods.r2d import with_own_labels
from r2d.training.sampling import uniform_draw

if TYPE_CHECKING:
    from r2d.training.stage2 import Stage2Trainer


class R2DC(Method):
    """Uses its own label where it is surer than usual, and learns rationales from which the label can be told."""

    def __init__(self, config: MethodConfig, stage2: Stage2Config) -> None:
        super().__init__(config, stage2)
        self.cycle = config.cycle
        self.tau: float | None = None
        """Mean confidence over the warm-up, then over the last `tau_every_steps`; None until it is known."""
        self.sum, self.count = 0.0, 0
        self.renewed_at = 0

    def loss(self, trainer: Stage2Trainer, batch: Batch, num_tokens: dict[str, float]) -> Tensor:
        step = trainer.state.global_step
        alpha, pi = self.schedule.alpha_at(step), self.schedule.pi_at(step)
        self._renew_tau(step)
        encoded = trainer.reusable_states(batch)
        own = self._own_labels(trainer, batch, pi, encoded)
        prompts = with_own_labels(trainer, batch, own)
        trainer.note(alpha=alpha, pi=pi, tau=self.tau or 0.0)
        if step < self.schedule.warmup_steps or not self.cycle.weight:
            return joint_loss(trainer, batch, num_tokens, prompts=prompts, alpha=alpha, encoded=encoded)
        labels = trainer.backend.losses([label_task(trainer, batch, num_tokens, weight=alpha, encoded=encoded)])
        trainer.note_losses(label_loss=labels.of_tasks[0])
        rows = [row for row, target in enumerate(batch["rationale"]) if target]
        if not rows:
            return labels.total
        in_prompt = [own.get(row, label) for row, label in enumerate(batch["gold_label"])]
        some, prompts, in_prompt = batch.take(rows), [prompts[row] for row in rows], [in_prompt[row] for row in rows]
        rationale_loss, cycle_loss = self._explain(trainer, some, prompts, in_prompt, num_tokens)
        return labels.total + (1 - alpha) * rationale_loss + self.cycle.weight * cycle_loss

    def _own_labels(self, trainer: Stage2Trainer, batch: Batch, pi: float, encoded: Encoded | None) -> dict[int, str]:
        """Row -> own label, where `u1 < pi(t)` and `u2 < sigmoid(slope (confidence - tau))`.

        In the warm-up all rows are decoded, for tau alone; afterwards only those that `u1` has drawn.
        """
        step, seed, ids = trainer.state.global_step, trainer.stage2.seed, batch["id"]
        warming_up = step < self.schedule.warmup_steps
        drawn = [row for row, id_ in enumerate(ids) if warming_up or uniform_draw(seed, step, id_) < pi]
        if not drawn:
            return {}
        found = trainer.most_probable_labels(batch.take(drawn), None if encoded is None else encoded.take(drawn))
        confidences = [math.exp(label.mean_log_probability) for label in found]
        self.sum, self.count = self.sum + sum(confidences), self.count + len(confidences)
        trainer.note(confidence=sum(confidences) / len(confidences))
        if warming_up:
            return {}
        tau = self.sum / self.count if self.tau is None else self.tau
        slope = self.cycle.confidence_slope
        return {
            row: label.name
            for row, label, confidence in zip(drawn, found, confidences, strict=True)
            if uniform_draw(seed, step, f"{ids[row]} confidence") < 1 / (1 + math.exp(-slope * (confidence - tau)))
        }

    def _renew_tau(self, step: int) -> None:
        """After the warm-up, then every `tau_every_steps` optimiser steps: the mean of what was met since."""
        first = self.tau is None and step >= self.schedule.warmup_steps
        due = self.tau is not None and step - self.renewed_at >= self.cycle.tau_every_steps
        if (first or due) and self.count:
            self.tau, self.renewed_at = self.sum / self.count, step
            self.sum, self.count = 0.0, 0

    def _explain(
        self,
        trainer: Stage2Trainer,
        batch: Batch,
        prompts: Sequence[TokenIds],
        in_prompt: Sequence[str],
        num_tokens: dict[str, float],
    ) -> tuple[Tensor, Tensor]:
        """The rationale loss, and the cycle's, of rows that have a rationale; the latter is a mean over labels."""
        network, targets = trainer.backend, batch["rationale"]
        logits = network.logits(network.encode(prompts), network.decoder_inputs(targets)).float()
        wanted = torch.tensor([token for target in targets for token in target], device=logits.device)
        rationale_loss = cross_entropy(logits, wanted, reduction="sum") / num_tokens["rationale"]
        embeddings = self._soft_embeddings(trainer, logits, batch)
        labels = [trainer.prompts.label_target(label) for label in in_prompt]
        row_weights = [1 / len(label) for label in labels]
        task = Task(network.encode_embeddings(embeddings), labels, num_tokens["num_rows"], row_weights=row_weights)
        cycle_loss = network.losses([task]).total
        trainer.note_losses(rationale_loss=rationale_loss.detach(), cycle_loss=cycle_loss.detach())
        return rationale_loss, cycle_loss

    def _soft_embeddings(self, trainer: Stage2Trainer, logits: Tensor, batch: Batch) -> list[Tensor]:
        """`predict: r` as embeddings, [tokens, d_model] a row, r being the rationale's logits through Gumbel-softmax.

        Args:
            logits: of the teacher-forced rationales, end to end, [target tokens, vocabulary].
        """
        # Not through the embedding module: some families scale what it gives, but not what stands in its place.
        embeddings = trainer.backend.model.get_input_embeddings().weight
        embeddings = embeddings[: logits.shape[-1]] * embedding_scale(trainer.backend.model)
        step, seed = trainer.state.global_step, trainer.stage2.seed
        prefix = embeddings[torch.tensor(trainer.prompts.label_prefix_ids(), device=logits.device)]
        rows = []
        for id_, of_row in zip(batch["id"], logits.split([len(target) for target in batch["rationale"]]), strict=True):
            noise = _gumbel(of_row.shape, f"{seed}:{step}:{id_}").to(of_row.device)
            soft = ((of_row + noise) / self.temperature_at(step)).softmax(dim=-1).to(embeddings.dtype)
            rows.append(torch.cat([prefix, soft @ embeddings]))
        return rows

    def temperature_at(self, step: int) -> float:
        """Of the Gumbel-softmax: from the first to the last, at rate ln2 / T."""
        decayed = self.cycle.start_temperature * math.exp(-math.log(2) * step / self.schedule.config.max_steps)
        return max(self.cycle.end_temperature, decayed)

    def state(self) -> dict[str, Any]:
        return {"tau": self.tau, "sum": self.sum, "count": self.count, "renewed_at": self.renewed_at}


def _gumbel(shape: torch.Size, key: str) -> Tensor:
    """Gumbel noise that depends on (seed, step, example id) alone."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    uniform = torch.rand(shape, generator=generator).clamp(min=1e-10, max=1 - 1e-7)
    return -(-uniform.log()).log()
