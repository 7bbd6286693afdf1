"""Metrics are read back from stored files, also from those of other versions."""

from __future__ import annotations

from typing import Any

import pytest

from r2d.errors import DataError
from r2d.evaluation.metrics import Metrics
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.labels import Comparator
from r2d.evaluation.sections.rationales import AlignmentMetrics

LABEL: dict[str, Any] = {
    "num_rows": 4, "accuracy": 0.5, "macro_f1": None, "weighted_f1": None, "invalid_label_rate": 0.25,
    "per_class": {}, "confusion_matrix": [],
}  # fmt: skip
FEW: dict[str, Any] = {"num_rows": 4, "decoding": "free", "method": "r2d", "label": LABEL}


def test_a_section_that_was_not_measured_is_empty_and_an_unknown_key_is_left_out() -> None:
    metrics = Metrics.from_json(FEW | {"of_a_later_version": 1})
    assert (metrics.intervals, metrics.rationale, metrics.differences) == (None, None, {})
    assert metrics.alignment == AlignmentMetrics()
    assert "of_a_later_version" not in metrics.to_json()


def test_baselines_are_read_by_what_they_are_and_written_by_their_stored_name() -> None:
    values = FEW | {"baselines": {"an option at random": LABEL}}
    metrics = Metrics.from_json(values)
    assert metrics.baselines[Comparator.RANDOM_OPTION].accuracy == 0.5
    assert metrics.to_json()["baselines"] == values["baselines"]


def test_a_model_is_compared_by_macro_f1_where_there_are_classes_and_else_by_accuracy() -> None:
    without, with_classes = (Metrics.from_json(FEW | {"label": LABEL | {"macro_f1": f1}}).label for f1 in (None, 0.3))
    assert (without.headline, without.headline_value) == ("accuracy", 0.5)
    assert (with_classes.headline, with_classes.headline_value) == ("macro_f1", 0.3)


def test_a_damaged_file_is_refused_with_the_place() -> None:
    with pytest.raises(DataError, match=r"metrics\.json cannot be read: label\.accuracy: "):
        Metrics.from_json(FEW | {"label": LABEL | {"accuracy": "high"}})


@pytest.mark.parametrize(("low", "high", "excludes"), [(0.1, 0.2, True), (-0.1, 0.2, False), (0.0, 0.2, False)])
def test_an_interval_excludes_zero_or_not(low: float, high: float, excludes: bool) -> None:
    assert IntervalEstimate(0.1, low, high, "bca").excludes_zero is excludes
    assert not IntervalEstimate(0.1).excludes_zero
