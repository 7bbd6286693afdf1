"""How the cost of the label decode grows with the text, the batch and the label set."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from transformers import T5ForConditionalGeneration

from benchmarks.engine import Engine
from benchmarks.invented_rows import benchmark_tokenizer, label_names, make_rows
from benchmarks.pairs import Table, run_pairs, say, with_range
from benchmarks.published_loop import PublishedLoop

if TYPE_CHECKING:
    from benchmarks.training_tables import Plan

TEXT_WORDS = (32, 128, 512)
BATCH_SIZES = (1, 8, 32)
LABEL_SET_SIZES = (2, 20, 200, 2000)
USUAL = {"text_words": 128, "batch_size": 4, "num_labels": 20}


def growth(plan: Plan, model: T5ForConditionalGeneration) -> list[Table]:
    """One table for each of the three."""
    return [
        _table(plan, model, "text_words", TEXT_WORDS, "length of the text, words"),
        _table(plan, model, "batch_size", BATCH_SIZES, "batch"),
        _table(plan, model, "num_labels", LABEL_SET_SIZES, "label set"),
    ]


def _table(plan: Plan, model: T5ForConditionalGeneration, varied: str, values: Sequence[int], name: str) -> Table:
    columns = (name, "published, CPU ms a row", "ours, CPU ms a row", "ratio", "GEMM, GFLOP/s")
    lines = []
    for value in values:
        say(f"label decode, {name} {value}")
        lines.append([str(value), *_measure(plan, model, **(USUAL | {varied: value}))])
    others = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in USUAL.items() if key != varied)
    return Table(f"Label decode by {name}", columns, lines, f"All rows decoded, no padding; {others}.")


def _measure(
    plan: Plan, model: T5ForConditionalGeneration, *, text_words: int, batch_size: int, num_labels: int
) -> list[str]:
    rows = make_rows(batch_size, text_words=text_words)
    # Rows carry one of the first 20 labels; a smaller set decides among fewer, which costs the same for any row.
    names = label_names(max(num_labels, 20))
    rows = rows if num_labels >= 20 else [replace(row, label=names[0]) for row in rows]
    published = PublishedLoop(copy.deepcopy(model), benchmark_tokenizer())
    ours = Engine(
        copy.deepcopy(model),
        benchmark_tokenizer(),
        rows,
        batch_size=batch_size,
        labels=names[:num_labels],
        decoding=plan.decoding,
    )
    pairs = run_pairs(partial(published.decode, rows), partial(ours.decode, rows), plan.num_pairs)
    a, b = ([1000 * run.cpu / batch_size for run in runs] for runs in (pairs.a, pairs.b))
    return [with_range(a, 1), with_range(b, 1), with_range(pairs.ratios()), with_range(pairs.gemm, 0)]
