"""Choice of the rationale source."""

from __future__ import annotations

import pytest

from r2d.data.examples import Example, content_hash, iterate_examples, to_table
from r2d.errors import DataError
from r2d.rationales.choose import choose_rationales, coverage

ROWS = to_table(
    [
        Example("a", "text a", "x", split="train", rationales={"llm": " because a ", "nurse": "a!"}),
        Example("b", "text b", "x", split="train", rationales={"nurse": "b!"}),
        Example("c", "text c", "x", split="test", rationales={"llm": "because c"}),
    ]
)


def test_each_row_gets_the_rationale_of_the_source_and_its_name_or_neither() -> None:
    chosen = [(row.rationale, row.rationale_source) for row in iterate_examples(choose_rationales(ROWS, "llm"))]
    assert chosen == [("because a", "llm"), ("", ""), ("because c", "llm")]


def test_no_row_is_lost_and_everything_else_stays() -> None:
    chosen = choose_rationales(ROWS, "nurse")
    others = [name for name in ROWS.column_names if not name.startswith("rationale")]
    assert content_hash(chosen.select(others)) == content_hash(ROWS.select(others))


def test_coverage_counts_rows_with_a_rationale_by_split() -> None:
    assert coverage(choose_rationales(ROWS, "llm")) == {
        "test": {"num_rows": 1, "num_with_rationale": 1},
        "train": {"num_rows": 2, "num_with_rationale": 1},
    }


def test_a_source_that_no_row_has_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(DataError, match=r"source 'expert'; found sources \['llm', 'nurse'\]"):
        choose_rationales(ROWS, "expert")
