"""Both stages: the loss by hand, what moves, what is selected, what is left behind."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
import torch

from r2d.config.data import ColumnsConfig, DataConfig, LabelsConfig
from r2d.config.evaluation import EvaluationConfig
from r2d.config.model import LoraConfig
from r2d.config.training import MethodConfig, Stage1Config, Stage2Config
from r2d.data.examples import split_of, with_columns
from r2d.errors import TrainingError
from r2d.evaluation.evaluate import evaluate
from r2d.modeling.backends.backend import Encoded
from r2d.modeling.decoding import Decoder
from r2d.modeling.load import load_pretrained
from r2d.training.data import Batch
from r2d.training.methods import uniform_draw
from r2d.training.stage1 import prepare_stage1, train_stage1
from r2d.training.stage2 import Stage2Trainer, prepare_stage2, train_stage2
from r2d.training.work import StageWork
from tests.conftest import changed
from tests.modeling.tiny_models import library_loss
from tests.training.conftest import (
    assert_same_weights,
    first_rows,
    fix_schedule,
    token_counts,
    weights_of,
    whole_prompt,
)


def test_rationales_that_the_limit_cuts_are_counted_where_a_method_reads_them(
    stage1_work: StageWork[Stage1Config], work: StageWork[Stage2Config], caplog: pytest.LogCaptureFixture
) -> None:
    train = split_of(stage1_work.examples, "train")
    texts = [text for text in train["rationale"].to_pylist() if text]
    tokenizer = prepare_stage1(stage1_work).prompts.tokenizer
    lengths = [len(tokenizer(text).input_ids) for text in texts]
    assert max(lengths) < stage1_work.model.max_rationale_tokens
    assert "are cut" not in caplog.text
    limit = sorted(set(lengths))[-2]  # some are longer, and some fill it without being cut
    cut, model = sum(length > limit for length in lengths), stage1_work.model
    model = model.model_copy(update={"max_rationale_tokens": limit})
    said = f"{cut} of {len(texts)} rationales are cut at model.max_rationale_tokens ({limit})"
    with caplog.at_level(logging.WARNING, logger="r2d"):
        prepare_stage1(replace(stage1_work, model=model))
        assert said in caplog.text
        assert f"the longest has {max(lengths)} tokens" in caplog.text
        caplog.clear()
        prepare_stage2(replace(work, model=model, method=MethodConfig(name="sft")))
        assert caplog.text == ""
        prepare_stage2(replace(work, model=model))
        assert said in caplog.text


def test_micro_batches_add_up_to_the_loss_and_gradient_of_the_whole_batch(
    trainer: Stage2Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix_schedule(monkeypatch, alpha=0.7, pi=0.5)
    whole = first_rows(trainer, 12)
    num_tokens = token_counts(trainer, whole)
    model = trainer.model.eval()

    def gradients(batches: list[Batch]) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        total = torch.stack([trainer.batch_loss(batch, num_tokens) for batch in batches]).sum()
        total.backward()
        return float(total.detach()), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    loss, gradient = gradients([whole])
    parts_loss, parts_gradient = gradients([whole.take(rows) for rows in (range(3), range(3, 8), range(8, 12))])
    assert parts_loss == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(parts_gradient, gradient, rtol=1e-4, atol=1e-6)


class Decode(NamedTuple):
    """A label decode of a training step."""

    labels: list[str]
    is_from_encoded: bool
    trains_afterwards: bool


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[Decode]:
    """Each label decode, as soon as it is done."""
    done: list[Decode] = []
    original = Decoder.labels

    def labels(decoder: Decoder, prompts: Any, *rest: Any) -> list[str]:
        decoded = original(decoder, prompts, *rest)
        done.append(Decode(decoded, isinstance(prompts, Encoded), decoder.backend.model.training))
        return decoded

    monkeypatch.setattr(Decoder, "labels", labels)
    return done


def test_only_drawn_examples_are_decoded_in_eval_mode_without_gradient(
    trainer: Stage2Trainer, monkeypatch: pytest.MonkeyPatch, decodes: list[Decode]
) -> None:
    fix_schedule(monkeypatch, alpha=0.0, pi=0.5)
    batch = first_rows(trainer, 40)
    trainer.model.train()
    trainer.batch_loss(batch, {"label": 1, "rationale": 1})
    num_drawn = sum(uniform_draw(trainer.config.seed, 0, id_) < 0.5 for id_ in batch["id"])
    assert 0 < num_drawn < 40
    assert [(len(decode.labels), decode.trains_afterwards) for decode in decodes] == [(num_drawn, True)]


@pytest.mark.parametrize(("alpha", "pi"), [(0.7, 0.0), (0.3, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_loss_and_gradient_are_the_library_s_row_by_row_and_none_comes_through_the_decoded_label(
    trainer: Stage2Trainer, monkeypatch: pytest.MonkeyPatch, alpha: float, pi: float
) -> None:
    fix_schedule(monkeypatch, alpha=alpha, pi=pi)
    set_dropout(trainer, 0.0)
    model, tokenizer = trainer.model, trainer.prompts.tokenizer
    batch = first_rows(trainer, 12)
    in_prompt = trainer.tasks.decode_labels(batch) if pi else batch["gold_label"]
    assert pi == 0 or in_prompt != batch["gold_label"], "the draw must change something"
    model.zero_grad()
    total = trainer.batch_loss(batch, token_counts(trainer, batch))
    total.backward()
    ours = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    model.zero_grad()
    expected = 0.0
    for row, label in zip(batch.rows, in_prompt, strict=True):
        for prompt, target, weight in (
            (f"predict: {row['text']}", row["label"], alpha / batch.num_tokens("label")),
            (f"given label: {label}, explain: {row['text']}", row["rationale"],
             (1 - alpha) / batch.num_tokens("rationale")),
        ):  # fmt: skip
            if target:
                ids = whole_prompt(tokenizer, prompt)
                ids = ids if model.config.is_encoder_decoder else ids[:-1]  # the last is the start token of the target
                loss = library_loss(model, ids, target) * len(target) * weight
                loss.backward()
                expected += loss.item()
    assert total.item() == pytest.approx(expected, rel=1e-5)
    theirs = {name: parameter.grad for name, parameter in model.named_parameters()}
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def set_dropout(trainer: Stage2Trainer, rate: float) -> None:
    trainer.model.config.dropout_rate = rate
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = rate


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_the_encoder_runs_again_for_the_decode_only_where_training_drops_something(
    trainer: Stage2Trainer, monkeypatch: pytest.MonkeyPatch, decodes: list[Decode], dropout: float
) -> None:
    fix_schedule(monkeypatch, alpha=0.5, pi=1.0)
    set_dropout(trainer, dropout)
    batch = first_rows(trainer, 40)
    expected = trainer.tasks.decode_labels(batch)
    trainer.model.train()
    trainer.batch_loss(batch, {"label": 1, "rationale": 1})
    assert decodes[1:] == [(expected, dropout == 0.0, True)]


def test_every_trainable_parameter_moves_in_both_stages_and_stage2_starts_from_stage1(
    stage1_work: StageWork[Stage1Config], work: StageWork[Stage2Config], stage1_model: Path, stage2_model: Path
) -> None:
    start = prepare_stage1(stage1_work).model
    after_stage1, after_stage2 = (load_pretrained(str(folder))[0] for folder in (stage1_model, stage2_model))
    for before, after in ((start, after_stage1), (after_stage1, after_stage2)):
        pairs = zip(before.named_parameters(), after.parameters(), strict=True)
        assert [name for (name, old), new in pairs if torch.equal(old, new)] == []
    pairs = zip(prepare_stage2(work).model.parameters(), after_stage1.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_a_model_folder_holds_safetensors_tokenizer_labels_and_config_and_nothing_else(stage2_model: Path) -> None:
    assert {path.name for path in stage2_model.iterdir()} == {
        "model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "reason2decide.json", "trained_rows.safetensors", "manifest.json",
    }  # fmt: skip
    facts = json.loads((stage2_model / "reason2decide.json").read_text())
    assert facts["labels"]["names"] == ["emergency now", "self care"]
    assert facts["training"]["alpha"] == 0.7


def test_the_history_shows_schedule_losses_and_both_tasks_at_validation(work: StageWork[Stage2Config]) -> None:
    logged: list[tuple[int, dict[str, float]]] = []
    result = train_stage2(work, on_log=lambda step, metrics: logged.append((step, dict(metrics))))
    training = [record for record in result.history if "loss" in record]
    assert {"alpha", "pi", "predicted_label_fraction", "label_loss", "rationale_loss"} <= set(training[-1])
    evaluations = [record for record in result.history if "eval_macro_f1" in record]
    assert [record["step"] for record in evaluations] == [4, 8, 12, 16, 20]
    assert {"eval_rationale_loss", "eval_rationale_bleu", "eval_invalid_label_rate"} <= set(evaluations[0])
    assert result.armed_from_step == 13
    assert result.selected_step in (16, 20)
    assert result.best_value == max(r["eval_macro_f1"] for r in evaluations if r["step"] >= 13)
    assert [step for step, metrics in logged if "eval_macro_f1" in metrics] == [4, 8, 12, 16, 20]
    assert not (work.work_dir / "checkpoints").exists()


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=4, alpha=8)])
def test_losses_and_weights_are_the_same_with_and_without_activation_checkpointing(
    lora: LoraConfig | None, work: StageWork[Stage2Config]
) -> None:
    work, results = replace(changed(work, max_steps=8), model=work.model.model_copy(update={"lora": lora})), []
    for value in (False, True):
        again = replace(work, work_dir=work.work_dir / str(value))
        results.append(train_stage2(changed(again, activation_checkpointing=value)))
    ours, theirs = (
        [{key: value for key, value in record.items() if key.endswith("loss")} for record in result.history]
        for result in results
    )
    assert ours == theirs
    assert_same_weights(*results)


def test_stage1_stops_after_patience_and_keeps_the_best_weights(stage1_work: StageWork[Stage1Config]) -> None:
    work = changed(stage1_work, max_steps=200, eval_every_steps=2, patience=2, learning_rate=0.5, save_every_steps=100)
    result = train_stage1(work)
    losses = {record["step"]: record["eval_loss"] for record in result.history if "eval_loss" in record}
    assert result.stopped_at_step < 200
    assert losses[result.selected_step] == min(losses.values()) == result.best_value
    assert result.stopped_at_step == result.selected_step + 2 * work.config.eval_every_steps
    assert weights_of(result)


def test_a_stage_without_rows_to_train_on_says_what_to_check(stage1_work: StageWork[Stage1Config]) -> None:
    only_test = replace(stage1_work, examples=split_of(stage1_work.examples, "test"))
    with pytest.raises(
        TrainingError,
        match=r"stage 1 \(rows with a rationale\): the train split is empty; check data\.split .*stage1_source",
    ):
        train_stage1(only_test)


@pytest.mark.parametrize("per_row", [False, True], ids=["declared labels", "options per row"])
def test_validation_counts_labels_as_an_evaluation_of_the_same_rows_does_however_they_are_written(
    per_row: bool, work: StageWork[Stage2Config]
) -> None:
    train, validation = (split_of(work.examples, split) for split in ("train", "validation"))
    validation = with_columns(validation, label=[label.upper() for label in validation["label"].to_pylist()])
    examples = pa.concat_tables([train, validation])
    if per_row:
        examples = with_columns(examples, options=[list(work.labels.names)] * len(examples))
    labels = LabelsConfig(per_row=True) if per_row else work.labels
    result = train_stage2(changed(replace(work, examples=examples, labels=labels), max_steps=8))

    columns = ColumnsConfig(options="options" if per_row else None)
    data = DataConfig(format="jsonl", path="notes.jsonl", labels=labels, columns=columns)
    test = split_of(examples, "validation")
    test = with_columns(test, split=["test"] * len(test))
    label = evaluate(test, result.model_folder, config=EvaluationConfig(seen_rows="allow"), data=data).metrics.label
    (selected,) = [row for row in result.history if row["step"] == result.selected_step and "eval_accuracy" in row]
    assert selected["eval_accuracy"] == label.accuracy > 0
    assert selected["eval_invalid_label_rate"] == label.invalid_label_rate
    assert selected.get("eval_macro_f1") == label.macro_f1


def test_bf16_covers_every_layer_of_the_model(make_trainer: Any) -> None:
    trainer = make_trainer(precision="bf16")
    batch, dtypes = first_rows(trainer, 8), {}
    for name, module in trainer.model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda _, __, output, name=name: dtypes.update({name: output.dtype}))
    trainer.compute_loss(trainer.model, {"batch": batch}, num_items_in_batch=token_counts(trainer, batch))
    assert len(dtypes) > 8
    assert set(dtypes.values()) == {torch.bfloat16}
