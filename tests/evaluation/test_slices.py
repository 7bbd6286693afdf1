"""Figures of parts of the rows: which parts, how uncertain, how far from the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from r2d.config.evaluation import SlicesConfig
from r2d.evaluation.decided_rows import DecidedRows
from r2d.evaluation.label_figures import LabelFigures, label_intervals
from r2d.evaluation.slices import Partition, length_bands, partitions, slice_metrics
from tests.evaluation.decided import LABELS, QUICK, random_rows, rows_of

FIGURES = LabelFigures(len(LABELS), ordered=True)


def divided(rows: DecidedRows, **changed: Any) -> tuple[list[Partition], dict[str, str]]:
    given: dict[str, Any] = {
        "attributes": [{"sex": "fm"[row % 2], "site": str(row)} for row in range(len(rows))],
        "rationale_sources": ["llm", "", "nurse"] * (len(rows) // 3) + ["llm"] * (len(rows) % 3),
        "num_words": list(range(1, len(rows) + 1)),
        "config": SlicesConfig(max_values=5),
    }
    return partitions(rows, **(given | changed))


def measured(rows: DecidedRows, values: list[str], *, min_rows: int = 30) -> dict[str, Any]:
    part = Partition("attributes.sex", tuple(values), tuple(sorted(set(values))))
    return slice_metrics(rows, [part], FIGURES, SlicesConfig(min_rows=min_rows), QUICK)


# --- which slices ---


def test_rows_are_divided_by_label_length_source_and_each_attribute() -> None:
    rows = random_rows(0, 40)
    parts, left_out = divided(rows)
    assert [part.by for part in parts] == ["label", "length", "rationale_source", "attributes.sex"]
    assert all(len(part.values) == 40 and set(part.values) <= set(part.order) for part in parts)
    assert parts[0].order == LABELS
    assert parts[2].order == ("(not given)", "llm", "nurse")
    assert left_out == {"attributes.site": "40 values, evaluation.slices.max_values is 5"}


def test_named_attributes_alone_are_taken_and_one_that_no_row_has_is_said() -> None:
    parts, left_out = divided(random_rows(0, 9), config=SlicesConfig(attributes=("sex", "age_band")))
    assert [part.by for part in parts if part.by.startswith("attributes")] == ["attributes.sex"]
    assert left_out == {"attributes.age_band": "no row has a value"}


def test_a_row_without_the_attribute_is_in_a_slice_of_its_own_kind() -> None:
    parts, _ = divided(random_rows(0, 3), attributes=[{"sex": "f"}, {}, {"sex": ""}])
    assert parts[-1].values == ("f", "(not given)", "(not given)")


def test_length_bands_hold_their_lower_edge_and_come_from_short_to_long() -> None:
    bands, order = length_bands([9, 10, 19, 20, 500], (10, 20))
    assert bands == ("under 10 words", "10 to 19 words", "10 to 19 words", "20 words or more", "20 words or more")
    assert order == ("under 10 words", "10 to 19 words", "20 words or more")


def test_without_edges_the_bands_are_quartiles_and_equal_lengths_are_one_band() -> None:
    bands, order = length_bands(list(range(1, 101)))
    assert [bands.count(name) for name in order] == [25, 25, 25, 25]
    assert set(length_bands([7] * 5)[0]) == {"7 words or more"}
    assert length_bands([1, 2, 3, 9], (2, 3))[1] == ("under 2 words", "2 words", "3 words or more")


def test_edges_must_rise() -> None:
    with pytest.raises(ValidationError, match="must rise"):
        SlicesConfig(length_edges=(20, 20))


# --- their figures ---


def test_two_slices_worked_by_hand() -> None:
    rows = rows_of(["emergency", "home", "emergency", "home"], ["home", "home", "emergency", "emergency"])
    found = measured(rows, ["f", "f", "m", "m"])
    f, m = found["slices"]
    assert (f["by"], f["value"], f["num_rows"], f["num_groups"]) == ("attributes.sex", "f", 2, 2)
    assert f["figures"]["under_triage_rate"]["value"] == 1 / 2
    assert f["gaps"]["under_triage_rate"]["value"] == 1 / 2 - 1 / 4
    assert (m["figures"]["over_triage_rate"]["value"], m["figures"]["under_triage_rate"]["value"]) == (1 / 2, 0)
    assert f["gaps"]["accuracy"]["value"] == m["gaps"]["accuracy"]["value"] == 0
    assert found["whole"]["accuracy"]["value"] == 1 / 2


@pytest.mark.parametrize("seed", range(4))
def test_a_slice_has_the_figures_and_intervals_of_its_rows_alone(seed: int) -> None:
    rows = random_rows(seed, 240)
    values = np.random.default_rng(100 + seed).choice(["f", "m"], 240, p=[0.3, 0.7])
    kept = np.flatnonzero(values == "f")
    names = [*LABELS, None]
    alone = rows_of([LABELS[rows.gold[row]] for row in kept], [names[rows.said[row]] for row in kept])
    expected = label_intervals(alone, FIGURES, QUICK)
    found = measured(rows, values.tolist())["slices"][0]
    for name, figure in found["figures"].items():
        assert figure["value"] == pytest.approx(expected[name]["value"])
        assert figure["low"] == pytest.approx(expected[name]["low"], abs=0.03)
        assert figure["high"] == pytest.approx(expected[name]["high"], abs=0.03)


def test_slices_of_a_partition_add_up_to_the_whole() -> None:
    rows = random_rows(7, 100)
    parts, _ = divided(rows)
    found = slice_metrics(rows, parts, FIGURES, SlicesConfig(), QUICK)
    for by in {part.by for part in parts}:
        some = [one for one in found["slices"] if one["by"] == by]
        assert sum(one["num_rows"] for one in some) == 100
        right = sum(one["num_rows"] * one["figures"]["accuracy"]["value"] for one in some)
        assert right / 100 == pytest.approx(found["whole"]["accuracy"]["value"])


def test_a_part_that_is_served_worse_stands_out_and_an_equal_one_does_not() -> None:
    gold = ["emergency"] * 300
    predicted = ["emergency"] * 200 + ["home"] * 20 + ["emergency"] * 80
    found = measured(rows_of(gold, predicted), ["most"] * 200 + ["worse"] * 100)
    worse = next(one for one in found["slices"] if one["value"] == "worse")
    assert worse["gaps"]["under_triage_rate"]["low"] > 0
    equal = measured(rows_of(gold, predicted), ["odd", "even"] * 150)
    assert all(one["gaps"]["under_triage_rate"]["low"] < 0 < one["gaps"]["under_triage_rate"]["high"]
               for one in equal["slices"])  # fmt: skip
    assert equal["multiple_looks"]["num_without_zero"] == 0
    assert found["multiple_looks"]["num_without_zero"] >= 2


def test_a_few_rows_without_an_error_have_a_wide_interval_and_a_gap_without_one() -> None:
    rows = rows_of(["emergency"] * 105, ["emergency"] * 5 + ["emergency", "home"] * 50)
    few = measured(rows, ["few"] * 5 + ["many"] * 100)["slices"][0]
    rate = few["figures"]["under_triage_rate"]
    assert (rate["value"], rate["method"]) == (0, "exact")
    assert rate["high"] > 0.4
    assert few["gaps"]["under_triage_rate"] == {
        "value": pytest.approx(-50 / 105), "low": None, "high": None, "method": None,
    }  # fmt: skip


def test_labels_differ_by_nature_and_are_not_counted_among_the_looks() -> None:
    rows = random_rows(8, 100)
    parts, _ = divided(rows)
    found = slice_metrics(rows, [parts[0]], FIGURES, SlicesConfig(), QUICK)
    assert len(found["slices"]) == len(LABELS)
    assert found["multiple_looks"]["num_gaps"] == 0


def test_small_slices_are_marked_and_shown() -> None:
    found = measured(random_rows(1, 50), ["rare"] * 2 + ["usual"] * 48, min_rows=10)
    assert {one["value"]: one["small"] for one in found["slices"]} == {"rare": True, "usual": False}
    assert found["min_rows"] == 10
    enough = measured(random_rows(1, 50), ["ten"] * 10 + ["usual"] * 40, min_rows=10)
    assert not any(one["small"] for one in enough["slices"])


def test_macro_f1_is_compared_only_over_the_same_labels() -> None:
    rows = rows_of(["emergency", "home"] * 20, ["emergency", "home"] * 19 + ["home", "home"])
    slices = measured(rows, ["both"] * 20 + ["too", "home only"] * 10)["slices"]
    found = {one["value"]: one["figures"]["macro_f1"]["value"] for one in slices}
    assert found["both"] == 1
    assert found["home only"] is None


def test_patients_are_drawn_not_notes() -> None:
    rows = random_rows(3, 120, num_groups=12)
    found = measured(rows, (["f"] * 60) + ["m"] * 60)
    assert all(one["num_groups"] <= 12 < one["num_rows"] for one in found["slices"])


def test_the_looks_are_counted_and_chance_is_said() -> None:
    looks = measured(random_rows(4, 200), ["f", "m"] * 100)["multiple_looks"]
    assert looks["num_gaps"] == 8
    assert looks["expected_by_chance"] == pytest.approx(0.4)
    assert 0 <= looks["num_without_zero"] <= 8


def test_slices_measured_in_portions_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows(5, 80)
    values = [str(row % 4) for row in range(80)]
    whole = measured(rows, values)
    monkeypatch.setattr("r2d.evaluation.slices.MAX_COLUMNS", 1)
    assert measured(rows, values) == whole


def test_labels_without_order_have_no_triage_figure_in_a_slice() -> None:
    part = Partition("attributes.sex", ("f",) * 20, ("f",))
    found = slice_metrics(random_rows(6, 20), [part], LabelFigures(len(LABELS), ordered=False), SlicesConfig(), QUICK)
    assert set(found["slices"][0]["figures"]) == {"accuracy", "macro_f1"}
    assert found["slices"][0]["gaps"]["accuracy"] == {"value": 0, "low": None, "high": None, "method": None}
