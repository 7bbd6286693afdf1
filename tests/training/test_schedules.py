"""The schedules of the paper at their corners, and the draws that follow them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, kstest

from r2d.config.training import MethodConfig, Stage2Config
from r2d.training.schedules import Stage2Schedule, uniform_draw
from r2d.training.stage2 import train_stage2
from r2d.training.work import StageWork
from tests.conftest import changed

PAPER = Stage2Schedule(Stage2Config(), MethodConfig())  # T = 30,000, T_w = 1,500, sampling over 18,000


@pytest.mark.parametrize(
    ("step", "alpha"), [(0, 0.0), (750, 0.35), (1_499, 0.7 * 1_499 / 1_500), (1_500, 0.7), (29_999, 0.7)]
)
def test_alpha_rises_linearly_over_the_warm_up_and_then_stays(step: int, alpha: float) -> None:
    assert PAPER.alpha_at(step) == pytest.approx(alpha)


@pytest.mark.parametrize(
    ("step", "pi"),
    [(0, 0.0), (1_499, 0.0), (1_500, 0.0), (10_500, 0.5), (1_500 + 16_200, 0.9), (19_500, 0.9), (29_999, 0.9)],
)
def test_pi_is_zero_in_the_warm_up_then_rises_to_its_cap(step: int, pi: float) -> None:
    assert PAPER.pi_at(step) == pytest.approx(pi)


def test_selection_is_armed_after_warm_up_and_sampling_phase() -> None:
    assert PAPER.armed_from_step == pytest.approx(0.65 * 30_000)


def test_without_a_warm_up_alpha_has_its_full_weight_from_the_first_step() -> None:
    schedule = Stage2Schedule(Stage2Config(warmup_fraction=0.0), MethodConfig())
    assert schedule.alpha_at(0) == 0.7
    assert schedule.pi_at(0) == 0.0


@given(st.integers(0, 29_999), st.floats(0, 1), st.floats(0.01, 1), st.floats(0, 1))
def test_both_schedules_never_fall_and_stay_in_bounds(step: int, warmup: float, sampling: float, cap: float) -> None:
    config = Stage2Config(warmup_fraction=warmup, sampling_fraction=sampling, max_predicted_label_fraction=cap)
    schedule = Stage2Schedule(config, MethodConfig())
    assert 0 <= schedule.alpha_at(step) <= schedule.alpha_at(step + 1) <= 0.7 + 1e-12
    assert 0 <= schedule.pi_at(step) <= schedule.pi_at(step + 1) <= cap


@pytest.mark.parametrize(("method", "alpha"), [("r2d", 0.7), ("dss", 0.5)])
def test_alpha_is_the_published_one_of_the_method_unless_configured(method: str, alpha: float) -> None:
    assert Stage2Schedule(Stage2Config(), MethodConfig(name=method)).alpha == alpha
    assert Stage2Schedule(Stage2Config(alpha=0.25), MethodConfig(name=method)).alpha == 0.25


def test_without_sampling_pi_stays_zero_and_selection_waits_as_with_it() -> None:
    schedule = Stage2Schedule(Stage2Config(), MethodConfig(name="no_sampling"))
    assert {schedule.pi_at(step) for step in range(0, 30_000, 500)} == {0.0}
    assert schedule.armed_from_step == PAPER.armed_from_step


@pytest.mark.parametrize("method", ["sft", "dss"])
def test_a_method_without_a_schedule_has_nothing_to_wait_for(method: str) -> None:
    schedule = Stage2Schedule(Stage2Config(), MethodConfig(name=method))
    assert schedule.armed_from_step == 0.0
    assert schedule.alpha_at(0) == schedule.alpha_at(29_999) == schedule.alpha


def test_draws_are_uniform() -> None:
    draws = [uniform_draw(42, step, f"row-{row}") for step in range(100) for row in range(100)]
    assert kstest(draws, "uniform").pvalue > 0.001


def test_a_draw_depends_on_seed_step_and_example() -> None:
    same = uniform_draw(1, 2, "a")
    assert same == uniform_draw(1, 2, "a")
    assert len({same, uniform_draw(2, 2, "a"), uniform_draw(1, 3, "a"), uniform_draw(1, 2, "b")}) == 4


def test_the_share_of_drawn_examples_follows_pi() -> None:
    for pi in (0.1, 0.5, 0.9):
        drawn = sum(uniform_draw(7, step, f"row-{row}") < pi for step in range(50) for row in range(64))
        assert binomtest(drawn, 50 * 64, pi).pvalue > 0.001


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
