import math
import subprocess
import sys

import numpy as np
import pytest

from r2d.training.curves import training_curves

LOSSES = [{"step": step, "loss": 3 / step, "learning_rate": 1e-3} for step in range(10, 210, 10)]
EVALUATIONS = [{"step": step, "eval_loss": 4 / step} for step in (50, 100, 150, 200)]
LABELS = [{"step": step, "eval_macro_f1": step / 400, "eval_accuracy": step / 300} for step in (50, 100, 150, 200)]
BLEU = [{"step": step, "eval_rationale_bleu": step / 10} for step in (50, 100, 150, 200)]
SCHEDULE = [{"step": s, "alpha": 0.7, "pi": s / 250, "predicted_label_fraction": s / 260} for s in range(10, 210, 10)]


def draw(history, **marks):
    return training_curves(history, title="Stage 2", **marks)


def has_colour(image, colour, tolerance=6):
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool(np.any(np.all(np.abs(np.asarray(image).astype(int) - wanted) <= tolerance, axis=2)))


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
def test_there_is_one_panel_for_each_group_of_figures_in_the_history(history, panels):
    one = draw(LOSSES)
    image = draw(history)
    assert image.width == one.width
    assert image.height - one.height == pytest.approx((panels - 1) * 2.5 * 130, abs=2)


def test_a_line_is_drawn_only_for_what_was_recorded():
    assert has_colour(draw(LOSSES + LABELS), "#0072B2")
    assert not has_colour(draw(LOSSES + EVALUATIONS), "#0072B2")


def test_the_selected_step_and_the_armed_phase_are_marked():
    plain = np.asarray(draw(LOSSES + LABELS))
    armed = draw(LOSSES + LABELS, armed_from_step=130)
    selected = np.asarray(draw(LOSSES + LABELS, selected_step=150))
    shade = "#fcf9d4"  # F0E442 at 22 % over white
    assert has_colour(armed, shade)
    assert not has_colour(draw(LOSSES + LABELS), shade)
    assert selected.shape == plain.shape
    assert not np.array_equal(selected, plain)


def test_an_armed_phase_that_was_never_reached_is_not_shaded():
    assert not has_colour(draw(LOSSES, armed_from_step=900), "#fcf9d4")


def test_missing_and_not_finite_values_are_left_out():
    holes = [
        {"step": 5, "loss": math.nan},
        {"step": 6, "loss": math.inf},
        {"step": 7},
        {"step": 8, "eval_loss": math.nan},
    ]
    assert np.array_equal(np.asarray(draw(LOSSES + holes)), np.asarray(draw(LOSSES)))


def test_an_empty_history_is_a_picture_that_says_so():
    image = draw([])
    assert image.size == draw(LOSSES).size
    assert 0 < (np.asarray(image) < 128).mean() < 0.05


def test_a_single_evaluation_is_visible_as_a_point():
    assert has_colour(draw([{"step": 100, "eval_macro_f1": 0.5}]), "#0072B2")


def test_the_training_package_does_not_import_the_evaluation_package():
    code = "import r2d.training.curves, sys; sys.exit(any(name.startswith('r2d.evaluation') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
