"""Metrics of parts of the rows: by attribute, gold label, rationale source and length of the note.

The gap of a slice is its metric minus that of all rows, with an interval of its own: both are computed on the same
draws of groups. The intervals are not corrected for the number of slices. A correction would hide a part that is served
worse, which costs more here than a false alarm; instead the result says how many gaps stand out, and how many would by
chance alone. Slices by label are not counted there: labels differ by nature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from r2d.config.evaluation import IntervalsConfig, SlicesConfig
from r2d.evaluation.bootstrap import bootstrap_intervals
from r2d.evaluation.label_metrics import LabelStatistics
from r2d.evaluation.metrics import IntervalEstimate, MultipleLooks, SliceDifference, SliceMetrics, SlicesResult
from r2d.evaluation.predictions import Predictions
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
    """`label`, `length`, `rationale_source` or `attributes.{name}`."""
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
    whole_sums = statistics.sums(predictions)
    whole = bootstrap_intervals(
        whole_sums, lambda sums: _selected(statistics(sums)), interval, statistics.trials(whole_sums)
    )
    gold_labels = set(np.unique(predictions.gold))
    measured: list[SliceMetrics] = []
    for portion in _portions(slices, whole_sums.shape[1]):
        sums_of_parts = [statistics.sums(predictions, part.where) for part in portion]
        has_all_labels = [set(np.unique(predictions.gold[part.where])) == gold_labels for part in portion]

        def metrics_and_gaps(
            sums: FloatArray, has_all_labels: Sequence[bool] = has_all_labels
        ) -> dict[str, FloatArray]:
            blocks = np.split(sums, len(has_all_labels) + 1, axis=-1)
            of_whole, *of_slices = (_selected(statistics(block)) for block in blocks)
            named: dict[str, FloatArray] = {}
            for index, metrics in enumerate(of_slices):
                if not has_all_labels[index]:
                    metrics["macro_f1"] = np.full_like(metrics["macro_f1"], np.nan)
                named |= {f"{index}/{name}": value for name, value in metrics.items()}
                named |= {f"{index}/gap/{name}": value - of_whole[name] for name, value in metrics.items()}
            return named

        trials = {
            f"{i}/{name}": groups
            for i, sums in enumerate(sums_of_parts)
            for name, groups in statistics.trials(sums).items()
        }
        estimates = bootstrap_intervals(np.hstack([whole_sums, *sums_of_parts]), metrics_and_gaps, interval, trials)
        for index, part in enumerate(portion):
            figures = {name: estimates[f"{index}/{name}"] for name in whole}
            gaps = {name: estimates[f"{index}/gap/{name}"] for name in whole}
            num_rows = int(part.where.sum())
            measured.append(
                SliceMetrics(
                    by=part.by,
                    value=part.value,
                    num_rows=num_rows,
                    num_groups=len(np.unique(predictions.groups[part.where])),
                    small=num_rows < config.min_rows,
                    figures=figures,
                    gaps={
                        name: gap if figures[name].method == "bca" else IntervalEstimate(gap.value)
                        for name, gap in gaps.items()
                    },
                )
            )
    looks = [gap for part in measured if part.by != BY_LABEL for gap in part.gaps.values() if gap.low is not None]
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
    differences: list[SliceDifference] = []
    for portion in _portions(slices, 2 * statistics.sums(predictions).shape[1]):
        blocks = [statistics.sums(model, part.where) for part in portion for model in (predictions, other)]

        def paired(sums: FloatArray, num_blocks: int = len(blocks)) -> dict[str, FloatArray]:
            metrics = [_selected(statistics(block)) for block in np.split(sums, num_blocks, axis=-1)]
            pairs = zip(metrics[::2], metrics[1::2], strict=True)
            return {
                f"{index}/{name}": ours[name] - theirs[name]
                for index, (ours, theirs) in enumerate(pairs)
                for name in ours
            }

        estimates = bootstrap_intervals(np.hstack(blocks), paired, interval)
        for index, part in enumerate(portion):
            num_rows = int(part.where.sum())
            of_slice = {
                name.split("/")[1]: estimate for name, estimate in estimates.items() if name.startswith(f"{index}/")
            }
            small = num_rows < config.min_rows
            differences.append(
                SliceDifference(by=part.by, value=part.value, num_rows=num_rows, small=small, difference=of_slice)
            )
    return tuple(differences)


def _selected(metrics: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    return {name: metrics[name] for name in METRICS if name in metrics}


def _portions(slices: Sequence[Slice], num_columns: int) -> Iterator[Sequence[Slice]]:
    """As many slices at a time as fit into `MAX_COLUMNS`, or one that does not."""
    at_a_time = max(1, MAX_COLUMNS // num_columns)
    for start in range(0, len(slices), at_a_time):
        yield slices[start : start + at_a_time]
