"""Charts are drawn to scale, told in words, and coloured by the page alone."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from r2d.config.evaluation import IntervalsConfig, SelectiveConfig
from r2d.evaluation.charts import Frame, reliability_diagram, risk_coverage_curve, whisker
from r2d.evaluation.selective import selective_metrics
from tests.evaluation.decided import random_rows

BINS = [
    {"from": 0.0, "to": 0.5, "num_rows": 12, "confidence": 0.4, "accuracy": 0.5},
    {"from": 0.5, "to": 1.0, "num_rows": 13, "confidence": 0.9, "accuracy": 0.75},
]


def parts(svg: str, kind: str) -> list[dict[str, str]]:
    """The attributes of each part of a class."""
    return [part.attrib for part in ElementTree.fromstring(svg).iter() if part.get("class") == kind]


def selective(max_risk: float):
    return selective_metrics(
        random_rows(1, 300), random_rows(2, 300), ordered=True,
        config=SelectiveConfig(max_risk=max_risk, bound_confidence=None), interval=IntervalsConfig(num_resamples=1_000),
    )  # fmt: skip


def test_a_whisker_stands_where_its_figure_is() -> None:
    svg = whisker({"value": 0.1, "low": -0.2, "high": 0.4}, -0.5, 0.5)
    assert parts(svg, "point")[0]["cx"] == "60.00%"
    assert (parts(svg, "span")[0]["x1"], parts(svg, "span")[0]["x2"]) == ("30.00%", "90.00%")
    assert parts(svg, "zero")[0]["x1"] == "50.00%"
    assert parts(whisker({"value": 0.1, "low": 0.0, "high": 0.4}, 0, 1), "zero") == []


def test_a_whisker_invents_no_interval_and_no_figure_and_stays_within_its_axis() -> None:
    assert parts(whisker({"value": 1.0, "low": None, "high": None}, 0, 1), "span") == []
    nothing = whisker({"value": None, "low": None, "high": None}, 0, 1)
    assert parts(nothing, "point") == parts(nothing, "span") == []
    assert parts(whisker({"value": 3.0, "low": 2.0, "high": 4.0}, 0, 1), "point")[0]["cx"] == "100.00%"


def test_the_points_of_a_reliability_diagram_are_confidence_and_accuracy() -> None:
    svg = reliability_diagram(BINS, "r", "Reliability")
    frame = Frame(300, 300)
    assert [(float(point["cx"]), float(point["cy"])) for point in parts(svg, "point")] == [
        (frame.x(0.4), frame.y(0.5)), (frame.x(0.9), frame.y(0.75)),
    ]  # fmt: skip
    for gap, entry in zip(parts(svg, "gap"), BINS, strict=True):
        assert (float(gap["y1"]), float(gap["y2"])) == (frame.y(entry["confidence"]), frame.y(entry["accuracy"]))
    (diagonal,) = parts(svg, "even")
    assert (float(diagonal["x1"]), float(diagonal["y1"])) == (frame.x(0), frame.y(0))
    assert frame.y(1) < frame.y(0), "right is up"


def test_a_chart_is_told_in_words_under_names_of_its_own() -> None:
    svg = reliability_diagram(BINS, "before", "Reliability <b>")
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    told = {part.get("id"): part.text for part in root if part.get("id")}
    assert set((root.get("aria-labelledby") or "").split()) == set(told)
    assert told["before-title"] == "Reliability <b>"
    assert told["before-told"] == (
        "of 12 notes with confidence 40 % right: 50 %; of 13 notes with confidence 90 % right: 75 %."
    )


def test_the_curve_runs_through_every_point_and_the_threshold_is_marked_with_its_intervals() -> None:
    found = selective(0.3)
    svg = risk_coverage_curve(found, "under-triage", "curve", "Risk")
    (curve,) = parts(svg, "curve")
    places = [tuple(map(float, place.split(","))) for place in curve["points"].split()]
    assert len(places) == len(found["curve"]["points"])
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    (chosen,) = parts(svg, "chosen")
    assert float(chosen["cx"]) == Frame(360, 270).x(found["test"]["coverage"]["value"])
    assert len(parts(svg, "span")) == 2
    assert f"{100 * found['test']['coverage']['value']:.1f} % shown" in svg


@pytest.mark.parametrize("max_risk", [0.001, 0.3, 0.9])
def test_limit_and_curve_stay_inside_the_frame(max_risk: float) -> None:
    found = selective(max_risk)
    svg = risk_coverage_curve(found, "under-triage", "curve", "Risk")
    frame = Frame(360, 270)
    heights = [float(part["y1"]) for part in parts(svg, "limit") + parts(svg, "span")]
    heights += [float(place.split(",")[1]) for place in parts(svg, "curve")[0]["points"].split()]
    assert all(frame.top <= height <= frame.height - frame.bottom for height in heights)
    assert bool(parts(svg, "chosen")) == (found["test"] is not None)


def test_no_chart_has_a_colour_of_its_own() -> None:
    drawn = [
        whisker({"value": 0.1, "low": 0.0, "high": 0.2}, 0, 1),
        reliability_diagram(BINS, "r", "Reliability"),
        risk_coverage_curve(selective(0.3), "under-triage", "curve", "Risk"),
    ]
    for svg in drawn:
        assert not re.search(r"fill=|stroke=|style=|#[0-9a-f]{3}", svg)
