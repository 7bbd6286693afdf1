"""Tokenized rows of a stage, their batches, and the order in which they are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Sampler

Row = Mapping[str, Any]
"""Texts and token ids of a row by column."""


class RaggedTokens:
    """Token ids of many rows, 4 bytes each: the notes of a hospital do not fit into Python lists."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self.ends = np.cumsum([len(row) for row in rows])
        self.flat = np.fromiter((token for row in rows for token in row), dtype=np.int32, count=self.ends[-1])

    def __getitem__(self, index: int) -> list[int]:
        start = self.ends[index - 1] if index else 0
        return self.flat[start : self.ends[index]].tolist()

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, [rows]."""
        return np.diff(self.ends, prepend=0)


class StageRows(Dataset[Row]):
    """Rows of one split as a stage reads them: texts as given, token ids by column."""

    def __init__(self, texts: Mapping[str, Sequence[Any]], tokens: Mapping[str, RaggedTokens]) -> None:
        self.texts = texts
        self.tokens = tokens

    def __len__(self) -> int:
        return len(self.texts["id"])

    def __getitem__(self, index: int) -> Row:
        texts = {name: column[index] for name, column in self.texts.items()}
        return texts | {name: column[index] for name, column in self.tokens.items()}

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row over all its columns, [rows]: what a batch costs."""
        return np.sum([column.lengths for column in self.tokens.values()], axis=0)


class Batch:
    """Rows of one batch, still as lists: Stage 2 knows its prompts only at the step, and padding comes last."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, column: str) -> list[Any]:
        return [row[column] for row in self.rows]

    def num_tokens(self, column: str) -> int:
        return sum(len(row[column]) for row in self.rows)

    def take(self, rows: Sequence[int]) -> Batch:
        return Batch([self.rows[row] for row in rows])


def collate(rows: Sequence[Row]) -> dict[str, Batch]:
    """The rows as a `Batch`, which the Trainer passes on untouched; it would move tensors and walk through lists."""
    return {"batch": Batch(rows)}


class LengthGroupedSampler(Sampler[int]):
    """Row indices for all `num_batches` batches of a run, epoch after epoch; the rows of a batch have similar lengths,
    so that little padding is computed.

    Each epoch shuffles all rows, sorts windows of `window_batches` batches by length and shuffles the batches; rows
    that fill no whole batch come first in the next epoch. The order depends on the seed alone, and the run is one
    sequence: resuming at step t means skipping t batches.

    Args:
        lengths: tokens of each row.
        weights: how often each row is drawn, relative to the others; an epoch then draws rows with replacement.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        *,
        batch_size: int,
        num_batches: int,
        seed: int,
        window_batches: int = 50,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.num_batches = num_batches
        self.seed = seed
        self.window = window_batches * batch_size
        self.probabilities = None if weights is None else np.asarray(weights) / np.sum(weights)

    def __len__(self) -> int:
        return self.num_batches * self.batch_size

    def __iter__(self) -> Iterator[int]:
        return islice(self._endless(), len(self))

    def _endless(self) -> Iterator[int]:
        generator, num_rows = np.random.default_rng(self.seed), len(self.lengths)
        left_over = np.empty(0, dtype=np.int64)
        while True:
            if self.probabilities is None:
                epoch = generator.permutation(num_rows)
            else:
                epoch = generator.choice(num_rows, size=num_rows, p=self.probabilities)
            order = np.concatenate([left_over, epoch])
            num_usable = len(order) - len(order) % self.batch_size
            order, left_over = order[:num_usable], order[num_usable:]
            windows = [order[start : start + self.window] for start in range(0, num_usable, self.window)]
            batches = [rows[np.argsort(self.lengths[rows], kind="stable")] for rows in windows]
            if batches:
                yield from generator.permutation(np.concatenate(batches).reshape(-1, self.batch_size)).ravel().tolist()
