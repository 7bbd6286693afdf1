"""Tokenized rows of a stage, their batches, and the order in which they are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch.utils.data import Dataset, Sampler

Row = Mapping[str, Any]
"""Texts and token ids of a row by column."""
Columns = Mapping[str, Sequence[Any]]
WINDOW_BATCHES = 50


class StageRows(Dataset[Row]):
    """Rows of one split as a stage reads them: texts as given, token ids by column.

    Token ids lie in Arrow arrays, 4 bytes each: the notes of a hospital do not fit into Python lists.
    """

    def __init__(self, texts: Columns, tokens: Columns, tokens_made: Columns | None = None) -> None:
        """`tokens_made` are made of other columns: they say nothing of how long a row is."""
        self.texts = texts
        self.measured = tuple(tokens)
        self.tokens = {
            name: pa.array(rows, pa.large_list(pa.int32())) for name, rows in {**tokens, **(tokens_made or {})}.items()
        }

    def __len__(self) -> int:
        return len(self.texts["id"])

    def __getitem__(self, index: int) -> Row:
        texts = {name: column[index] for name, column in self.texts.items()}
        return texts | {name: column[index].as_py() for name, column in self.tokens.items()}

    def lengths(self, *columns: str) -> np.ndarray:
        """Tokens of each row over the columns, by default over all that are measured: [rows]."""
        tokens = [self.tokens[name] for name in columns or self.measured]
        return np.sum([pc.list_value_length(column).to_numpy() for column in tokens], axis=0)


class Batch:
    """Rows of one batch, still as lists: Stage 2 knows its prompts only at the step, and padding comes last."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, column: str) -> list[Any]:
        return [row[column] for row in self.rows]

    def num_tokens(self, column: str) -> int:
        return sum(map(len, self[column]))

    def take(self, rows: Sequence[int]) -> Batch:
        return Batch([self.rows[row] for row in rows])


def collate(rows: Sequence[Row]) -> dict[str, Batch]:
    """The rows as a `Batch`, which the Trainer passes on untouched; it would move tensors and walk through lists."""
    return {"batch": Batch(rows)}


class LengthGroupedSampler(Sampler[int]):
    """Row indices for all `num_batches` batches of a run, epoch after epoch; the rows of a batch have similar lengths,
    so that little padding is computed.

    Each epoch shuffles all rows, sorts windows of `WINDOW_BATCHES` batches by length and shuffles the batches; rows
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
        weights: Sequence[float] | None = None,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size, self.num_batches, self.seed = batch_size, num_batches, seed
        self.window = WINDOW_BATCHES * batch_size
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
