"""Decided rows as numbers: what every figure about labels is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from r2d.errors import DataError
from r2d.text import normalise_label

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]

MAX_SUM_ERROR = 1e-3
"""How far the probabilities of a row may be from 1 in all; 32-bit softmax over many labels needs some room."""


@dataclass(frozen=True)
class DecidedRows:
    """Reference, decision and probabilities of N rows. A label is its place in `labels`."""

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    """The declared set; most urgent first where it is ordered."""
    gold: IntArray
    """[rows]"""
    said: IntArray
    """[rows]; `len(labels)` where the decision is no declared label: always wrong, and one level below the least
    urgent, because nobody is told to hurry."""
    probabilities: FloatArray
    """[rows, labels], each row sums to 1."""
    groups: IntArray
    """[rows]: the patient or caller, numbered from 0; a row without one is a group of its own."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_groups(self) -> int:
        return int(self.groups.max()) + 1

    @property
    def correct(self) -> BoolArray:
        return self.gold == self.said

    @property
    def levels(self) -> IntArray:
        """[rows]: levels by which a decision is less urgent than the reference; negative where more urgent."""
        return self.said - self.gold

    @property
    def confidence(self) -> FloatArray:
        """[rows]: probability of the decided label; 0 for one that is not declared, so that it is never trusted."""
        with_none = np.column_stack([self.probabilities, np.zeros(len(self))])
        return with_none[np.arange(len(self)), self.said]

    def decided_by(self, predicted: Sequence[str | None]) -> DecidedRows:
        """The same rows as another system decided them that gives no probabilities: they are NaN, and so is what is
        computed from them."""
        if len(predicted) != len(self):
            raise ValueError(f"{len(self)} rows and {len(predicted)} predictions: give one prediction for each row")
        return replace(
            self, said=_places(predicted, self.labels), probabilities=np.full_like(self.probabilities, np.nan)
        )


def decided_rows(
    *,
    ids: Sequence[str],
    gold: Sequence[str],
    predicted: Sequence[str | None],
    probabilities: Sequence[Sequence[float]] | FloatArray,
    labels: Sequence[str],
    groups: Sequence[str | None] | None = None,
) -> DecidedRows:
    """Check the rows and turn their labels into places.

    Args:
        predicted: what the model said; None, or a text that matches no declared label, is wrong.
        probabilities: [rows, labels], in the order of `labels`, normalised over them.
        groups: group of each row, None for a row that has none; without it each row is a group of its own.

    Raises:
        DataError: there is no row, or a gold label is not declared.
        ValueError: the parts do not fit each other.
    """
    if not ids:
        raise DataError("labels cannot be measured on no rows; check that the split holds rows")
    given = groups if groups is not None else [None] * len(ids)
    shares = np.asarray(probabilities, dtype=np.float64)
    sizes = {"ids": len(ids), "gold": len(gold), "predicted": len(predicted), "groups": len(given)}
    if len(set(sizes.values())) > 1 or shares.shape != (len(ids), len(labels)):
        raise ValueError(
            f"one of each for each row is needed; found {sizes} and probabilities of shape {shares.shape} for "
            f"{len(labels)} labels"
        )
    sums = shares.sum(axis=1)
    if not (np.isfinite(shares).all() and (shares >= 0).all() and (abs(sums - 1) < MAX_SUM_ERROR).all()):
        raise ValueError("probabilities must be finite, not negative, and sum to 1 in each row; normalise them first")
    return DecidedRows(
        ids=tuple(ids),
        labels=tuple(labels),
        gold=_gold_places(gold, labels),
        said=_places(predicted, labels),
        probabilities=shares / sums[:, None],
        groups=group_numbers(ids, given),
    )


def group_numbers(ids: Sequence[str], groups: Sequence[str | None]) -> IntArray:
    """[rows]: the patient or caller of each row, numbered from 0; a row without one is a group of its own."""
    keys = [("row", id_) if group is None else ("group", group) for id_, group in zip(ids, groups, strict=True)]
    number = {key: index for index, key in enumerate(sorted(set(keys)))}
    return np.array([number[key] for key in keys], dtype=np.int64)


def _places(texts: Sequence[str | None], labels: Sequence[str]) -> IntArray:
    """[rows]; `len(labels)` for a text that is no declared label."""
    place = {normalise_label(label): index for index, label in enumerate(labels)}
    invalid = len(labels)
    found = [invalid if text is None else place.get(normalise_label(text), invalid) for text in texts]
    return np.array(found, dtype=np.int64)


def _gold_places(gold: Sequence[str], labels: Sequence[str]) -> IntArray:
    places = _places(gold, labels)
    for row in np.flatnonzero(places == len(labels)).tolist():
        raise DataError(
            f"gold label {gold[row]!r} of row {row} is not declared; allowed: {', '.join(labels)}; "
            "add it to data.labels.names or mend the row"
        )
    return places
