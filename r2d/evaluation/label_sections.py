"""The sections of `metrics` about declared labels: intervals, differences, safety, calibration, threshold, slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import EvaluationConfig, IntervalsConfig
from r2d.evaluation.calibration import Temperature, calibration_metrics, fit_temperature
from r2d.evaluation.decided_rows import BoolArray, DecidedRows, FloatArray, IntArray, decided_rows
from r2d.evaluation.label_figures import LabelFigures, label_differences, label_intervals
from r2d.evaluation.ranking import ranking_metrics
from r2d.evaluation.safety import safety_metrics
from r2d.evaluation.selective import chosen_on, measured_on
from r2d.evaluation.slices import partitions, slice_differences, slice_metrics
from r2d.evaluation.statistics import intervals
from r2d.modeling.calibration_file import Calibration
from r2d.modeling.predictor import Decision

CHAMPION = "champion"
"""Key of the difference to the current champion; every other one is the name of a baseline."""

NO_SECTIONS: dict[str, Any] = {
    "intervals": None,
    "differences": {},
    "ranking": None,
    "safety": None,
    "calibration": None,
    "selective": None,
    "slices": None,
    "champion_slices": None,
}
"""The same where labels stand in the rows: there are no classes to count."""


@dataclass(frozen=True)
class LabelSections:
    """What `metrics` holds, and what is kept with the model."""

    metrics: dict[str, Any]
    """Keys of `NO_SECTIONS`."""
    calibration: Calibration | None
    """Temperature and threshold; None where there was no validation row and no stored one."""


def label_sections(
    test: DecidedRows,
    validation: DecidedRows | None,
    *,
    others: Mapping[str, Sequence[str | None]],
    examples: pa.Table,
    labels: LabelsConfig,
    config: EvaluationConfig,
    stored: Calibration | None = None,
) -> LabelSections:
    """Measure decisions of which the label set is declared.

    Args:
        test: the rows as the model decided them, probabilities not scaled; `validation` likewise.
        others: name -> labels of another system for the same rows: the baselines, and the champion as `CHAMPION`.
        examples: of the test rows, in their order.
        stored: temperature and threshold of an earlier evaluation, used where there are no validation rows.
    """
    calibration, scaled, kept = _calibrated(test, validation, config, labels, stored)
    matrix = config.safety.cost_matrix(labels.names)
    costs = None if matrix is None else np.array(matrix)
    figures = LabelFigures(len(labels.names), labels.ordered, costs)
    divided, left_out = partitions(
        scaled,
        attributes=[dict(some) for some in examples["attributes"].to_pylist()],
        rationale_sources=examples["rationale_source"].to_pylist(),
        num_words=[len(text.split()) for text in examples["text"].to_pylist()],
        config=config.slices,
    )
    decided = {name: scaled.decided_by(predicted) for name, predicted in others.items()}
    champion = decided.get(CHAMPION)
    return LabelSections(
        {
            "intervals": label_intervals(scaled, figures, config.intervals),
            "differences": {
                name: label_differences(scaled, other, figures, config.intervals) for name, other in decided.items()
            },
            "ranking": ranking_metrics(scaled, ordered=labels.ordered),
            "safety": safety_metrics(scaled, costs=costs, num_worst_cases=config.safety.num_worst_cases)
            if labels.ordered
            else None,
            "calibration": calibration,
            "selective": None if kept is None else measured_on(scaled, kept.facts["selective"], config.intervals),
            "slices": slice_metrics(scaled, divided, figures, config.slices, config.intervals) | {"left_out": left_out},
            "champion_slices": None
            if champion is None
            else slice_differences(scaled, champion, divided, figures, config.slices, config.intervals),
        },
        kept,
    )


def option_intervals(right: BoolArray, invalid: BoolArray, groups: IntArray, config: IntervalsConfig) -> dict[str, Any]:
    """The section `intervals` where labels stand in the rows: of accuracy and of the share that is no option.

    Args:
        right, invalid: [rows]; groups: [rows], the patient or caller, numbered.

    Returns:
        The keys of `label_intervals`; what has no meaning without classes has no value.
    """
    counted = (np.ones(len(right)), right, invalid)
    sums = np.column_stack([np.bincount(groups, weights=each) for each in counted]).astype(np.float64)

    def figures(some: FloatArray) -> dict[str, FloatArray]:
        nothing = np.full(some.shape[:-1], np.nan)
        return {
            "accuracy": some[..., 1] / some[..., 0],
            "invalid_label_rate": some[..., 2] / some[..., 0],
            "macro_f1": nothing,
            "weighted_f1": nothing,
        }

    num_groups = len(sums)
    trials = {"accuracy": num_groups, "invalid_label_rate": num_groups}
    head = {"confidence": config.confidence, "num_resamples": config.num_resamples, "num_groups": num_groups}
    return head | intervals(sums, figures, config, trials) | {"per_class": {}}


def rows_of_decisions(examples: pa.Table, decisions: Sequence[Decision], labels: LabelsConfig) -> DecidedRows:
    """Rows of a split as the model decided them."""
    return decided_rows(
        ids=examples["id"].to_pylist(),
        gold=examples["label"].to_pylist(),
        predicted=[decision.label if decision.valid else None for decision in decisions],
        probabilities=[[decision.label_probabilities[name] for name in labels.names] for decision in decisions],
        labels=labels.names,
        groups=examples["group"].to_pylist(),
    )


def _calibrated(
    test: DecidedRows,
    validation: DecidedRows | None,
    config: EvaluationConfig,
    labels: LabelsConfig,
    stored: Calibration | None,
) -> tuple[dict[str, Any] | None, DecidedRows, Calibration | None]:
    """The section `calibration`, the test rows with scaled probabilities, and what is kept with the model."""
    if validation is not None:
        temperature = fit_temperature(validation.probabilities, validation.gold)
        scaled = replace(validation, probabilities=temperature.apply(validation.probabilities))
        chosen = chosen_on(scaled, ordered=labels.ordered, config=config.selective)
        kept = Calibration.of(temperature.as_facts(), chosen)
    elif stored is not None:
        kept, temperature = stored, Temperature(**stored.facts["temperature"])
    else:
        return None, test, None
    after = replace(test, probabilities=temperature.apply(test.probabilities))
    num_bins = config.calibration.num_bins
    section = {
        "temperature": temperature.as_facts(),
        "before": calibration_metrics(test.probabilities, test.gold, num_bins),
        "after": calibration_metrics(after.probabilities, test.gold, num_bins),
    }
    return section, after, kept
