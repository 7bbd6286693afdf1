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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.alignment import mask_labels
from r2d.evaluation.baselines import LinearModel
from r2d.evaluation.bootstrap import PairedGroups, bootstrap_differences, bootstrap_intervals, group_sums
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.estimates import Intervals
from r2d.evaluation.sections.rationales import OutsideReaderMetrics
from r2d.label_scores import FloatArray, label_indices

MIN_TRAINING_RATIONALES = 50
"""Fewer teach nobody to read."""

REGULARISATION = 10.0
"""C of the reader, not tuned: on 6,800 invented calls a search found the same accuracy, in twice the time."""

_WORD = re.compile(r"\w+")


Flags = NDArray[np.bool_]


class Read(NamedTuple):
    """What the reader makes of a model's rationales, and of the champion's beside them."""

    model: OutsideReaderMetrics
    champion: OutsideReaderMetrics | None
    difference: Intervals
    """This model minus the champion, paired; empty without a champion."""


def outside_reader(
    train: pa.Table,
    predictions: Predictions,
    notes: Sequence[str],
    from_notes: Predictions,
    config: IntervalsConfig,
    champion: Predictions | None = None,
) -> Read | None:
    """Let the reader read the model's rationales and the reference ones of the same rows, and the champion's.

    An empty rationale leads to no label. What the reader foresees is the model's label; it learnt from gold labels.

    Args:
        train: the training rows, table of `EXAMPLES_SCHEMA`.
        notes: of the rows of the predictions.
        from_notes: the same rows as the linear baseline decides them from their notes alone.
        champion: the same rows as the champion decided and explained them, where it explains.

    Returns:
        None where rows have options of their own, or fewer than `MIN_TRAINING_RATIONALES` training rows a rationale.
    """
    if not predictions.labels:
        return None
    reader = _Reader.taught_by(train, predictions.labels)
    if reader is None:
        return None
    has_gold = np.array([bool(text.strip()) for text in predictions.gold_rationales])
    of_all = reader.ceilings(predictions) | {"_rows": np.ones(len(predictions)), "_with_gold": has_gold}
    both = [reader.columns(rows, notes, from_notes) | of_all for rows in (predictions, champion) if rows is not None]
    names = list(both[0])
    proportions = [name for name in names if not name.startswith("_") and name != "simulatability"]
    trials = {
        name: len(np.unique(predictions.groups[has_gold])) if name.startswith("ceiling") else predictions.num_groups
        for name in proportions
    }

    def shares(sums: FloatArray) -> dict[str, FloatArray]:
        return _shares(dict(zip(names, np.moveaxis(sums, -1, 0), strict=True)))

    metrics, sums = [], []
    for columns in both:
        values = np.column_stack([column.astype(np.float64) for column in columns.values()])
        sums.append(group_sums(values, predictions.groups, predictions.num_groups))
        metrics.append(
            OutsideReaderMetrics(
                num_training_rationales=reader.num_rationales,
                num_rows=len(predictions),
                num_with_gold_rationale=int(has_gold.sum()),
                num_leaking=int(columns["consistency_masked"].sum()),
                intervals=bootstrap_intervals(sums[-1], shares, config, trials),
            )
        )
    if champion is None:
        return Read(metrics[0], None, {})
    of_groups = {name: (sums[0][:, names.index(name)], sums[1][:, names.index(name)]) for name in proportions}
    differing = {
        name: PairedGroups(int((ours > theirs).sum()), int((ours < theirs).sum()), predictions.num_groups)
        for name, (ours, theirs) in of_groups.items()
    }
    difference = bootstrap_differences(sums[0], sums[1], shares, config, differing)
    difference = {name: gap for name, gap in difference.items() if not name.startswith("ceiling")}
    return Read(metrics[0], metrics[1], difference)


@dataclass(frozen=True)
class _Reader:
    """Three linear models, learnt once for all models whose rationales are read."""

    labels: Sequence[str]
    as_written: LinearModel
    of_masked: LinearModel
    of_both: LinearModel
    """Of notes with their masked rationales."""
    num_rationales: int

    @classmethod
    def taught_by(cls, train: pa.Table, labels: Sequence[str]) -> _Reader | None:
        """None where too few training rows have a rationale."""
        texts, train_labels, rationales = (train[name].to_pylist() for name in ("text", "label", "rationale"))
        with_rationale = [row for row, rationale in enumerate(rationales) if rationale.strip()]
        if len(with_rationale) < MIN_TRAINING_RATIONALES:
            return None
        taught = [train_labels[row] for row in with_rationale]
        masked = [mask_labels(rationale, labels) for rationale in rationales]
        learn = partial(LinearModel, regularisation=REGULARISATION)
        return cls(
            labels=labels,
            as_written=learn([rationales[row] for row in with_rationale], taught),
            of_masked=learn([masked[row] for row in with_rationale], taught),
            of_both=learn(_beside(texts, masked), train_labels),
            num_rationales=len(with_rationale),
        )

    def columns(
        self, rows: Predictions, notes: Sequence[str], from_notes: Predictions
    ) -> dict[str, FloatArray | Flags]:
        """[rows] each: of what the intervals are shares, and `_leaking` and `_gain` for the adjusted one."""
        masked = self._masked(rows.rationales)
        as_written, of_masked = self._read(self.as_written, rows.rationales), self._read(self.of_masked, masked)
        foreseen = (self._read(self.of_both, _beside(notes, masked)) == rows.predicted) & rows.valid
        from_note = (from_notes.predicted == rows.predicted) & rows.valid
        gain = foreseen.astype(np.float64) - from_note
        leaks = (of_masked == rows.predicted) & rows.valid
        return {
            "consistency": (as_written == rows.predicted) & rows.valid,
            "sufficiency": as_written == rows.gold,
            "consistency_masked": leaks,
            "sufficiency_masked": of_masked == rows.gold,
            "note_alone": from_note,
            "note_and_rationale": foreseen,
            "simulatability": gain,
            "_leaking": leaks,
            "_gain": gain * leaks,
        }

    def ceilings(self, rows: Predictions) -> dict[str, Flags]:
        """[rows] each: whether the reference rationale leads to the gold label, as written and masked."""
        references = rows.gold_rationales
        return {
            "ceiling": self._read(self.as_written, references) == rows.gold,
            "ceiling_masked": self._read(self.of_masked, self._masked(references)) == rows.gold,
        }

    def _masked(self, rationales: Sequence[str]) -> list[str]:
        return [mask_labels(rationale, self.labels) for rationale in rationales]

    def _read(self, reader: LinearModel, column: Sequence[str]) -> NDArray[np.int64]:
        """[rows]: the label that each text leads to; none for an empty one."""
        read_labels = [label if text.strip() else None for label, text in zip(reader(column), column, strict=True)]
        return label_indices(read_labels, [self.labels] * len(column))


def _shares(of: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Of sums of the columns, by name."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values = {
            name: sums / of["_with_gold" if name.startswith("ceiling") else "_rows"]
            for name, sums in of.items()
            if not name.startswith("_")
        }
        others = (of["simulatability"] - of["_gain"]) / (of["_rows"] - of["_leaking"])
        values["leakage_adjusted_simulatability"] = (of["_gain"] / of["_leaking"] + others) / 2
    return values


def _beside(notes: Sequence[str], rationales: Sequence[str]) -> list[str]:
    """Each note with its rationale behind it, whose words are marked: the same word weighs otherwise in a rationale."""
    return [
        f"{note} {' '.join(f'rationale_{word}' for word in _WORD.findall(rationale))}"
        for note, rationale in zip(notes, rationales, strict=True)
    ]
