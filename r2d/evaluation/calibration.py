"""Calibration of the label probabilities, temperature scaling, and the confidence from which on a label is shown.

Risk is the share of harmful predictions (under-triage, or any error) among the labels shown, coverage the share of all
rows whose label is shown. An invalid prediction has confidence 0 and is never shown.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

import numpy as np
from pydantic import TypeAdapter

from r2d.config.evaluation import IntervalsConfig, Risk, SelectiveConfig
from r2d.errors import ConfigError
from r2d.evaluation.bootstrap import bootstrap_intervals, rows_share_groups, upper_bound
from r2d.evaluation.metrics import (
    CalibrationMetrics,
    ChoosingSplit,
    CurvePoint,
    Metrics,
    ReliabilityBin,
    RiskCoverageCurve,
    SelectiveMetrics,
    TemperatureFit,
    ThresholdChoice,
    ThresholdOnTest,
    ThresholdOnValidation,
)
from r2d.evaluation.predictions import Predictions
from r2d.label_scores import BoolArray, FloatArray, IntArray
from r2d.modeling.model_folder import SMALLEST_PROBABILITY, Calibration

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
NUM_COVERAGES = 20
"""Coverages that are tried for a threshold: 5 %, 10 %, ... 100 %."""
MAX_CURVE_POINTS = 100


def calibration_metrics(probabilities: FloatArray, gold: IntArray, num_bins: int = 10) -> CalibrationMetrics:
    """Compare probabilities with what came true. Confidence is that of the most probable label.

    Brier score: sum over the labels of (probability - 1 or 0) squared, mean over rows. ECE: mean gap between confidence
    and accuracy of a bin, weighted by its rows (Guo et al. 2017), with bins of equal width and of equally many rows.

    Args:
        probabilities: [rows, labels]; gold: [rows], indices of labels.
    """
    from sklearn.metrics import brier_score_loss

    confidence = probabilities.max(axis=1)
    correct = (probabilities.argmax(axis=1) == gold).astype(np.float64)
    edges = np.linspace(0, 1, num_bins + 1)[1:-1]
    equal_width = _bins(confidence, correct, edges)
    equal_mass = _bins(confidence, correct, np.unique(np.quantile(confidence, edges)))
    labels = list(range(probabilities.shape[1]))
    return CalibrationMetrics(
        num_rows=len(gold),
        num_bins=num_bins,
        accuracy=float(correct.mean()),
        mean_confidence=float(confidence.mean()),
        ece_equal_width=_expected_error(equal_width),
        ece_equal_mass=_expected_error(equal_mass),
        brier=float(brier_score_loss(gold, probabilities, labels=labels, scale_by_half=False)),
        nll=_nll(probabilities, gold),
        reliability={"equal_width": equal_width, "equal_mass": equal_mass},
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


def scale_probabilities(probabilities: FloatArray, temperature: float) -> FloatArray:
    """[rows, labels]: p ** (1 / temperature), normalised again: bolder below 1, more cautious above, same order."""
    from scipy.special import softmax  # type: ignore[import-untyped]

    scaled: FloatArray = softmax(np.log(np.maximum(probabilities, SMALLEST_PROBABILITY)) / temperature, axis=1)
    return scaled


# --- selective prediction ---


def select_threshold(validation: Predictions, *, ordered: bool, config: SelectiveConfig) -> ThresholdChoice:
    """The threshold that shows most labels of the validation rows while the risk, or its upper bound, stays at or below
    `max_risk`. The bound is Clopper-Pearson's, with a confidence that holds for all tried coverages (Bonferroni).

    Raises:
        ConfigError: under-triage is asked for, but the labels are not ordered.
    """
    risk: Risk = config.risk or ("under_triage" if ordered else "error")
    if risk == "under_triage" and not ordered:
        raise ConfigError(
            "evaluation.selective.risk 'under_triage' needs data.labels.ordered: true; declare the order, most urgent "
            "first, or use 'error'"
        )
    confidence, is_error = validation.confidence, is_risky_error(validation, risk)
    falling = np.sort(confidence)[::-1]
    ranks = np.ceil(np.arange(NUM_COVERAGES, 0, -1) / NUM_COVERAGES * len(falling)).astype(int) - 1
    # Above 0, rising: about 100 %, 95 %, ... 5 % of the rows, chosen without looking at the errors.
    tried = np.unique(np.concatenate([falling[falling > 0][-1:], falling[ranks[falling[ranks] > 0]]]))
    accepted = confidence >= tried[:, None]
    num_accepted, num_errors = accepted.sum(axis=1), (accepted & is_error).sum(axis=1)
    risks, bounds = num_errors / num_accepted, None
    if config.bound_confidence is not None:
        each = 1 - (1 - config.bound_confidence) / max(1, len(tried))
        bounds = np.array([upper_bound(*counts, each) for counts in zip(num_errors, num_accepted, strict=True)])
    limited = risks if bounds is None else bounds
    threshold, reason = None, None
    on_validation = ThresholdOnValidation(
        num_rows=len(validation), rows_share_groups=rows_share_groups(validation.groups)
    )
    if (limited <= config.max_risk).any():
        first = int(np.argmax(limited <= config.max_risk))
        threshold = float(tried[first])
        on_validation = replace(
            on_validation,
            coverage=int(num_accepted[first]) / len(confidence),
            risk=float(risks[first]),
            upper_bound=None if bounds is None else float(bounds[first]),
        )
    elif len(tried):
        reason = (
            f"no threshold reaches it: the lowest {'share' if bounds is None else 'upper bound'} among {len(tried)} "
            f"coverages is {limited.min():.4f}, max_risk is {config.max_risk:g}; more validation rows make a bound "
            "tighter"
        )
    else:
        reason = "no validation row has a declared label"
    return ThresholdChoice(
        risk=risk,
        max_risk=config.max_risk,
        bound_confidence=config.bound_confidence,
        threshold=threshold,
        reason=reason,
        validation=on_validation,
    )


def evaluate_threshold(test: Predictions, choice: ThresholdChoice, interval: IntervalsConfig) -> SelectiveMetrics:
    """What a threshold does to rows that did not choose it."""
    on_test = None
    is_error = is_risky_error(test, choice.risk)
    if choice.threshold is not None:
        accepted = test.confidence >= choice.threshold
        columns = (np.ones(len(test)), accepted, accepted & is_error)
        sums = np.column_stack([np.bincount(test.groups, weights=column) for column in columns]).astype(np.float64)

        def statistics(sums: FloatArray) -> dict[str, FloatArray]:
            with np.errstate(invalid="ignore"):
                return {"coverage": sums[..., 1] / sums[..., 0], "risk": sums[..., 2] / sums[..., 1]}

        trials = {"coverage": test.num_groups, "risk": int((sums[:, 1] > 0).sum())}
        estimates = bootstrap_intervals(sums, statistics, interval, trials)
        value = estimates["risk"].value
        on_test = ThresholdOnTest(
            num_rows=len(test), **estimates, held=None if value is None else value <= choice.max_risk
        )
    return SelectiveMetrics(**vars(choice), test=on_test, curve=risk_coverage_curve(test.confidence, is_error))


def is_risky_error(predictions: Predictions, risk: Risk) -> BoolArray:
    """[rows]: whether the prediction is of the kind that must stay rare."""
    return predictions.levels > 0 if risk == "under_triage" else ~predictions.correct


def risk_coverage_curve(confidence: FloatArray, is_error: BoolArray) -> RiskCoverageCurve:
    """The risk at every coverage, and its mean, the area under the curve (AURC; Geifman and El-Yaniv 2017). Rows of
    equal confidence are shown together. At most `MAX_CURVE_POINTS` points are kept."""
    values, block, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    num_accepted = np.cumsum(counts)
    risk = np.cumsum(np.bincount(block, weights=is_error)) / num_accepted
    num_rows, num_errors = len(confidence), int(is_error.sum())
    ranks = np.arange(1, num_rows + 1)
    drawn = np.unique(np.linspace(0, len(values) - 1, MAX_CURVE_POINTS).astype(int))
    return RiskCoverageCurve(
        num_rows=num_rows,
        risk=num_errors / num_rows,
        aurc=float(risk @ counts / num_rows),
        aurc_of_perfect_order=float((np.maximum(0, ranks - (num_rows - num_errors)) / ranks).mean()),
        points=tuple(
            CurvePoint(threshold=float(-values[i]), coverage=float(num_accepted[i] / num_rows), risk=float(risk[i]))
            for i in drawn
        ),
    )


# --- what is kept with the model ---


@dataclass(frozen=True)
class FittedCalibration:
    """Temperature and threshold, both from calibration rows, or from validation rows where there are none."""

    temperature: TemperatureFit
    threshold: ThresholdChoice

    @classmethod
    def fit(
        cls, rows: Predictions, *, ordered: bool, config: SelectiveConfig, split: ChoosingSplit = "validation"
    ) -> FittedCalibration:
        """Fit the temperature, and choose the threshold on the scaled probabilities.

        Args:
            split: of the rows.
        """
        temperature = fit_temperature(rows.probabilities, rows.gold)
        threshold = select_threshold(scale(rows, temperature), ordered=ordered, config=config)
        return cls(temperature, replace(threshold, validation=replace(threshold.validation, split=split)))

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
