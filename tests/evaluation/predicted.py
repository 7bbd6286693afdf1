"""Predictions made up for the tests of the metrics, in a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.predictions import Predictions
from r2d.label_scores import FloatArray

LABELS = ("emergency", "today", "clinic", "home")
QUICK = IntervalsConfig(num_resamples=1_000)


def predictions_of(
    gold: Sequence[str],
    predicted: Sequence[str | None],
    *,
    labels: Sequence[str] = LABELS,
    probabilities: FloatArray | None = None,
    **columns: Any,
) -> Predictions:
    """Rows called r0, r1, ...; without probabilities every label is as probable as the others."""
    uniform = np.full((len(gold), len(labels)), 1 / len(labels))
    return Predictions(
        ids=[f"r{row}" for row in range(len(gold))],
        gold_labels=gold,
        predicted_labels=predicted,
        labels=tuple(labels),
        probabilities=uniform if probabilities is None else probabilities,
        **columns,
    )


def predictions_with_options(
    gold: Sequence[str], predicted: Sequence[str | None], options: Sequence[Sequence[str]], **columns: Any
) -> Predictions:
    """The same where each row has options of its own."""
    ids = [f"r{row}" for row in range(len(gold))]
    return Predictions(ids=ids, gold_labels=gold, predicted_labels=predicted, row_options=options, **columns)


def random_predictions(seed: int, num_rows: int, *, num_groups: int | None = None) -> Predictions:
    """About six labels of ten are right, some are no label, and the most probable label is often the gold one."""
    draw = np.random.default_rng(seed)
    gold = draw.choice(LABELS, num_rows, p=(0.1, 0.3, 0.4, 0.2))
    predicted = np.where(draw.random(num_rows) < 0.6, gold, draw.choice([*LABELS, "nonsense"], num_rows))
    shares = draw.dirichlet(np.ones(4), num_rows) + 0.7 * (gold[:, None] == np.array(LABELS))
    groups = [] if num_groups is None else [f"p{number}" for number in draw.integers(num_groups, size=num_rows)]
    return predictions_of(
        gold.tolist(), predicted.tolist(), probabilities=shares / shares.sum(axis=1, keepdims=True), group_names=groups
    )
