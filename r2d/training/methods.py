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
from r2d.modeling.architectures import embedding_scale, is_random_in_training
from r2d.modeling.backends.backend import Encoded, Seq2SeqBackend, Task, TokenIds, flatten
from r2d.modeling.decoding import Decoder, ScoredLabel, most_probable_labels
from r2d.modeling.labels import LabelSets
from r2d.modeling.prompts import PromptEncoder
from r2d.training.data import Batch
from r2d.training.schedules import Stage2Schedule, uniform_draw


class TwoTaskModel:
    """A model that decides and explains, with its prompts and labels, over the rows of a batch."""

    def __init__(
        self, backend: Seq2SeqBackend[Any], prompts: PromptEncoder, labels: LabelSets, config: ModelConfig
    ) -> None:
        self.backend, self.prompts, self.label_sets = backend, prompts, labels
        self.decoder = Decoder(backend, prompts.tokenizer, config)

    @cached_property
    def is_random(self) -> bool:
        """Whether training drops something."""
        return is_random_in_training(self.backend.model)

    def encode_label_prompts(self, batch: Batch) -> Encoded | None:
        """Encoder output for the label prompts, if a label may be decoded from it as well as learnt.

        None where training drops something: the output would carry that into the label (departures 2 and 10), so the
        encoder runs again in eval mode.
        """
        return None if self.is_random else self.backend.encode(batch["label_prompt"])

    def decode_labels(self, batch: Batch, encoded: Encoded | None = None) -> list[str]:
        """`y_hat` by the current weights; from the encoder output for the label prompts, if there is one."""
        prompts = batch["label_prompt"] if encoded is None else encoded
        return self.decoder.labels(prompts, self.label_sets.of_all(batch["options"]))

    def most_probable_labels(self, batch: Batch, encoded: Encoded | None = None) -> list[ScoredLabel]:
        """The most probable label of each row's set, with its probability."""
        with self.backend.evaluating():
            encoded = self.backend.encode(batch["label_prompt"]) if encoded is None else encoded
            return most_probable_labels(self.backend, encoded, self.label_sets.of_all(batch["options"]))

    def rationale_prompts(self, batch: Batch, labels: Sequence[str]) -> list[list[int]]:
        """`given label: {y}, explain: {x}` for each row: composed of token ids where that is the same."""
        composed = [
            self.prompts.compose_rationale_prompt(row["label_prompt"], label) if row["composable"] else None
            for row, label in zip(batch.rows, labels, strict=True)
        ]
        missing = [row for row, ids in enumerate(composed) if ids is None]
        texts = batch["text"]
        tokenized = iter(self.prompts.rationale_prompts([texts[i] for i in missing], [labels[i] for i in missing]))
        return [next(tokenized) if ids is None else ids for ids in composed]


@dataclass(frozen=True)
class Step:
    """The optimiser step that a micro-batch belongs to."""

    number: int
    """Counted from 0."""
    num_tokens: Mapping[str, float]
    """(Weighted) target tokens of the whole step by column, and its rows with a rationale as `num_rows`."""
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


class Method(ABC):
    """The losses of one method. It may keep a state; what it keeps travels in the checkpoint."""

    target_columns: tuple[str, ...] = ("label", "rationale")
    """Columns that are learnt."""
    kept: tuple[str, ...] = ()
    """Attributes that a resumed run needs besides weights and step; their values are JSON."""

    def __init__(self, config: MethodConfig, stage2: Stage2Config) -> None:
        self.config = config
        self.seed = stage2.seed
        self.schedule = Stage2Schedule(stage2, config)

    @property
    def label_weight(self) -> float:
        """Weight of the label loss in the validation loss."""
        return self.schedule.alpha

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
    label_loss, rationale_loss = losses.of_tasks
    return BatchLoss(losses.total, {"label_loss": label_loss, "rationale_loss": rationale_loss}, metrics)


def labels_in_prompts(batch: Batch, predicted: Mapping[int, str]) -> list[str]:
    """The label in each row's rationale prompt: the model's own for the rows in `predicted`, gold for the others."""
    return [predicted.get(row, label) for row, label in enumerate(batch["gold_label"])]


def sampling_metrics(batch: Batch, predicted: Mapping[int, str]) -> dict[str, float]:
    """predicted_label_fraction, and decoded_label_accuracy where any label was decoded."""
    metrics = {"predicted_label_fraction": len(predicted) / len(batch)}
    if predicted:
        gold = batch["gold_label"]
        metrics["decoded_label_accuracy"] = sum(label == gold[row] for row, label in predicted.items()) / len(predicted)
    return metrics


def gumbel_noise(shape: torch.Size, key: str) -> Tensor:
    """Gumbel noise that depends on the key, (seed, step, example id), alone."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    uniform = torch.rand(shape, generator=generator).clamp(min=1e-10, max=1 - 1e-7)
    return -(-uniform.log()).log()


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
        predicted = dict(zip(drawn, decoded, strict=True))
        prompts = model.rationale_prompts(batch, labels_in_prompts(batch, predicted))
        metrics = sampling_metrics(batch, predicted) | {"alpha": alpha, "pi": pi}
        return joint_loss(model, batch, step, prompts=prompts, alpha=alpha, encoded=encoded, metrics=metrics)


class R2DC(Method):
    """`r2d_c` (Reason2Decide-C): `r2d`, with confidence-adaptive sampling and a cycle from the rationale to its label.

    `L = alpha L_label + (1 - alpha) L_rationale + lambda L_cycle`; the cycle joins at `T_w`. The model's own label is
    used where it is surer than usual, and rationales are learnt from which the label can be told. Departures from the
    published code: the confidence leaves padding out (7), and the cycle has an attention mask, tau is renewed by
    optimiser step and not by micro-batch, and nothing is decoded where nothing is drawn (15).
    """

    kept = ("tau", "sum", "count", "renewed_at")

    def __init__(self, config: MethodConfig, stage2: Stage2Config) -> None:
        super().__init__(config, stage2)
        self.cycle = config.cycle
        self.tau: float | None = None
        """Mean confidence over the warm-up, then over the last `tau_every_steps`; None until it is known."""
        self.sum, self.count = 0.0, 0
        """Of the confidences since tau was renewed."""
        self.renewed_at = 0

    def loss(self, model: TwoTaskModel, batch: Batch, step: Step) -> BatchLoss:
        alpha, pi = self.schedule.alpha_at(step.number), self.schedule.pi_at(step.number)
        self.renew_tau(step.number)
        metrics = {"alpha": alpha, "pi": pi, "tau": self.tau or 0.0}
        encoded = model.encode_label_prompts(batch)
        predicted = self._predicted_labels(model, batch, step.number, pi, encoded, metrics)
        metrics |= sampling_metrics(batch, predicted)
        labels = labels_in_prompts(batch, predicted)
        if step.number < self.schedule.warmup_steps or not self.cycle.weight:
            prompts = model.rationale_prompts(batch, labels)
            return joint_loss(model, batch, step, prompts=prompts, alpha=alpha, encoded=encoded, metrics=metrics)
        label_losses = model.backend.losses([label_task(batch, step, weight=alpha, encoded=encoded)])
        losses = {"label_loss": label_losses.of_tasks[0]}
        rows = [row for row, target in enumerate(batch["rationale"]) if target]
        if not rows:
            return BatchLoss(label_losses.total, losses, metrics)
        rationale_loss, cycle_loss = self._explain(model, batch.take(rows), [labels[row] for row in rows], step)
        losses |= {"rationale_loss": rationale_loss.detach(), "cycle_loss": cycle_loss.detach()}
        total = label_losses.total + (1 - alpha) * rationale_loss + self.cycle.weight * cycle_loss
        return BatchLoss(total, losses, metrics)

    def _predicted_labels(
        self,
        model: TwoTaskModel,
        batch: Batch,
        step: int,
        pi: float,
        encoded: Encoded | None,
        metrics: dict[str, float],
    ) -> dict[int, str]:
        """Row -> own label, where `u1 < pi(t)` and `u2 < sigmoid(slope (confidence - tau))`.

        In the warm-up all rows are decoded, for tau alone; afterwards only those that `u1` has drawn. Adds the mean
        `confidence` to `metrics` where any is decoded.
        """
        ids, is_warmup = batch["id"], step < self.schedule.warmup_steps
        drawn = [row for row, id_ in enumerate(ids) if is_warmup or uniform_draw(self.seed, step, id_) < pi]
        if not drawn:
            return {}
        labels = model.most_probable_labels(batch.take(drawn), None if encoded is None else encoded.take(drawn))
        confidences = [math.exp(label.mean_log_probability) for label in labels]
        self.sum, self.count = self.sum + sum(confidences), self.count + len(confidences)
        metrics["confidence"] = sum(confidences) / len(confidences)
        if is_warmup:
            return {}
        tau = self.sum / self.count if self.tau is None else self.tau
        slope = self.cycle.confidence_slope
        return {
            row: label.name
            for row, label, confidence in zip(drawn, labels, confidences, strict=True)
            if uniform_draw(self.seed, step, f"{ids[row]} confidence") < 1 / (1 + math.exp(-slope * (confidence - tau)))
        }

    def renew_tau(self, step: int) -> None:
        """Renew tau after the warm-up, then every `tau_every_steps` steps: the mean confidence met since."""
        first = self.tau is None and step >= self.schedule.warmup_steps
        due = self.tau is not None and step - self.renewed_at >= self.cycle.tau_every_steps
        if (first or due) and self.count:
            self.tau, self.renewed_at = self.sum / self.count, step
            self.sum, self.count = 0.0, 0

    def _explain(self, model: TwoTaskModel, batch: Batch, labels: Sequence[str], step: Step) -> tuple[Tensor, Tensor]:
        """The rationale loss, and the cycle's, of rows that have a rationale; the latter is a mean over labels.

        The cycle reads `predict: r` and is to give the label that stood in the rationale's prompt. r are the
        rationale's teacher-forced logits through a Gumbel-softmax, times the embedding matrix.
        """
        backend, targets = model.backend, batch["rationale"]
        encoded = backend.encode(model.rationale_prompts(batch, labels))
        logits = backend.logits(encoded, backend.decoder_inputs(targets)).float()  # [target tokens, vocabulary]
        tokens = flatten(targets, logits.device)
        rationale_loss = cross_entropy(logits, tokens, reduction="sum") / step.num_tokens["rationale"]
        # Not through the embedding module: some families scale its output, but not what stands in its place.
        matrix = backend.model.get_input_embeddings().weight
        matrix = matrix[: logits.shape[-1]] * embedding_scale(backend.model)
        prefix = matrix[torch.tensor(model.prompts.label_prefix_ids(), device=logits.device)]
        embeddings = []
        for id_, row in zip(batch["id"], logits.split([len(target) for target in targets]), strict=True):
            noise = gumbel_noise(row.shape, f"{self.seed}:{step.number}:{id_}").to(row.device)
            soft = ((row + noise) / self.temperature_at(step.number)).softmax(dim=-1).to(matrix.dtype)
            embeddings.append(torch.cat([prefix, soft @ matrix]))
        label_ids = [model.prompts.label_target(label) for label in labels]
        row_weights = [1 / len(ids) for ids in label_ids]
        num_rows = step.num_tokens["num_rows"]
        task = Task(backend.encode_embeddings(embeddings), label_ids, num_rows, row_weights=row_weights)
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
    label_weight = 1.0

    def loss(self, model: TwoTaskModel, batch: Batch, step: Step) -> BatchLoss:
        losses = model.backend.losses([label_task(batch, step)])
        return BatchLoss(losses.total, {"label_loss": losses.of_tasks[0]})


METHODS: dict[str, type[Method]] = {
    "r2d": R2D,
    "r2d_c": R2DC,
    "sft": SFT,
    "dss": DSS,
    "stage2_only": R2D,
    "no_sampling": R2D,
}
"""The method of each `method.name`."""


def make_method(config: MethodConfig, stage2: Stage2Config) -> Method:
    """The method that `method.name` names."""
    return METHODS[config.name](config, stage2)
