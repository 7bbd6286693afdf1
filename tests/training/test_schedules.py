"""The schedules of the paper at their corners."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r2d.config import Stage2Config
from r2d.training.schedules import Stage2Schedule

PAPER = Stage2Schedule.from_config(Stage2Config())  # T = 30,000, T_w = 1,500, sampling over 18,000


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
    schedule = Stage2Schedule.from_config(Stage2Config(warmup_fraction=0.0))
    assert schedule.alpha_at(0) == 0.7
    assert schedule.pi_at(0) == 0.0


@given(st.integers(0, 29_999), st.floats(0, 1), st.floats(0.01, 1), st.floats(0, 1))
def test_both_schedules_never_fall_and_stay_in_bounds(step: int, warmup: float, sampling: float, cap: float) -> None:
    schedule = Stage2Schedule(30_000, 0.7, warmup, sampling, cap)
    assert 0 <= schedule.alpha_at(step) <= schedule.alpha_at(step + 1) <= 0.7 + 1e-12
    assert 0 <= schedule.pi_at(step) <= schedule.pi_at(step + 1) <= cap
