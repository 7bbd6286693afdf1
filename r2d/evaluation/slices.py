"""Metrics of parts of the rows: by attribute, gold label, rationale source and length of the note.

The gap of a slice is its metric minus that of all rows, on the same draws of groups. The intervals are not corrected
for the number of slices; the result says how many gaps stand out, and how many would by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise

import numpy as np
import pyarrow as pa

from r2d.config.evaluation import IntervalsConfig, SlicesConfig
from r2d.evaluation.bootstrap import Counts, bootstrap_blocks, bootstrap_intervals, group_sums
from r2d.evaluation.label_metrics import LabelStatistics
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.labels import RARE_LABEL_ROWS
from r2d.evaluation.sections.slices import MultipleLooks, SliceDifference, SliceMetrics, SlicesResult, WorstSlice
from r2d.evaluation.threshold import is_risky_error, risk_bounds
from r2d.label_scores import BoolArray, FloatArray

METRICS = ("accuracy", "macro_f1", "under_triage_rate", "over_triage_rate")
BY_LABEL = "label"
NOT_GIVEN = "(not given)"
MAX_COLUMNS = 2_000
"""Columns of sums that are resampled at once; bounds the memory where slices or labels are many."""


@dataclass(frozen=True, eq=False)
class Slice:
    """The rows with one value."""

    by: str
    """`label`, `length`, `rationale_source`, `attributes.{name}` or, taken together, `attributes.{name} and {name}`."""
    value: str
    where: BoolArray
    """[rows]"""


def divide_rows(
    predictions: Predictions, examples: pa.Table, config: SlicesConfig
) -> tuple[list[Slice], dict[str, str]]:
    """Every slice that has rows, and what the rows are not divided by and why.

    Args:
        examples: the same rows, table of `EXAMPLES_SCHEMA`.
    """
    gold = [predictions.labels[index] for index in predictions.gold]
    lengths, bands = length_bands([len(text.split()) for text in examples["text"].to_pylist()], config.length_edges)
    columns = {BY_LABEL: (gold, tuple(predictions.labels)), "length": (lengths, bands)}
    attributes = [dict(pairs) for pairs in examples["attributes"].to_pylist()]
    names = sorted({name for row in attributes for name in row}) if config.attributes is None else config.attributes
    named = {"rationale_source": [source or NOT_GIVEN for source in examples["rationale_source"].to_pylist()]}
    named |= {f"attributes.{name}": [row.get(name) or NOT_GIVEN for row in attributes] for name in names}
    left_out = {}
    for together in config.intersections:
        by = f"attributes.{' and '.join(together)}"
        if missing := [name for name in together if not any(row.get(name) for row in attributes)]:
            left_out[by] = f"no row has a value of {', '.join(missing)}"
        else:
            named[by] = [", ".join(row.get(name) or NOT_GIVEN for name in together) for row in attributes]
    for by, values in named.items():
        order = tuple(sorted(set(values)))
        if order == (NOT_GIVEN,):
            left_out[by] = "no row has a value"
        elif len(order) > config.max_values:
            left_out[by] = f"{len(order)} values, evaluation.slices.max_values is {config.max_values}"
        else:
            columns[by] = (values, order)
    slices = [Slice(by, value, np.array(values) == value) for by, (values, order) in columns.items() for value in order]
    return [part for part in slices if part.where.any()], left_out


def length_bands(num_words: Sequence[int], edges: Sequence[int] = ()) -> tuple[list[str], tuple[str, ...]]:
    """The length band of each note, and all bands from short to long. Without edges: quartiles of these notes."""
    starts = sorted(set(edges or np.ceil(np.quantile(num_words, [0.25, 0.5, 0.75])).astype(int).tolist()))
    inner = [f"{low} to {end - 1} words" if low < end - 1 else f"{low} words" for low, end in pairwise(starts)]
    names = (f"under {starts[0]} words", *inner, f"{starts[-1]} words or more")
    return [names[index] for index in np.searchsorted(starts, num_words, side="right")], names


def slice_metrics(
    predictions: Predictions,
    slices: Sequence[Slice],
    statistics: LabelStatistics,
    config: SlicesConfig,
    interval: IntervalsConfig,
    *,
    left_out: Mapping[str, str],
) -> SlicesResult:
    """Each slice beside the whole. macro-F1 only where a slice has every label that the whole has; else two averages
    over different labels would be compared.

    A gap has no interval where the slice's own metric has none by bootstrap: of five rows without an error the
    resamples would make a certainty.
    """
    all_rows = statistics.sums(predictions)
    trials = statistics.trials(all_rows)
    whole = bootstrap_intervals(all_rows, lambda sums: _selected(statistics(sums)), interval, trials)
    gold_labels = set(np.unique(predictions.gold))
    pairs = ((statistics.sums(predictions, part.where), all_rows) for part in slices)

    def trials_of_slice(part: FloatArray, whole: FloatArray) -> Counts:
        return statistics.trials(part)

    measured = []
    for part, estimates in zip(slices, _paired_estimates(pairs, statistics, interval, trials_of_slice), strict=True):
        if set(np.unique(predictions.gold[part.where])) != gold_labels:
            estimates |= dict.fromkeys(("macro_f1", "gap/macro_f1"), IntervalEstimate(None))
        figures = {name: estimates[name] for name in whole}
        num_rows = int(part.where.sum())
        measured.append(
            SliceMetrics(
                by=part.by,
                value=part.value,
                num_rows=num_rows,
                num_groups=len(np.unique(predictions.groups[part.where])),
                small=num_rows < config.min_rows,
                rare_labels={}
                if "macro_f1" not in figures or figures["macro_f1"].value is None
                else _rare_labels(predictions, part),
                figures=figures,
                gaps={
                    name: gap if figures[name].method == "bca" else IntervalEstimate(gap.value)
                    for name, gap in _gaps(estimates).items()
                },
            )
        )
    looks = [gap for part in measured if part.by != BY_LABEL for gap in part.gaps.values() if gap.low is not None]
    q_values = iter(_q_values(looks, interval.confidence))
    measured = [
        replace(part, q_values={name: next(q_values) for name, gap in part.gaps.items() if gap.low is not None})
        if part.by != BY_LABEL
        else part
        for part in measured
    ]
    return SlicesResult(
        confidence=interval.confidence,
        min_rows=config.min_rows,
        whole=whole,
        slices=tuple(measured),
        multiple_looks=MultipleLooks(
            num_gaps=len(looks),
            num_without_zero=sum(gap.excludes_zero for gap in looks),
            expected_by_chance=(1 - interval.confidence) * len(looks),
        ),
        left_out=left_out,
        worst=worst_slice(
            predictions, slices, ordered=statistics.ordered, min_rows=config.min_rows, confidence=interval.confidence
        ),
    )


def _q_values(gaps: Sequence[IntervalEstimate], confidence: float) -> list[float]:
    """Benjamini and Hochberg's of each gap, its error read from its interval as of a normal distribution."""
    from scipy.stats import false_discovery_control, norm  # type: ignore[import-untyped]

    errors = [gap.standard_error(confidence) for gap in gaps]
    scores = [
        abs(gap.value or 0.0) / error if error else np.inf * bool(gap.value)
        for gap, error in zip(gaps, errors, strict=True)
    ]
    p_values = 2 * norm.sf(np.nan_to_num(scores, posinf=np.inf))
    return [] if not gaps else [float(value) for value in false_discovery_control(p_values)]


def worst_slice(
    predictions: Predictions, slices: Sequence[Slice], *, ordered: bool, min_rows: int, confidence: float
) -> WorstSlice | None:
    """The slice with the highest bound of under-triage, of errors where labels have no order. The bounds count groups
    (`r2d.evaluation.threshold.risk_bounds`), and hold for all slices at once (Bonferroni); labels are no slices here.
    """
    compared = [part for part in slices if part.by != BY_LABEL and part.where.sum() >= min_rows]
    if not compared:
        return None
    where = np.column_stack([part.where for part in compared])
    is_error = is_risky_error(predictions, "under_triage" if ordered else "error")
    shown, errors = (
        group_sums(rows.astype(np.float64), predictions.groups, predictions.num_groups)
        for rows in (where, where & is_error[:, None])
    )
    bounds = risk_bounds(shown, errors, 1 - (1 - confidence) / len(compared))
    place = int(bounds.argmax())
    worst, num_rows = compared[place], int(where[:, place].sum())
    return WorstSlice(
        figure="under_triage_rate" if ordered else "error_rate",
        by=worst.by,
        value=worst.value,
        num_rows=num_rows,
        num_groups=int((shown[:, place] > 0).sum()),
        rate=float(errors[:, place].sum() / num_rows),
        bound=float(bounds[place]),
        num_slices=len(compared),
    )


def slice_differences(
    predictions: Predictions,
    other: Predictions,
    slices: Sequence[Slice],
    statistics: LabelStatistics,
    config: SlicesConfig,
    interval: IntervalsConfig,
) -> tuple[SliceDifference, ...]:
    """`predictions` minus `other` in every slice: two models on the same rows, paired, on the same draws of groups."""
    pairs = ((statistics.sums(predictions, part.where), statistics.sums(other, part.where)) for part in slices)

    def differing_groups(first: FloatArray, second: FloatArray) -> Counts:
        return {f"gap/{name}": groups for name, groups in statistics.paired_groups(first, second).items()}

    return tuple(
        SliceDifference(
            by=part.by,
            value=part.value,
            num_rows=int(part.where.sum()),
            small=int(part.where.sum()) < config.min_rows,
            rare_labels=_rare_labels(predictions, part),
            difference=_gaps(estimates),
        )
        for part, estimates in zip(
            slices, _paired_estimates(pairs, statistics, interval, differing_groups), strict=True
        )
    )


def _rare_labels(predictions: Predictions, part: Slice) -> dict[str, int]:
    """Label with fewer gold rows in a slice than `RARE_LABEL_ROWS` -> those rows."""
    counts = np.bincount(predictions.gold[part.where], minlength=len(predictions.labels)).tolist()
    return {label: rows for label, rows in zip(predictions.labels, counts, strict=True) if 0 < rows < RARE_LABEL_ROWS}


def _paired_estimates(
    pairs: Iterable[tuple[FloatArray, FloatArray]],
    statistics: LabelStatistics,
    interval: IntervalsConfig,
    count: Callable[[FloatArray, FloatArray], Counts],
) -> Iterator[dict[str, IntervalEstimate]]:
    """For each pair of sums the metrics of the first, and as `gap/{name}` the first minus the second. As many pairs at
    a time as fit into `MAX_COLUMNS`, or one that does not.

    Args:
        count: the counts of a pair.
    """

    def metrics_and_gaps(sums: FloatArray) -> dict[str, FloatArray]:
        first, second = (_selected(statistics(half)) for half in np.split(sums, 2, axis=-1))
        return first | {f"gap/{name}": value - second[name] for name, value in first.items()}

    remaining = iter(pairs)
    while portion := list(islice(remaining, max(1, MAX_COLUMNS // (2 * statistics.num_columns)))):
        sums = np.stack([np.hstack(pair) for pair in portion], axis=1)
        yield from bootstrap_blocks(sums, metrics_and_gaps, interval, [count(*pair) for pair in portion])


def _selected(metrics: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    return {name: metrics[name] for name in METRICS if name in metrics}


def _gaps(estimates: Mapping[str, IntervalEstimate]) -> dict[str, IntervalEstimate]:
    return {name.removeprefix("gap/"): estimate for name, estimate in estimates.items() if name.startswith("gap/")}
