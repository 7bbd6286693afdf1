"""Correct predictions, accuracy, F1 and kappa: the one definition, used by validation in training and by whatever
measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from r2d.text import normalise_label

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]


class LabelScores(NamedTuple):
    """Scores of one set of rows, or of many at once; NaN without a row in the denominator."""

    accuracy: FloatArray
    """[...]; macro_f1, weighted_f1 and invalid_label_rate likewise."""
    macro_f1: FloatArray
    """Mean F1 of the labels that occur in gold: without a gold row there is no recall, and an F1 of 0 would say more
    about the sample than about the model. A wrong prediction of such a label costs the recall of another."""
    weighted_f1: FloatArray
    invalid_label_rate: FloatArray
    recall: FloatArray
    """[..., labels]; precision and f1 likewise. The F1 of a label without any row is 0."""
    precision: FloatArray
    f1: FloatArray


def label_indices(texts: Sequence[str | None], options: Sequence[Sequence[str]]) -> IntArray:
    """[rows]: index of each text among the labels of its row, or the largest number of labels of any row where it is
    None or none of them. Case and outer or repeated spaces do not count (departure 8)."""
    indices_of: dict[tuple[str, ...], dict[str, int]] = {}
    num_labels = max(map(len, options), default=0)
    indices = []
    for text, labels in zip(texts, map(tuple, options), strict=True):
        if labels not in indices_of:
            # Of labels that differ by case or spaces alone, the first stands for all.
            indices_of[labels] = {normalise_label(label): index for index, label in reversed(list(enumerate(labels)))}
        indices.append(num_labels if text is None else indices_of[labels].get(normalise_label(text), num_labels))
    return np.array(indices, dtype=np.int64)


def label_counts(
    gold: IntArray,
    predicted: IntArray,
    num_labels: int,
    *,
    correct: BoolArray | None = None,
    groups: IntArray | None = None,
    where: BoolArray | None = None,
) -> FloatArray:
    """Rows of each label, [groups, 3 x labels]: correct, then gold, then predicted; `label_scores` reads them.

    Args:
        gold: [rows], `label_indices`; predicted: [rows], `num_labels` or more for a prediction that is no label.
        correct: [rows]; None: those with equal indices.
        groups: [rows], numbered from 0; None: all rows are one group.
        where: [rows], the rows that count; a group without them has zeros.
    """
    correct = gold == predicted if correct is None else correct
    groups = np.zeros(len(gold), dtype=np.int64) if groups is None else groups
    where = np.ones(len(gold), dtype=bool) if where is None else where
    num_groups = int(groups.max()) + 1

    def count(indices: IntArray, rows: BoolArray) -> FloatArray:
        cells = np.bincount(groups[rows] * num_labels + indices[rows], minlength=num_groups * num_labels)
        return cells.reshape(num_groups, num_labels).astype(np.float64)

    valid = predicted < num_labels
    return np.hstack([count(gold, where & correct), count(gold, where), count(predicted, where & valid)])


def label_scores(counts: FloatArray) -> LabelScores:
    """Every score from `label_counts`, or from sums of them over groups or resamples.

    Args:
        counts: [..., 3 x labels].
    """
    correct, gold, predicted = np.split(counts, 3, axis=-1)
    num_rows, occurs = gold.sum(axis=-1), gold > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = np.where(gold + predicted > 0, 2 * correct / (gold + predicted), 0.0)
        return LabelScores(
            accuracy=correct.sum(axis=-1) / num_rows,
            macro_f1=np.where(occurs, f1, 0.0).sum(axis=-1) / occurs.sum(axis=-1),
            weighted_f1=(f1 * gold).sum(axis=-1) / num_rows,
            invalid_label_rate=(num_rows - predicted.sum(axis=-1)) / num_rows,
            recall=correct / gold,
            precision=correct / predicted,
            f1=f1,
        )


def cohen_kappa(tables: FloatArray, distance: FloatArray | None = None) -> FloatArray:
    """Agreement of two raters beyond that of chance (Cohen 1960; 1968 where disagreements weigh by `distance`): [...],
    NaN where chance alone agrees always. The one definition, for reviewers, raters and the judge.

    Args:
        tables: [..., labels of the first, labels of the second], rows or shares of them.
        distance: [labels of the first, labels of the second], 0 where they agree; None: every disagreement is 1.
    """
    num_first, num_second = tables.shape[-2:]
    apart = 1 - np.eye(num_first, num_second) if distance is None else distance
    total = tables.sum((-1, -2))
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = (tables * apart).sum((-1, -2)) / total
        expected = np.einsum("...i,...j,ij->...", tables.sum(-1), tables.sum(-2), apart) / total**2
        return np.where(expected > 1e-12, 1 - observed / expected, np.nan)
