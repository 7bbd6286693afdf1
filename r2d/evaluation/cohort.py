"""Who is in the data: the way of the rows from the file to the figures, and what each split holds (Table 1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from r2d.data.examples import shown_splits, split_of
from r2d.data.reading import Reading
from r2d.evaluation.run import EvaluationRun
from r2d.evaluation.sections.estimates import NamedCount
from r2d.evaluation.sections.rows import AttributeCounts, Cohort, CohortSplit, RowFlow
from r2d.evaluation.slices import NOT_GIVEN


def cohort_of(run: EvaluationRun) -> Cohort:
    """The rows of every split of a run, and how many were lost on the way and why."""
    examples, config = run.examples, run.config.slices
    attributes = [dict(pairs) for pairs in examples["attributes"].to_pylist()]
    values = {
        name: Counter(row.get(name) for row in attributes) for name in sorted({k for row in attributes for k in row})
    }
    shown = [name for name, counts in values.items() if len(counts) <= config.max_values]
    splits = [
        _described(split, split_of(examples, split), run.labels.names, {name: values[name] for name in shown})
        for split in shown_splits(examples["split"].to_pylist())
    ]
    return Cohort(flow=_flow(run), splits=tuple(split for split in splits if split.num_rows))


def _flow(run: EvaluationRun) -> RowFlow:
    reading, num_test = Reading.of(run.examples), len(split_of(run.examples, "test"))
    num_looked_at = num_test if run.config.max_rows is None else min(num_test, run.config.max_rows)
    not_measured = {
        "not drawn (evaluation.max_rows)": num_test - num_looked_at,
        "seen in training (evaluation.seen_rows)": num_looked_at - len(run.test),
    }
    return RowFlow(
        num_read=reading.num_read,
        left_out=_counts(reading.left_out),
        num_added=reading.num_added,
        num_quarantined=reading.num_quarantined,
        quarantined=_counts(reading.quarantined),
        num_used=len(run.examples),
        not_measured=_counts(not_measured),
        num_measured=len(run.test),
    )


def _counts(counts: Mapping[str, int]) -> tuple[NamedCount, ...]:
    """Those above 0, the most first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return tuple(NamedCount(name=name, num_rows=count) for name, count in ordered if count)


def _described(
    split: str, rows: pa.Table, labels: Iterable[str], attributes: Mapping[str, Counter[str | None]]
) -> CohortSplit:
    """Args: attributes: name -> its values in all splits."""
    words = pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(rows["text"]))).to_numpy()
    low, median, high = np.quantile(words, [0.25, 0.5, 0.75]) if len(rows) else np.zeros(3)
    of_label = Counter(rows["label"].to_pylist())
    pairs = [dict(row) for row in rows["attributes"].to_pylist()]
    groups = pc.drop_null(rows["group"])
    return CohortSplit(
        split=split,
        num_rows=len(rows),
        num_groups=pc.count_distinct(groups).as_py() + len(rows) - len(groups),
        num_without_group=len(rows) - len(groups),
        num_without_rationale=pc.sum(pc.equal(pc.utf8_trim_whitespace(rows["rationale"]), "")).as_py() or 0,
        words_low=float(low),
        words_median=float(median),
        words_high=float(high),
        labels=tuple(NamedCount(name=name, num_rows=of_label[name]) for name in labels),
        attributes=tuple(
            AttributeCounts(name=name, values=_values(of_all, Counter(row.get(name) for row in pairs)))
            for name, of_all in attributes.items()
        ),
    )


def _values(of_all: Counter[str | None], here: Counter[str | None]) -> tuple[NamedCount, ...]:
    """The rows of each value that any split has, by name, those without a value last."""
    names = sorted(name for name in of_all if name is not None)
    found = [NamedCount(name=name, num_rows=here[name]) for name in names]
    return (*found, NamedCount(name=NOT_GIVEN, num_rows=here[None])) if of_all[None] else tuple(found)
