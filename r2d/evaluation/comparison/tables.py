"""The tables of a comparison as Markdown, each with notes on how to read it."""

from __future__ import annotations

from r2d.evaluation.comparison.compare import MIN_SEEDS, Comparison, VariantResult, is_marked, source_spread
from r2d.evaluation.comparison.models import COLUMNS, Column
from r2d.evaluation.sections.labels import HEADLINES, WHY_NO_CLASSES
from r2d.reports.formatting import MISSING, decimal, with_interval
from r2d.reports.templates import render


def comparison_markdown(comparison: Comparison) -> str:
    """All tables: the variants, their intervals, their differences to the first, and the rationale sources."""
    variants = comparison.variants
    is_ordered = any(variant.metrics["under_triage_rate"].values for variant in variants)
    columns = [column for column in COLUMNS if is_ordered or column.key != "under_triage_rate"]
    of_sources = [column for column in columns if not column.is_cost]
    with_intervals = [column for column in COLUMNS if any(column.key in variant.intervals for variant in variants)]

    def mark(variant: VariantResult, column: Column) -> str:
        difference = variant.differences.get(column.key)
        return " \\*" if difference and is_marked(difference) else ""

    def difference(variant: VariantResult, column: Column) -> str:
        if column.key not in variant.differences:
            return MISSING
        return with_interval(variant.differences[column.key], "signed") + mark(variant, column)

    source_rows = []
    for method, rows in comparison.sources.items():
        for variant in rows:
            facts = variant.facts
            cells = [_over_seeds(variant, column) for column in of_sources]
            source_rows.append([facts.method, facts.source, facts.references, *cells])
        spread = source_spread(rows)
        cells = [decimal(spread[column.key], column.digits) for column in of_sources]
        source_rows.append([method, "**spread**", "", *cells])
    return render(
        "r2d.evaluation.comparison",
        "tables.md.j2",
        comparison=comparison,
        min_seeds=MIN_SEEDS,
        confidence=f"{comparison.confidence:.0%}",
        headline=HEADLINES[comparison.headline],
        why_no_classes=WHY_NO_CLASSES,
        columns=[column.name for column in columns],
        variant_rows=[
            [
                variant.facts.variant,
                variant.num_models,
                *(_over_seeds(variant, column) + mark(variant, column) for column in columns),
            ]
            for variant in variants
        ],
        interval_columns=[column.name for column in with_intervals],
        interval_rows=[
            [
                variant.facts.variant,
                *(with_interval(variant.intervals[column.key], "decimal") for column in with_intervals),
            ]
            for variant in variants
        ],
        difference_rows=[
            [variant.facts.variant, *(difference(variant, column) for column in with_intervals)]
            for variant in variants[1:]
        ],
        lacks_differences=any(variant.intervals.keys() != variant.differences.keys() for variant in variants[1:]),
        source_columns=[column.name for column in of_sources],
        source_rows=source_rows,
        references={variant.facts.references for rows in comparison.sources.values() for variant in rows},
        rationale_columns=", ".join(column.name for column in COLUMNS if column.of_rationales),
    )


def _over_seeds(variant: VariantResult, column: Column) -> str:
    """`0.590 ± 0.012`; with the number of models where some have no such metric."""
    summary = variant.metrics[column.key]
    text, count = decimal(summary.mean, column.digits), len(summary.values)
    text += "" if summary.std is None else f" ± {decimal(summary.std, column.digits)}"
    return text + ("" if count in (0, variant.num_models) else f" (n = {count})")
