"""Draws and data order depend on the seed and the place alone."""

from collections import Counter

import numpy as np
from scipy.stats import binomtest, kstest

from r2d.training.sampling import BatchOrder, uniform_draw


def test_draws_are_uniform() -> None:
    draws = [uniform_draw(42, step, f"row-{row}") for step in range(100) for row in range(100)]
    assert kstest(draws, "uniform").pvalue > 0.001


def test_a_draw_depends_on_seed_step_and_example() -> None:
    same = uniform_draw(1, 2, "a")
    assert same == uniform_draw(1, 2, "a")
    assert len({same, uniform_draw(2, 2, "a"), uniform_draw(1, 3, "a"), uniform_draw(1, 2, "b")}) == 4


def test_the_share_of_drawn_examples_follows_pi() -> None:
    for pi in (0.1, 0.5, 0.9):
        drawn = sum(uniform_draw(7, step, f"row-{row}") < pi for step in range(50) for row in range(64))
        assert binomtest(drawn, 50 * 64, pi).pvalue > 0.001


def order_of(num_rows: int, batch_size: int, num_batches: int, seed: int = 0) -> list[int]:
    lengths = np.random.default_rng(1).integers(5, 500, num_rows)
    return list(BatchOrder(lengths, batch_size=batch_size, num_batches=num_batches, seed=seed))


def test_every_epoch_shows_every_row_once_but_for_the_rest_of_a_batch() -> None:
    order = order_of(num_rows=103, batch_size=8, num_batches=26)
    assert len(order) == 26 * 8
    counts = Counter(order)
    assert len(counts) == 103
    assert set(counts.values()) <= {1, 2, 3}
    assert sum(count != 2 for count in counts.values()) <= 16


def test_a_run_that_stops_earlier_saw_the_beginning_of_the_same_order() -> None:
    assert order_of(103, 8, 11) == order_of(103, 8, 40)[: 8 * 11]


def test_another_seed_gives_another_order() -> None:
    assert order_of(103, 8, 40, seed=1) != order_of(103, 8, 40, seed=2)


def test_batches_hold_rows_of_similar_length() -> None:
    lengths = np.random.default_rng(1).integers(5, 500, 2_000)
    order = np.array(list(BatchOrder(lengths, batch_size=16, num_batches=125, seed=0)))
    bucketed = lengths[order].reshape(-1, 16)
    natural = lengths[: 125 * 16].reshape(-1, 16)
    assert bucketed.max(axis=1).sum() < 0.7 * natural.max(axis=1).sum()


def test_fewer_rows_than_a_batch_still_fill_batches() -> None:
    assert Counter(order_of(num_rows=3, batch_size=8, num_batches=3)) == {0: 8, 1: 8, 2: 8}
