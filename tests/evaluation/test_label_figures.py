"""Label figures by hand, against `label_metrics`, and of two models on the same rows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from r2d.config.evaluation import IntervalsConfig, SelectiveConfig, SlicesConfig
from r2d.errors import DataError
from r2d.evaluation.calibration import calibration_metrics, fit_temperature
from r2d.evaluation.decided_rows import DecidedRows
from r2d.evaluation.label_figures import LabelFigures, label_differences, label_intervals
from r2d.evaluation.label_metrics import label_metrics
from r2d.evaluation.ranking import ranking_metrics
from r2d.evaluation.safety import safety_metrics
from r2d.evaluation.selective import selective_metrics
from r2d.evaluation.slices import partitions, slice_metrics
from tests.evaluation.decided import LABELS, QUICK, constant_rows, random_rows, rows_of

FIGURES = LabelFigures(len(LABELS), ordered=True)
GOLD = [label for label in LABELS for _ in range(10)]


def values(rows: DecidedRows, figures: LabelFigures = FIGURES) -> dict[str, float]:
    return {name: float(value) for name, value in figures(figures.sums(rows).sum(axis=0)).items()}


def said(rows: DecidedRows) -> list[str | None]:
    return [[*rows.labels, None][place] for place in rows.said]


@pytest.mark.parametrize("seed", range(20))
def test_figures_from_sums_equal_label_metrics(seed: int) -> None:
    rows = random_rows(seed, 3 + 7 * seed, num_groups=1 + 2 * seed)
    found = values(rows)
    expected = label_metrics([rows.labels[place] for place in rows.gold], said(rows), rows.labels)
    for name in ("accuracy", "macro_f1", "weighted_f1", "invalid_label_rate"):
        assert found[name] == pytest.approx(expected[name])
    for place, label in enumerate(rows.labels):
        of_class = expected["per_class"][label]
        for name, there in (("recall", of_class["support"]), ("precision", of_class["predicted"])):
            value = found[f"{name}/{place}"]
            assert value == pytest.approx(of_class[name]) if there else np.isnan(value)


def test_triage_figures_of_five_rows_counted_by_hand() -> None:
    rows = rows_of(
        ["emergency", "emergency", "today", "clinic", "home"], ["today", "home", "emergency", "clinic", "no idea"]
    )
    found = values(
        rows, LabelFigures(4, ordered=True, costs=np.array([[0, 4, 9, 20.0], [1, 0, 2, 5], [2, 1, 0, 1], [3, 2, 1, 0]]))
    )
    assert found["accuracy"] == 1 / 5
    assert found["under_triage_rate"] == 3 / 5  # one by one level, one by three, and the text that is no label
    assert found["severe_under_triage_rate"] == 1 / 5
    assert found["over_triage_rate"] == 1 / 5
    assert found["mean_cost"] == (4 + 20 + 1 + 0 + 3) / 5  # no label costs what the worst decision on `home` costs


def test_the_labels_of_no_order_have_no_triage_figure() -> None:
    assert not [name for name in LabelFigures(4, ordered=False)(FIGURES.sums(random_rows(0, 9))[0]) if "triage" in name]


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        (GOLD, {"accuracy": 1, "macro_f1": 1, "under_triage_rate": 0, "over_triage_rate": 0}),
        (["emergency"] * 40, {"macro_f1": 0.4 / 4, "under_triage_rate": 0, "over_triage_rate": 3 / 4}),
        (["home"] * 40, {"accuracy": 1 / 4, "under_triage_rate": 3 / 4, "over_triage_rate": 0}),
        ([None] * 40, {"accuracy": 0, "macro_f1": 0, "under_triage_rate": 1, "invalid_label_rate": 1}),
    ],
    ids=["perfect", "always most urgent", "always least urgent", "silent"],
)  # fmt: skip
def test_simple_predictors_get_the_figures_they_must(predicted: list[str | None], expected: dict[str, float]) -> None:
    found = values(rows_of(GOLD, predicted))
    assert {name: found[name] for name in expected} == pytest.approx(expected)


# --- two models on the same rows ---


def test_a_paired_difference_is_tighter_than_two_intervals_and_signed_first_minus_second() -> None:
    first = random_rows(4, 400)
    better = [
        LABELS[gold] if row % 20 == 0 else name
        for row, (gold, name) in enumerate(zip(first.gold, said(first), strict=True))
    ]
    second = rows_of([LABELS[place] for place in first.gold], better)
    found = label_differences(first, second, FIGURES, QUICK)
    alone = label_intervals(first, FIGURES, QUICK)["accuracy"]
    gap = found["accuracy"]
    assert gap["value"] == pytest.approx(first.correct.mean() - second.correct.mean())
    assert gap["low"] < gap["value"] < gap["high"] < 0
    assert gap["high"] - gap["low"] < (alone["high"] - alone["low"]) / 2
    assert found["mcnemar"]["only_first_right"] == 0
    assert found["mcnemar"]["only_second_right"] == (second.correct & ~first.correct).sum()


def test_a_model_beside_itself_differs_in_nothing() -> None:
    rows = random_rows(5, 50)
    found = label_differences(rows, rows, FIGURES, QUICK)
    assert found["macro_f1"] == {"value": 0, "low": None, "high": None, "method": None}
    assert found["mcnemar"]["p_value"] == 1.0


def test_a_baseline_is_compared_without_probabilities_and_has_none() -> None:
    rows = random_rows(6, 80)
    baseline = rows.decided_by(["clinic"] * 80)
    found = label_differences(rows, baseline, FIGURES, QUICK)
    assert found["accuracy"]["value"] == pytest.approx(rows.correct.mean() - (rows.gold == 2).mean())
    assert np.isnan(baseline.confidence).all()
    with pytest.raises(ValueError, match="80 rows and 2 predictions"):
        rows.decided_by(["clinic", "home"])


def test_two_models_on_different_rows_are_not_compared() -> None:
    with pytest.raises(ValueError, match="same rows"):
        label_differences(rows_of(["home"], ["home"]), rows_of(["clinic"], ["home"]), FIGURES, QUICK)


# --- what is refused ---


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        rows_of([], [])
    with pytest.raises(DataError, match="'ambulance' of row 1 is not declared; allowed: emergency"):
        rows_of(["home", "ambulance"], ["home", "home"])
    with pytest.raises(ValueError, match="one of each for each row"):
        rows_of(["home"], ["home", "home"])
    with pytest.raises(ValueError, match="sum to 1"):
        rows_of(["home"], ["home"], probabilities=np.array([[0.2, 0.2, 0.2, 0.2]]))
    with pytest.raises(ValueError, match="finite"):
        rows_of(["home"], ["home"], probabilities=np.array([[np.nan, 0.5, 0.5, 0.0]]))


def test_case_and_spaces_do_not_matter_and_no_label_is_never_right() -> None:
    rows = rows_of(["Home", "home", "home"], [" HOME ", None, ""])
    assert rows.correct.tolist() == [True, False, False]
    assert constant_rows(None, GOLD).confidence.tolist() == [0.0] * 40


def test_all_of_it_is_plain_json() -> None:
    rows = random_rows(9, 60, num_groups=20)
    parts, left_out = partitions(
        rows,
        attributes=[{"sex": "f"}] * 60,
        rationale_sources=["llm"] * 60,
        num_words=[*range(60)],
        config=SlicesConfig(),
    )
    found = {
        "intervals": label_intervals(rows, FIGURES, QUICK),
        "differences": label_differences(rows, rows.decided_by(["home"] * 60), FIGURES, QUICK),
        "ranking": ranking_metrics(rows, ordered=True),
        "safety": safety_metrics(rows, costs=np.ones((4, 4)) - np.eye(4)),
        "calibration": calibration_metrics(rows.probabilities, rows.gold),
        "temperature": fit_temperature(rows.probabilities, rows.gold).as_facts(),
        "selective": selective_metrics(
            rows, rows, ordered=True, config=SelectiveConfig(max_risk=0.9), interval=IntervalsConfig()
        ),
        "slices": slice_metrics(rows, parts, FIGURES, SlicesConfig(), QUICK) | {"left_out": left_out},
    }
    assert json.loads(json.dumps(found, allow_nan=False)) == found
