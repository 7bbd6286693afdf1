"""How good the decisions are: accuracy, macro-F1, each class, the confusion matrix and the share that is no label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from r2d.data.labels import normalise_label
from r2d.errors import DataError


def label_metrics(gold: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str]) -> dict[str, Any]:
    """Measure decisions against the reference labels. Every figure is a fraction of 1.

    A prediction that is None or matches no declared label is wrong: it is the column `invalid` of the confusion
    matrix and never a class of its own, as it is in the published code.

    `macro_f1` and `weighted_f1` are over the declared labels that occur in `gold`. A label without a gold row has no
    recall, so an F1 of 0 there would say more about the sample than about the model; a wrong prediction of such a
    label is not forgiven, because the class it was taken from loses recall.

    Args:
        gold: the reference label of each row.
        predicted: what the model said for each row; None when it said nothing that could be read.
        labels: the declared label names; their order is the order of every table.

    Returns:
        num_rows, accuracy, macro_f1, weighted_f1, invalid_label_rate,
        per_class: label -> precision, recall, f1, support (gold rows), predicted (rows),
        confusion_matrix: one row for each gold label in `labels` order; columns are `labels`, then invalid.

    Raises:
        DataError: there is no row, or a gold label is not declared.
        ValueError: `gold` and `predicted` differ in length.
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold labels and {len(predicted)} predictions: give one prediction for each row")
    if not gold:
        raise DataError("labels cannot be measured on no rows; check that the split holds rows")
    place = {normalise_label(label): index for index, label in enumerate(labels)}
    invalid = len(labels)
    gold_places = [_gold_place(label, row, place, labels) for row, label in enumerate(gold)]
    said = [invalid if text is None else place.get(normalise_label(text), invalid) for text in predicted]
    occurring = sorted(set(gold_places))
    columns = list(range(len(labels) + 1))
    precision, recall, f1, support = precision_recall_fscore_support(
        gold_places, said, labels=columns[:-1], average=None, zero_division=0.0
    )
    return {
        "num_rows": len(gold),
        "accuracy": float(accuracy_score(gold_places, said)),
        "macro_f1": float(f1_score(gold_places, said, labels=occurring, average="macro", zero_division=0.0)),
        "weighted_f1": float(f1_score(gold_places, said, labels=occurring, average="weighted", zero_division=0.0)),
        "invalid_label_rate": said.count(invalid) / len(said),
        "per_class": {
            label: {
                "precision": float(precision[index]),
                "recall": float(recall[index]),
                "f1": float(f1[index]),
                "support": int(support[index]),
                "predicted": said.count(index),
            }
            for index, label in enumerate(labels)
        },
        "confusion_matrix": confusion_matrix(gold_places, said, labels=columns)[:-1].tolist(),
    }


def _gold_place(label: str, row: int, place: dict[str, int], labels: Sequence[str]) -> int:
    found = place.get(normalise_label(label))
    if found is None:
        raise DataError(
            f"gold label {label!r} of row {row} is not declared; allowed: {', '.join(labels)}; "
            "add it to data.labels.names or mend the row"
        )
    return found
