"""Choice of the rationale source."""

from __future__ import annotations

import pytest

from r2d.data.examples import Example, content_hash, iterate_examples, to_table
from r2d.errors import DataError
from r2d.rationales.ingest import coverage, select_rationales

ROWS = to_table(
    [
        Example("a", "text a", "x", split="train", rationales={"llm": " because a ", "nurse": "a!"}),
        Example("b", "text b", "x", split="train", rationales={"nurse": "b!"}),
        Example("c", "text c", "x", split="test", rationales={"llm": "because c"}),
    ]
)


def test_each_row_gets_the_rationale_of_the_source_and_its_name_or_neither() -> None:
    chosen = [(row.rationale, row.rationale_source) for row in iterate_examples(select_rationales(ROWS, "llm"))]
    assert chosen == [("because a", "llm"), ("", ""), ("because c", "llm")]


def test_no_row_is_lost_and_everything_else_stays() -> None:
    chosen = select_rationales(ROWS, "nurse")
    others = [name for name in ROWS.column_names if not name.startswith("rationale")]
    assert content_hash(chosen.select(others)) == content_hash(ROWS.select(others))


def test_coverage_counts_rows_with_a_rationale_by_split() -> None:
    assert coverage(select_rationales(ROWS, "llm")) == {
        "test": {"num_rows": 1, "num_with_rationale": 1, "sources": {"llm": 1}},
        "train": {"num_rows": 2, "num_with_rationale": 1, "sources": {"llm": 1}},
    }


def test_of_several_sources_the_first_that_the_row_has_is_taken() -> None:
    def sources(*order: str) -> list[str]:
        return select_rationales(ROWS, order)["rationale_source"].to_pylist()

    assert sources("llm", "nurse") == ["llm", "nurse", "llm"]
    assert sources("nurse", "llm") == ["nurse", "nurse", "llm"]


def test_a_mixture_draws_by_weight_and_by_the_id_alone() -> None:
    rows = to_table(
        [Example(f"e{n}", "t", "x", rationales={"llm": "l", "nurse": "n"}, split="train") for n in range(4000)]
    )
    chosen = select_rationales(rows, {"llm": 3.0, "nurse": 1.0}, seed=7)["rationale_source"].to_pylist()
    # Three standard deviations of 4,000 draws are 2 points.
    assert abs(chosen.count("llm") / 4000 - 0.75) < 0.02
    backwards = rows.take(list(range(4000))[::-1])
    assert (
        select_rationales(backwards, {"llm": 3.0, "nurse": 1.0}, seed=7)["rationale_source"].to_pylist() == chosen[::-1]
    )
    assert select_rationales(rows, {"llm": 3.0, "nurse": 1.0}, seed=8)["rationale_source"].to_pylist() != chosen
    # A row that has but one of them gets that one; a weight of nothing is never drawn.
    assert select_rationales(ROWS, {"llm": 1.0, "nurse": 1.0})["rationale_source"].to_pylist()[1:] == ["nurse", "llm"]
    assert select_rationales(ROWS, {"llm": 1.0, "nurse": 0.0})["rationale_source"].to_pylist() == ["llm", "", "llm"]


def test_a_source_that_no_row_has_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(DataError, match=r"source 'expert'; found sources \['llm', 'nurse'\]"):
        select_rationales(ROWS, "expert")
