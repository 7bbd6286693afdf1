"""Selective prediction: the confidence from which on a label is shown, and what it does to rows that did not choose it.

Risk is the share of harmful predictions (under-triage, or any error) among the labels shown, coverage the share of all
rows whose label is shown. An invalid prediction has confidence 0 and is never shown.

The threshold is chosen by fixed-sequence testing (Angelopoulos et al. 2021, Learn then Test): candidates are tested
from strict to loose, each at the full confidence, until one fails; the last that passed is chosen. No correction for
their number is due, because one whose risk is too high is only chosen if the first such candidate passes by chance.

With `evaluation.selective.per` each predicted label, or each value of an attribute, has a sequence of its own, at a
confidence that is corrected for their number: the chance that the limit is broken for any of them is bounded.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import NamedTuple

import numpy as np

from r2d.config.evaluation import LABEL, IntervalsConfig, Risk, SelectiveConfig
from r2d.errors import ConfigError
from r2d.evaluation.bootstrap import DRAWS_AT_A_TIME, bootstrap_intervals, rows_share_groups
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.estimates import ChoosingSplit, IntervalEstimate
from r2d.evaluation.sections.selective import (
    CurvePoint,
    PartThreshold,
    RiskCoverageCurve,
    SelectiveMetrics,
    ThresholdChoice,
    ThresholdOnTest,
    ThresholdOnValidation,
)
from r2d.label_scores import BoolArray, FloatArray, IntArray
from r2d.modeling.model_folder import Calibration

COVERAGES = np.arange(1, 21) / 20
"""Coverages that are tried for a threshold: 5 %, 10 %, ... 100 %."""
FIRST_COVERAGE = 0.2
"""The first that is tested by its bound. A sequence that begins with fewer rows ends more often at its first candidate,
by one error; one that begins with more finds nothing where few rows are safe. docs/evaluation.md has the simulation."""
NUM_DRAWS = 5_000
"""Draws for the bound where rows share groups; its confidence is then exact to about 0.3 percentage points."""
MAX_CURVE_POINTS = 100


class Candidates(NamedTuple):
    """Thresholds that may be chosen, strict to loose."""

    thresholds: FloatArray
    """[candidates]"""
    shown: FloatArray
    """[groups, candidates]: rows of at least that confidence."""
    errors: FloatArray
    """[groups, candidates]: the harmful ones of them."""

    @classmethod
    def of(cls, confidence: FloatArray, groups: IntArray, is_error: BoolArray) -> Candidates:
        """Those that show about each of `COVERAGES`, by the confidences alone, without a look at the errors.

        Args:
            groups: [rows], numbered without gaps.
        """
        falling, num_groups = np.sort(confidence)[::-1], len(np.unique(groups))
        tried = falling[np.ceil(COVERAGES * len(falling)).astype(int) - 1]
        tried = np.append(tried, falling[falling > 0][-1:])
        thresholds = np.unique(tried[tried > 0])[::-1]
        accepted = confidence >= thresholds[:, None]
        shown, errors = (
            np.array([np.bincount(groups, weights=row) for row in counted]).reshape(-1, num_groups).T
            for counted in (accepted, accepted & is_error)
        )
        return cls(thresholds, shown, errors)


def select_threshold(
    rows: Predictions, *, ordered: bool, config: SelectiveConfig, split: ChoosingSplit = "validation"
) -> ThresholdChoice:
    """The threshold that shows most rows: of those that pass the tests one after the other, strict to loose; or, where
    `bound_confidence` is None, of those whose bare share of errors is at most `max_risk`. With `config.per`, one for
    each part of the rows.

    Args:
        split: of the rows.

    Raises:
        ConfigError: under-triage is asked for, but the labels are not ordered; or no row has a value of `per`.
    """
    risk: Risk = config.risk or ("under_triage" if ordered else "error")
    if risk == "under_triage" and not ordered:
        raise ConfigError(
            "evaluation.selective.risk 'under_triage' needs data.labels.ordered: true; declare the order, most urgent "
            "first, or use 'error'"
        )
    is_error, everywhere = is_risky_error(rows, risk), np.ones(len(rows), bool)
    common, _ = _choose(rows, everywhere, is_error, risk, config, split)
    if config.per is None:
        return common
    of_row = part_names(rows, config.per)
    names = rows.labels if config.per == LABEL else sorted({name for name in of_row if name is not None})
    if not names:
        raise ConfigError(
            f"evaluation.selective.per {config.per!r}: none of the {len(rows)} {split} rows has a value of this "
            "attribute; declare it under data.columns.attributes, or use 'label'"
        )
    parts, joint = {}, config.for_parts(len(names))
    for name in names:
        where = np.array([other == name for other in of_row])
        choice, has_too_few = _choose(rows, where, is_error, risk, joint, split)
        is_common = has_too_few and config.too_few == "common"
        parts[name] = PartThreshold(
            threshold=common.threshold if is_common else choice.threshold,
            reason=choice.reason,
            is_common=is_common,
            validation=choice.validation,
        )
    return replace(
        common,
        threshold=None,
        reason=None if any(part.threshold is not None for part in parts.values()) else "no part of the rows has one",
        per=config.per,
        parts=parts,
        otherwise=common.threshold if config.too_few == "common" else None,
    )


def part_names(rows: Predictions, per: str) -> list[str | None]:
    """[rows]: the part that each row belongs to: its predicted label, or its value of an attribute; None for none."""
    if per == LABEL:
        return [None if index == rows.num_labels else rows.labels[index] for index in rows.predicted.tolist()]
    return [attributes.get(per) for attributes in rows.attributes or [{}] * len(rows)]


def _choose(
    rows: Predictions, where: BoolArray, is_error: BoolArray, risk: Risk, config: SelectiveConfig, split: ChoosingSplit
) -> tuple[ThresholdChoice, bool]:
    """The threshold for the rows `where`, and whether it is for want of rows that there is none."""
    groups, num_rows = np.unique(rows.groups[where], return_inverse=True)[1], int(where.sum())
    choice = ThresholdChoice(
        risk=risk,
        max_risk=config.max_risk,
        bound_confidence=config.bound_confidence,
        threshold=None,
        reason=None,
        validation=ThresholdOnValidation(
            split=split,
            num_rows=num_rows,
            num_groups=len(np.unique(groups)),
            rows_share_groups=rows_share_groups(groups),
        ),
    )
    if not (rows.confidence[where] > 0).any():
        return replace(choice, reason="no row that could choose it has a declared label"), True
    candidates = Candidates.of(rows.confidence[where], groups, is_error[where])
    num_shown = candidates.shown.sum(axis=0)
    risks = candidates.errors.sum(axis=0) / num_shown
    if config.bound_confidence is None:
        passed, bound = np.flatnonzero(risks <= config.max_risk).tolist(), None
        if not len(passed):
            lowest = f"the lowest share among {len(risks)} coverages is {risks.min():.4f}"
            reason = f"no threshold reaches it: {lowest}, max_risk is {config.max_risk:g}"
            return replace(choice, reason=reason), False
    else:
        sequence = _pass_in_sequence(candidates, num_rows, config)
        if not sequence.passed:
            reason = f"no threshold reaches it: {sequence.reason}"
            return replace(choice, reason=reason), sequence.has_too_few
        passed, bound = sequence.passed, sequence.bound
    last = passed[-1]
    on_rows = replace(
        choice.validation, coverage=num_shown[last] / num_rows, risk=float(risks[last]), upper_bound=bound
    )
    return replace(choice, threshold=float(candidates.thresholds[last]), validation=on_rows), False


class PassedSequence(NamedTuple):
    """The candidates that pass the tests one after the other."""

    passed: list[int]
    """Their places."""
    bound: float | None = None
    """Of the last."""
    reason: str | None = None
    """Why none passes."""
    has_too_few: bool = False
    """Whether none could, whatever the errors."""


def _pass_in_sequence(candidates: Candidates, num_rows: int, config: SelectiveConfig) -> PassedSequence:
    """The candidates that pass.

    The sequence begins at `FIRST_COVERAGE`, or where an error-free set would have a bound of at most `max_risk`.
    """
    shown, errors, max_risk = candidates.shown, candidates.errors, config.max_risk
    confidence = config.bound_confidence or 0.0
    both = risk_bounds(np.hstack([shown, shown]), np.hstack([np.zeros_like(errors), errors]), confidence)
    if_no_error, bounds = np.split(both, 2)
    num_shown = shown.sum(axis=0)
    sequence = np.flatnonzero((if_no_error <= max_risk) & (num_shown >= FIRST_COVERAGE * num_rows))
    if not len(sequence):
        return PassedSequence(
            [],
            reason=f"too few rows or groups chose: even without an error among them the upper bound would be "
            f"{if_no_error.min():.4f}, max_risk is {max_risk:g}; {config.least_rows():,} rows without an error, each "
            f"of another group, are needed and {len(shown):,} groups are there; bring more calibration rows of more "
            "groups",
            has_too_few=True,
        )
    bounds = bounds[sequence]
    num_passed = int(np.argmax(np.append(bounds, np.inf) > max_risk))
    if not num_passed:
        shows_too_few = (num_shown[: sequence[0]] >= FIRST_COVERAGE * num_rows).any()
        return PassedSequence(
            [],
            reason="of the labels shown by the strictest threshold that can be tested, "
            f"{num_shown[sequence[0]]:,.0f} of {num_rows:,}, up to {bounds[0]:.1%} may be wrong (the upper bound), and "
            f"max_risk is {max_risk:g}"
            + (f"; a stricter one would show too few of the {len(shown):,} groups to tell" if shows_too_few else "")
            + "; more calibration rows make a bound tighter",
        )
    return PassedSequence(sequence[:num_passed].tolist(), float(bounds[num_passed - 1]))


def risk_bounds(shown: FloatArray, errors: FloatArray, confidence: float) -> FloatArray:
    """[candidates]: one-sided upper confidence bounds of the share of errors among the rows shown, with groups and not
    rows as what was sampled.

    It is Gaffke's bound of a mean (2005, Three test statistics for a nonparametric one-sided hypothesis), here of a
    ratio: to the groups that were seen one more is added, all of whose rows are errors; the bound is the quantile of
    the share of errors if the weights of the groups are drawn from a flat Dirichlet distribution. Where each group has
    one row this is Clopper-Pearson's bound, and that is computed instead. The added group has as many rows as the group
    of a row has on average, sum(n^2) / sum(n) (Kish's design effect). Nothing is assumed of how the rows of a group
    depend on each other; that the bound holds for such groups is not proven, but simulated (docs/evaluation.md).

    Args:
        shown: [groups, candidates], rows shown; errors: [groups, candidates], errors among them.
    """
    from scipy.stats import beta  # type: ignore[import-untyped]

    num_shown, num_errors = shown.sum(axis=0), errors.sum(axis=0)
    alone = shown.max(axis=0, initial=0) <= 1
    with np.errstate(invalid="ignore"):
        exact = beta.ppf(confidence, num_errors + 1, num_shown - num_errors)
    bounds: FloatArray = np.where(num_errors >= num_shown, 1.0, exact)
    if alone.all():
        return bounds
    added = (shown**2).sum(axis=0) / num_shown
    generator, portions = np.random.default_rng(0), []
    at_a_time = max(1, DRAWS_AT_A_TIME // (len(shown) + 1))
    for start in range(0, NUM_DRAWS, at_a_time):
        weights = generator.standard_exponential((min(at_a_time, NUM_DRAWS - start), len(shown) + 1))
        worst = weights[:, -1:] * added
        portions.append((weights[:, :-1] @ errors + worst) / (weights[:, :-1] @ shown + worst))
    by_groups = np.quantile(np.concatenate(portions), confidence, axis=0)
    return np.where(alone, bounds, by_groups)


def evaluate_threshold(test: Predictions, choice: ThresholdChoice, interval: IntervalsConfig) -> SelectiveMetrics:
    """What thresholds do to rows that did not choose them."""
    is_error, used = is_risky_error(test, choice.risk), Calibration.of({}, asdict(choice))
    attributes = test.attributes or [{}] * len(test)
    accepted = np.array(
        [
            not used.defers(confidence, label or "", of_row)
            for confidence, label, of_row in zip(test.confidence, part_names(test, LABEL), attributes, strict=True)
        ]
    )

    def on_rows(where: BoolArray) -> ThresholdOnTest:
        columns = (where, where & accepted, where & accepted & is_error)
        sums = np.column_stack([np.bincount(test.groups, weights=column) for column in columns]).astype(np.float64)
        sums = sums[sums[:, 0] > 0]

        def statistics(sums: FloatArray) -> dict[str, FloatArray]:
            with np.errstate(invalid="ignore"):
                return {"coverage": sums[..., 1] / sums[..., 0], "risk": sums[..., 2] / sums[..., 1]}

        trials = {"coverage": len(sums), "risk": int((sums[:, 1] > 0).sum())}
        estimates = bootstrap_intervals(sums, statistics, interval, trials)
        return ThresholdOnTest(num_rows=int(where.sum()), **estimates, held=held(estimates["risk"], choice.max_risk))

    of_row = np.array(part_names(test, choice.per) if choice.per else [None] * len(test), dtype=object)
    measured = {name: of_row == name for name, part in choice.parts.items() if part.threshold is not None}
    return SelectiveMetrics(
        **vars(choice),
        test=on_rows(np.ones(len(test), bool)) if choice.shows_labels else None,
        test_of_parts={name: on_rows(where) for name, where in measured.items() if where.any()},
        curve=risk_coverage_curve(test.confidence, is_error),
    )


def held(risk: IntervalEstimate, max_risk: float) -> bool | None:
    """Whether a limit held, by the whole interval of the risk; None where the interval holds the limit, or there is
    none."""
    if risk.low is None or risk.high is None or risk.low <= max_risk < risk.high:
        return None
    return risk.high <= max_risk


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
