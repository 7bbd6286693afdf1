"""Works and trainers of the toy task, and slow computations that ours are held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from r2d.config.training import CycleConfig, MethodConfig, MethodName, Stage1Config, Stage2Config
from r2d.training.data import Batch
from r2d.training.methods import Stage2Schedule
from r2d.training.stage2 import Stage2Trainer, prepare_stage2
from r2d.training.work import StageResult, StageWork
from tests.conftest import TOY_MODEL, changed, toy_work
from tests.modeling.tiny_models import ARCHITECTURES, save

# 72 training rows make nine batches: these runs go through several epochs, and checkpoints fall inside them.
STAGE1 = Stage1Config(max_steps=24, eval_every_steps=3, save_every_steps=5, learning_rate=5e-3, batch_size=8)
STAGE2 = Stage2Config(
    max_steps=30, eval_every_steps=3, save_every_steps=4, learning_rate=5e-3, batch_size=8, precision="fp32",
    gradient_accumulation_steps=2, validation_rationales=4,
)  # fmt: skip
# pi goes from 0 at step 1 to 0.9 at step 10. The rate is low where Adam would blow up the last bits of a gradient.
STAGE2_OF_RANKS = Stage2Config(
    max_steps=12, eval_every_steps=3, save_every_steps=4, learning_rate=1e-3, batch_size=8, precision="fp32",
    warmup_fraction=0.1, sampling_fraction=0.6, patience=9, validation_rationales=4,
)  # fmt: skip


def ranks_work(
    work_dir: Path, parts: int = 1, method: MethodName = "stage2_only", start: Path | None = None
) -> StageWork[Stage2Config]:
    """Stage 2 of a method from a model, without dropout, in that many micro-batches a step."""
    config = STAGE2_OF_RANKS.model_copy(update={"gradient_accumulation_steps": parts})
    sizes = TOY_MODEL.scratch.model_copy(update={"dropout_rate": 0.0})
    model = TOY_MODEL.model_copy(update={"scratch": sizes})
    named = MethodConfig(name=method, cycle=CycleConfig(tau_every_steps=3, confidence_slope=100.0))
    return toy_work(work_dir, config, model=model, method=named, stage1_model=start)


def weights_of(result: StageResult | Path) -> dict[str, torch.Tensor]:
    """The weights of a result or a model folder."""
    folder = result if isinstance(result, Path) else result.model_folder
    return load_file(folder / "model.safetensors")


def assert_same_weights(ours: StageResult | Path, theirs: StageResult | Path) -> None:
    """Bit by bit."""
    expected, weights = weights_of(theirs), weights_of(ours)
    assert set(weights) == set(expected)
    assert [name for name in expected if not torch.equal(weights[name], expected[name])] == []


@pytest.fixture(scope="session")
def causal_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random causal model with a chat template, to start from."""
    torch.manual_seed(0)
    return save(ARCHITECTURES["llama (chat, tied)"](), tmp_path_factory.mktemp("causal"))


@pytest.fixture(params=["T5", "Llama"])
def make_trainer(
    request: pytest.FixtureRequest, work: StageWork[Stage2Config], causal_model: Path
) -> Callable[..., Stage2Trainer]:
    """A trainer of the short Stage 2, of any method, with other values in its config or on other examples."""
    if request.param == "Llama":
        work = replace(work, stage1_model=causal_model)

    def make(method: MethodConfig | None = None, examples: pa.Table = work.examples, **values: Any) -> Stage2Trainer:
        inputs = prepare_stage2(changed(replace(work, examples=examples, method=method), **values))
        return Stage2Trainer(inputs, inputs.work.config)

    return make


@pytest.fixture
def trainer(make_trainer: Callable[..., Stage2Trainer]) -> Stage2Trainer:
    return make_trainer()


def first_rows(trainer: Stage2Trainer, size: int) -> Batch:
    return Batch([trainer.train_dataset[index] for index in range(size)])


def token_counts(trainer: Stage2Trainer, batch: Batch) -> dict[str, float]:
    """As if the batch were the whole optimiser step, which the method prepares."""
    _, counts = trainer.get_batch_samples(iter([{"batch": batch}]), 1, trainer.args.device)
    assert counts | {name: batch.num_tokens(name) for name in trainer.target_columns} == counts
    return counts


def fix_schedule(monkeypatch: pytest.MonkeyPatch, *, alpha: float, pi: float) -> None:
    monkeypatch.setattr(Stage2Schedule, "alpha_at", lambda self, step: alpha)
    monkeypatch.setattr(Stage2Schedule, "pi_at", lambda self, step: pi)


def whole_prompt(tokenizer: Any, prompt: str) -> list[int]:
    """Token ids of a prompt with its end, or of the chat that a causal model answers."""
    if tokenizer.chat_template is None:
        ids: list[int] = tokenizer(prompt).input_ids
        return ids
    message = [{"role": "user", "content": prompt}]
    chat = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    return tokenizer(chat, add_special_tokens=False).input_ids


def target_logits(model: Any, prompt: torch.Tensor, target: Sequence[int]) -> torch.Tensor:
    """Logits of each target token behind a prompt of embeddings, [target tokens, vocabulary]."""
    if model.config.is_encoder_decoder:
        return model(inputs_embeds=prompt[None], labels=torch.tensor([target])).logits[0]
    before = model.get_input_embeddings()(torch.tensor(target[:-1], dtype=torch.long))
    return model(inputs_embeds=torch.cat([prompt, before])[None], use_cache=False).logits[0, len(prompt) - 1 :]


def token_losses(model: Any, tokenizer: Any, prompt: str, target: str) -> list[float]:
    """Minus log-probability of each target token, one forward pass a token: slow, sharing nothing with ours."""
    prompt_ids = whole_prompt(tokenizer, prompt)
    target_ids = tokenizer(target).input_ids
    losses = []
    for position, token in enumerate(target_ids):
        before = target_ids[:position]
        with torch.no_grad():
            if model.config.is_encoder_decoder:
                started = torch.tensor([[model.config.decoder_start_token_id, *before]])
                logits = model(input_ids=torch.tensor([prompt_ids]), decoder_input_ids=started).logits[0, -1]
            else:
                logits = model(input_ids=torch.tensor([[*prompt_ids, *before]])).logits[0, -1]
        losses.append(float(-torch.log_softmax(logits, dim=-1)[token]))
    return losses


def slow_losses(
    trainer: Stage2Trainer, batch: Batch, prompt: str, labels: Sequence[str] | None = None
) -> tuple[float, float]:
    """Label and rationale loss of a batch by `token_losses`; the rationale prompts hold `labels`, by default gold."""
    model, tokenizer = trainer.model.eval(), trainer.prompts.tokenizer
    label_losses, rationale_losses = [], []
    for row, label in zip(batch.rows, labels or batch["gold_label"], strict=True):
        label_losses += token_losses(model, tokenizer, f"predict: {row['text']}", row["gold_label"])
        if row["gold_rationale"]:
            text = prompt.format(label=label, text=row["text"])
            rationale_losses += token_losses(model, tokenizer, text, row["gold_rationale"])
    return fmean(label_losses), fmean(rationale_losses)
