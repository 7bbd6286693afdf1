"""How good the decisions are: accuracy, macro-F1, each class, the confusion matrix and the share that is no label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from r2d.errors import DataError
from r2d.text import match_label, normalise_label

HEADLINES = {"macro_f1": "macro-F1", "accuracy": "accuracy"}
"""Figure that models are judged by -> its name."""

WHY_NO_CLASSES = "each row has options of its own, so there are no classes for a macro-F1 to average over"


def headline_of(metrics: Mapping[str, Any]) -> str:
    """Key of the figure that a model is judged by: `macro_f1`, and `accuracy` where there are no classes."""
    return "accuracy" if metrics["macro_f1"] is None else "macro_f1"


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

    _require_rows(len(gold), len(predicted))
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


def option_metrics(
    gold: Sequence[str], predicted: Sequence[str | None], options: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Measure decisions between options that each row brings itself.

    A prediction that is none of the row's own options is wrong, even where another row has such an option.

    Returns:
        The keys of `label_metrics`. A class is a label that rows share, and here there is none: macro_f1 and
        weighted_f1 are None, per_class and confusion_matrix are empty.

    Raises:
        DataError: there is no row, or a gold label is not among the options of its row.
        ValueError: the columns differ in length.
    """
    _require_rows(len(gold), len(predicted))
    for row, (label, some) in enumerate(zip(gold, options, strict=True)):
        if match_label(label, some) is None:
            raise DataError(f"the gold label of row {row} is not among its {len(some)} options; mend the row")
    said = [match_label(text, some) for text, some in zip(predicted, options, strict=True)]
    right = [
        text is not None and normalise_label(text) == normalise_label(label)
        for text, label in zip(said, gold, strict=True)
    ]
    return without_classes(right, invalid_label_rate=said.count(None) / len(said))


def without_classes(right: Sequence[float], *, invalid_label_rate: float = 0.0) -> dict[str, Any]:
    """The figures of `option_metrics` from the probability of each row of being decided rightly, 0 or 1 for a model."""
    return {
        "num_rows": len(right),
        "accuracy": sum(right) / len(right),
        "macro_f1": None,
        "weighted_f1": None,
        "invalid_label_rate": invalid_label_rate,
        "per_class": {},
        "confusion_matrix": [],
    }


def _require_rows(num_gold: int, num_predicted: int) -> None:
    if num_gold != num_predicted:
        raise ValueError(f"{num_gold} gold labels and {num_predicted} predictions: give one prediction for each row")
    if not num_gold:
        raise DataError("labels cannot be measured on no rows; check that the split holds rows")


def _gold_place(label: str, row: int, place: dict[str, int], labels: Sequence[str]) -> int:
    found = place.get(normalise_label(label))
    if found is None:
        raise DataError(
            f"gold label {label!r} of row {row} is not declared; allowed: {', '.join(labels)}; "
            "add it to data.labels.names or mend the row"
        )
    return found
