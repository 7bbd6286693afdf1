"""An outside reader of rationales: TF-IDF and logistic regression, learnt from the rationales of the training rows.

The alignment metrics of the papers let the model itself read rationales through a prompt that was trained on notes.
What they measure is how well the model reads; a low one does not say that the rationale carries no label. This reader
is not the model, was taught to read rationales, and its own ceiling is known: how often it comes from the reference
rationales of the test rows to their gold label.

**Simulatability** (Doshi-Velez & Kim 2017; Hase et al. 2020, arXiv 2010.04119): how much better the reader foresees
the model's label with the rationale beside the note than from the note alone. Every label is masked in the rationales
(`[LABEL]`), so that naming it earns nothing. The leakage-adjusted figure is the mean of the gain among rows whose
masked rationale alone gives the label away to the reader, and among those whose does not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.alignment import mask_labels
from r2d.evaluation.baselines import LinearModel
from r2d.evaluation.bootstrap import bootstrap_intervals, group_sums
from r2d.evaluation.metrics import OutsideReaderMetrics
from r2d.evaluation.predictions import Predictions
from r2d.label_scores import FloatArray, label_indices

MIN_TRAINING_RATIONALES = 50
"""Fewer teach nobody to read."""

REGULARISATION = 10.0
"""C of the reader, not tuned: on 6,800 invented calls a search found the same accuracy, in twice the time."""

_WORD = re.compile(r"\w+")


def outside_reader(
    train: pa.Table, predictions: Predictions, notes: Sequence[str], from_notes: Predictions, config: IntervalsConfig
) -> OutsideReaderMetrics | None:
    """Let the reader read the model's rationales and the reference ones of the same rows.

    An empty rationale leads to no label. What the reader foresees is the model's label; it learnt from gold labels.

    Args:
        train: the training rows, table of `EXAMPLES_SCHEMA`.
        notes: of the rows of the predictions.
        from_notes: the same rows as the linear baseline decides them from their notes alone.

    Returns:
        None where rows have options of their own, or fewer than `MIN_TRAINING_RATIONALES` training rows a rationale.
    """
    labels = predictions.labels
    texts, train_labels, rationales = (train[name].to_pylist() for name in ("text", "label", "rationale"))
    with_rationale = [row for row, rationale in enumerate(rationales) if rationale.strip()]
    if not labels or len(with_rationale) < MIN_TRAINING_RATIONALES:
        return None
    taught = [train_labels[row] for row in with_rationale]
    masked = [mask_labels(rationale, labels) for rationale in rationales]
    own_masked, gold_masked = (
        [mask_labels(rationale, labels) for rationale in column]
        for column in (predictions.rationales, predictions.gold_rationales)
    )
    learn = partial(LinearModel, regularisation=REGULARISATION)
    as_written = learn([rationales[row] for row in with_rationale], taught)
    of_masked = learn([masked[row] for row in with_rationale], taught)
    of_both = learn(_beside(texts, masked), train_labels)

    def read(reader: LinearModel, column: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        options = [labels] * len(column)
        read_labels = [label if text.strip() else None for label, text in zip(reader(column), column, strict=True)]
        return label_indices(read_labels, options)

    own, gold = predictions.predicted, predictions.gold
    has_gold = np.array([bool(text.strip()) for text in predictions.gold_rationales])
    columns: dict[str, FloatArray] = {}
    for suffix, reader, written, reference in (
        ("", as_written, predictions.rationales, predictions.gold_rationales),
        ("_masked", of_masked, own_masked, gold_masked),
    ):
        from_own, from_gold = read(reader, written), read(reader, reference)
        columns[f"consistency{suffix}"] = (from_own == own) & predictions.valid
        columns[f"sufficiency{suffix}"] = from_own == gold
        columns[f"ceiling{suffix}"] = (from_gold == gold) & has_gold
    leaks = columns["consistency_masked"]
    foreseen = (read(of_both, _beside(notes, own_masked)) == own) & predictions.valid
    foreseen_from_note = (from_notes.predicted == own) & predictions.valid
    gain = foreseen.astype(np.float64) - foreseen_from_note
    columns |= {"note_alone": foreseen_from_note, "note_and_rationale": foreseen, "simulatability": gain}
    rows = np.ones(len(predictions))
    columns |= {"_rows": rows, "_with_gold": has_gold, "_leaking": leaks, "_gain": gain * leaks}
    names = list(columns)
    values = np.column_stack([columns[name].astype(np.float64) for name in names])
    sums = group_sums(values, predictions.groups, predictions.num_groups)

    def shares(sums: FloatArray) -> dict[str, FloatArray]:
        of = {name: sums[..., at] for at, name in enumerate(names)}
        with np.errstate(invalid="ignore", divide="ignore"):
            values = {
                name: of[name] / of["_with_gold" if name.startswith("ceiling") else "_rows"]
                for name in names
                if not name.startswith("_")
            }
            others = (of["simulatability"] - of["_gain"]) / (of["_rows"] - of["_leaking"])
            values["leakage_adjusted_simulatability"] = (of["_gain"] / of["_leaking"] + others) / 2
        return values

    proportions = [name for name in names if not name.startswith("_") and name != "simulatability"]
    trials = {
        name: len(np.unique(predictions.groups[has_gold])) if name.startswith("ceiling") else predictions.num_groups
        for name in proportions
    }
    return OutsideReaderMetrics(
        num_training_rationales=len(with_rationale),
        num_rows=len(predictions),
        num_with_gold_rationale=int(has_gold.sum()),
        num_leaking=int(leaks.sum()),
        intervals=bootstrap_intervals(sums, shares, config, trials),
    )


def _beside(notes: Sequence[str], rationales: Sequence[str]) -> list[str]:
    """Each note with its rationale behind it, whose words are marked: the same word weighs otherwise in a rationale."""
    return [
        f"{note} {' '.join(f'rationale_{word}' for word in _WORD.findall(rationale))}"
        for note, rationale in zip(notes, rationales, strict=True)
    ]
