"""Figures of parts of the rows: by attribute, label, rationale source and length of the note.

The gap of a slice is its figure minus that of all rows, with an interval of its own: both are computed on the same
draws of groups. The intervals are not corrected for the number of slices. A correction would hide a part that is served
worse, which costs more here than a false alarm; instead the result says how many gaps stand out, and how many would by
chance alone. Slices by label are not counted there: labels differ by nature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np

from r2d.config.evaluation import IntervalsConfig, SlicesConfig
from r2d.evaluation.decided_rows import BoolArray, DecidedRows, FloatArray
from r2d.evaluation.label_figures import LabelFigures
from r2d.evaluation.statistics import intervals

FIGURES = ("accuracy", "macro_f1", "under_triage_rate", "over_triage_rate")
BY_LABEL = "label"
NOT_GIVEN = "(not given)"
MAX_COLUMNS = 2_000
"""Columns of sums that are resampled at once; bounds the memory where slices or labels are many."""


@dataclass(frozen=True)
class Partition:
    """One way to divide the rows."""

    by: str
    values: tuple[str, ...]
    """Of each row."""
    order: tuple[str, ...]
    """In which the slices are shown."""


def partitions(
    rows: DecidedRows,
    *,
    attributes: Sequence[Mapping[str, str]],
    rationale_sources: Sequence[str],
    num_words: Sequence[int],
    config: SlicesConfig,
) -> tuple[list[Partition], dict[str, str]]:
    """Every way in which the rows are divided, and what is left out and why.

    Args:
        attributes: name -> value, of each row; rationale_sources: of each row, empty where it has no rationale.
        num_words: words of each note.

    Returns:
        partitions `label`, `length`, `rationale_source` and `attributes.{name}`; name -> reason of those left out.
    """
    bands, band_order = length_bands(num_words, config.length_edges)
    gold = tuple(rows.labels[place] for place in rows.gold)
    found = [Partition(BY_LABEL, gold, rows.labels), Partition("length", bands, band_order)]
    named = {"rationale_source": tuple(source or NOT_GIVEN for source in rationale_sources)}
    known = sorted({name for of_row in attributes for name in of_row})
    for name in known if config.attributes is None else config.attributes:
        named[f"attributes.{name}"] = tuple(of_row.get(name) or NOT_GIVEN for of_row in attributes)
    left_out = {}
    for by, values in named.items():
        order = tuple(sorted(set(values)))
        if order == (NOT_GIVEN,):
            left_out[by] = "no row has a value"
        elif len(order) > config.max_values:
            left_out[by] = f"{len(order)} values, evaluation.slices.max_values is {config.max_values}"
        else:
            found.append(Partition(by, values, order))
    return found, left_out


def length_bands(num_words: Sequence[int], edges: Sequence[int] = ()) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The length band of each note, and all bands from short to long. Without edges: quartiles of these notes."""
    starts = sorted(set(edges or np.ceil(np.quantile(num_words, [0.25, 0.5, 0.75])).astype(int).tolist()))
    inner = [f"{low} to {end - 1} words" if low < end - 1 else f"{low} words" for low, end in pairwise(starts)]
    names = (f"under {starts[0]} words", *inner, f"{starts[-1]} words or more")
    return tuple(names[place] for place in np.searchsorted(starts, num_words, side="right")), names


def slice_metrics(
    rows: DecidedRows,
    divided: Sequence[Partition],
    figures: LabelFigures,
    config: SlicesConfig,
    interval: IntervalsConfig,
) -> dict[str, Any]:
    """Each slice beside the whole. macro-F1 only where a slice has every label that the whole has; else two averages
    over different labels would be compared.

    Returns:
        confidence, min_rows, whole: figure -> value, low, high, method,
        slices: by, value, num_rows, num_groups, small (below `min_rows`: read with care), figures, gaps (to the whole),
        multiple_looks: num_gaps (with an interval), num_without_zero (whose interval does not hold 0),
        expected_by_chance. A gap has no interval where the slice's own figure has no bootstrap interval: of five rows
        without an error the resamples would make a certainty.
    """
    places = [(part, value, np.array(part.values) == value) for part in divided for value in part.order]
    there = [(part, value, where) for part, value, where in places if where.any()]
    whole_sums = figures.sums(rows)
    whole = intervals(whole_sums, lambda sums: _chosen(figures(sums)), interval, figures.trials(whole_sums))
    slices = []
    for portion in _portions(len(there), whole_sums.shape[1]):
        chosen = [there[index] for index in portion]
        measured = _measure(rows, whole_sums, [where for _, _, where in chosen], figures, interval)
        for (part, value, where), found in zip(chosen, measured, strict=True):
            num_rows = int(where.sum())
            size = {"num_rows": num_rows, "num_groups": len(np.unique(rows.groups[where]))}
            slices.append({"by": part.by, "value": value, **size, "small": num_rows < config.min_rows, **found})
    counted = [one for one in slices if one["by"] != BY_LABEL]
    gaps = [gap for one in counted for gap in one["gaps"].values() if gap["low"] is not None]
    return {
        "confidence": interval.confidence,
        "min_rows": config.min_rows,
        "whole": whole,
        "slices": slices,
        "multiple_looks": {
            "num_gaps": len(gaps),
            "num_without_zero": sum(not gap["low"] <= 0 <= gap["high"] for gap in gaps),
            "expected_by_chance": (1 - interval.confidence) * len(gaps),
        },
    }


def slice_differences(
    rows: DecidedRows,
    other: DecidedRows,
    divided: Sequence[Partition],
    figures: LabelFigures,
    config: SlicesConfig,
    interval: IntervalsConfig,
) -> list[dict[str, Any]]:
    """`rows` minus `other` in every slice: two models on the same rows, paired, on the same draws of groups.

    Returns:
        by, value, num_rows, small, difference: figure -> value, low, high, method.
    """
    places = [(part, value, np.array(part.values) == value) for part in divided for value in part.order]
    there = [(part, value, where) for part, value, where in places if where.any()]
    found: list[dict[str, Any]] = []
    for portion in _portions(len(there), 2 * figures.sums(rows).shape[1]):
        chosen = [there[index] for index in portion]
        parts = [figures.sums(system, where) for _, _, where in chosen for system in (rows, other)]

        def differences(sums: FloatArray, num_parts: int = len(parts)) -> dict[str, FloatArray]:
            each = [_chosen(figures(part)) for part in np.split(sums, num_parts, axis=-1)]
            pairs = zip(each[::2], each[1::2], strict=True)
            return {
                f"{index}/{name}": one[name] - second[name] for index, (one, second) in enumerate(pairs) for name in one
            }

        measured = intervals(np.hstack(parts), differences, interval)
        for index, (part, value, where) in enumerate(chosen):
            own = {name.split("/")[1]: figure for name, figure in measured.items() if name.startswith(f"{index}/")}
            num_rows = int(where.sum())
            small = num_rows < config.min_rows
            found.append({"by": part.by, "value": value, "num_rows": num_rows, "small": small, "difference": own})
    return found


def _measure(
    rows: DecidedRows,
    whole_sums: FloatArray,
    wheres: Sequence[BoolArray],
    figures: LabelFigures,
    interval: IntervalsConfig,
) -> list[dict[str, Any]]:
    """Figures and gaps of several slices, all on the same draws."""
    parts = [figures.sums(rows, where) for where in wheres]
    occurring = set(np.unique(rows.gold))
    comparable = [set(np.unique(rows.gold[where])) == occurring for where in wheres]

    def all_figures(sums: FloatArray) -> dict[str, FloatArray]:
        whole, *of_slices = (_chosen(figures(part)) for part in np.split(sums, len(parts) + 1, axis=-1))
        found: dict[str, FloatArray] = {}
        for index, one in enumerate(of_slices):
            if not comparable[index]:
                one["macro_f1"] = np.full_like(one["macro_f1"], np.nan)
            found |= {f"{index}/figures/{name}": value for name, value in one.items()}
            found |= {f"{index}/gaps/{name}": value - whole[name] for name, value in one.items()}
        return found

    trials = {
        f"{index}/figures/{name}": number for index, part in enumerate(parts) for name, number in _trials(figures, part)
    }
    found = intervals(np.hstack([whole_sums, *parts]), all_figures, interval, trials)
    names = list(_chosen(figures(whole_sums.sum(axis=0))))
    for index, name in product(range(len(parts)), names):
        if found[f"{index}/figures/{name}"]["method"] != "bca":
            found[f"{index}/gaps/{name}"] |= {"low": None, "high": None, "method": None}
    return [
        {kind: {name: found[f"{index}/{kind}/{name}"] for name in names} for kind in ("figures", "gaps")}
        for index in range(len(parts))
    ]


def _chosen(figures: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    return {name: figures[name] for name in FIGURES if name in figures}


def _trials(figures: LabelFigures, sums: FloatArray) -> Iterator[tuple[str, int]]:
    return ((name, number) for name, number in figures.trials(sums).items() if name in FIGURES)


def _portions(num_slices: int, num_columns: int) -> Iterator[range]:
    """Slices whose sums fit into `MAX_COLUMNS`, or one that does not."""
    at_a_time = max(1, MAX_COLUMNS // num_columns)
    for start in range(0, num_slices, at_a_time):
        yield range(start, min(start + at_a_time, num_slices))
