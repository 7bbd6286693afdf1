"""The useful work of a T5 in floating-point operations: what must be computed for rows without any padding.

A product of `[m, k]` and `[k, n]` counts `2 m n k`; the backward pass counts twice the forward pass. Counted are the
matrix products (projections, attention, feed-forward, `lm_head`), not softmax, norms, dropout or the optimiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PASSES_OF_TRAINING = 3
"""Forward, and twice that backward."""

Tokens = int | np.ndarray
"""Tokens of one sequence, or of many at once."""


@dataclass(frozen=True)
class T5Sizes:
    """What the cost of a T5 (relu, not gated) depends on."""

    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    """Of the encoder, and as many of the decoder."""
    num_heads: int
    vocab_size: int

    @classmethod
    def of(cls, config: Any) -> T5Sizes:
        """The sizes of a transformers `T5Config`."""
        return cls(**{name: getattr(config, name) for name in cls.__dataclass_fields__})

    @property
    def _inner(self) -> int:
        return self.num_heads * self.d_kv

    @property
    def _projection(self) -> int:
        """Operations of one attention projection for one token."""
        return 2 * self.d_model * self._inner

    @property
    def _feed_forward(self) -> int:
        return 2 * 2 * self.d_model * self.d_ff

    def _attention(self, queries: Tokens, keys: Tokens) -> Tokens:
        """Scores and weighted sum."""
        return 2 * 2 * self._inner * queries * keys

    def encode(self, tokens: Tokens) -> Tokens:
        """Forward pass of the encoder over one sequence."""
        layer = (4 * self._projection + self._feed_forward) * tokens + self._attention(tokens, tokens)
        return self.num_layers * layer

    def decode(self, source: Tokens, target: Tokens) -> Tokens:
        """Forward pass of the decoder, `lm_head` included; keys and values of the source are computed once.

        Teacher-forced attention is counted as it is computed, over the whole square; a step-by-step decode needs half
        of it, a difference below one in a thousand at the length of a label.
        """
        own = (4 * self._projection + self._feed_forward) * target + self._attention(target, target)
        cross = 2 * self._projection * (source + target) + self._attention(target, source)
        return self.num_layers * (own + cross) + 2 * self.d_model * self.vocab_size * target

    def training(self, source: Tokens, target: Tokens) -> Tokens:
        """Forward and backward pass of one teacher-forced sequence."""
        return PASSES_OF_TRAINING * (self.encode(source) + self.decode(source, target))


@dataclass(frozen=True)
class RowTokens:
    """Tokens of the sequences of some rows, end-of-sequence included: arrays of equal length [rows]."""

    stage1_prompt: np.ndarray
    label_prompt: np.ndarray
    rationale_prompt: np.ndarray
    label: np.ndarray
    rationale: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def of(self, rows: Sequence[int] | np.ndarray) -> RowTokens:
        """Only these rows."""
        return RowTokens(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    def padded(self) -> RowTokens:
        """The same rows as one batch computes them: each as long as the longest."""
        columns = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return RowTokens(**{name: np.full_like(column, column.max()) for name, column in columns.items()})

    @property
    def all_tokens(self) -> np.ndarray:
        """All tokens of each row: what a batch is sorted by."""
        return self.label_prompt + self.rationale_prompt + self.label + self.rationale


def stage1_work(sizes: T5Sizes, rows: RowTokens) -> float:
    """`explain: x -> r*`, forward and backward, of these rows."""
    return float(np.sum(sizes.training(rows.stage1_prompt, rows.rationale)))


def stage2_work(sizes: T5Sizes, rows: RowTokens) -> float:
    """Both tasks, forward and backward, of these rows; without any label decode."""
    label = sizes.training(rows.label_prompt, rows.label)
    return float(np.sum(label + sizes.training(rows.rationale_prompt, rows.rationale)))


def label_decode_work(sizes: T5Sizes, rows: RowTokens) -> float:
    """An encoder pass and a greedy decode of the gold label's length, of these rows."""
    return float(np.sum(sizes.encode(rows.label_prompt) + sizes.decode(rows.label_prompt, rows.label)))


def inference_work(sizes: T5Sizes, rows: RowTokens) -> float:
    """Label, then rationale, each of the gold one's length, of these rows."""
    rationale = sizes.encode(rows.rationale_prompt) + sizes.decode(rows.rationale_prompt, rows.rationale)
    return label_decode_work(sizes, rows) + float(np.sum(rationale))
