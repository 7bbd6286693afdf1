"""Metrics of parts of the rows: which parts, how uncertain, how far from the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from r2d.config.evaluation import SlicesConfig
from r2d.data.examples import Example, to_table
from r2d.evaluation.label_metrics import LabelStatistics, label_intervals
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.slices import SlicesResult
from r2d.evaluation.slices import Slice, divide_rows, length_bands, slice_differences, slice_metrics, worst_slice
from tests.evaluation.predicted import LABELS, QUICK, predictions_of, random_predictions

STATISTICS = LabelStatistics(len(LABELS), ordered=True)


def divided(
    predictions: Predictions, config: SlicesConfig = SlicesConfig(max_values=5), **changed: Any
) -> tuple[list[Slice], dict[str, str]]:
    num_rows = len(predictions)
    columns: dict[str, Any] = {
        "attributes": [{"sex": "fm"[row % 2], "site": str(row)} for row in range(num_rows)],
        "rationale_source": [("llm", "", "nurse")[row % 3] for row in range(num_rows)],
        "text": ["word " * (row + 1) for row in range(num_rows)],
    }
    rows = zip(*(columns | changed).values(), strict=True)
    examples = to_table(
        Example(id=f"r{row}", text=text, label="", attributes=attributes, rationale_source=source)
        for row, (attributes, source, text) in enumerate(rows)
    )
    return divide_rows(predictions, examples, config)


def by_sex(values: list[str]) -> list[Slice]:
    return [Slice("attributes.sex", value, np.array(values) == value) for value in sorted(set(values))]


def measured(predictions: Predictions, values: list[str], *, min_rows: int = 30) -> SlicesResult:
    config = SlicesConfig(min_rows=min_rows)
    return slice_metrics(predictions, by_sex(values), STATISTICS, config, QUICK, left_out={})


# --- which slices ---


def values_of(slices: list[Slice], by: str) -> list[str]:
    return [part.value for part in slices if part.by == by]


def test_attributes_taken_together_are_slices_of_their_own() -> None:
    attributes = [{"sex": "fm"[row % 2], "age": ("old", "", "young")[row % 3]} for row in range(60)]
    config = SlicesConfig(intersections=(("sex", "age"), ("sex", "ward")))
    slices, left_out = divided(random_predictions(0, 60), config, attributes=attributes)
    parts = {part.value: part.where for part in slices if part.by == "attributes.sex and age"}
    assert set(parts) == {f"{sex}, {age}" for sex in "fm" for age in ("old", "young", "(not given)")}
    assert np.sum(list(parts.values()), axis=0).tolist() == [1] * 60, "each row is in one of them"
    assert [row["sex"] == "m" and row["age"] == "old" for row in attributes] == parts["m, old"].tolist()
    assert left_out["attributes.sex and ward"] == "no row has a value of ward"
    with pytest.raises(ValidationError):
        SlicesConfig.model_validate({"intersections": [["sex"]]})


def test_rows_are_divided_by_label_length_source_and_each_attribute() -> None:
    slices, left_out = divided(random_predictions(0, 40))
    order = list(dict.fromkeys(part.by for part in slices))
    assert order == ["label", "length", "rationale_source", "attributes.sex"]
    for by in order:
        assert sum(part.where.sum() for part in slices if part.by == by) == 40
    assert values_of(slices, "label") == list(LABELS)
    assert values_of(slices, "rationale_source") == ["(not given)", "llm", "nurse"]
    assert left_out == {"attributes.site": "40 values, evaluation.slices.max_values is 5"}
    without = divided(predictions_of(["home"] * 9, ["home"] * 9))[0]
    assert values_of(without, "label") == ["home"], "no slice without a row"


def test_named_attributes_alone_are_taken_and_a_row_without_one_is_in_a_slice_of_its_own_kind() -> None:
    config = SlicesConfig(attributes=("sex", "age_band"))
    slices, left_out = divided(
        random_predictions(0, 3), config, attributes=[{"sex": "f"}, {}, {"sex": "", "site": "x"}]
    )
    sexes = {part.value: part.where.tolist() for part in slices if part.by.startswith("attributes")}
    assert sexes == {"(not given)": [False, True, True], "f": [True, False, False]}
    assert left_out == {"attributes.age_band": "no row has a value"}


def test_length_bands_hold_their_lower_edge_and_come_from_short_to_long() -> None:
    bands, order = length_bands([9, 10, 19, 20, 500], (10, 20))
    assert bands == ["under 10 words", "10 to 19 words", "10 to 19 words", "20 words or more", "20 words or more"]
    assert order == ("under 10 words", "10 to 19 words", "20 words or more")


def test_without_edges_the_bands_are_quartiles_and_equal_lengths_are_one_band() -> None:
    bands, order = length_bands(list(range(1, 101)))
    assert [bands.count(name) for name in order] == [25, 25, 25, 25]
    assert set(length_bands([7] * 5)[0]) == {"7 words or more"}
    assert length_bands([1, 2, 3, 9], (2, 3))[1] == ("under 2 words", "2 words", "3 words or more")
    with pytest.raises(ValidationError, match="must rise"):
        SlicesConfig(length_edges=(20, 20))


# --- their figures ---


def test_two_slices_worked_by_hand() -> None:
    predictions = predictions_of(["emergency", "home", "emergency", "home"], ["home", "home", "emergency", "emergency"])
    result = measured(predictions, ["f", "f", "m", "m"])
    f, m = result.slices
    assert (f.by, f.value, f.num_rows, f.num_groups) == ("attributes.sex", "f", 2, 2)
    assert f.figures["under_triage_rate"].value == 1 / 2
    assert f.gaps["under_triage_rate"].value == 1 / 2 - 1 / 4
    assert (m.figures["over_triage_rate"].value, m.figures["under_triage_rate"].value) == (1 / 2, 0)
    assert f.gaps["accuracy"].value == m.gaps["accuracy"].value == 0
    assert result.whole["accuracy"].value == 1 / 2


@pytest.mark.parametrize("seed", range(4))
def test_a_slice_has_the_metrics_and_intervals_of_its_rows_alone(seed: int) -> None:
    predictions = random_predictions(seed, 240)
    values = np.random.default_rng(100 + seed).choice(["f", "m"], 240, p=[0.3, 0.7])
    rows = np.flatnonzero(values == "f")
    alone = predictions_of(
        [predictions.gold_labels[row] for row in rows], [predictions.predicted_labels[row] for row in rows]
    )
    expected = label_intervals(alone, STATISTICS, QUICK)
    for name, estimate in measured(predictions, values.tolist()).slices[0].figures.items():
        assert estimate.value == pytest.approx(getattr(expected, name).value)
        assert estimate.low == pytest.approx(getattr(expected, name).low, abs=0.03)
        assert estimate.high == pytest.approx(getattr(expected, name).high, abs=0.03)


def test_slices_of_one_division_add_up_to_the_whole_and_labels_are_not_counted_among_the_looks() -> None:
    predictions = random_predictions(7, 100)
    slices, left_out = divided(predictions)
    result = slice_metrics(predictions, slices, STATISTICS, SlicesConfig(), QUICK, left_out=left_out)
    assert result.left_out == left_out
    for by in {part.by for part in slices}:
        parts = [part for part in result.slices if part.by == by]
        assert sum(part.num_rows for part in parts) == 100
        correct = sum(part.num_rows * part.figures["accuracy"].value for part in parts)
        assert correct / 100 == pytest.approx(result.whole["accuracy"].value)
    by_label = [part for part in slices if part.by == "label"]
    alone = slice_metrics(predictions, by_label, STATISTICS, SlicesConfig(), QUICK, left_out={})
    assert (len(alone.slices), alone.multiple_looks.num_gaps) == (len(LABELS), 0), "labels differ by nature"


def test_a_part_that_is_served_worse_stands_out_and_an_equal_one_does_not() -> None:
    predictions = predictions_of(["emergency"] * 300, ["emergency"] * 200 + ["home"] * 20 + ["emergency"] * 80)
    result = measured(predictions, ["most"] * 200 + ["worse"] * 100)
    worse = next(part for part in result.slices if part.value == "worse")
    assert worse.gaps["under_triage_rate"].low > 0
    assert result.multiple_looks.num_without_zero >= 2
    equal = measured(predictions, ["odd", "even"] * 150)
    assert not any(part.gaps["under_triage_rate"].excludes_zero for part in equal.slices)
    assert equal.multiple_looks.num_without_zero == 0


def test_q_values_are_those_of_the_gaps_that_are_looked_at() -> None:
    predictions = predictions_of(["emergency"] * 300, ["emergency"] * 200 + ["home"] * 20 + ["emergency"] * 80)
    result = measured(predictions, ["most"] * 200 + ["worse"] * 100)
    gaps = [gap for part in result.slices for gap in part.gaps.values() if gap.low is not None]
    scores = [abs(gap.value) / gap.standard_error(QUICK.confidence) for gap in gaps]
    expected = sorted(stats.false_discovery_control(2 * stats.norm.sf(scores)))
    assert sorted(value for part in result.slices for value in part.q_values.values()) == pytest.approx(expected)
    worse = next(part for part in result.slices if part.value == "worse")
    assert worse.q_values["under_triage_rate"] < 0.01
    equal = measured(predictions, ["odd", "even"] * 150)
    assert min(value for part in equal.slices for value in part.q_values.values()) > 0.2
    by_label = [Slice("label", value, np.array(["a", "b"] * 150) == value) for value in ("a", "b")]
    labels = slice_metrics(predictions, by_label, STATISTICS, SlicesConfig(), QUICK, left_out={})
    assert not any(part.q_values for part in labels.slices), "labels differ by nature"


def test_the_worst_slice_is_that_of_the_highest_bound_which_holds_for_all_at_once() -> None:
    rows = predictions_of(["emergency"] * 200, ["home"] * 6 + ["emergency"] * 34 + ["home"] * 20 + ["emergency"] * 140)
    slices = [*by_sex(["few"] * 40 + ["many"] * 160), Slice("label", "emergency", np.ones(200, dtype=bool))]
    worst = worst_slice(rows, slices, ordered=True, min_rows=30, confidence=0.95)
    assert worst is not None
    assert (worst.value, worst.num_rows, worst.num_slices, worst.rate) == ("few", 40, 2, 6 / 40)
    assert worst.bound == pytest.approx(stats.binomtest(6, 40, alternative="less").proportion_ci(0.975, "exact").high)
    only_many = worst_slice(rows, slices, ordered=True, min_rows=41, confidence=0.95)
    assert only_many is not None
    assert only_many.bound == pytest.approx(
        stats.binomtest(20, 160, alternative="less").proportion_ci(0.95, "exact").high
    )
    assert worst_slice(rows, slices, ordered=True, min_rows=161, confidence=0.95) is None


def test_a_few_rows_without_an_error_have_a_wide_interval_and_a_gap_without_one() -> None:
    predictions = predictions_of(["emergency"] * 105, ["emergency"] * 5 + ["emergency", "home"] * 50)
    few = measured(predictions, ["few"] * 5 + ["many"] * 100).slices[0]
    rate = few.figures["under_triage_rate"]
    assert (rate.value, rate.method) == (0, "exact")
    assert rate.high > 0.4
    assert few.gaps["under_triage_rate"] == IntervalEstimate(pytest.approx(-50 / 105))


@pytest.mark.parametrize(("num_rare", "small"), [(2, True), (10, False)])
def test_small_slices_are_marked_and_shown(num_rare: int, small: bool) -> None:
    result = measured(random_predictions(1, 50), ["rare"] * num_rare + ["usual"] * (50 - num_rare), min_rows=10)
    assert {part.value: part.small for part in result.slices} == {"rare": small, "usual": False}
    assert result.min_rows == 10


def test_macro_f1_is_compared_only_over_the_same_labels() -> None:
    predictions = predictions_of(["emergency", "home"] * 20, ["emergency", "home"] * 19 + ["home", "home"])
    slices = measured(predictions, ["both"] * 20 + ["too", "home only"] * 10).slices
    macro_f1 = {part.value: part.figures["macro_f1"].value for part in slices}
    assert macro_f1["both"] == 1
    assert macro_f1["home only"] is None


def test_a_macro_f1_that_hangs_on_few_rows_says_on_which() -> None:
    gold = ["emergency"] * 2 + ["home"] * 58 + ["emergency"] * 40 + ["home"] * 40
    predictions = predictions_of(gold, ["home"] * 60 + gold[60:])
    values = ["few"] * 60 + ["many"] * 80
    few, many = measured(predictions, values).slices
    assert few.rare_labels == {"emergency": 2}
    assert few.hangs_on == "hangs on 2 rows of emergency"
    assert few.gaps["macro_f1"].value < -0.4, "far worse, by two rows of a label"
    assert many.rare_labels == {}
    assert many.hangs_on == ""
    other = predictions.with_labels(gold)
    differences = slice_differences(predictions, other, by_sex(values), STATISTICS, SlicesConfig(), QUICK)
    assert [part.rare_labels for part in differences] == [{"emergency": 2}, {}]


def test_patients_are_drawn_not_notes_and_the_looks_are_counted_and_chance_is_said() -> None:
    result = measured(random_predictions(3, 120, num_groups=12), (["f"] * 60) + ["m"] * 60)
    assert all(part.num_groups <= 12 < part.num_rows for part in result.slices)
    looks = result.multiple_looks
    assert (looks.num_gaps, looks.expected_by_chance) == (8, pytest.approx(0.4))
    assert 0 <= looks.num_without_zero <= 8


def test_slices_measured_in_portions_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions, other = random_predictions(5, 80), random_predictions(5, 80).with_labels(["home"] * 80)
    values = [str(row % 4) for row in range(80)]

    def both() -> tuple[Any, Any]:
        differences = slice_differences(predictions, other, by_sex(values), STATISTICS, SlicesConfig(), QUICK)
        return measured(predictions, values), differences

    whole = both()
    monkeypatch.setattr("r2d.evaluation.slices.MAX_COLUMNS", 1)
    assert both() == whole


def test_the_difference_to_another_model_is_that_of_the_rows_of_the_slice() -> None:
    predictions = random_predictions(6, 60)
    other, is_f = predictions.with_labels(["clinic"] * 60), np.arange(60) % 3 == 0
    slices = [Slice("attributes.sex", "f", is_f)]
    (difference,) = slice_differences(predictions, other, slices, STATISTICS, SlicesConfig(min_rows=30), QUICK)
    assert (difference.num_rows, difference.small) == (20, True)
    expected = predictions.correct[is_f].mean() - other.correct[is_f].mean()
    assert difference.difference["accuracy"].value == pytest.approx(expected)


def test_labels_without_order_have_no_triage_metric_in_a_slice() -> None:
    statistics = LabelStatistics(len(LABELS))
    slices = by_sex(["f"] * 20)
    (part,) = slice_metrics(random_predictions(6, 20), slices, statistics, SlicesConfig(), QUICK, left_out={}).slices
    assert set(part.figures) == {"accuracy", "macro_f1"}
    assert part.gaps["accuracy"] == IntervalEstimate(0)
