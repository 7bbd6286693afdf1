"""`r2d_c` (Reason2Decide-C): `r2d`, with confidence-adaptive sampling and a cycle from the rationale to its label.

`L = alpha L_label + (1 - alpha) L_rationale + lambda L_cycle`; the cycle joins at `T_w`. Departures from the published
code: the confidence leaves padding out (7), and the cycle has an attention mask, tau is renewed by optimiser step and
not by micro-batch, and nothing is decoded where nothing is drawn (15).
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from r2d.config import MethodConfig, Stage2Config
from r2d.modeling.decoding import encoder_inputs, label_log_probabilities, pad
from r2d.training.data import IGNORED, Batch, seq2seq_inputs
from r2d.training.methods.base import LabelPass, Method, label_pass
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

    def loss(self, trainer: Stage2Trainer, model: Any, batch: Batch, num_tokens: dict[str, int]) -> Tensor:
        step = trainer.state.global_step
        alpha, pi = self.schedule.alpha_at(step), self.schedule.pi_at(step)
        labels = label_pass(trainer, model, batch, num_tokens)
        self._renew_tau(step)
        own = self._own_labels(trainer, batch, pi, labels)
        prompts = with_own_labels(trainer, batch, own)
        rows = [row for row, target in enumerate(batch["rationale"]) if target]
        loss = alpha * labels.loss
        if not rows:
            return loss
        targets = [batch["rationale"][row] for row in rows]
        inputs = seq2seq_inputs([prompts[row] for row in rows], targets, trainer.pad_id, trainer.args.device)
        outputs = model(**inputs)
        rationale_loss = outputs.loss * (sum(map(len, targets)) / num_tokens["rationale"])
        loss = loss + (1 - alpha) * rationale_loss
        noted = {"label_loss": labels.loss, "rationale_loss": rationale_loss}
        if step >= self.schedule.warmup_steps and self.cycle.weight:
            in_prompt = [own.get(row, batch["gold_label"][row]) for row in rows]
            ids = [batch["id"][row] for row in rows]
            share = len(rows) / max(1, num_tokens["num_rows"])
            cycle_loss = self._cycle_loss(trainer, model, outputs.logits, inputs["labels"], in_prompt, ids) * share
            loss = loss + self.cycle.weight * cycle_loss
            noted["cycle_loss"] = cycle_loss
        trainer.note_losses(alpha=alpha, pi=pi, tau=self.tau or 0.0, **noted)
        return loss

    def _own_labels(self, trainer: Stage2Trainer, batch: Batch, pi: float, labels: LabelPass) -> dict[int, str]:
        """Row -> own label, where `u1 < pi(t)` and `u2 < sigmoid(slope (confidence - tau))`.

        In the warm-up all rows are decoded, for tau alone; afterwards only those that `u1` has drawn.
        """
        step, seed, ids = trainer.state.global_step, trainer.stage2.seed, batch["id"]
        warming_up = step < self.schedule.warmup_steps
        drawn = [row for row, id_ in enumerate(ids) if warming_up or uniform_draw(seed, step, id_) < pi]
        if not drawn:
            return {}
        confidences, predicted = self._decode(trainer, batch, drawn, labels)
        self.sum, self.count = self.sum + sum(confidences), self.count + len(confidences)
        trainer.note(confidence=sum(confidences) / len(confidences))
        if warming_up:
            return {}
        tau = self.sum / self.count if self.tau is None else self.tau
        slope = self.cycle.confidence_slope
        return {
            row: label
            for row, label, confidence in zip(drawn, predicted, confidences, strict=True)
            if uniform_draw(seed, step, f"{ids[row]} confidence") < 1 / (1 + math.exp(-slope * (confidence - tau)))
        }

    def _decode(
        self, trainer: Stage2Trainer, batch: Batch, rows: list[int], labels: LabelPass
    ) -> tuple[list[float], list[str]]:
        """exp(mean token log-probability) of the most probable label, padding left out, and that label."""
        inputs = labels.encoded(rows)
        if inputs is None:
            prompts = [batch["label_prompt"][row] for row in rows]
            inputs = encoder_inputs(prompts, trainer.pad_id, trainer.args.device)
        network = trainer.accelerator.unwrap_model(trainer.model)
        scores = label_log_probabilities(network, trainer.labels, inputs)
        best = scores.argmax(dim=-1).tolist()
        lengths = [len(trainer.labels.token_ids[index]) for index in best]
        likelihoods = [float(scores[row, index]) for row, index in enumerate(best)]
        confidences = [math.exp(one / length) for one, length in zip(likelihoods, lengths, strict=True)]
        return confidences, [trainer.labels.names[index] for index in best]

    def _renew_tau(self, step: int) -> None:
        """After the warm-up, then every `tau_every_steps` optimiser steps: the mean of what was met since."""
        first = self.tau is None and step >= self.schedule.warmup_steps
        due = self.tau is not None and step - self.renewed_at >= self.cycle.tau_every_steps
        if (first or due) and self.count:
            self.tau, self.renewed_at = self.sum / self.count, step
            self.sum, self.count = 0.0, 0

    def _cycle_loss(
        self, trainer: Stage2Trainer, model: Any, logits: Tensor, targets: Tensor, labels: list[str], ids: list[str]
    ) -> Tensor:
        """`predict: r` -> the label that stood in the prompt, r being the rationale's logits as soft embeddings.

        Args:
            logits: of the teacher-forced rationale, [rows, longest, vocabulary].
            targets: its token ids, `IGNORED` for padding: the mask of the pass.
        """
        network = trainer.accelerator.unwrap_model(trainer.model)
        embedding = network.get_input_embeddings()
        step, seed = trainer.state.global_step, trainer.stage2.seed
        noise = torch.stack([_gumbel(logits.shape[1:], f"{seed}:{step}:{id_}") for id_ in ids]).to(logits.device)
        soft = ((logits.float() + noise) / self.temperature_at(step)).softmax(dim=-1).to(embedding.weight.dtype)
        prefix_ids = torch.tensor([trainer.prompts.label_prefix_ids()] * len(ids), device=logits.device)
        embeddings = torch.cat([embedding(prefix_ids), soft @ embedding.weight], dim=1)
        mask = torch.cat([torch.ones_like(prefix_ids), (targets != IGNORED).long()], dim=1)
        token_ids = dict(zip(trainer.labels.names, trainer.labels.token_ids, strict=True))
        wanted = pad([token_ids[label] for label in labels], IGNORED, logits.device)
        outputs = model(inputs_embeds=embeddings, attention_mask=mask, labels=wanted)
        token_losses = cross_entropy(
            outputs.logits.float().flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="none"
        )
        return (token_losses.view(wanted.shape).sum(dim=1) / (wanted != IGNORED).sum(dim=1)).mean()

    def temperature_at(self, step: int) -> float:
        """Of the Gumbel-softmax: from the first to the last, at rate ln2 / T."""
        decayed = self.cycle.start_temperature * math.exp(-math.log(2) * step / self.schedule.max_steps)
        return max(self.cycle.end_temperature, decayed)

    def state(self) -> dict[str, Any]:
        return {"tau": self.tau, "sum": self.sum, "count": self.count, "renewed_at": self.renewed_at}


def _gumbel(shape: torch.Size, key: str) -> Tensor:
    """Gumbel noise that depends on (seed, step, example id) alone."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    uniform = torch.rand(shape, generator=generator).clamp(min=1e-10, max=1 - 1e-7)
    return -(-uniform.log()).log()
