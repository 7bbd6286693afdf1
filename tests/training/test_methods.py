"""The methods of the papers: each loss against a slow computation of its own, and what each leaves alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from torch.nn.functional import cross_entropy

from r2d.config.data import LabelsConfig
from r2d.config.loading import parse_config
from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, Stage2Config
from r2d.data.examples import split_of
from r2d.errors import ConfigError
from r2d.training.data import Batch
from r2d.training.methods import METHODS, make_method
from r2d.training.methods.r2d_c import R2DC, _gumbel
from r2d.training.schedules import Stage2Schedule
from r2d.training.stage2 import Stage2Trainer
from tests.training.test_stages import make_stage2_trainer, token_losses


@pytest.fixture
def make(
    examples: pa.Table,
    stage1_model: Path,
    stage2_config: Stage2Config,
    model_config: ModelConfig,
    labels: LabelsConfig,
    tmp_path: Path,
) -> Any:
    def trainer(name: str, alpha: float | None = None, **values: Any) -> Stage2Trainer:
        method, config = MethodConfig(name=name, **values), stage2_config.model_copy(update={"alpha": alpha})
        return make_stage2_trainer(examples, stage1_model, config, model_config, labels, tmp_path, method)

    return trainer


def batch_of(trainer: Stage2Trainer, size: int = 9) -> Batch:
    return Batch([trainer.train_dataset[index] for index in range(size)])


def counts(trainer: Stage2Trainer, batch: Batch) -> dict[str, int]:
    rows = sum(bool(tokens) for tokens in batch["rationale"])
    return {name: batch.num_tokens(name) for name in trainer.target_columns} | {"num_rows": rows}


def mean(losses: list[float]) -> float:
    return sum(losses) / len(losses)


def slow_losses(trainer: Stage2Trainer, examples: pa.Table, prompt: str, size: int = 9) -> tuple[float, float]:
    """Label and rationale loss, one forward pass a token."""
    model, tokenizer = trainer.model, trainer.prompts.tokenizer
    label_losses, rationale_losses = [], []
    for row in split_of(examples, "train").slice(0, size).to_pylist():
        label_losses += token_losses(model, tokenizer, f"predict: {row['text']}", row["label"])
        if row["rationale"]:
            rationale_losses += token_losses(model, tokenizer, prompt.format(**row), row["rationale"])
    return mean(label_losses), mean(rationale_losses)


def test_there_is_a_strategy_for_every_name_of_the_schema(stage2_config: Stage2Config) -> None:
    from typing import get_args

    from r2d.config.training import MethodName

    assert set(METHODS) == set(get_args(MethodName))


def test_sft_learns_the_label_alone(make: Any, examples: pa.Table) -> None:
    trainer = make("sft")
    trainer.model.eval()
    batch = batch_of(trainer)
    label_loss, _ = slow_losses(trainer, examples, "explain: {text}")
    assert trainer.batch_loss(batch, counts(trainer, batch)).item() == pytest.approx(label_loss, rel=1e-4)
    assert trainer.target_columns == ("label",)
    assert set(trainer.validate()) == {"loss", "label_loss", "accuracy", "macro_f1", "invalid_label_rate"}


def test_dss_shows_no_label_in_the_rationale_prompt_and_weighs_by_a_fixed_alpha(make: Any, examples: pa.Table) -> None:
    trainer = make("dss", alpha=0.25)
    trainer.model.eval()
    batch = batch_of(trainer)
    label_loss, rationale_loss = slow_losses(trainer, examples, "explain: {text}")
    expected = 0.25 * label_loss + 0.75 * rationale_loss
    for step in (0, 19):
        trainer.state.global_step = step
        loss = trainer.batch_loss(batch, counts(trainer, batch))
        assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_no_sampling_shows_gold_labels_at_every_step_and_decodes_nothing(
    make: Any, examples: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make("no_sampling")
    trainer.model.eval()
    monkeypatch.setattr(trainer, "decode", None)
    batch = batch_of(trainer)
    label_loss, rationale_loss = slow_losses(trainer, examples, "given label: {label}, explain: {text}")
    trainer.state.global_step = 19
    loss = trainer.batch_loss(batch, counts(trainer, batch))
    alpha = trainer.method.schedule.alpha
    assert loss.item() == pytest.approx(alpha * label_loss + (1 - alpha) * rationale_loss, rel=1e-4)


def test_only_methods_with_a_schedule_wait_before_they_select(stage2_config: Stage2Config) -> None:
    armed = {name: make_method(MethodConfig(name=name), stage2_config).armed_from_step for name in METHODS}
    waiting = (stage2_config.warmup_fraction + stage2_config.sampling_fraction) * stage2_config.max_steps
    assert armed == {name: 0.0 if name in ("sft", "dss") else pytest.approx(waiting) for name in METHODS}


def cycle_trainer(make: Any, monkeypatch: pytest.MonkeyPatch, *, step: int, pi: float, weight: float = 1.0) -> Any:
    trainer = make("r2d_c", cycle={"weight": weight})
    monkeypatch.setattr(Stage2Schedule, "alpha_at", lambda self, step: 0.5)
    monkeypatch.setattr(Stage2Schedule, "pi_at", lambda self, step: pi)
    trainer.state.global_step = step
    trainer.model.eval()
    return trainer


def test_the_cycle_loss_equals_a_slow_computation_row_by_row(
    make: Any, examples: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = cycle_trainer(make, monkeypatch, step=10, pi=0.0)
    batch = batch_of(trainer)
    loss = trainer.batch_loss(batch, counts(trainer, batch))
    label_loss, rationale_loss = slow_losses(trainer, examples, "given label: {label}, explain: {text}")
    model, tokenizer = trainer.model, trainer.prompts.tokenizer
    temperature = math.exp(-math.log(2) * 10 / trainer.stage2.max_steps)
    losses = []
    for row in split_of(examples, "train").slice(0, 9).to_pylist():
        if not row["rationale"]:
            continue
        prompt = tokenizer(f"given label: {row['label']}, explain: {row['text']}", return_tensors="pt")
        target = tokenizer(row["rationale"], return_tensors="pt").input_ids
        with torch.no_grad():
            logits = model(**prompt, labels=target).logits[0]
            noise = _gumbel(logits.shape, f"{trainer.stage2.seed}:10:{row['id']}")
            soft = torch.softmax((logits + noise) / temperature, dim=-1)
            weight = model.get_input_embeddings().weight
            prefix = weight[tokenizer("predict:", add_special_tokens=False).input_ids]
            embedded = torch.cat([prefix, soft @ weight])[None]
            label = tokenizer(row["label"], return_tensors="pt").input_ids
            logits = model(inputs_embeds=embedded, labels=label).logits[0]
            losses.append(float(cross_entropy(logits, label[0])))
    expected = 0.5 * label_loss + 0.5 * rationale_loss + mean(losses)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_the_cycle_sends_its_gradient_through_the_rationale_and_waits_for_the_warm_up(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoder_gradient(weight: float, step: int) -> torch.Tensor:
        trainer = cycle_trainer(make, monkeypatch, step=step, pi=0.0, weight=weight)
        batch = batch_of(trainer)
        trainer.batch_loss(batch, counts(trainer, batch)).backward()
        return trainer.model.lm_head.weight.grad.clone()

    assert not torch.allclose(decoder_gradient(0.0, 10), decoder_gradient(1.0, 10))
    torch.testing.assert_close(decoder_gradient(0.0, 0), decoder_gradient(1.0, 0))


def test_the_own_label_is_used_the_more_the_surer_the_model_is(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = cycle_trainer(make, monkeypatch, step=10, pi=1.0)
    method: R2DC = trainer.method
    batch = batch_of(trainer, 60)
    shares = []
    for tau in (-10.0, None, 10.0):
        method.tau = tau
        trainer.figures.clear()
        trainer.batch_loss(batch, counts(trainer, batch))
        shares.append(trainer.figures["predicted_label_fraction"][0])
    assert shares[0] == 1.0
    assert 0.0 < shares[1] < 1.0
    assert shares[2] == 0.0


def test_tau_is_the_mean_of_the_warm_up_then_renewed_by_optimiser_step_and_travels_in_the_state(
    stage2_config: Stage2Config,
) -> None:
    method = make_method(MethodConfig(name="r2d_c", cycle={"tau_every_steps": 5}), stage2_config)
    assert isinstance(method, R2DC)
    method.sum, method.count = 3.0, 4
    method._renew_tau(0)
    assert method.tau is None, "the warm-up has one step"
    method._renew_tau(1)
    assert (method.tau, method.count) == (0.75, 0)
    method.sum, method.count = 1.0, 2
    method._renew_tau(5)
    assert method.tau == 0.75
    other = make_method(MethodConfig(name="r2d_c", cycle={"tau_every_steps": 5}), stage2_config)
    other.restore(method.state())
    other._renew_tau(6)
    assert other.state() == {"tau": 0.5, "sum": 0.0, "count": 0, "renewed_at": 6}


def test_the_temperature_falls_from_one_to_a_half(stage2_config: Stage2Config) -> None:
    method = make_method(MethodConfig(name="r2d_c"), stage2_config)
    assert isinstance(method, R2DC)
    steps = stage2_config.max_steps
    assert [method.temperature_at(step) for step in (0, steps)] == [1.0, pytest.approx(0.5)]
    assert method.temperature_at(3 * steps) == 0.5


@pytest.mark.parametrize("name", ["sft", "dss", "stage2_only"])
def test_a_model_of_each_method_decides_and_explains_as_the_method_does(
    name: str,
    examples: pa.Table,
    labels: LabelsConfig,
    model_config: ModelConfig,
    stage2_config: Stage2Config,
    tmp_path: Path,
) -> None:
    from r2d.modeling.predictor import Predictor
    from r2d.training.train import train_stage2

    method = MethodConfig(name=name)
    result = train_stage2(
        examples, None, config=stage2_config, model=model_config, labels=labels, work_dir=tmp_path, method=method
    )
    predictor = Predictor(result.model_folder)
    (decision,) = predictor.decide(["pt denies fever for 2 days"])
    assert decision.label in labels.names
    assert predictor.method.name == name
    assert predictor.prompts.label_in_prompt == (name == "stage2_only")
    if name == "sft":
        assert decision.rationale == ""


def test_r2d_c_needs_the_confidence_of_a_declared_label() -> None:
    from tests.config.test_config import demo

    values = demo() | {"method": {"name": "r2d_c"}}
    values["model"] |= {"label_decoding": "free"}
    with pytest.raises(ConfigError, match=r"method\.name 'r2d_c' needs model\.label_decoding 'constrained'"):
        parse_config(values)
