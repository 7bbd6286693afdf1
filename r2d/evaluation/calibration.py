"""Calibration of the label probabilities, temperature scaling, and what is kept of both and of the threshold with a
model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

import numpy as np
from pydantic import TypeAdapter

from r2d.config.evaluation import LabelSetsConfig, SelectiveConfig
from r2d.evaluation.calibration_slope import calibration_curve, error_if_calibrated
from r2d.evaluation.label_sets import LabelThresholds
from r2d.evaluation.metrics import Metrics
from r2d.evaluation.predictions import Predictions, scale_probabilities
from r2d.evaluation.sections.calibration import Binning, CalibrationMetrics, ReliabilityBin, TemperatureFit
from r2d.evaluation.sections.estimates import ChoosingSplit
from r2d.evaluation.sections.selective import ThresholdChoice
from r2d.evaluation.threshold import select_threshold
from r2d.label_scores import FloatArray, IntArray
from r2d.modeling.model_folder import SMALLEST_PROBABILITY, Calibration

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0


def calibration_metrics(
    probabilities: FloatArray, gold: IntArray, num_bins: int = 10, groups: IntArray | None = None
) -> CalibrationMetrics:
    """Compare probabilities with what came true. Confidence is that of the most probable label.

    Brier score: sum over the labels of (probability - 1 or 0) squared, mean over rows. ECE: mean gap between confidence
    and accuracy of a bin, weighted by its rows (Guo et al. 2017), with bins of equal width and of equally many rows.

    Args:
        probabilities: [rows, labels]; gold: [rows], indices of labels.
        groups: [rows], numbered; None: each row is one of its own.
    """
    from sklearn.metrics import brier_score_loss

    confidence = probabilities.max(axis=1)
    correct = (probabilities.argmax(axis=1) == gold).astype(np.float64)
    edges = np.linspace(0, 1, num_bins + 1)[1:-1]
    edges_of: dict[Binning, FloatArray] = {
        "equal_width": edges, "equal_mass": np.unique(np.quantile(confidence, edges))
    }  # fmt: skip
    reliability = {name: _bins(confidence, correct, inner) for name, inner in edges_of.items()}
    of_group = np.arange(len(gold)) if groups is None else groups
    labels = list(range(probabilities.shape[1]))
    return CalibrationMetrics(
        num_rows=len(gold),
        num_bins=num_bins,
        accuracy=float(correct.mean()),
        mean_confidence=float(confidence.mean()),
        ece_equal_width=_expected_error(reliability["equal_width"]),
        ece_equal_mass=_expected_error(reliability["equal_mass"]),
        brier=float(brier_score_loss(gold, probabilities, labels=labels, scale_by_half=False)),
        nll=_nll(probabilities, gold),
        reliability=reliability,
        ece_if_calibrated={
            name: error_if_calibrated(confidence, correct > 0, np.searchsorted(inner, confidence), of_group)
            for name, inner in edges_of.items()
        },
        curve=calibration_curve(confidence, correct > 0),
    )


def _bins(confidence: FloatArray, correct: FloatArray, inner_edges: FloatArray) -> tuple[ReliabilityBin, ...]:
    """The bins that have rows. A bin includes its upper edge; equal confidences share a bin."""
    edges = np.concatenate([[0.0], inner_edges, [1.0]])
    bins = np.searchsorted(inner_edges, confidence)
    return tuple(
        ReliabilityBin(
            lower=float(edges[index]),
            upper=float(edges[index + 1]),
            num_rows=int((bins == index).sum()),
            confidence=float(confidence[bins == index].mean()),
            accuracy=float(correct[bins == index].mean()),
        )
        for index in np.unique(bins)
    )


def _expected_error(bins: tuple[ReliabilityBin, ...]) -> float:
    gaps = (bin_.num_rows * abs(bin_.confidence - bin_.accuracy) for bin_ in bins)
    return float(sum(gaps) / sum(bin_.num_rows for bin_ in bins))


def _nll(probabilities: FloatArray, gold: IntArray) -> float:
    """Ours and not scikit-learn's `log_loss`, which lifts every probability to 2e-16 and so hides bold errors."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(gold)), gold], SMALLEST_PROBABILITY)).mean())


# --- temperature ---


def fit_temperature(probabilities: FloatArray, gold: IntArray) -> TemperatureFit:
    """The temperature with the lowest NLL on these rows (Guo et al. 2017).

    Args:
        probabilities: [rows, labels]; gold: [rows].
    """
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]

    limits = np.log([MIN_TEMPERATURE, MAX_TEMPERATURE])
    best = minimize_scalar(
        lambda log_value: _nll(scale_probabilities(probabilities, float(np.exp(log_value))), gold),
        bounds=tuple(limits),
        method="bounded",
        options={"xatol": 1e-6},
    )
    value = float(np.exp(best.x))
    return TemperatureFit(
        value=value,
        num_rows=len(gold),
        nll_before=_nll(probabilities, gold),
        nll_after=_nll(scale_probabilities(probabilities, value), gold),
        at_limit=bool(np.abs(limits - best.x).min() < 1e-3),
    )


# --- what is kept with the model ---


@dataclass(frozen=True)
class FittedCalibration:
    """Temperature and threshold, both from calibration rows, or from validation rows where there are none."""

    temperature: TemperatureFit
    threshold: ThresholdChoice
    label_thresholds: LabelThresholds | None = None
    """Of the label sets; they are not kept with the model."""

    @classmethod
    def fit(
        cls,
        rows: Predictions,
        *,
        ordered: bool,
        config: SelectiveConfig,
        split: ChoosingSplit = "validation",
        sets: LabelSetsConfig = LabelSetsConfig(),
    ) -> FittedCalibration:
        """Fit the temperature, and choose the threshold on the scaled probabilities.

        Args:
            split: of the rows.
        """
        temperature = fit_temperature(rows.probabilities, rows.gold)
        scaled = scale(rows, temperature)
        return cls(
            temperature,
            select_threshold(scaled, ordered=ordered, config=config, split=split),
            LabelThresholds.of(scaled, sets.coverage, split),
        )

    @classmethod
    def from_model(cls, stored: Calibration) -> FittedCalibration:
        """Those of an earlier evaluation, from the model folder."""
        return cls(
            TypeAdapter(TemperatureFit).validate_python(stored.facts["temperature"]),
            TypeAdapter(ThresholdChoice).validate_python(stored.facts["selective"]),
        )


def scale(predictions: Predictions, temperature: TemperatureFit) -> Predictions:
    """The predictions with scaled probabilities."""
    return replace(predictions, probabilities=scale_probabilities(predictions.probabilities, temperature.value))


def calibration_of(metrics: Metrics) -> Calibration | None:
    """The content of `calibration.json` in the model folder; None where nothing was calibrated."""
    if metrics.calibration is None or metrics.selective is None:
        return None
    selective = asdict(metrics.selective)
    return Calibration.of(
        asdict(metrics.calibration.temperature),
        {column.name: selective[column.name] for column in fields(ThresholdChoice)},
    )
