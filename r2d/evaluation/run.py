"""One evaluation run: the test rows, the labels that each can have, the configuration and the timer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import EvaluationConfig
from r2d.data.examples import split_of
from r2d.errors import DataError
from r2d.evaluation.looks import TestSetUse
from r2d.files import order_by_hash
from r2d.rationales.claims import ClaimChecker

MODEL_PARTS = ("generation", "validation_labels", "labels_of_rationales", "flipped_rationales", "stress")
"""Parts in which the model is asked. `generation`: labels, under both decodings, and rationales of the test rows; then
labels of the calibration (else validation) rows, labels from rationales alone, rationales for another label, and edited
notes."""
PARTS = (
    *MODEL_PARTS, "champion", "baselines", "label_metrics", "bertscore", "rationale_metrics", "judge", "report",
)  # fmt: skip


class Timer:
    """Wall time by part; while an inner part runs, the outer one stands still.

    `timer(part)` is a context, and a decorator of a function whose calls belong to the part.
    """

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._parts = dict.fromkeys(PARTS, 0.0)
        self._inner = 0.0

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        started, outer, self._inner = time.perf_counter(), self._inner, 0.0
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self._parts[part] += spent - self._inner
            self._inner = outer + spent

    def seconds(self) -> dict[str, float]:
        """Seconds of each part, and `total` until now."""
        return self._parts | {"total": time.perf_counter() - self._started}


@dataclass(frozen=True)
class EvaluationRun:
    """What every part of an evaluation works on."""

    examples: pa.Table
    """Every split, table of `EXAMPLES_SCHEMA`."""
    labels: LabelsConfig
    config: EvaluationConfig
    kept: NDArray[np.bool_] | None = None
    """Whether each of the `evaluated_rows` is measured; all by default."""
    timer: Timer = field(default_factory=Timer)
    test_set: TestSetUse | None = None
    """None where nobody counts the looks at it."""

    @cached_property
    def test(self) -> pa.Table:
        """The rows that are measured."""
        rows = evaluated_rows(self.examples, self.config.max_rows)
        return rows if self.kept is None else rows.filter(pa.array(self.kept))

    @cached_property
    def texts(self) -> list[str]:
        """The note of each test row."""
        texts: list[str] = self.test["text"].to_pylist()
        return texts

    @cached_property
    def checker(self) -> ClaimChecker:
        """By which claims of rationales are held against notes."""
        return ClaimChecker.of(self.config.claims.findings_file, self.config.claims.negation_file)

    @cached_property
    def options(self) -> list[Sequence[str]]:
        """The labels that each test row can have."""
        return self.test["options"].to_pylist() if self.labels.per_row else [self.labels.names] * len(self.test)


def evaluated_rows(examples: pa.Table, max_rows: int | None) -> pa.Table:
    """The test rows, or at most that many of them, the first by hash of the id; in their order.

    Raises:
        DataError: there are none.
    """
    test = split_of(examples, "test")
    if not len(test):
        raise DataError("the test split is empty: set data.split.test_fraction, test_ids or a split column")
    if max_rows is None or max_rows >= len(test):
        return test
    return test.take(sorted(order_by_hash(test["id"].to_pylist())[:max_rows]))
