"""The methods of the papers: schedules and draws, each loss against a slow computation, what each leaves alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import fmean
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from torch.nn.functional import cross_entropy

from r2d.config.training import MethodConfig, MethodName, Stage2Config
from r2d.modeling.predictor import Predictor
from r2d.training.methods import (
    METHODS,
    R2DC,
    Stage2Schedule,
    TwoTaskModel,
    gumbel_noise,
    uniform_draw,
)
from r2d.training.stage2 import Stage2Trainer, train_stage2
from r2d.training.work import StageWork
from tests.conftest import changed
from tests.training.conftest import (
    first_rows,
    fix_schedule,
    slow_losses,
    target_logits,
    token_counts,
    whole_prompt,
)

Make = Callable[..., Stage2Trainer]
GIVEN_LABEL = "given label: {label}, explain: {text}"
PAPER = Stage2Schedule(Stage2Config(), MethodConfig())  # T = 30,000, T_w = 1,500, sampling over 18,000


@pytest.mark.parametrize(
    ("step", "alpha", "pi"),
    [(0, 0.0, 0.0), (750, 0.35, 0.0), (1_499, 0.7 * 1_499 / 1_500, 0.0), (1_500, 0.7, 0.0), (10_500, 0.7, 0.5),
     (1_500 + 16_200, 0.7, 0.9), (19_500, 0.7, 0.9), (29_999, 0.7, 0.9)],
)  # fmt: skip
def test_alpha_rises_over_the_warm_up_and_pi_after_it_to_its_cap(step: int, alpha: float, pi: float) -> None:
    assert (PAPER.alpha_at(step), PAPER.pi_at(step)) == pytest.approx((alpha, pi))
    without_warmup = Stage2Schedule(Stage2Config(warmup_fraction=0.0), MethodConfig())
    assert (without_warmup.alpha_at(step), without_warmup.pi_at(0)) == (0.7, 0.0)


@given(st.integers(0, 29_999), st.floats(0, 1), st.floats(0.01, 1), st.floats(0, 1))
def test_both_schedules_never_fall_and_stay_in_bounds(step: int, warmup: float, sampling: float, cap: float) -> None:
    config = Stage2Config(warmup_fraction=warmup, sampling_fraction=sampling, max_predicted_label_fraction=cap)
    schedule = Stage2Schedule(config, MethodConfig())
    assert 0 <= schedule.alpha_at(step) <= schedule.alpha_at(step + 1) <= 0.7 + 1e-12
    assert 0 <= schedule.pi_at(step) <= schedule.pi_at(step + 1) <= cap


@pytest.mark.parametrize("name", get_args(MethodName))
def test_each_method_has_the_published_alpha_and_waits_for_its_schedule_before_it_selects(name: Any) -> None:
    schedule = Stage2Schedule(Stage2Config(), MethodConfig(name=name))
    assert name in METHODS
    assert schedule.alpha == (0.5 if name == "dss" else 0.7)
    assert Stage2Schedule(Stage2Config(alpha=0.25), schedule.method).alpha == 0.25
    if name in ("sft", "dss"):
        assert schedule.armed_from_step == 0.0
        assert schedule.alpha_at(0) == schedule.alpha_at(29_999) == schedule.alpha
    else:
        assert schedule.armed_from_step == pytest.approx(0.65 * 30_000), "after warm-up and sampling phase"
    samples = any(schedule.pi_at(step) for step in range(0, 30_000, 500))
    assert samples == (name in ("r2d", "r2d_c", "stage2_only"))


def test_a_draw_is_uniform_and_depends_on_seed_step_and_example() -> None:
    draws = [uniform_draw(42, step, f"row-{row}") for step in range(100) for row in range(100)]
    assert kstest(draws, "uniform").pvalue > 0.001
    assert uniform_draw(1, 2, "a") == uniform_draw(1, 2, "a")
    assert len({uniform_draw(*key) for key in ((1, 2, "a"), (2, 2, "a"), (1, 3, "a"), (1, 2, "b"))}) == 4


def test_the_share_of_own_labels_in_a_run_follows_pi(work: StageWork[Stage2Config]) -> None:
    work = changed(work, max_steps=30, eval_every_steps=15, batch_size=24)
    schedule = Stage2Schedule(work.config, MethodConfig())
    shares = [record["predicted_label_fraction"] for record in train_stage2(work).history if "pi" in record]
    assert len(shares) == 3
    for number, share in enumerate(shares):
        # A record is the mean of the ten steps before it, which are counted from 0.
        pi = np.array([schedule.pi_at(step) for step in range(10 * number, 10 * number + 10)])
        standard_error = np.sqrt((pi * (1 - pi)).sum() * 24) / 240
        assert abs(share - pi.mean()) < 4 * standard_error
    assert shares == sorted(shares)


def loss_at(trainer: Stage2Trainer, step: int = 0) -> torch.Tensor:
    """The loss of the first nine rows in eval mode."""
    trainer.state.global_step = step
    trainer.model.eval()
    batch = first_rows(trainer, 9)
    return trainer.batch_loss(batch, token_counts(trainer, batch))


def test_sft_learns_the_label_alone(make_trainer: Make) -> None:
    trainer = make_trainer(MethodConfig(name="sft"))
    label_loss, _ = slow_losses(trainer, first_rows(trainer, 9), "explain: {text}")
    assert loss_at(trainer).item() == pytest.approx(label_loss, rel=1e-4)
    assert trainer.target_columns == ("label",)
    assert set(trainer.validate()) == {"loss", "label_loss", "accuracy", "macro_f1", "invalid_label_rate"}


def test_dss_shows_no_label_in_the_rationale_prompt_and_weighs_by_a_fixed_alpha(make_trainer: Make) -> None:
    trainer = make_trainer(MethodConfig(name="dss"), alpha=0.25)
    label_loss, rationale_loss = slow_losses(trainer, first_rows(trainer, 9), "explain: {text}")
    for step in (0, 19):
        assert loss_at(trainer, step).item() == pytest.approx(0.25 * label_loss + 0.75 * rationale_loss, rel=1e-4)


def test_no_sampling_shows_gold_labels_at_every_step_and_decodes_nothing(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(MethodConfig(name="no_sampling"))
    monkeypatch.setattr(TwoTaskModel, "decode_labels", None)
    label_loss, rationale_loss = slow_losses(trainer, first_rows(trainer, 9), GIVEN_LABEL)
    assert loss_at(trainer, 19).item() == pytest.approx(0.7 * label_loss + 0.3 * rationale_loss, rel=1e-4)


def test_the_trainer_selects_from_the_step_that_the_schedule_says(make_trainer: Make) -> None:
    for name in METHODS:
        trainer = make_trainer(MethodConfig(name=name))
        assert trainer.select.armed_from_step == trainer.method.schedule.armed_from_step


def cycle_trainer(make_trainer: Make, monkeypatch: pytest.MonkeyPatch, *, pi: float, weight: float = 1.0) -> Any:
    fix_schedule(monkeypatch, alpha=0.5, pi=pi)
    return make_trainer(MethodConfig(name="r2d_c", cycle={"weight": weight}))


def test_the_cycle_loss_equals_a_slow_computation_row_by_row(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = cycle_trainer(make_trainer, monkeypatch, pi=0.0)
    batch = first_rows(trainer, 9)
    label_loss, rationale_loss = slow_losses(trainer, batch, GIVEN_LABEL)
    model, tokenizer = trainer.model, trainer.prompts.tokenizer
    temperature = math.exp(-math.log(2) * 10 / trainer.config.max_steps)
    losses, weight = [], model.get_input_embeddings().weight
    around: list[list[int]] = [[], []]
    if tokenizer.chat_template is not None:
        chat = tokenizer.decode(whole_prompt(tokenizer, "rash")).split("rash")
        around = [tokenizer(part.strip(), add_special_tokens=False).input_ids for part in chat]
    for row in batch.rows:
        if not row["gold_rationale"]:
            continue
        prompt = whole_prompt(tokenizer, GIVEN_LABEL.format(label=row["gold_label"], text=row["text"]))
        target = tokenizer(row["gold_rationale"]).input_ids
        with torch.no_grad():
            logits = target_logits(model, weight[prompt], target)
            noise = gumbel_noise(logits.shape, f"{trainer.config.seed}:10:{row['id']}")
            soft = torch.softmax((logits + noise) / temperature, dim=-1)
            prefix = weight[[*around[0], *tokenizer("predict:", add_special_tokens=False).input_ids]]
            written = soft[:-1] if around[1] else soft  # in a chat no end-of-sequence stands before its rest
            embedded = torch.cat([prefix, written @ weight, weight[around[1]]])
            label = tokenizer(row["gold_label"]).input_ids
            logits = target_logits(model, embedded, label)
            losses += cross_entropy(logits, torch.tensor(label), reduction="none").tolist()
    expected = 0.5 * label_loss + 0.5 * rationale_loss + fmean(losses)
    assert loss_at(trainer, 10).item() == pytest.approx(expected, rel=1e-4)


def test_the_cycle_sends_its_gradient_through_the_rationale_and_begins_after_the_warm_up(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoder_gradient(weight: float, step: int) -> torch.Tensor:
        trainer = cycle_trainer(make_trainer, monkeypatch, pi=0.0, weight=weight)
        assert trainer.method.schedule.warmup_steps == 1
        loss_at(trainer, step).backward()
        return trainer.model.lm_head.weight.grad.clone()

    assert not torch.allclose(decoder_gradient(0.0, 2), decoder_gradient(1.0, 2))
    for step in (0, 1):
        torch.testing.assert_close(decoder_gradient(0.0, step), decoder_gradient(1.0, step))


def test_the_own_label_is_used_the_more_the_surer_the_model_is(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = cycle_trainer(make_trainer, monkeypatch, pi=1.0)
    trainer.state.global_step = 10
    trainer.model.eval()
    batch = first_rows(trainer, 60)
    shares = []
    for tau in (-10.0, 0.4, 10.0):
        trainer.method.tau = tau
        trainer.logged.clear()
        trainer.batch_loss(batch, token_counts(trainer, batch))
        shares.append(trainer.logged["predicted_label_fraction"][0])
    assert shares[0] == 1.0
    assert 0.0 < shares[1] < 1.0
    assert shares[2] == 0.0


def test_tau_is_the_mean_of_the_warm_up_then_renewed_by_optimiser_step(stage2_config: Stage2Config) -> None:
    method = R2DC(MethodConfig(name="r2d_c", cycle={"tau_every_steps": 5}), stage2_config)
    method.sum, method.count = 3.0, 4
    method.renew_tau(1)
    assert method.tau is None, "T_w is 1, and step 1 belongs to the warm-up as published"
    method.renew_tau(2)
    assert (method.tau, method.count) == (0.75, 0)
    method.sum, method.count = 1.0, 2
    method.renew_tau(6)
    assert method.tau == 0.75
    method.renew_tau(7)
    assert [getattr(method, name) for name in method.kept] == [0.5, 0.0, 0, 7]


def test_the_temperature_falls_from_one_to_a_half(stage2_config: Stage2Config) -> None:
    method = R2DC(MethodConfig(name="r2d_c"), stage2_config)
    steps = stage2_config.max_steps
    assert [method.temperature_at(step) for step in (0, steps)] == [1.0, pytest.approx(0.5)]
    assert method.temperature_at(3 * steps) == 0.5


@pytest.mark.parametrize("name", ["sft", "dss", "stage2_only"])
def test_a_model_of_each_method_decides_and_explains_as_the_method_does(
    name: str, work: StageWork[Stage2Config]
) -> None:
    result = train_stage2(replace(work, stage1_model=None, method=MethodConfig(name=name)))
    predictor = Predictor(result.model_folder)
    (decision,) = predictor.decide(["pt denies fever for 2 days"])
    assert decision.label in work.labels.names
    assert predictor.method.name == name
    assert predictor.prompts.label_in_prompt == (name == "stage2_only")
    if name == "sft":
        assert decision.rationale == ""
