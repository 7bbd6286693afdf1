"""Draws and data order that depend on the seed and the place alone, so that a resumed run repeats them exactly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from torch.utils.data import Sampler


def uniform_draw(seed: int, step: int, example_id: str) -> float:
    """A uniform number in [0, 1) for one example at one optimiser step (departures 6 and 14).

    It depends on (seed, step, example id) alone: not on batch size, accumulation, rank, or any global generator.
    """
    digest = hashlib.blake2b(f"{seed}:{step}:{example_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / float(1 << 53)


class BatchOrder(Sampler[int]):
    """Row indices for all `num_batches` batches of a run, epoch after epoch, in which the rows of one batch have
    similar lengths, so that little padding is computed.

    Each epoch shuffles all rows, sorts windows of `window_batches` batches by length and shuffles the batches; rows
    that fill no whole batch come first in the next epoch. The order depends on the seed alone, and the run is one
    sequence: resuming at step t means skipping t batches. With `chances` an epoch draws rows with replacement.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        batch_size: int,
        num_batches: int,
        seed: int,
        window_batches: int = 50,
        chances: Sequence[float] | None = None,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.num_batches = num_batches
        self.seed = seed
        self.window = window_batches * batch_size
        self.chances = None if chances is None else np.asarray(chances) / np.sum(chances)

    def __len__(self) -> int:
        return self.num_batches * self.batch_size

    def __iter__(self) -> Iterator[int]:
        return islice(self._endless(), len(self))

    def _endless(self) -> Iterator[int]:
        generator = np.random.default_rng(self.seed)
        left_over = np.empty(0, dtype=np.int64)
        while True:
            order = np.concatenate([left_over, self._epoch(generator)])
            num_usable = len(order) - len(order) % self.batch_size
            order, left_over = order[:num_usable], order[num_usable:]
            windows = [order[start : start + self.window] for start in range(0, num_usable, self.window)]
            batches = [rows[np.argsort(self.lengths[rows], kind="stable")] for rows in windows]
            if batches:
                yield from generator.permutation(np.concatenate(batches).reshape(-1, self.batch_size)).ravel().tolist()

    def _epoch(self, generator: np.random.Generator) -> np.ndarray:
        num_rows = len(self.lengths)
        if self.chances is None:
            return generator.permutation(num_rows)
        return generator.choice(num_rows, size=num_rows, p=self.chances)
