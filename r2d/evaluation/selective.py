"""Selective prediction: show a label only where the model is confident enough, and leave the other notes to people.

Risk is the share of harmful decisions (under-triage, or any error) among the labels that are shown; coverage the share
of all rows whose label is shown. A decision that is no declared label has confidence 0 and is never shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from r2d.config.evaluation import IntervalsConfig, Risk, SelectiveConfig
from r2d.errors import ConfigError
from r2d.evaluation.decided_rows import BoolArray, DecidedRows, FloatArray
from r2d.evaluation.statistics import intervals, rows_share_groups, upper_bound

NUM_LEVELS = 20
"""Coverages that are tried: 5 %, 10 %, ... 100 %."""
MAX_CURVE_POINTS = 100


@dataclass(frozen=True)
class Threshold:
    """The confidence from which on labels are shown, chosen on validation rows."""

    value: float | None
    """None where no threshold keeps the risk low enough: then no label should be shown without a second opinion."""
    reason: str | None
    """Why there is none."""
    coverage: float
    """Of validation rows, at the threshold; 0 without one."""
    risk: float | None
    upper_bound: float | None
    """Of the risk, one-sided; None where `bound_confidence` is null."""


def selective_metrics(
    validation: DecidedRows, test: DecidedRows, *, ordered: bool, config: SelectiveConfig, interval: IntervalsConfig
) -> dict[str, Any]:
    """Choose the threshold on validation rows, then measure it on test rows, which had no say in it.

    Returns:
        `chosen_on` the validation rows, and what `measured_on` says of the test rows.

    Raises:
        ConfigError: under-triage is asked for, but the labels are not ordered.
    """
    return measured_on(test, chosen_on(validation, ordered=ordered, config=config), interval)


def chosen_on(validation: DecidedRows, *, ordered: bool, config: SelectiveConfig) -> dict[str, Any]:
    """The threshold and how it was found.

    Returns:
        risk (which), max_risk, bound_confidence, threshold (None: not reached), reason,
        validation: num_rows, coverage, risk, upper_bound, rows_share_groups (then the bound is too low).

    Raises:
        ConfigError: under-triage is asked for, but the labels are not ordered.
    """
    risk = config.risk or ("under_triage" if ordered else "error")
    if risk == "under_triage" and not ordered:
        raise ConfigError(
            "evaluation.selective.risk 'under_triage' needs data.labels.ordered: true; declare the order, most urgent "
            "first, or use 'error'"
        )
    threshold = choose_threshold(validation.confidence, harmed(validation, risk), config)
    return {
        "risk": risk,
        "max_risk": config.max_risk,
        "bound_confidence": config.bound_confidence,
        "threshold": threshold.value,
        "reason": threshold.reason,
        "validation": {
            "num_rows": len(validation),
            "coverage": threshold.coverage,
            "risk": threshold.risk,
            "upper_bound": threshold.upper_bound,
            "rows_share_groups": rows_share_groups(validation.groups),
        },
    }


def measured_on(test: DecidedRows, chosen: Mapping[str, Any], interval: IntervalsConfig) -> dict[str, Any]:
    """What a threshold does on rows that did not choose it.

    Args:
        chosen: as `chosen_on` returns it, now or at an earlier evaluation.

    Returns:
        `chosen`, and test: num_rows, coverage and risk (each value, low, high, method), held (risk <= max_risk), None
        without threshold; curve: `risk_coverage` of the test rows.
    """
    threshold, risk = chosen["threshold"], chosen["risk"]
    return {
        **chosen,
        "test": None if threshold is None else _at(threshold, test, risk, chosen["max_risk"], interval),
        "curve": risk_coverage(test.confidence, harmed(test, risk)),
    }


def harmed(rows: DecidedRows, risk: Risk) -> BoolArray:
    """[rows]: whether the decision is of the kind that must stay rare."""
    return rows.levels > 0 if risk == "under_triage" else ~rows.correct


def choose_threshold(confidence: FloatArray, lost: BoolArray, config: SelectiveConfig) -> Threshold:
    """The threshold that shows most labels while the risk, or its upper bound, stays at or below `max_risk`.

    The bound is Clopper-Pearson's. Several coverages are tried and the best is taken, which alone would make a bound
    too low; so each is held at a confidence that holds for all of them at once (Bonferroni).

    Args:
        confidence: [rows]; lost: [rows], whether the decision is of the kind that must stay rare.
    """
    candidates = _candidates(confidence)
    least = None
    for value in candidates:
        shown = confidence >= value
        num_shown, num_lost = int(shown.sum()), int((shown & lost).sum())
        held, bound = num_lost / num_shown, None
        if config.bound_confidence is not None:
            each = 1 - (1 - config.bound_confidence) / len(candidates)
            held = bound = upper_bound(num_lost, num_shown, each)
        if held <= config.max_risk:
            return Threshold(value, None, num_shown / len(confidence), num_lost / num_shown, bound)
        least = held if least is None else min(least, held)
    what = "share" if config.bound_confidence is None else "upper bound"
    reason = (
        "no validation row has a declared label"
        if least is None
        else f"no threshold reaches it: the lowest {what} among {len(candidates)} coverages is {least:.4f}, "
        f"max_risk is {config.max_risk:g}; more validation rows make a bound tighter"
    )
    return Threshold(None, reason, 0.0, None, None)


def risk_coverage(confidence: FloatArray, lost: BoolArray) -> dict[str, Any]:
    """The risk at every coverage, and its mean, the area under the curve (AURC; Geifman and El-Yaniv 2017).

    Rows of equal confidence are shown together, so that their order does not count.

    Returns:
        num_rows, risk (all shown), aurc (0 is best), aurc_of_perfect_order (the same errors, all last),
        points: at most `MAX_CURVE_POINTS`, threshold, coverage, risk, in order of coverage.
    """
    values, block, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    shown = np.cumsum(counts)
    risk = np.cumsum(np.bincount(block, weights=lost)) / shown
    num_rows, num_lost = len(confidence), int(lost.sum())
    ranks = np.arange(1, num_rows + 1)
    kept = np.unique(np.linspace(0, len(values) - 1, MAX_CURVE_POINTS).astype(int))
    return {
        "num_rows": num_rows,
        "risk": num_lost / num_rows,
        "aurc": float(risk @ counts / num_rows),
        "aurc_of_perfect_order": float((np.maximum(0, ranks - (num_rows - num_lost)) / ranks).mean()),
        "points": [
            {"threshold": float(-values[i]), "coverage": float(shown[i] / num_rows), "risk": float(risk[i])}
            for i in kept
        ],
    }


def _candidates(confidence: FloatArray) -> list[float]:
    """Thresholds above 0 that show about 100 %, 95 %, ... 5 % of the rows, in that order; chosen without the errors."""
    falling = np.sort(confidence)[::-1]
    ranks = np.ceil(np.arange(NUM_LEVELS, 0, -1) / NUM_LEVELS * len(falling)).astype(int) - 1
    lowest = falling[falling > 0][-1:]
    values = np.concatenate([lowest, falling[ranks]])
    return [float(value) for value in np.unique(values[values > 0])]


def _at(threshold: float, test: DecidedRows, risk: Risk, max_risk: float, interval: IntervalsConfig) -> dict[str, Any]:
    shown = test.confidence >= threshold
    counted = (np.ones(len(test)), shown, shown & harmed(test, risk))
    sums = np.column_stack([np.bincount(test.groups, weights=each, minlength=test.num_groups) for each in counted])

    def figures(some: FloatArray) -> dict[str, FloatArray]:
        with np.errstate(invalid="ignore"):
            return {"coverage": some[..., 1] / some[..., 0], "risk": some[..., 2] / some[..., 1]}

    trials = {"coverage": test.num_groups, "risk": int((sums[:, 1] > 0).sum())}
    found = intervals(sums.astype(np.float64), figures, interval, trials)
    value = found["risk"]["value"]
    return {"num_rows": len(test), **found, "held": None if value is None else value <= max_risk}
