import math

import numpy as np
import pytest

from r2d.training.curves import training_curves

STEPS, LATE = range(10, 210, 10), range(50, 250, 50)
LOSSES = [{"step": step, "loss": 3 / step, "learning_rate": 1e-3} for step in STEPS]
EVALUATIONS = [{"step": step, "eval_loss": 4 / step} for step in LATE]
LABELS = [{"step": step, "eval_macro_f1": step / 400, "eval_accuracy": step / 300} for step in LATE]
BLEU = [{"step": step, "eval_rationale_bleu": step / 10} for step in LATE]
SCHEDULE = [{"step": step, "alpha": 0.7, "pi": step / 250, "predicted_label_fraction": step / 260} for step in STEPS]
BLUE = "#0072B2"
SHADE = "#fcf9d4"  # F0E442 at 22 % over white


def draw(history, **marks):
    return np.asarray(training_curves(history, title="Stage 2", **marks)).astype(int)


def has_colour(picture, colour):
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool(np.any(np.all(np.abs(picture - wanted) <= 6, axis=2)))


@pytest.mark.parametrize(
    ("history", "panels"),
    [
        (LOSSES, 1),
        (LOSSES + EVALUATIONS, 1),
        (LOSSES + LABELS, 2),
        (LOSSES + LABELS + SCHEDULE, 3),
        (LOSSES + EVALUATIONS + LABELS + BLEU + SCHEDULE, 4),
    ],
)
def test_there_is_one_panel_for_each_group_of_metrics_in_the_history(history, panels):
    (height, width, _), (one_panel, usual_width, _) = draw(history).shape, draw(LOSSES).shape
    assert width == usual_width
    assert height - one_panel == pytest.approx((panels - 1) * 2.5 * 130, abs=2)


def test_a_line_is_drawn_only_for_what_was_recorded_and_a_single_evaluation_is_a_point():
    assert has_colour(draw(LOSSES + LABELS), BLUE)
    assert not has_colour(draw(LOSSES + EVALUATIONS), BLUE)
    assert has_colour(draw([{"step": 100, "eval_macro_f1": 0.5}]), BLUE)


def test_the_selected_step_and_the_armed_phase_are_marked_where_it_was_reached():
    plain, selected = draw(LOSSES + LABELS), draw(LOSSES + LABELS, selected_step=150)
    assert has_colour(draw(LOSSES + LABELS, armed_from_step=130), SHADE)
    assert not has_colour(plain, SHADE)
    assert not has_colour(draw(LOSSES, armed_from_step=900), SHADE)
    assert selected.shape == plain.shape
    assert not np.array_equal(selected, plain)


def test_missing_and_not_finite_values_are_left_out():
    values = ({"loss": math.nan}, {"loss": math.inf}, {}, {"eval_loss": math.nan})
    holes = [{"step": step, **value} for step, value in enumerate(values, 5)]
    assert np.array_equal(draw(LOSSES + holes), draw(LOSSES))


def test_an_empty_history_is_a_picture_that_says_so():
    picture = draw([])
    assert picture.shape == draw(LOSSES).shape
    assert 0 < (picture < 128).mean() < 0.05


def test_a_high_first_loss_does_not_flatten_the_rest():
    def late_rows(history):
        dark = np.all(np.abs(draw(history)[:, 500:800] - [0x66, 0x66, 0x66]) <= 40, axis=2)
        return np.flatnonzero(dark.any(axis=1))

    steady = [{"step": step, "loss": 1.0 + 0.5 * math.sin(step)} for step in STEPS]
    expected, found = late_rows(steady), late_rows([{"step": 1, "loss": 300.0}, *steady])
    assert np.ptp(found) > 0.7 * np.ptp(expected) > 40
