"""Predictions of a model on one split: what every metric is computed from, and the table that is published of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.errors import DataError
from r2d.label_scores import BoolArray, FloatArray, IntArray, label_indices
from r2d.modeling.model_folder import SMALLEST_PROBABILITY, Calibration
from r2d.text import show_label

if TYPE_CHECKING:  # imports torch
    from r2d.modeling.predictor import Decision

MAX_SUM_ERROR = 1e-3
"""How far the probabilities of a row may be from 1 in all; 32-bit softmax over many labels needs some room."""

PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("label", pa.string(), nullable=False),
        pa.field("predicted_label", pa.string(), nullable=False),
        pa.field("valid", pa.bool_(), nullable=False),
        pa.field("label_probabilities", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("handed_over", pa.bool_()),
        pa.field("rationale", pa.string(), nullable=False),
        pa.field("predicted_rationale", pa.string(), nullable=False),
        pa.field("flags", pa.list_(pa.string()), nullable=False),
        pa.field("paper_bleu", pa.float64()),
        pa.field("rouge_l", pa.float64()),
        pa.field("bertscore_f1", pa.float64()),
    ]
)
"""One row a test example; joined to the examples by `id`. `group` is the patient or caller, null where there is none;
`label_probabilities` are scaled by the temperature; `handed_over` (deferred to a person) is null without a threshold;
`flags` are faults of the predicted rationale; scores are null without a reference."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """N rows as one model predicted them, or as another system did; each column has N entries.

    Labels are compared without case and outer or repeated spaces. A prediction that is None or no label of its row is
    invalid: always wrong, and, where labels are ordered, one level below the least urgent, because nobody is told to
    hurry.
    """

    ids: Sequence[str]
    gold_labels: Sequence[str]
    predicted_labels: Sequence[str | None]
    labels: Sequence[str] = ()
    """The declared set, most urgent first where it is ordered; empty where each row has options of its own."""
    row_options: Sequence[Sequence[str]] = ()
    """Those options."""
    group_names: Sequence[str | None] = ()
    """The patient or caller; None, or none at all, for rows that are a group of their own."""
    attributes: Sequence[Mapping[str, str]] = ()
    """Attribute -> value; none at all where they are not known."""
    probabilities: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    """[rows, labels], each row sums to 1; [0, 0] where they are not known, and for options per row."""
    label_probabilities: Sequence[Mapping[str, float]] = ()
    """Label -> probability, as the model gave them."""
    gold_rationales: Sequence[str] = ()
    """Reference rationales, empty where a row has none."""
    rationales: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Check the columns.

        Raises:
            DataError: there is no row, or a gold label is not allowed in its row.
            ValueError: the columns do not fit each other, or probabilities are none.
        """
        if not len(self.ids):
            raise DataError("labels cannot be measured on no rows; check that the split holds rows")
        sizes = {name: len(getattr(self, name)) for name in ("ids", "gold_labels", "predicted_labels", "options")}
        optional = ("group_names", "attributes", "label_probabilities", "gold_rationales", "rationales")
        sizes |= {name: len(getattr(self, name)) for name in optional if len(getattr(self, name))}
        shares = self.probabilities
        if len(set(sizes.values())) > 1 or (shares.size and shares.shape != (len(self.ids), len(self.labels))):
            raise ValueError(
                f"every column needs one entry for each row; found {sizes} and probabilities of shape {shares.shape} "
                f"for {len(self.labels)} labels"
            )
        for row in np.flatnonzero(self.gold == self.num_labels).tolist():
            if not self.labels:
                raise DataError(
                    f"the gold label of row {row} is not among its {len(self.options[row])} options; mend the row"
                )
            raise DataError(
                f"the gold label of row {row} is not declared, found {show_label(self.gold_labels[row])}; allowed: "
                f"{', '.join(self.labels)}; add it to data.labels.names or mend the row"
            )
        is_normal = np.isfinite(shares).all() and (shares >= 0).all()
        if not (is_normal and (abs(shares.sum(axis=1) - 1) < MAX_SUM_ERROR).all()):
            raise ValueError("probabilities must be finite, not negative, and sum to 1 in each row; normalise them")

    @classmethod
    def of_decisions(cls, examples: pa.Table, decisions: Sequence[Decision], labels: LabelsConfig) -> Predictions:
        """The rows of `EXAMPLES_SCHEMA` as a `Predictor` decided them."""
        shares = [decision.label_probabilities for decision in decisions]
        values = np.array([[row[name] for name in labels.names] for row in shares], dtype=np.float64)
        values = np.empty((0, 0)) if labels.per_row else values / values.sum(axis=1, keepdims=True)
        return cls(
            ids=examples["id"].to_pylist(),
            gold_labels=examples["label"].to_pylist(),
            predicted_labels=[decision.label for decision in decisions],
            labels=labels.names,
            row_options=examples["options"].to_pylist() if labels.per_row else (),
            group_names=examples["group"].to_pylist(),
            attributes=[dict(row) for row in examples["attributes"].to_pylist()],
            probabilities=values,
            label_probabilities=shares,
            gold_rationales=examples["rationale"].to_pylist(),
            rationales=[decision.rationale for decision in decisions],
        )

    @classmethod
    def from_table(cls, table: pa.Table, labels: LabelsConfig) -> Predictions:
        """The labels of a table of `PREDICTIONS_SCHEMA`. It holds no options of rows: those that were gold or predicted
        stand for all."""
        gold, valid = table["label"].to_pylist(), table["valid"].to_pylist()
        predicted = [
            label if is_valid else None
            for label, is_valid in zip(table["predicted_label"].to_pylist(), valid, strict=True)
        ]
        pairs = zip(gold, predicted, strict=True)
        return cls(
            ids=table["id"].to_pylist(),
            gold_labels=gold,
            predicted_labels=predicted,
            labels=labels.names,
            row_options=[[label for label in pair if label is not None] for pair in pairs] if labels.per_row else (),
            group_names=table["group"].to_pylist(),
        )

    def with_labels(self, predicted_labels: Sequence[str | None]) -> Predictions:
        """The same rows as another system predicted them, without probabilities and rationales."""
        unknown = np.empty((0, 0))
        return replace(
            self, predicted_labels=predicted_labels, probabilities=unknown, label_probabilities=(), rationales=()
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def options(self) -> Sequence[Sequence[str]]:
        """[rows]: the labels that each row can have."""
        return [self.labels] * len(self.ids) if self.labels else self.row_options

    @cached_property
    def num_labels(self) -> int:
        """Declared labels, or the largest number of options of a row."""
        return max(map(len, self.options))

    @cached_property
    def gold(self) -> IntArray:
        """[rows]: index of the gold label among the labels of the row."""
        return label_indices(self.gold_labels, self.options)

    @cached_property
    def predicted(self) -> IntArray:
        """[rows]: index of the predicted label; `num_labels` for an invalid one."""
        return label_indices(self.predicted_labels, self.options)

    @property
    def valid(self) -> BoolArray:
        """[rows]: whether the predicted label is one of its row."""
        return self.predicted < self.num_labels

    @property
    def correct(self) -> BoolArray:
        """[rows]: whether the predicted label is the gold label."""
        return self.gold == self.predicted

    @property
    def levels(self) -> IntArray:
        """[rows]: levels by which the predicted label is less urgent than gold; negative where more urgent."""
        return self.predicted - self.gold

    @property
    def confidence(self) -> FloatArray:
        """[rows]: probability of the predicted label; 0 for an invalid one, NaN where probabilities are not known."""
        if not self.probabilities.size:
            return np.full(len(self), np.nan)
        with_invalid = np.column_stack([self.probabilities, np.zeros(len(self))])
        return with_invalid[np.arange(len(self)), self.predicted]

    @cached_property
    def groups(self) -> IntArray:
        """[rows]: number of the patient or caller, from 0."""
        return group_numbers(self.ids, self.group_names or [None] * len(self.ids))

    @property
    def num_groups(self) -> int:
        return int(self.groups.max()) + 1


def group_numbers(ids: Sequence[str], groups: Sequence[str | None]) -> IntArray:
    """[rows]: the patient or caller of each row, numbered from 0; a row without one is a group of its own."""
    keys = [f"row {id_}" if group is None else f"group {group}" for id_, group in zip(ids, groups, strict=True)]
    return np.unique(keys, return_inverse=True)[1]


def scale_probabilities(probabilities: FloatArray, temperature: float) -> FloatArray:
    """[rows, labels]: p ** (1 / temperature), normalised again: bolder below 1, more cautious above, same order."""
    from scipy.special import softmax  # type: ignore[import-untyped]

    scaled: FloatArray = softmax(np.log(np.maximum(probabilities, SMALLEST_PROBABILITY)) / temperature, axis=1)
    return scaled


def predictions_table(
    predictions: Predictions,
    examples: pa.Table,
    *,
    calibration: Calibration | None = None,
    flags: Sequence[Sequence[str]],
    scores: Mapping[str, Sequence[float | None]],
) -> pa.Table:
    """Table of `PREDICTIONS_SCHEMA`.

    Args:
        examples: the same rows, table of `EXAMPLES_SCHEMA`.
        calibration: temperature and threshold that are applied to the probabilities.
        flags: faults of each rationale; scores: metric of a row -> of each row.
    """
    shares = predictions.label_probabilities or [{}] * len(predictions)
    if calibration is not None:
        scaled = scale_probabilities(predictions.probabilities, calibration.temperature)
        shares = [dict(zip(predictions.labels, row, strict=True)) for row in scaled.tolist()]
    labels = [label or "" for label in predictions.predicted_labels]
    columns = {
        "id": predictions.ids,
        "split": examples["split"],
        "group": examples["group"],
        "label": predictions.gold_labels,
        "predicted_label": labels,
        "valid": predictions.valid,
        "label_probabilities": [list(row.items()) for row in shares],
        "handed_over": [
            None if calibration is None else calibration.defers(row.get(label, 0.0), label, dict(attributes))
            for row, label, attributes in zip(shares, labels, examples["attributes"].to_pylist(), strict=True)
        ],
        "rationale": predictions.gold_rationales,
        "predicted_rationale": predictions.rationales,
        "flags": flags,
        **scores,
    }
    return pa.table(columns, schema=PREDICTIONS_SCHEMA)
