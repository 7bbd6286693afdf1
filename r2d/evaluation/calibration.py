"""Whether the label probabilities can be believed: calibration error, Brier score, NLL, and temperature scaling.

All of it reads the probabilities alone. The confidence of a row is the probability of its most probable label, which
with constrained decoding is the label shown.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from r2d.evaluation.decided_rows import FloatArray, IntArray
from r2d.modeling.calibration_file import SMALLEST_PROBABILITY

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0


def calibration_metrics(probabilities: FloatArray, gold: IntArray, num_bins: int = 10) -> dict[str, Any]:
    """Hold probabilities against what came true.

    Brier score: sum over the labels of (probability - 1 or 0) squared, mean over rows; 0 is perfect, 2 the worst. NLL:
    mean of minus the natural logarithm of the gold label's probability. ECE: mean gap between confidence and accuracy
    of a bin, weighted by its rows (Guo et al. 2017), once with bins of equal width and once with bins of about equally
    many rows, which do not hide most rows in one bin.

    Args:
        probabilities: [rows, labels]; gold: [rows], places of labels.

    Returns:
        num_rows, num_bins, accuracy and mean_confidence (of the most probable label), ece_equal_width, ece_equal_mass,
        brier, nll, reliability: `equal_width` and `equal_mass` -> one entry for each bin that has rows: from, to
        (confidence), num_rows, confidence, accuracy.
    """
    from sklearn.metrics import brier_score_loss

    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == gold).astype(np.float64)
    inner = np.linspace(0, 1, num_bins + 1)[1:-1]
    tables = {
        "equal_width": _table(confidence, right, inner),
        "equal_mass": _table(confidence, right, np.unique(np.quantile(confidence, inner))),
    }
    places = list(range(probabilities.shape[1]))
    return {
        "num_rows": len(gold),
        "num_bins": num_bins,
        "accuracy": float(right.mean()),
        "mean_confidence": float(confidence.mean()),
        **{f"ece_{name}": _expected_error(table) for name, table in tables.items()},
        "brier": float(brier_score_loss(gold, probabilities, labels=places, scale_by_half=False)),
        "nll": _nll(probabilities, gold),
        "reliability": tables,
    }


@dataclass(frozen=True)
class Temperature:
    """One number that makes all probabilities bolder (below 1) or more cautious (above 1); no decision changes."""

    value: float
    num_rows: int
    """Validation rows on which it was fitted."""
    nll_before: float
    nll_after: float
    at_limit: bool
    """The best value lies at a limit of what is searched: the validation rows are all right, or say nothing."""

    def apply(self, probabilities: FloatArray) -> FloatArray:
        """[rows, labels]: p ** (1 / value), normalised again."""
        return _scaled(probabilities, self.value)

    def as_facts(self) -> dict[str, Any]:
        """Its fields, for a JSON file."""
        return asdict(self)


def fit_temperature(probabilities: FloatArray, gold: IntArray) -> Temperature:
    """The temperature with the lowest NLL on validation rows (Guo et al. 2017). Never fitted on test rows.

    The probabilities may be those of the model's sequence scores normalised over the labels: a factor that all labels
    of a row share has no influence.

    Args:
        probabilities: [rows, labels]; gold: [rows].

    Raises:
        ValueError: there is no row.
    """
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]

    if not len(gold):
        raise ValueError("a temperature cannot be fitted on no rows; give the rows of the validation split")
    limits = np.log([MIN_TEMPERATURE, MAX_TEMPERATURE])
    found = minimize_scalar(
        lambda log_value: _nll(_scaled(probabilities, float(np.exp(log_value))), gold),
        bounds=tuple(limits),
        method="bounded",
        options={"xatol": 1e-6},
    )
    value = float(np.exp(found.x))
    return Temperature(
        value=value,
        num_rows=len(gold),
        nll_before=_nll(probabilities, gold),
        nll_after=_nll(_scaled(probabilities, value), gold),
        at_limit=bool(np.abs(limits - found.x).min() < 1e-3),
    )


def _scaled(probabilities: FloatArray, temperature: float) -> FloatArray:
    from scipy.special import softmax  # type: ignore[import-untyped]

    scaled: FloatArray = softmax(np.log(np.maximum(probabilities, SMALLEST_PROBABILITY)) / temperature, axis=1)
    return scaled


def _nll(probabilities: FloatArray, gold: IntArray) -> float:
    """Ours and not scikit-learn's `log_loss`, which lifts every probability to 2e-16 and so hides bold errors."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(gold)), gold], SMALLEST_PROBABILITY)).mean())


def _table(confidence: FloatArray, right: FloatArray, inner_edges: FloatArray) -> list[dict[str, Any]]:
    """One entry for each bin with rows; a bin holds its upper edge, equal confidences share a bin."""
    edges = np.concatenate([[0.0], inner_edges, [1.0]])
    bins = np.searchsorted(inner_edges, confidence)
    return [
        {
            "from": float(edges[bin_]),
            "to": float(edges[bin_ + 1]),
            "num_rows": int((bins == bin_).sum()),
            "confidence": float(confidence[bins == bin_].mean()),
            "accuracy": float(right[bins == bin_].mean()),
        }
        for bin_ in np.unique(bins)
    ]


def _expected_error(table: list[dict[str, Any]]) -> float:
    num_rows = sum(entry["num_rows"] for entry in table)
    gaps = (entry["num_rows"] * abs(entry["confidence"] - entry["accuracy"]) for entry in table)
    return float(sum(gaps) / num_rows)
