"""The methods of the papers, each a small strategy of losses: `r2d` (with its ablations), `r2d_c`, `dss` and `sft`.

A method is given a `TwoTaskModel` and the step, and returns the loss of a micro-batch with what is to be logged.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, Stage2Config
from r2d.modeling.backends.backend import Encoded, Seq2SeqBackend, Task, TokenIds, flatten
from r2d.modeling.decoding import Decoder, ScoredLabel
from r2d.modeling.load import embedding_scale, is_random_in_training
from r2d.modeling.prompts import LabelSets, PromptEncoder
from r2d.training.checkpointing import ResumableCallback
from r2d.training.data import Batch
from r2d.training.distributed import sum_over_ranks


@dataclass(frozen=True)
class Stage2Schedule:
    """alpha(t) and pi(t) of a method over `max_steps` = T optimiser steps, t counted from 0."""

    config: Stage2Config
    method: MethodConfig

    @property
    def alpha(self) -> float:
        """Weight of the label loss after the warm-up, as configured or as published for the method."""
        return self.method.default_alpha if self.config.alpha is None else self.config.alpha

    @property
    def warmup_steps(self) -> float:
        """T_w = warmup_fraction * T; 0 for a method without a schedule."""
        return self.config.warmup_fraction * self.config.max_steps if self.method.has_schedule else 0.0

    @property
    def armed_from_step(self) -> int:
        """First step whose evaluation may be selected: T_w + sampling_fraction * T (departure 4); 0 for a method
        without a schedule, which has nothing to wait for."""
        if not self.method.has_schedule:
            return 0
        return self.config.armed_from_step

    def alpha_at(self, step: int) -> float:
        """Weight of the label loss: linear from 0 to `alpha` over T_w, then constant."""
        return self.alpha if step >= self.warmup_steps else self.alpha * step / self.warmup_steps

    def pi_at(self, step: int) -> float:
        """Probability that a rationale prompt carries the model's own label: 0 before T_w, then
        min(cap, (t - T_w) / (sampling_fraction * T)); 0 throughout for a method that samples none."""
        if step < self.warmup_steps or not self.method.samples_labels:
            return 0.0
        progress = (step - self.warmup_steps) / (self.config.sampling_fraction * self.config.max_steps)
        return min(self.config.max_predicted_label_fraction, progress)


def uniform_draw(seed: int, step: int, example_id: str) -> float:
    """A uniform number in [0, 1) for one example at one optimiser step (departures 6 and 14).

    It depends on those alone: not on batch size, accumulation, rank, or a generator. So a resumed run repeats it.
    """
    digest = hashlib.blake2b(f"{seed}:{step}:{example_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / float(1 << 53)


def gumbel_noise(shape: torch.Size, key: str) -> Tensor:
    """Gumbel noise that depends on the key, (seed, step, example id), alone."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    uniform = torch.rand(shape, generator=generator).clamp(min=1e-10, max=1 - 1e-7)
    return -(-uniform.log()).log()


class TwoTaskModel:
    """A model that decides and explains, with its prompts and labels, over the rows of a batch."""

    def __init__(
        self, backend: Seq2SeqBackend[Any], prompts: PromptEncoder, labels: LabelSets, config: ModelConfig
    ) -> None:
        self.backend, self.prompts, self.label_sets = backend, prompts, labels
        self.decoder = Decoder(backend, prompts.tokenizer, config)

    @cached_property
    def is_random(self) -> bool:
        return is_random_in_training(self.backend.model)

    def encode_label_prompts(self, batch: Batch) -> Encoded | None:
        """What the model reads of the label prompts, from which a label may be decoded as well as learnt; None where
        training drops something (departures 2 and 10): for the decode, the encoder runs in eval mode."""
        return None if self.is_random else self.backend.encode(batch["label_prompt"])

    def decode_labels(self, batch: Batch, encoded: Encoded | None = None) -> list[str]:
        """`y_hat` by the current weights; from the encoder output for the label prompts, if there is one."""
        prompts = batch["label_prompt"] if encoded is None else encoded
        return self.decoder.labels(prompts, self.label_sets.of_all(batch["options"]))

    def scored_labels(self, batch: Batch) -> list[ScoredLabel]:
        """`y_hat` by the current weights, with its probability."""
        return self.decoder.scored_labels(batch["label_prompt"], self.label_sets.of_all(batch["options"]))

    def rationale_prompts(self, batch: Batch, labels: Sequence[str]) -> list[list[int]]:
        """`given label: {y}, explain: {x}` for each row; for its gold label it is tokenized already."""
        texts, prompts = batch["text"], batch["rationale_prompt"]
        others = [row for row, gold in enumerate(batch["gold_label"]) if labels[row] != gold]
        tokenized = self.prompts.rationale_prompts([texts[row] for row in others], [labels[row] for row in others])
        for row, ids in zip(others, tokenized, strict=True):
            prompts[row] = ids
        return prompts


@dataclass(frozen=True)
class Step:
    """The optimiser step that a micro-batch belongs to."""

    number: int
    """Counted from 0."""
    num_tokens: Mapping[str, float]
    """(Weighted) target tokens of the whole step by column, and what the method's `prepare` counted."""
    label_weights: Sequence[float] | None = None
    """Weight of each row of the micro-batch in the label loss; None where all weigh the same."""


@dataclass(frozen=True)
class BatchLoss:
    """The loss of a micro-batch, and what is to be logged of it."""

    total: Tensor
    """Scalar, with gradient."""
    losses: dict[str, Tensor]
    """Parts of the step's losses by name: scalars, without gradient."""
    metrics: dict[str, float] = field(default_factory=dict)


class Method(ResumableCallback, ABC):
    target_columns: tuple[str, ...] = ("label", "rationale")

    def __init__(self, config: MethodConfig, stage2: Stage2Config) -> None:
        self.config, self.seed = config, stage2.seed
        self.schedule = Stage2Schedule(stage2, config)

    def prepare(self, model: TwoTaskModel, batches: Sequence[Batch], step: int) -> dict[str, float]:
        """Look at all micro-batches of this rank before the first loss of a step; further counts for `num_tokens`."""
        return {}

    @abstractmethod
    def loss(self, model: TwoTaskModel, batch: Batch, step: Step) -> BatchLoss:
        """The loss of a micro-batch."""


def label_task(batch: Batch, step: Step, *, weight: float = 1.0, encoded: Encoded | None = None) -> Task[Any]:
    """`predict: x` -> `y*`; `encoded` is the encoder output for the label prompts, if there is one."""
    prompts = batch["label_prompt"] if encoded is None else encoded
    return Task(prompts, batch["label"], step.num_tokens["label"], weight, step.label_weights)


def joint_loss(
    model: TwoTaskModel,
    batch: Batch,
    step: Step,
    *,
    prompts: Sequence[TokenIds],
    alpha: float,
    metrics: dict[str, float],
    encoded: Encoded | None = None,
) -> BatchLoss:
    """`alpha L_label + (1 - alpha) L_rationale`, with the rationale prompts given."""
    rationale: Task[Any] = Task(prompts, batch["rationale"], step.num_tokens["rationale"], 1 - alpha)
    losses = model.backend.losses([label_task(batch, step, weight=alpha, encoded=encoded), rationale])
    return BatchLoss(losses.total, dict(zip(("label_loss", "rationale_loss"), losses.of_tasks, strict=True)), metrics)


def put_into_prompts(batch: Batch, predicted: Mapping[int, str], metrics: dict[str, float]) -> list[str]:
    """The label in each row's rationale prompt: the model's own for the rows in `predicted`, gold for the others.

    Adds to `metrics` predicted_label_fraction, and decoded_label_accuracy where any label was decoded.
    """
    gold = batch["gold_label"]
    metrics["predicted_label_fraction"] = len(predicted) / len(batch)
    if predicted:
        num_correct = sum(label == gold[row] for row, label in predicted.items())
        metrics["decoded_label_accuracy"] = num_correct / len(predicted)
    return [predicted.get(row, label) for row, label in enumerate(gold)]


class R2D(Method):
    """`r2d`, the paper's Stage 2: `L2 = alpha(t) L_label + (1 - alpha(t)) L_rationale` with task-level sampling.

    For each example on its own, the label in the rationale prompt is the model's own with probability pi(t), else gold.
    `stage2_only` has no Stage 1 before it, `no_sampling` has pi = 0.
    """

    def loss(self, model: TwoTaskModel, batch: Batch, step: Step) -> BatchLoss:
        alpha, pi = self.schedule.alpha_at(step.number), self.schedule.pi_at(step.number)
        drawn = [row for row, id_ in enumerate(batch["id"]) if uniform_draw(self.seed, step.number, id_) < pi]
        encoded = model.encode_label_prompts(batch) if drawn else None
        decoded = model.decode_labels(batch.take(drawn), encoded and encoded.take(drawn)) if drawn else []
        metrics = {"alpha": alpha, "pi": pi}
        labels = put_into_prompts(batch, dict(zip(drawn, decoded, strict=True)), metrics)
        prompts = model.rationale_prompts(batch, labels)
        return joint_loss(model, batch, step, prompts=prompts, alpha=alpha, encoded=encoded, metrics=metrics)


class R2DC(Method):
    """`r2d_c` (Reason2Decide-C): `r2d`, with confidence-adaptive sampling and a cycle from the rationale to its label.

    `L = alpha L_label + (1 - alpha) L_rationale + lambda L_cycle`; the cycle joins after `T_w`. Departures from the
    published code: the confidence leaves padding out (7), and the cycle has an attention mask, tau is renewed by
    optimiser step and not by micro-batch, for all ranks alike, and nothing is decoded where nothing is drawn (15).
    """

    kept = ("tau", "sum", "count", "renewed_at")

    def __init__(self, config: MethodConfig, stage2: Stage2Config) -> None:
        super().__init__(config, stage2)
        self.cycle = config.cycle
        self.tau: float | None = None
        """Mean confidence over the warm-up, then over the last `tau_every_steps`; None until it is known."""
        self.sum, self.count = 0.0, 0
        """Of the confidences since tau was renewed, on all ranks."""
        self.renewed_at = 0
        self.own_labels: dict[str, str] = {}
        """Id -> own label, of the rows of the step whose rationale prompt carries it."""
        self.step_metrics: dict[str, float] = {}

    def prepare(self, model: TwoTaskModel, batches: Sequence[Batch], step: int) -> dict[str, float]:
        """Choose the labels of the step's rationale prompts, and add its confidences to those that make tau.

        Returns:
            `cycle`: tokens of these labels over the rows with a rationale, of all ranks.
        """
        self.renew_tau(step)
        self.own_labels = {}
        confidence = num_decoded = num_tokens = 0.0
        for batch in batches:
            confidences = self._draw_own_labels(model, batch, step)
            confidence, num_decoded = confidence + sum(confidences), num_decoded + len(confidences)
            labels = zip(batch["id"], batch["gold_label"], batch["rationale"], strict=True)
            in_prompts = [self.own_labels.get(id_, gold) for id_, gold, rationale in labels if rationale]
            num_tokens += sum(len(model.prompts.label_target(label)) for label in in_prompts)
        sums = {"confidence": confidence, "num_decoded": num_decoded, "cycle": num_tokens}
        sums = sum_over_ranks(sums, model.backend.device)
        self.sum, self.count = self.sum + sums["confidence"], self.count + int(sums["num_decoded"])
        self.step_metrics = {"tau": self.tau or 0.0}
        if sums["num_decoded"]:
            self.step_metrics["confidence"] = sums["confidence"] / sums["num_decoded"]
        return {"cycle": sums["cycle"] or 1.0}

    def _draw_own_labels(self, model: TwoTaskModel, batch: Batch, step: int) -> list[float]:
        """Put into `own_labels` where `u1 < pi(t)` and `u2 < sigmoid(slope (confidence - tau))`; the confidences.

        In the warm-up all rows are decoded, for tau alone; afterwards those that `u1` has drawn.
        """
        ids, pi = batch["id"], self.schedule.pi_at(step)
        drawn = [row for row, id_ in enumerate(ids) if self.tau is None or uniform_draw(self.seed, step, id_) < pi]
        if not drawn:
            return []
        decoded = model.scored_labels(batch.take(drawn))
        confidences = [math.exp(label.mean_log_probability) for label in decoded]
        for row, label, confidence in zip(drawn, decoded, confidences, strict=True):
            if self.tau is None:
                continue
            probability = 1 / (1 + math.exp(-self.cycle.confidence_slope * (confidence - self.tau)))
            if uniform_draw(self.seed, step, f"{ids[row]} confidence") < probability:
                self.own_labels[ids[row]] = label.name
        return confidences

    def renew_tau(self, step: int) -> None:
        """Renew tau before the first step after `T_w`, then every `tau_every_steps` steps: the mean confidence since.

        Step `T_w` is the last of the warm-up, as published: its pi is still 0.
        """
        is_due = step > self.schedule.warmup_steps
        if self.tau is not None:
            is_due = step >= self.renewed_at + self.cycle.tau_every_steps
        if is_due and self.count:
            self.tau, self.renewed_at = self.sum / self.count, step
            self.sum, self.count = 0.0, 0

    def loss(self, model: TwoTaskModel, batch: Batch, step: Step) -> BatchLoss:
        alpha, own = self.schedule.alpha_at(step.number), self.own_labels
        metrics = {"alpha": alpha, "pi": self.schedule.pi_at(step.number), **self.step_metrics}
        labels = put_into_prompts(batch, {row: own[id_] for row, id_ in enumerate(batch["id"]) if id_ in own}, metrics)
        if step.number <= self.schedule.warmup_steps or not self.cycle.weight:
            prompts = model.rationale_prompts(batch, labels)
            return joint_loss(model, batch, step, prompts=prompts, alpha=alpha, metrics=metrics)
        label_losses = model.backend.losses([label_task(batch, step, weight=alpha)])
        losses = {"label_loss": label_losses.of_tasks[0]}
        rows = [row for row, target in enumerate(batch["rationale"]) if target]
        if not rows:
            return BatchLoss(label_losses.total, losses, metrics)
        rationale_loss, cycle_loss = self._explain(model, batch.take(rows), [labels[row] for row in rows], step)
        losses |= {"rationale_loss": rationale_loss.detach(), "cycle_loss": cycle_loss.detach()}
        total = label_losses.total + (1 - alpha) * rationale_loss + self.cycle.weight * cycle_loss
        return BatchLoss(total, losses, metrics)

    def _explain(self, model: TwoTaskModel, batch: Batch, labels: Sequence[str], step: Step) -> tuple[Tensor, Tensor]:
        """The rationale loss and the cycle's, both means over tokens, of rows that have a rationale.

        The cycle reads `predict: r` and learns the label of the rationale's prompt; r are the rationale's
        teacher-forced logits through a Gumbel-softmax, times the embedding matrix. The embeddings of the prefix take no
        gradient, as published.
        """
        backend, targets = model.backend, batch["rationale"]
        encoded = backend.encode(model.rationale_prompts(batch, labels))
        logits = backend.logits(encoded, backend.decoder_inputs(targets)).float()  # [target tokens, vocabulary]
        tokens = flatten(targets, logits.device)
        rationale_loss = cross_entropy(logits, tokens, reduction="sum") / step.num_tokens["rationale"]
        # Not through the embedding module: some families scale its output, but not what stands in its place.
        matrix = backend.model.get_input_embeddings().weight
        matrix = matrix[: logits.shape[-1]] * embedding_scale(backend.model)
        frame = model.prompts.frame
        prefix = matrix[torch.tensor(model.prompts.label_prefix_ids(), device=logits.device)].detach()
        suffix = matrix[torch.tensor(frame.tail[:-1] if frame else [], dtype=torch.long, device=logits.device)].detach()
        embeddings = []
        for id_, row in zip(batch["id"], logits.split([len(target) for target in targets]), strict=True):
            noise = gumbel_noise(row.shape, f"{self.seed}:{step.number}:{id_}").to(row.device)
            soft = ((row + noise) / self.temperature_at(step.number)).softmax(dim=-1).to(matrix.dtype)
            soft = soft if frame is None else soft[:-1]  # a causal model's prompt has no end-of-sequence
            embeddings.append(torch.cat([prefix, soft @ matrix, suffix]))
        label_ids = [model.prompts.label_target(label) for label in labels]
        task = Task(backend.encode_embeddings(embeddings), label_ids, step.num_tokens["cycle"])
        return rationale_loss, backend.losses([task]).total

    def temperature_at(self, step: int) -> float:
        """Temperature of the Gumbel-softmax: from the first to the last, at rate ln2 / T."""
        decayed = self.cycle.start_temperature * math.exp(-math.log(2) * step / self.schedule.config.max_steps)
        return max(self.cycle.end_temperature, decayed)


class DSS(Method):
    """`dss`, Distilling Step-by-Step (arXiv 2305.02301): `L = alpha L_label + (1 - alpha) L_rationale`, alpha fixed.

    Label and rationale are separate tasks on the same note: the rationale prompt is `explain: x` and carries no label.
    """

    def loss(self, model: TwoTaskModel, batch: Batch, step: Step) -> BatchLoss:
        prompts = model.rationale_prompts(batch, batch["gold_label"])  # the prompts hold no label, whichever is given
        alpha = self.schedule.alpha
        return joint_loss(model, batch, step, prompts=prompts, alpha=alpha, metrics={"alpha": alpha})


class SFT(Method):
    """`sft`: supervised fine-tuning on the label alone, `predict: x -> y*`. Writes no rationale."""

    target_columns = ("label",)

    def loss(self, model: TwoTaskModel, batch: Batch, step: Step) -> BatchLoss:
        losses = model.backend.losses([label_task(batch, step)])
        return BatchLoss(losses.total, {"label_loss": losses.of_tasks[0]})


METHODS: dict[str, type[Method]] = {
    **dict.fromkeys(("r2d", "stage2_only", "no_sampling"), R2D),
    "r2d_c": R2DC,
    "dss": DSS,
    "sft": SFT,
}
