"""Decided rows for the tests of the figures, in a line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.decided_rows import DecidedRows, FloatArray, decided_rows

LABELS = ("emergency", "today", "clinic", "home")
QUICK = IntervalsConfig(num_resamples=1_000)


def rows_of(
    gold: Sequence[str],
    predicted: Sequence[str | None],
    *,
    labels: Sequence[str] = LABELS,
    probabilities: FloatArray | None = None,
    groups: Sequence[str | None] | None = None,
) -> DecidedRows:
    """Rows called r0, r1, ...; without probabilities every label is as probable as the others."""
    return decided_rows(
        ids=[f"r{row}" for row in range(len(gold))],
        gold=gold,
        predicted=predicted,
        probabilities=np.full((len(gold), len(labels)), 1 / len(labels)) if probabilities is None else probabilities,
        labels=labels,
        groups=groups,
    )


def random_rows(seed: int, num_rows: int, *, num_groups: int | None = None) -> DecidedRows:
    """About six decisions of ten are right, some are no label, and the most probable label is often the gold one."""
    draw = np.random.default_rng(seed)
    gold = draw.choice(LABELS, num_rows, p=(0.1, 0.3, 0.4, 0.2))
    said = np.where(draw.random(num_rows) < 0.6, gold, draw.choice([*LABELS, "nonsense"], num_rows))
    shares = draw.dirichlet(np.ones(4), num_rows) + 0.7 * (gold[:, None] == np.array(LABELS))
    groups = None if num_groups is None else [f"p{number}" for number in draw.integers(num_groups, size=num_rows)]
    return rows_of(
        gold.tolist(), said.tolist(), probabilities=shares / shares.sum(axis=1, keepdims=True), groups=groups
    )


def constant_rows(label: str | None, gold: Sequence[str]) -> DecidedRows:
    return rows_of(gold, [label] * len(gold))
