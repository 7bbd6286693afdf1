"""How rows are divided: no group crosses, nothing is lost, and neither order nor growth of the data shuffles rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d.config.data import SplitConfig
from r2d.data.examples import SPLITS
from r2d.data.splits import assign_splits
from r2d.errors import DataError

Row = tuple[str, str, str | None]
"""Id, label, group."""


def split_by_id(rows: list[Row], config: SplitConfig, **known: Any) -> dict[str, str]:
    ids, labels, groups = zip(*rows, strict=True)
    return dict(zip(ids, assign_splits(ids, labels, groups, config, **known), strict=True))


def plain_rows(num_rows: int, labels: str = "ab", group_size: int = 0) -> list[Row]:
    """Rows whose labels take turns, in groups of a size."""
    return [
        (f"row-{n}", labels[n % len(labels)], f"caller-{n // group_size}" if group_size else None)
        for n in range(num_rows)
    ]


def make_rows(seed: int, num_groups: int, largest: int, num_labels: int) -> list[Row]:
    """Groups of 1 to `largest` rows, of mixed labels; about every third row of a group of one names no group."""
    random = Random(seed)
    rows: list[Row] = []
    for number in range(num_groups):
        size = random.randint(1, largest)
        group = None if size == 1 and random.random() < 0.3 else f"caller-{number}"
        rows += [(f"row-{random.random()}", random.choice("abcde"[:num_labels]), group) for _ in range(size)]
    return rows


grouped_rows = st.builds(
    make_rows, st.integers(0, 10_000), st.integers(60, 200), largest=st.integers(1, 6), num_labels=st.integers(1, 5)
)
configs = st.builds(
    SplitConfig,
    validation_fraction=st.floats(0.1, 0.3),
    test_fraction=st.floats(0.1, 0.3),
    calibration_fraction=st.just(0.0) | st.floats(0.1, 0.3),
    seed=st.integers(0, 99),
)


@settings(max_examples=60)
@given(rows=grouped_rows, config=configs, random=st.randoms(use_true_random=True))
def test_groups_stay_whole_nothing_is_lost_order_is_nothing_and_fractions_are_near(
    rows: list[Row], config: SplitConfig, random: Random
) -> None:
    splits = split_by_id(rows, config)
    assert splits.keys() == {row_id for row_id, _, _ in rows}
    assert set(splits.values()) <= set(SPLITS)

    places: dict[str, set[str]] = defaultdict(set)
    for row_id, _, group in rows:
        places[group or row_id].add(splits[row_id])
    assert all(len(place) == 1 for place in places.values())

    shuffled = list(rows)
    random.shuffle(shuffled)
    assert split_by_id(shuffled, config) == splits

    largest = max(Counter(group or row_id for row_id, _, group in rows).values())
    counts = Counter(splits.values())
    assert abs(counts["test"] - config.test_fraction * len(rows)) <= largest + 1
    assert abs(counts["validation"] - config.validation_fraction * len(rows)) <= largest + 1
    assert abs(counts["calibration"] - config.calibration_fraction * len(rows)) <= largest + 1


@settings(max_examples=60)
@given(labels=st.lists(st.sampled_from("abcde"), min_size=20, max_size=300), config=configs)
def test_rows_without_groups_are_divided_exactly_and_alike_for_every_label(labels: str, config: SplitConfig) -> None:
    rows: list[Row] = [(f"row-{number}", label, None) for number, label in enumerate(labels)]
    splits = split_by_id(rows, config)
    counts = Counter(splits.values())
    assert counts["test"] == round(config.test_fraction * len(rows))
    assert counts["validation"] == round(config.validation_fraction * len(rows))
    assert counts["calibration"] == round(config.calibration_fraction * len(rows))
    for label, size in Counter(labels).items():
        num_test = sum(splits[row_id] == "test" for row_id, of, _ in rows if of == label)
        assert abs(num_test - config.test_fraction * size) < 1 + 1e-9


def test_five_hundred_rows_at_a_tenth_are_exactly_fifty_and_fifty_and_another_seed_divides_them_otherwise() -> None:
    rows = plain_rows(500, "abcabca")
    splits = split_by_id(rows, SplitConfig(seed=1))
    assert Counter(splits.values()) == {"train": 400, "validation": 50, "test": 50}
    assert split_by_id(rows, SplitConfig(seed=2)) != splits


def test_data_that_grow_keep_nearly_all_rows_in_their_split_and_none_goes_from_test_to_validation() -> None:
    rows = plain_rows(2200, "abc")
    before, after = split_by_id(rows[:2000], SplitConfig()), split_by_id(rows, SplitConfig())
    moved = [(before[row_id], after[row_id]) for row_id in before if before[row_id] != after[row_id]]
    assert len(moved) < 100
    assert all("train" in move for move in moved)


def test_a_calibration_split_is_taken_from_the_training_rows_alone() -> None:
    rows = plain_rows(1000)
    without, apart = split_by_id(rows, SplitConfig()), split_by_id(rows, SplitConfig(calibration_fraction=0.15))
    assert Counter(apart.values()) == {"train": 650, "validation": 100, "calibration": 150, "test": 100}
    moved = {(without[row_id], apart[row_id]) for row_id in without if without[row_id] != apart[row_id]}
    assert moved == {("train", "calibration")}
    named = split_by_id(rows, SplitConfig(calibration_fraction=0.15), test_ids={f"row-{n}" for n in range(500)})
    assert Counter(named.values()) == {"train": 375, "validation": 50, "calibration": 75, "test": 500}
    with pytest.raises(DataError, match=r"no row in split calibration .*8 train, 1 validation, 0 calibration, 1 test"):
        split_by_id(plain_rows(10), SplitConfig(calibration_fraction=0.01))


def test_labels_too_rare_for_a_share_of_their_own_still_fill_the_splits() -> None:
    rows: list[Row] = [(row_id, f"label of {row_id}", group) for row_id, _, group in plain_rows(200, group_size=2)]
    counts = Counter(split_by_id(rows, SplitConfig()).values())
    assert abs(counts["test"] - 20) <= 2
    assert abs(counts["validation"] - 20) <= 2


def test_named_test_rows_are_test_and_the_fraction_is_one_of_the_others() -> None:
    test_ids = {f"row-{number}" for number in range(500)}
    splits = split_by_id(plain_rows(1000), SplitConfig(test_fraction=0.3), test_ids=test_ids)
    assert {row_id for row_id, split in splits.items() if split == "test"} == test_ids
    assert Counter(splits.values()) == {"train": 450, "validation": 50, "test": 500}


GHOSTS = {"row-1", *(f"ghost-{number}" for number in range(7))}


@pytest.mark.parametrize(
    ("rows", "test_ids", "message"),
    [
        (plain_rows(100), GHOSTS,
         r"data: 7 of the 8 ids in test.json are ids of no row .of 7 to 7 characters.*data.columns.id"),
        (plain_rows(100, group_size=2), {"row-4"},
         r"1 group stands .*rows 5, 6; name all rows of a group in test.json"),
        (plain_rows(4), None, r"no row in split validation .*bring more rows or groups.*data\.split"),
    ],
)  # fmt: skip
def test_what_cannot_be_divided_says_why(rows: list[Row], test_ids: set[str] | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_by_id(rows, SplitConfig(), test_ids=test_ids, test_source="test.json")
