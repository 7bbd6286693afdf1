"""How many rows of a test a model had seen: they are held against the record of its trained rows."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from r2d.data.examples import split_of
from r2d.errors import DataError
from r2d.modeling.overlap import Overlap
from r2d.modeling.trained_rows import RowFlags, TrainedRows, read_trained_rows

logger = logging.getLogger(__name__)


class Seen(NamedTuple):
    """Whether a model had seen each row of a table: [rows], and the counts."""

    mask: NDArray[np.bool_]
    overlap: Overlap


def seen_by(folder: Path, test: pa.Table, *others: pa.Table) -> Seen | None:
    """Which test rows the model in a folder had seen; None where it keeps no record, so that this is unknown.

    Args:
        others: the same rows with their texts in another form, such as redacted.

    Raises:
        ModelError: the record is damaged.
    """
    trained = read_trained_rows(folder)
    return None if trained is None else seen_in(trained, test, *others)


def seen_in(trained: TrainedRows, test: pa.Table, *others: pa.Table) -> Seen:
    """Which test rows are in a record; `others` as in `seen_by`."""
    same = RowFlags(*np.any([trained.holds(table) for table in (test, *others)], axis=0))
    mask = np.asarray(same.texts | same.groups, np.bool_)
    overlap = Overlap(
        num_rows=len(test),
        num_seen=int(mask.sum()),
        num_same_row=int(same.rows.sum()),
        num_same_text=int(same.texts.sum()),
        num_same_group=int(same.groups.sum()),
        num_with_group=len(test) - test["group"].null_count,
        is_complete=trained.is_complete,
        finds_near_copies=trained.finds_near_copies,
    )
    return Seen(mask, overlap)


def require_unseen_test(examples: pa.Table, start: Path | None, *, name: str, refuse: bool) -> None:
    """Hold the test rows of a run against what its model is going to be trained on, before anything is trained.

    Args:
        examples: of all splits.
        start: folder of the model that training starts from, where `model.name` stands for a registered version.
        name: `model.name`.
        refuse: whether `evaluation.seen_rows` is `refuse`.

    Raises:
        DataError: rows will have been seen, and they are refused.
    """
    folder, test = start or Path(name), split_of(examples, "test")
    if not len(test):
        return
    earlier = seen_by(folder, test) if folder.is_dir() else None
    whole = seen_in(TrainedRows.of(examples, folder if folder.is_dir() else None, seed=""), test)
    if not whole.overlap.num_seen:
        return
    sentence = whole.overlap.sentence("the model of this run", had="will have")
    if earlier is not None and earlier.overlap.num_seen:
        sentence += f"; {earlier.overlap.num_seen:,} of them by model.name {name!r}, which training starts from"
    if refuse:
        raise DataError(f"{sentence}; {whole.overlap.advice()}")
    logger.warning(sentence)
