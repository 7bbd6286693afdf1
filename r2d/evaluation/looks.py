"""How often a test set was looked at, and how much too good that makes the figure of a model chosen on it.

A model is chosen by its figure on the test rows, so the best of k models that are equally good has a figure above its
true one: on average by the expected maximum of k draws of the noise between models, its standard deviation times 0.56
for two models and 2.25 for fifty. Fresh rows (`data.test.path`) begin a new count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from r2d.evaluation.metrics import Metrics
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.labels import HEADLINES, Comparator

if TYPE_CHECKING:
    import pyarrow as pa


def hash_of_test_set(test: pa.Table) -> str:
    """SHA-256 over the notes and labels of the test rows, in whatever order and under whatever ids.

    Args:
        test: table of `EXAMPLES_SCHEMA`.
    """
    rows = zip(test["text"].to_pylist(), test["label"].to_pylist(), strict=True)
    hashes = sorted(
        hashlib.sha256(f"{len(text)}\0{text}{label}".encode("utf-8", "surrogatepass")).digest() for text, label in rows
    )
    return hashlib.sha256(b"".join(hashes)).hexdigest()


def expected_maximum(num_draws: int) -> float:
    """Mean of the largest of that many independent standard normal draws."""
    import numpy as np
    from scipy.special import log_ndtr  # type: ignore[import-untyped]

    grid = np.linspace(-10.0, 10.0, 4_001)
    density = np.exp(-(grid**2) / 2 - np.log(np.sqrt(2 * np.pi)) + (num_draws - 1) * log_ndtr(grid))
    return float(num_draws * np.sum(grid * density) * (grid[1] - grid[0]))


@dataclass(frozen=True)
class TestSetUse:
    """How a test set was used until now, the present look included."""

    __test__ = False  # for pytest

    sha256: str
    num_looks: int
    """Evaluations, and decisions of the gate."""
    num_models: int
    """Different weights that were measured on it."""
    metric: str = ""
    """The headline metric."""
    standard_error: float | None = None
    """Of the noise between models on these rows; None where it is not known."""

    def measured(self, metrics: Metrics) -> TestSetUse:
        """With the noise of a run: that of the difference to the champion over the square root of 2, because all models
        share the rows; without a champion that of the metric itself, which is more."""
        headline, intervals = metrics.label.headline, metrics.intervals
        if intervals is None:
            return self
        paired = metrics.differences.get(Comparator.CHAMPION)
        estimate: IntervalEstimate = getattr(intervals if paired is None else paired, headline)
        error = estimate.standard_error(intervals.confidence)
        if error is not None and paired is not None:
            error /= 2**0.5
        return replace(self, metric=HEADLINES[headline], standard_error=error)

    @property
    def optimism(self) -> float | None:
        """By how much the figure of the best of these models is expected to be too good, were all equally good."""
        return None if self.standard_error is None else expected_maximum(self.num_models) * self.standard_error

    def sentence(self) -> str:
        """The use of the test set, and what it means for the figures of a model chosen on it."""
        if self.num_models <= 1:
            return (
                f"test set {self.sha256[:12]}: as far as this registry knows, no other model was measured on it but "
                "baselines, so none was chosen on it"
            )
        sentence = (
            f"test set {self.sha256[:12]}: {self.num_looks} looks at it (evaluations and decisions of the gate), with "
            f"{self.num_models} models"
        )
        if self.optimism is None:
            return f"{sentence}; the figures of a model chosen on it are too good"
        return (
            f"{sentence}; if all were equally good, the {self.metric} of the best would be too high by "
            f"{self.optimism:.3f} on average, so measure a model that was chosen on it on fresh rows (data.test.path)"
        )


CountLook: TypeAlias = Callable[[str, str | None], TestSetUse]
"""SHA-256 of a test set, and the model that is compared with on it -> its use, once this look is written down."""
