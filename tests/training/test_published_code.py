"""Twenty steps of each stage beside the published loops, written down here once more in plain torch and transformers.

Both take the same batches and draws, without dropout, in fp32. From the published code the loop differs where
docs/method.md says why ours does: one limit for prompts, padding masked in confidence and cycle, and draws and noise
that depend on (seed, step, example id). `tau` is not renewed within twenty steps.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
import torch

from r2d.config.training import MethodConfig, MethodName, Stage1Config, Stage2Config
from r2d.training import trainer
from r2d.training.data import LengthGroupedSampler
from r2d.training.methods import gumbel_noise
from r2d.training.stage1 import prepare_stage1, train_stage1
from r2d.training.stage2 import prepare_stage2, train_stage2
from r2d.training.trainer import StageInputs
from tests.conftest import TOY_MODEL, toy_examples, toy_work

STEPS, BATCH, SEED, LEARNING_RATE = 20, 8, 42, 2e-3
WARMUP_STEPS, SAMPLING_STEPS, ALPHA = 1, 12, 0.7
LABEL_LENGTH = 50  # `max_length` of the published decode; the decoder's start token is one of them
NO_DROPOUT = TOY_MODEL.scratch.model_copy(update={"dropout_rate": 0.0})
MODEL = TOY_MODEL.model_copy(
    update={"label_decoding": "free", "max_label_tokens": 49, "max_input_tokens": 1024, "scratch": NO_DROPOUT}
)
SHARED: dict[str, Any] = {
    "max_steps": STEPS, "batch_size": BATCH, "seed": SEED, "learning_rate": LEARNING_RATE, "eval_every_steps": STEPS,
}  # fmt: skip
Row = dict[str, Any]


def draw(step: int, name: str) -> float:
    """Uniform in [0, 1)."""
    digest = hashlib.blake2b(f"{SEED}:{step}:{name}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2.0**53


class PublishedLoss:
    """The losses of a padded batch at a step, by name."""

    def __init__(self, inputs: StageInputs[Any]) -> None:
        self.model, self.tokenizer = copy.deepcopy(inputs.model), inputs.prompts.tokenizer
        self.confidences: list[float] = []
        self.num_own = 0

    def padded(self, texts: list[str]) -> dict[str, torch.Tensor]:
        return dict(self.tokenizer(texts, padding=True, return_tensors="pt"))

    def targets(self, texts: list[str]) -> torch.Tensor:
        ids = self.padded(texts)["input_ids"]
        return ids.masked_fill(ids == self.tokenizer.pad_token_id, -100)

    def stage1(self, rows: list[Row], step: int) -> dict[str, torch.Tensor]:
        prompts = self.padded([f"explain: {row['text']}" for row in rows])
        return {"loss": self.model(**prompts, labels=self.targets([row["rationale"] for row in rows])).loss}

    def r2d(self, rows: list[Row], step: int) -> dict[str, torch.Tensor]:
        pi = self.pi(step)
        own = self.decode(rows)[0] if pi else []
        used = [bool(pi) and draw(step, row["id"]) < pi for row in rows]
        return self.joint(rows, step, [own[i] if used[i] else row["label"] for i, row in enumerate(rows)])[0]

    def r2d_c(self, rows: list[Row], step: int) -> dict[str, torch.Tensor]:
        pi = self.pi(step)
        own, confidences = self.decode(rows)
        if step <= WARMUP_STEPS:
            self.confidences += confidences
        tau = torch.tensor(sum(self.confidences) / len(self.confidences))
        labels = []
        for row, label, confidence in zip(rows, own, confidences, strict=True):
            probability = float(torch.sigmoid(10 * (confidence - tau)))
            is_used = draw(step, row["id"]) < pi and draw(step, f"{row['id']} confidence") < probability
            labels.append(label if is_used else row["label"])
        losses, logits = self.joint(rows, step, labels)
        if step > WARMUP_STEPS:
            losses["cycle_loss"] = self.cycle(rows, step, labels, logits)
            losses["loss"] = losses["loss"] + 0.1 * losses["cycle_loss"]
        return losses

    def pi(self, step: int) -> float:
        return min(0.9, (step - WARMUP_STEPS) / SAMPLING_STEPS) if step >= WARMUP_STEPS else 0.0

    def decode(self, rows: list[Row]) -> tuple[list[str], list[float]]:
        """Greedy labels, and exp of the mean log-probability of their tokens."""
        with torch.no_grad():
            output = self.model.generate(
                **self.padded([f"predict: {row['text']}" for row in rows]), max_length=LABEL_LENGTH,
                output_scores=True, return_dict_in_generate=True,
            )  # fmt: skip
        tokens = output.sequences[:, 1:]
        log_probabilities = torch.stack(output.scores, dim=1).log_softmax(dim=-1).gather(2, tokens[..., None])[..., 0]
        ends = (tokens == self.tokenizer.eos_token_id).int()
        is_token = ends.cumsum(dim=1) - ends == 0  # up to and with the first end: what follows is padding
        means = log_probabilities.where(is_token, torch.tensor(0.0)).sum(dim=1) / is_token.sum(dim=1)
        return self.tokenizer.batch_decode(output.sequences, skip_special_tokens=True), means.exp().tolist()

    def joint(self, rows: list[Row], step: int, labels: list[str]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Both losses, and the logits of the rationales."""
        self.num_own += sum(label != row["label"] for label, row in zip(labels, rows, strict=True))
        alpha = ALPHA if step >= WARMUP_STEPS else ALPHA * step / WARMUP_STEPS
        asked = self.padded([f"predict: {row['text']}" for row in rows])
        label_loss = self.model(**asked, labels=self.targets([row["label"] for row in rows])).loss
        pairs = zip(labels, rows, strict=True)
        prompts = self.padded([f"given label: {label}, explain: {row['text']}" for label, row in pairs])
        explained = self.model(**prompts, labels=self.targets([row["rationale"] for row in rows]))
        total = alpha * label_loss + (1 - alpha) * explained.loss
        return {"label_loss": label_loss, "rationale_loss": explained.loss, "loss": total}, explained.logits

    def cycle(self, rows: list[Row], step: int, labels: list[str], logits: torch.Tensor) -> torch.Tensor:
        """From soft rationales back to the labels of their prompts."""
        mask = self.padded([row["rationale"] for row in rows])["attention_mask"]
        noise = torch.zeros_like(logits)
        for number, row in enumerate(rows):
            length = int(mask[number].sum())
            noise[number, :length] = gumbel_noise(logits[number, :length].shape, f"{SEED}:{step}:{row['id']}")
        temperature = max(0.5, 1.0 * 2.0 ** (-step / STEPS))
        embedding = self.model.get_input_embeddings()
        soft = torch.softmax((logits + noise) / temperature, dim=-1) @ embedding.weight
        prefix_ids = self.tokenizer("predict:", add_special_tokens=False, return_tensors="pt").input_ids
        with torch.no_grad():
            prefix = embedding(prefix_ids).expand(len(rows), -1, -1)
        mask = torch.cat([torch.ones(len(rows), prefix.shape[1], dtype=mask.dtype), mask], dim=1)
        embedded = torch.cat([prefix, soft], dim=1)
        return self.model(inputs_embeds=embedded, attention_mask=mask, labels=self.targets(labels)).loss


def published_losses(
    loss: Callable[[list[Row], int], dict[str, torch.Tensor]], model: torch.nn.Module, batches: Iterable[list[Row]]
) -> list[dict[str, float]]:
    """The losses of every step, while the model is trained by them."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    history = []
    for step, rows in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / STEPS)
        losses = loss(rows, step)
        history.append({name: value.item() for name, value in losses.items()})
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return history


def batches_of(inputs: StageInputs[Any]) -> list[list[Row]]:
    """The rows of each step in our order, with their texts."""
    order = list(LengthGroupedSampler(inputs.train.lengths(), batch_size=BATCH, num_batches=STEPS, seed=SEED))
    texts = {row["id"]: row for row in inputs.work.examples.to_pylist()}
    rows = [texts[inputs.train[index]["id"]] for index in order]
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def assert_same_losses(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> None:
    ours = [record for record in ours if "loss" in record]
    assert len(ours) == len(theirs) == STEPS
    for mine, published in zip(ours, theirs, strict=True):
        assert {name: mine[name] for name in published} == pytest.approx(published, abs=1e-4), mine["step"]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A work whose rows all have a rationale, as published; every step is logged."""
    monkeypatch.setattr(trainer, "LOGGED_EVERY_STEPS", 1)
    examples = toy_examples()
    examples = examples.filter(pc.not_equal(examples["rationale"], ""))
    return lambda config, **rest: toy_work(
        tmp_path / type(config).__name__, config, model=MODEL, examples=examples, **rest
    )


def test_stage1_has_the_losses_of_the_published_loop(work: Callable[..., Any]) -> None:
    work1 = work(Stage1Config(**SHARED))
    inputs = prepare_stage1(work1)
    published = PublishedLoss(inputs)
    theirs = published_losses(published.stage1, published.model, batches_of(inputs))
    assert theirs[-1]["loss"] < 0.9 * theirs[0]["loss"]
    assert_same_losses(train_stage1(work1).history, theirs)


@pytest.mark.parametrize("method", ["r2d", "r2d_c"])
def test_stage2_has_the_losses_of_the_published_loop(method: MethodName, work: Callable[..., Any]) -> None:
    start = train_stage1(work(Stage1Config(**SHARED))).model_folder
    work2 = work(Stage2Config(**SHARED, precision="fp32"), method=MethodConfig(name=method), stage1_model=start)
    inputs = prepare_stage2(work2)
    published = PublishedLoss(inputs)
    theirs = published_losses(getattr(published, method), published.model, batches_of(inputs))
    assert published.num_own > STEPS, "own labels must stand in prompts"
    assert_same_losses(train_stage2(work2).history, theirs)
