"""Both stages through their doors: the loss by hand, what moves, what is selected, what is left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, Stage1Config, Stage2Config
from r2d.data.examples import split_of
from r2d.errors import TrainingError
from r2d.modeling.backends.backend import Encoded
from r2d.modeling.labels import LabelSets
from r2d.modeling.load import load_pretrained
from r2d.modeling.prompts import PromptEncoder
from r2d.training import stage2 as stage2_module
from r2d.training.data import Batch, stage2_rows
from r2d.training.methods import make_method
from r2d.training.sampling import uniform_draw
from r2d.training.schedules import Stage2Schedule
from r2d.training.selection import SelectBest
from r2d.training.stage2 import Stage2Trainer
from r2d.training.train import train_stage1, train_stage2


def make_stage2_trainer(
    examples: pa.Table,
    folder: Path,
    config: Stage2Config,
    model: ModelConfig,
    labels: LabelsConfig,
    work_dir: Path,
    method: MethodConfig | None = None,
) -> Stage2Trainer:
    method = method or MethodConfig()
    network, tokenizer = load_pretrained(str(folder))
    label_sets = LabelSets(labels, tokenizer, max_label_tokens=model.max_label_tokens)
    prompts = PromptEncoder(tokenizer, model, label_in_prompt=method.explains_the_label)
    return Stage2Trainer(
        config=config,
        method=make_method(method, config),
        model_config=model,
        prompts=prompts,
        labels=label_sets,
        model=network,
        rows=stage2_rows(split_of(examples, "train"), prompts, label_sets),
        validation=stage2_rows(split_of(examples, "validation"), prompts, label_sets),
        work_dir=work_dir,
        select=SelectBest(work_dir / "best", metric="eval_macro_f1", greater_is_better=True, patience=5),
        finish=lambda folder: None,
        on_log=None,
    )


@pytest.fixture
def trainer(
    examples: pa.Table,
    stage1_model: Path,
    stage2_config: Stage2Config,
    model_config: ModelConfig,
    labels: LabelsConfig,
    tmp_path: Path,
) -> Stage2Trainer:
    return make_stage2_trainer(examples, stage1_model, stage2_config, model_config, labels, tmp_path)


def fix_schedule(trainer: Stage2Trainer, monkeypatch: pytest.MonkeyPatch, *, alpha: float, pi: float) -> None:
    monkeypatch.setattr(Stage2Schedule, "alpha_at", lambda self, step: alpha)
    monkeypatch.setattr(Stage2Schedule, "pi_at", lambda self, step: pi)


def token_losses(model: Any, tokenizer: Any, prompt: str, target: str) -> list[float]:
    """Minus log-probability of each target token, one forward pass a token: slow, sharing nothing with ours."""
    prompt_ids = torch.tensor([tokenizer(prompt).input_ids])
    target_ids = tokenizer(target).input_ids
    losses = []
    for position, token in enumerate(target_ids):
        seen = torch.tensor([[model.config.decoder_start_token_id, *target_ids[:position]]])
        with torch.no_grad():
            logits = model(input_ids=prompt_ids, decoder_input_ids=seen).logits[0, -1]
        losses.append(float(-torch.log_softmax(logits, dim=-1)[token]))
    return losses


@pytest.mark.parametrize(("alpha", "pi"), [(0.7, 0.0), (0.3, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_stage2_loss_equals_a_hand_computation(
    trainer: Stage2Trainer, monkeypatch: pytest.MonkeyPatch, examples: pa.Table, alpha: float, pi: float
) -> None:
    fix_schedule(trainer, monkeypatch, alpha=alpha, pi=pi)
    model, tokenizer = trainer.model.eval(), trainer.prompts.tokenizer
    rows = split_of(examples, "train").slice(0, 9).to_pylist()
    batch = Batch([trainer.train_dataset[index] for index in range(9)])
    predicted = trainer.decode(batch)
    assert pi == 0 or predicted != batch["gold_label"], "the draw must change something"

    label_losses, rationale_losses = [], []
    for row, own_label in zip(rows, predicted, strict=True):
        label_losses += token_losses(model, tokenizer, f"predict: {row['text']}", row["label"])
        label = own_label if pi == 1 else row["label"]
        if row["rationale"]:
            prompt = f"given label: {label}, explain: {row['text']}"
            rationale_losses += token_losses(model, tokenizer, prompt, row["rationale"])
    label_loss = sum(label_losses) / len(label_losses)
    rationale_loss = sum(rationale_losses) / len(rationale_losses)

    num_tokens = {name: batch.num_tokens(name) for name in trainer.target_columns}
    loss = trainer.batch_loss(batch, num_tokens)
    assert loss.item() == pytest.approx(alpha * label_loss + (1 - alpha) * rationale_loss, rel=1e-5)


def test_micro_batches_add_up_to_the_loss_and_gradient_of_the_whole_batch(
    trainer: Stage2Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix_schedule(trainer, monkeypatch, alpha=0.7, pi=0.5)
    rows = [trainer.train_dataset[index] for index in range(12)]
    whole = Batch(rows)
    num_tokens = {name: whole.num_tokens(name) for name in trainer.target_columns}
    model = trainer.model.eval()

    def gradients(batches: list[Batch]) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        total = torch.stack([trainer.batch_loss(batch, num_tokens) for batch in batches]).sum()
        total.backward()
        return float(total.detach()), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    loss, gradient = gradients([whole])
    parts_loss, parts_gradient = gradients([Batch(rows[:3]), Batch(rows[3:8]), Batch(rows[8:])])
    assert parts_loss == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(parts_gradient, gradient, rtol=1e-4, atol=1e-6)


def test_only_drawn_examples_are_decoded_in_eval_mode_without_gradient(
    trainer: Stage2Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix_schedule(trainer, monkeypatch, alpha=0.0, pi=0.5)
    decoded, modes = [], []

    def spy(network: Any, tokenizer: Any, prompts: Any, sets: Any, **options: Any) -> list[str]:
        decoded.append(len(sets))
        result = original(network, tokenizer, prompts, sets, **options)
        modes.append(network.model.training)
        return result

    original = stage2_module.decode_labels
    monkeypatch.setattr(stage2_module, "decode_labels", spy)
    batch = Batch([trainer.train_dataset[index] for index in range(40)])
    trainer.model.train()
    trainer.batch_loss(batch, {"label": 1, "rationale": 1})
    drawn = [uniform_draw(trainer.stage2.seed, 0, id_) < 0.5 for id_ in batch["id"]]
    assert decoded == [sum(drawn)]
    assert 0 < decoded[0] < 40
    assert modes == [True], "the training mode must be restored after the decode"


@pytest.mark.parametrize("pi", [0.0, 1.0])
def test_the_gradient_is_that_of_the_losses_alone_and_none_comes_through_the_decoded_label(
    trainer: Stage2Trainer, monkeypatch: pytest.MonkeyPatch, pi: float
) -> None:
    fix_schedule(trainer, monkeypatch, alpha=0.3, pi=pi)
    set_dropout(trainer, 0.0)
    model = trainer.model
    batch = Batch([trainer.train_dataset[index] for index in range(12)])
    in_prompt = trainer.decode(batch) if pi else batch["gold_label"]
    model.zero_grad()
    trainer.batch_loss(batch, {name: batch.num_tokens(name) for name in trainer.target_columns}).backward()
    ours = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    model.zero_grad()
    for row, label in zip(batch.rows, in_prompt, strict=True):
        tokenizer = trainer.prompts.tokenizer
        for prompt, target, weight in (
            (f"predict: {row['text']}", row["label"], 0.3 / batch.num_tokens("label")),
            (f"given label: {label}, explain: {row['text']}", row["rationale"], 0.7 / batch.num_tokens("rationale")),
        ):
            if target:
                prompt_ids = torch.tensor([tokenizer(prompt).input_ids])
                loss = model(input_ids=prompt_ids, labels=torch.tensor([target])).loss
                (loss * len(target) * weight).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-4, atol=1e-6, msg=lambda text, n=name: n + text)


def set_dropout(trainer: Stage2Trainer, rate: float) -> None:
    trainer.model.config.dropout_rate = rate
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = rate


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_the_encoder_runs_again_for_the_decode_only_where_training_drops_something(
    trainer: Stage2Trainer, monkeypatch: pytest.MonkeyPatch, dropout: float
) -> None:
    fix_schedule(trainer, monkeypatch, alpha=0.5, pi=1.0)
    set_dropout(trainer, dropout)
    encoded, decoded = [], []
    original = stage2_module.decode_labels

    def spy(network: Any, tokenizer: Any, prompts: Any, sets: Any, **options: Any) -> list[str]:
        encoded.append(isinstance(prompts, Encoded))
        decoded.append(original(network, tokenizer, prompts, sets, **options))
        return decoded[-1]

    batch = Batch([trainer.train_dataset[index] for index in range(40)])
    trainer.model.train()
    monkeypatch.setattr(stage2_module, "decode_labels", spy)
    trainer.batch_loss(batch, {"label": 1, "rationale": 1})
    monkeypatch.setattr(stage2_module, "decode_labels", original)
    assert encoded == [dropout == 0.0]
    assert decoded[0] == trainer.decode(batch)


def test_sampled_prompts_are_cut_at_the_same_limit_as_gold_ones(trainer: Stage2Trainer) -> None:
    long_text = "pt reports cough for 3 days " * 40
    gold, sampled = trainer.prompts.rationale_prompts([long_text, long_text], ["self care", "emergency now"])
    assert len(gold) == len(sampled) == trainer.model_config.max_input_tokens


def test_every_trainable_parameter_moves_in_both_stages(
    examples: pa.Table, stage1_model: Path, stage2_model: Path, model_config: ModelConfig, labels: LabelsConfig
) -> None:
    from r2d.modeling.load import start_model
    from r2d.training.train import _tokenizer_texts

    start, _ = start_model(model_config, _tokenizer_texts(split_of(examples, "train"), model_config, labels), seed=42)
    after_stage1, _ = load_pretrained(str(stage1_model))
    after_stage2, _ = load_pretrained(str(stage2_model))
    for before, after in ((start, after_stage1), (after_stage1, after_stage2)):
        unmoved = [
            name
            for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True)
            if torch.equal(old, new)
        ]
        assert unmoved == []


def test_stage2_starts_from_the_weights_of_stage1(trainer: Stage2Trainer, stage1_model: Path) -> None:
    stage1, _ = load_pretrained(str(stage1_model))
    for ours, theirs in zip(trainer.model.parameters(), stage1.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_model_folder_holds_safetensors_tokenizer_labels_and_config_and_nothing_else(stage2_model: Path) -> None:
    assert {path.name for path in stage2_model.iterdir()} == {
        "model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "reason2decide.json",
    }  # fmt: skip
    facts = json.loads((stage2_model / "reason2decide.json").read_text())
    assert facts["labels"]["names"] == ["emergency now", "self care"]
    assert facts["training"]["alpha"] == 0.7


def test_the_history_shows_schedule_losses_and_both_tasks_at_validation(
    examples: pa.Table,
    stage1_model: Path,
    stage2_config: Stage2Config,
    model_config: ModelConfig,
    labels: LabelsConfig,
    tmp_path: Path,
) -> None:
    logged: list[tuple[int, dict[str, float]]] = []
    result = train_stage2(
        examples,
        stage1_model,
        config=stage2_config,
        model=model_config,
        labels=labels,
        work_dir=tmp_path,
        on_log=lambda step, figures: logged.append((step, dict(figures))),
    )
    training = [record for record in result.history if "loss" in record]
    assert {"alpha", "pi", "predicted_label_fraction", "label_loss", "rationale_loss"} <= set(training[-1])
    evaluations = [record for record in result.history if "eval_macro_f1" in record]
    assert [record["step"] for record in evaluations] == [4, 8, 12, 16, 20]
    assert {"eval_rationale_loss", "eval_rationale_bleu", "eval_invalid_label_rate"} <= set(evaluations[0])
    assert result.armed_from_step == 13
    assert result.selected_step in (16, 20)
    assert result.best_value == max(r["eval_macro_f1"] for r in evaluations if r["step"] >= 13)
    assert [step for step, figures in logged if "eval_macro_f1" in figures] == [4, 8, 12, 16, 20]
    assert not (tmp_path / "checkpoints").exists()


def test_stage1_stops_after_patience_and_keeps_the_best_weights(
    examples: pa.Table, model_config: ModelConfig, labels: LabelsConfig, tmp_path: Path
) -> None:
    config = Stage1Config(
        max_steps=200, eval_every_steps=2, patience=2, learning_rate=0.5, batch_size=8, save_every_steps=100
    )
    result = train_stage1(examples, config=config, model=model_config, labels=labels, work_dir=tmp_path)
    losses = {r["step"]: r["eval_loss"] for r in result.history if "eval_loss" in r}
    assert result.stopped_at_step < 200
    assert losses[result.selected_step] == min(losses.values()) == result.best_value
    assert result.stopped_at_step == result.selected_step + 2 * config.eval_every_steps


def test_a_stage_without_rows_to_train_on_says_what_to_check(
    examples: pa.Table, model_config: ModelConfig, stage1_config: Stage1Config, labels: LabelsConfig, tmp_path: Path
) -> None:
    only_test = split_of(examples, "test")
    with pytest.raises(TrainingError, match=r"train split is empty; check data\.split .*rationales\.stage1_source"):
        train_stage1(only_test, config=stage1_config, model=model_config, labels=labels, work_dir=tmp_path)
