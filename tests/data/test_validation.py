"""The data contract: what stops a run, what only warns, and that notes are never quoted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from r2d.config import LabelsConfig
from r2d.data.examples import Example, iterate_examples, to_table
from r2d.data.validation import validate
from r2d.errors import DataError
from tests.conftest import TOY_LABELS, toy_examples


def broken(**change: str) -> list[Example]:
    """The toy examples with the second one changed."""
    rows = list(iterate_examples(toy_examples(20)))
    return [rows[0], replace(rows[1], **change), *rows[2:]]


def test_sound_examples_pass_every_check() -> None:
    rows = [replace(row, text=f"{row.text} {row.id}") for row in iterate_examples(toy_examples(20))]
    report = validate(to_table(rows), TOY_LABELS)
    assert report.num_rows == 20
    assert [check.name for check in report.checks if not check.passed] == []
    assert "20 examples" in report.html()


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"id": "toy-000"}, "every id is there once: 2 rows, ids toy-000, toy-000"),
        ({"text": " . "}, "every text has a word: 1 rows, ids toy-001"),
        ({"label": "see a doctor"}, "every label is declared: 1 rows, ids toy-001"),
        ({"split": "holdout"}, "every split is train, validation or test: 1 rows, ids toy-001"),
    ],
)
def test_a_broken_contract_stops_with_the_check_and_the_ids(change: dict[str, str], check: str) -> None:
    with pytest.raises(DataError) as caught:
        validate(to_table(broken(**change)), TOY_LABELS)
    assert check in str(caught.value)
    assert "pt " not in str(caught.value)


def test_an_id_or_a_group_in_two_splits_stops_the_run() -> None:
    rows = list(iterate_examples(toy_examples(20)))
    with pytest.raises(DataError, match="no id stands in two splits: 2 rows"):
        validate(to_table([*rows, replace(rows[0], split="test")]), TOY_LABELS)
    grouped = [replace(rows[0], group="caller-1"), replace(rows[4], group="caller-1"), *rows[1:4]]
    with pytest.raises(DataError, match="no group stands in two splits: 2 rows, ids toy-000, toy-004"):
        validate(to_table(grouped), TOY_LABELS)


def test_the_same_text_in_two_splits_warns_and_is_shown_without_the_text() -> None:
    rows = list(iterate_examples(toy_examples(20)))
    rows[4] = replace(rows[4], text=rows[0].text)
    report = validate(to_table(rows), LabelsConfig(names=TOY_LABELS.names))
    (warned,) = [check for check in report.checks if not check.passed]
    assert (warned.name, warned.severity) == ("no text stands in two splits", "warn")
    assert "toy-000" in report.html()
    assert rows[0].text not in report.html()
