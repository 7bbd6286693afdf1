"""Calibration slope and intercept with intervals, a smooth calibration curve, and the error that chance alone makes.

Slope and intercept are those of a logistic regression of an event on the logit of its probability (Cox 1958; Van
Calster et al. 2019). A slope below 1: probabilities are too extreme. An intercept above 0, at slope 1: too low.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from r2d.evaluation.bootstrap import DRAWS_AT_A_TIME
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.calibration import CalibrationPoint, CalibrationSlope
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.slices import BY_LABEL, Slice
from r2d.label_scores import BoolArray, FloatArray, IntArray

SMALLEST = 1e-6
"""Probabilities are kept that far from 0 and 1, whose logits have no value."""
MIN_EVENTS = 10
"""Events, and rows without one, that a slope needs; with fewer its interval cannot be trusted."""
MAX_SLOPE = 50.0
"""A steeper one means that the probabilities separate the events: there is no finite slope."""
NUM_CURVE_POINTS = 25
NUM_DRAWS = 500


def calibration_slopes(
    predictions: Predictions, slices: Sequence[Slice], *, ordered: bool, confidence: float
) -> tuple[CalibrationSlope, ...]:
    """Slope and intercept of the confidence in the most probable label, over all rows and in each slice; and, where
    labels are ordered, of the probability of being at least as urgent as each label but the last.

    Args:
        confidence: of the two-sided intervals.
    """
    probabilities, gold, groups = predictions.probabilities, predictions.gold, predictions.groups
    top, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == gold
    cases: list[tuple[str, FloatArray, BoolArray, IntArray]] = [("all rows", top, correct, groups)]
    for cut in range(1, predictions.num_labels if ordered else 1):
        at_least = probabilities[:, :cut].sum(axis=1)
        cases.append((f"at least as urgent as {predictions.labels[cut - 1]}", at_least, gold < cut, groups))
    for part in slices:
        if part.by != BY_LABEL:  # given the gold label, being right is no longer a matter of the confidence
            rows = part.where
            cases.append((f"{part.by} = {part.value}", top[rows], correct[rows], groups[rows]))
    return tuple(calibration_slope(name, *case, confidence=confidence) for name, *case in cases)  # type: ignore[arg-type]


def calibration_slope(
    of: str, probability: FloatArray, event: BoolArray, groups: IntArray, *, confidence: float
) -> CalibrationSlope:
    """Slope and intercept of the rows, their variance robust to groups (sandwich), with Student's t over the groups.

    Args:
        of: what the probability is of, or the rows; probability, event, groups: [rows].
    """
    num_rows, num_events = len(event), int(event.sum())
    reason = None
    if min(num_events, num_rows - num_events) < MIN_EVENTS:
        reason = f"{num_events} events in {num_rows} rows; {MIN_EVENTS} with and {MIN_EVENTS} without are needed"
    undefined = IntervalEstimate(None)
    slope, intercept = undefined, undefined
    if reason is None:
        logits = _logit(probability)
        lines = np.column_stack([np.ones(num_rows), logits])
        fitted = _fit(lines, np.zeros(num_rows), event, groups, confidence)
        shifted = _fit(lines[:, :1], logits, event, groups, confidence)
        if fitted is None or shifted is None or abs(fitted[1].value or 0.0) > MAX_SLOPE:
            reason = "the probabilities separate the events, or are all alike: no slope can be estimated"
        else:
            slope, intercept = fitted[1], shifted[0]
    return CalibrationSlope(
        of=of, num_rows=num_rows, num_events=num_events, slope=slope, intercept=intercept, not_estimated=reason
    )


def _logit(probability: FloatArray) -> FloatArray:
    from scipy.special import logit  # type: ignore[import-untyped]

    logits: FloatArray = logit(np.clip(probability, SMALLEST, 1 - SMALLEST))
    return logits


def _fit(
    columns: FloatArray, offset: FloatArray, event: BoolArray, groups: IntArray, confidence: float
) -> list[IntervalEstimate] | None:
    """Logistic regression by Newton's method: each coefficient with its interval; None where it does not converge."""
    from scipy.special import expit
    from scipy.stats import t as student  # type: ignore[import-untyped]

    coefficients = np.zeros(columns.shape[1])
    if columns.shape[1] > 1:
        coefficients[1] = 1.0
    for _ in range(50):
        expected = expit(offset + columns @ coefficients)
        information = columns.T @ (columns * (expected * (1 - expected))[:, None])
        if not np.isfinite(information).all() or np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, columns.T @ (event - expected))
        coefficients = coefficients + step
        if np.abs(step).max() < 1e-9:
            break
    else:
        return None
    _, of_row = np.unique(groups, return_inverse=True)
    num_groups = int(of_row.max()) + 1
    residual = columns * (event - expected)[:, None]
    scores = np.column_stack([np.bincount(of_row, weights=column) for column in residual.T])
    inverse = np.linalg.inv(information)
    if num_groups < 2:
        return None
    variance = inverse @ (scores.T @ scores) @ inverse * num_groups / (num_groups - 1)
    half = student.ppf((1 + confidence) / 2, num_groups - 1) * np.sqrt(np.diag(variance))
    ends = zip(coefficients.tolist(), half.tolist(), strict=True)
    return [IntervalEstimate(value, value - width, value + width, "sandwich") for value, width in ends]


def calibration_curve(confidence: FloatArray, correct: BoolArray) -> tuple[CalibrationPoint, ...]:
    """The share of right labels as a smooth function of the confidence: logistic regression on a cubic spline of its
    logit with four knots at quantiles. Empty where too few rows are right or wrong.

    Args:
        confidence: [rows]; correct: [rows].
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import SplineTransformer

    ends = np.quantile(confidence, [0.02, 0.98])
    if min(correct.sum(), (~correct).sum()) < MIN_EVENTS or ends[1] - ends[0] < 1e-3:
        return ()
    knots = np.quantile(_logit(confidence), [0.02, 0.35, 0.65, 0.98])
    knots += np.arange(4) * 1e-6  # equal confidences make equal knots, which a spline refuses
    spline = SplineTransformer(degree=3, knots=knots[:, None], extrapolation="linear", include_bias=False)
    model = make_pipeline(spline, LogisticRegression(C=10.0, max_iter=1_000))
    model.fit(_logit(confidence)[:, None], correct)
    grid = np.linspace(float(ends[0]), float(ends[1]), NUM_CURVE_POINTS)
    heights = model.predict_proba(_logit(grid)[:, None])[:, 1]
    return tuple(CalibrationPoint(confidence=float(x), accuracy=float(y)) for x, y in zip(grid, heights, strict=True))


def error_if_calibrated(
    confidence: FloatArray, correct: BoolArray, bins: IntArray, groups: IntArray
) -> IntervalEstimate:
    """The calibration error that a calibrated model would show with these confidences and bins: its mean, and the band
    that holds 95 % of it. Labels are drawn from the confidences; rows of a group are right together as often as the
    residuals of these rows say.

    Args:
        confidence, correct, bins, groups: [rows]; bins and groups numbered from 0.
    """
    generator, num_rows = np.random.default_rng(0), len(confidence)
    in_bin = np.eye(int(bins.max()) + 1)[bins]
    shared = np.sqrt(_dependence(confidence, correct, groups))
    drawn = []
    at_a_time = max(1, DRAWS_AT_A_TIME // num_rows)
    for start in range(0, NUM_DRAWS, at_a_time):
        shape = (min(at_a_time, NUM_DRAWS - start), num_rows)
        luck = generator.random(shape)
        if shared > 0:
            of_groups = generator.random((shape[0], int(groups.max()) + 1))[:, groups]
            luck = np.where(generator.random(shape) < shared, of_groups, luck)
        gaps = ((luck < confidence) - confidence) @ in_bin
        drawn.append(np.abs(gaps).sum(axis=1) / num_rows)
    errors = np.concatenate(drawn)
    low, high = np.quantile(errors, [0.025, 0.975])
    return IntervalEstimate(float(errors.mean()), float(low), float(high))


def _dependence(confidence: FloatArray, correct: BoolArray, groups: IntArray) -> float:
    """Correlation of the residuals of two rows of a group, 0 to 1; 0 where each group has one row."""
    probability = np.clip(confidence, SMALLEST, 1 - SMALLEST)
    residual = (correct - probability) / np.sqrt(probability * (1 - probability))
    sizes, sums = np.bincount(groups), np.bincount(groups, weights=residual)
    num_pairs = float((sizes * (sizes - 1)).sum())
    together = float((sums**2).sum() - (residual**2).sum())
    return min(1.0, max(0.0, together / num_pairs)) if num_pairs else 0.0
