"""Plots show the numbers of an evaluation to scale, and the diagrams tell them in words too."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from r2d.config.evaluation import SelectiveConfig
from r2d.evaluation.label_metrics import label_metrics, without_classes
from r2d.evaluation.metrics import Metrics
from r2d.evaluation.plots import confusion_matrix_picture, decisions_picture, reliability_diagram, risk_coverage_curve
from r2d.evaluation.sections.calibration import ReliabilityBin
from r2d.evaluation.sections.labels import Comparator
from r2d.evaluation.sections.selective import SelectiveMetrics
from r2d.evaluation.threshold import evaluate_threshold, select_threshold
from tests.evaluation.predicted import QUICK, predictions_of, random_predictions

LABELS = ["Emergency", "Clinic", "Home"]
BINS = [
    ReliabilityBin(lower=0.0, upper=0.5, num_rows=12, confidence=0.4, accuracy=0.5),
    ReliabilityBin(lower=0.5, upper=1.0, num_rows=13, confidence=0.9, accuracy=0.75),
]


def matrix(predicted: list[Any], labels: list[str] = LABELS) -> Any:
    return confusion_matrix_picture(label_metrics(predictions_of(labels, predicted, labels=labels)), labels)


def close_to(picture: Any, colour: tuple[int, int, int]) -> np.ndarray:
    return np.all(np.abs(np.asarray(picture).astype(int) - colour) < 12, axis=2)


def selective(max_risk: float) -> SelectiveMetrics:
    config = SelectiveConfig(max_risk=max_risk, bound_confidence=None)
    choice = select_threshold(random_predictions(1, 300), ordered=True, config=config)
    return evaluate_threshold(random_predictions(2, 300), choice, QUICK)


def points_of(svg: str, kind: str) -> list[tuple[float, float]]:
    """Corners of the lines of a class, and places of its markers, in units of the view box."""
    points = []
    for group in re.findall(rf'<g class="{kind}">.*?</g>(?!<g>)', svg):
        points += re.findall(r"[ML] ([\d.]+) ([\d.]+)", re.sub(r"<defs>.*?</defs>", "", group))
        points += re.findall(r'<use [^>]*?x="([\d.]+)" y="([\d.]+)"', group)
    return [(float(x), float(y)) for x, y in points]


def test_a_matrix_grows_with_the_labels_and_stays_readable() -> None:
    names = [str(i) for i in range(8)]
    small, large = matrix(LABELS), matrix(names, names)
    assert 500 < small.width < large.width < 2000
    assert large.height > small.height
    many = [str(i) for i in range(60)]
    assert matrix(many, many).width < 3000


def test_a_wholly_right_matrix_has_as_many_dark_cells_as_labels() -> None:
    darkest = (8, 48, 107)  # the end of matplotlib's Blues
    right, wrong = matrix(LABELS), matrix(["Home", "Clinic", "nonsense"])
    assert 0.02 < close_to(right, darkest).mean() < 0.25
    assert right.tobytes() == matrix(LABELS).tobytes() != wrong.tobytes()


def test_the_bar_of_the_model_is_as_long_as_its_accuracy() -> None:
    def blue(accuracy: float) -> int:
        baselines = {Comparator.RANDOM_OPTION: without_classes([0.2] * 50)}
        label = without_classes([accuracy] * 50)
        metrics = Metrics(num_rows=50, decoding="free", method="r2d", label=label, baselines=baselines)
        return int(close_to(decisions_picture(metrics, ()), (0, 114, 178)).sum())

    assert blue(0.8) / blue(0.4) == pytest.approx(2.0, rel=0.02)


def test_the_points_of_a_reliability_diagram_are_confidence_and_accuracy_and_gaps_reach_the_diagonal() -> None:
    svg = reliability_diagram(BINS, "before", "Reliability")
    (left, bottom), (right, top) = points_of(svg, "diagonal")
    assert left < right
    assert top < bottom
    expected = [(left + entry.confidence * (right - left), bottom + entry.accuracy * (top - bottom)) for entry in BINS]
    points = points_of(svg, "points")
    assert [point for x, y in expected for point in points if point == pytest.approx((x, y), abs=0.01)]
    gaps = points_of(svg, "gaps")
    assert gaps[1::2] == [pytest.approx(place, abs=0.01) for place in expected]
    on_diagonal = [bottom + (x - left) / (right - left) * (top - bottom) for x, _ in gaps[::2]]
    assert [y for _, y in gaps[::2]] == pytest.approx(on_diagonal, abs=0.01)
    words = ">of 12 notes with confidence 40 % right: 50 %; of 13 notes with confidence 90 % right: 75 %.</desc>"
    assert words in svg, "told in words"


@pytest.mark.parametrize("max_risk", [0.001, 0.3, 0.9])
def test_the_curve_stays_inside_the_axes_and_the_threshold_stands_where_there_is_one(max_risk: float) -> None:
    metrics = selective(max_risk)
    svg = risk_coverage_curve(metrics, "under-triage", "curve", "Risk")
    curve, threshold = points_of(svg, "curve"), points_of(svg, "threshold")
    (left, limit), (right, _) = points_of(svg, "limit")
    assert len(curve) > 10
    assert [x for x, _ in curve] == sorted(x for x, _ in curve)
    assert all(left <= x <= right and 0 < y < 270 for x, y in curve)
    assert 0 < limit < 270
    test = metrics.test
    assert bool(threshold) == bool(points_of(svg, "interval")) == (test is not None)
    if test is not None:
        assert threshold[0][0] == pytest.approx(left + test.coverage.value * (right - left), abs=0.01)
        assert f"{100 * test.coverage.value:.1f} % shown" in svg
