"""The tables of a comparison as Markdown, each with notes on how to read it."""

from __future__ import annotations

from collections.abc import Sequence

from r2d.evaluation.comparison.compare import Comparison, VariantResult
from r2d.evaluation.comparison.models import COLUMNS, Column
from r2d.evaluation.metrics import HEADLINES, WHY_NO_CLASSES, IntervalEstimate
from r2d.reports.formatting import MISSING, decimal, plural, with_interval

MARK = " \\*"
"""Behind a value whose difference to the first variant has an interval without 0; escaped for Markdown."""


def comparison_markdown(comparison: Comparison) -> str:
    """All tables: the variants, their intervals, their differences to the first, and the rationale sources."""
    parts = _variants_section(comparison) + _intervals_section(comparison)
    if len(comparison.variants) > 1:
        parts += _differences_section(comparison)
    if comparison.sources:
        parts += _sources_section(comparison)
    return "\n\n".join([*parts, ""])


def _variants_section(comparison: Comparison) -> list[str]:
    columns, rows = _shown_columns(comparison), []
    for variant in comparison.variants:
        cells = [_over_seeds(variant, column) for column in columns]
        marks = [variant.differences.get(column.key) for column in columns]
        cells = [cell + (MARK if mark and mark.excludes_zero else "") for cell, mark in zip(cells, marks, strict=True)]
        rows.append([variant.facts.variant, str(variant.num_models), *cells])
    seeds = ", ".join(map(str, comparison.seeds))
    over_seeds = (
        f"One seed, {seeds}, so that nothing is known of how much another start would change"
        if len(comparison.seeds) == 1
        else f"Mean ± sample standard deviation over the seeds {seeds}"
    )
    baselines = ", ".join(f"{baseline.caption} {value:.3f}" for baseline, value in comparison.baselines.items())
    notes = [
        f"{over_seeds} (of the training; the split is the same), each on {comparison.num_rows:,} test rows, "
        f"{comparison.decoding} label decoding.",
        f"{HEADLINES[comparison.headline]} of the baselines on the same rows: {baselines or 'none was measured'}.",
        "Training: Stage 1 and Stage 2 with their validations, as measured when they ran; a Stage 1 that variants "
        "share counts in full in each.",
        "–: there is no such value (a method that writes no rationale, or a time that was not recorded).",
    ]
    if comparison.num_marked:
        notes.append(f"\\*: differs from {comparison.reference} on these rows; see the differences below.")
    if comparison.headline == "accuracy":
        notes.append(f"Variants are judged by accuracy: {WHY_NO_CLASSES}.")
    if zero_shot := comparison.zero_shot:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in zero_shot.without_label.items())
        authors = f" ({', '.join(zero_shot.authors)})" if zero_shot.authors else ""
        note = (
            f"zero-shot {zero_shot.source}: nothing was trained; its labels are those that the records of this source"
            f"{authors} state. {zero_shot.num_without_label:,} of {comparison.num_rows:,} rows have none"
            f"{f' ({reasons})' if reasons else ''} and count as wrong. "
            "Only of an endpoint is it known what the prompt showed."
        )
        if own := zero_shot.num_own_references:
            note += f" {own:,} references are its own rationales; it is not measured against those."
        notes.append(note)
    if comparison.bertscore_model is not None:
        notes.append(f"BERTScore by {comparison.bertscore_model}, not rescaled.")
    return ["## Variants", _table(["variant", "n", *(column.name for column in columns)], rows), _list(notes)]


def _intervals_section(comparison: Comparison) -> list[str]:
    columns = _columns_with_intervals(comparison)
    rows = [
        [variant.facts.variant, *(with_interval(variant.intervals[column.key], "decimal") for column in columns)]
        for variant in comparison.variants
    ]
    note = (
        f"{comparison.confidence:.0%} bootstrap intervals over {comparison.num_groups:,} groups (patients or callers; "
        "a row without one is its own). The value of a variant is the mean of its seeds, all measured on the same "
        "draws. The interval covers the sampling of test rows only; ± in the first table is the standard deviation "
        "over seeds."
    )
    return ["## Intervals", _table(["variant", *(column.name for column in columns)], rows), _list([note])]


def _differences_section(comparison: Comparison) -> list[str]:
    columns, (reference, *others) = _columns_with_intervals(comparison), comparison.variants
    rows = [
        [variant.facts.variant, *(_difference(variant.differences.get(column.key)) for column in columns)]
        for variant in others
    ]
    num, confidence = len(comparison.with_interval), comparison.confidence
    name = reference.facts.variant
    notes = [
        f"Each variant minus {name}, on the same rows and the same draws.",
        f"\\*: the {confidence:.0%} interval of the difference does not hold 0, so other test rows would probably show "
        "a difference too. The mark says nothing about seeds: trained once more, both could come out otherwise.",
        f"{num} differences are looked at, {plural(comparison.num_marked, 'is marked', 'are marked')}; by chance "
        f"alone {(1 - confidence) * num:.1f} would be. The intervals are not corrected for that, and a marked "
        "difference can be too small to matter.",
    ]
    if any(variant.intervals.keys() != variant.differences.keys() for variant in others):
        notes.append(
            "–: no such difference. Metrics of rationales are not subtracted where two variants are measured against "
            "different references."
        )
    head = ["variant", *(column.name for column in columns)]
    return [f"## Differences to {name}", _table(head, rows), _list(notes)]


def _sources_section(comparison: Comparison) -> list[str]:
    columns = [column for column in _shown_columns(comparison) if not column.is_cost]
    rows, references = [], set()
    for group in comparison.sources:
        for variant in group.variants:
            facts = variant.facts
            cells = [_over_seeds(variant, column) for column in columns]
            rows.append([facts.method, facts.source or "", facts.references, *cells])
            references.add(facts.references)
        spread = [decimal(group.spread[column.key], column.digits) for column in columns]
        rows.append([group.method, "**spread**", "", *spread])
    notes = ["Spread: the largest minus the smallest mean over the sources. A robust method has a small one."]
    names = ", ".join(column.name for column in COLUMNS if column.of_rationales)
    if len(references) > 1:
        notes.append(
            f"{names} are measured against rationales of the source in the column `references`, which differ from row "
            "to row: their spread is one of the references too. With `rationales.stage2_source` all have the same "
            "ones, and the source changes Stage 1 alone."
        )
    else:
        notes.append(f"{names} are measured against the same rationales in every row: those of {references.pop()}.")
    head = ["method", "source", "references", *(column.name for column in columns)]
    return ["## Sources of rationales", _table(head, rows, num_words=3), _list(notes)]


def _shown_columns(comparison: Comparison) -> list[Column]:
    """All columns, without under-triage where labels are not ordered."""
    measured = any(variant.metrics["under_triage_rate"].values for variant in comparison.variants)
    return [column for column in COLUMNS if measured or column.key != "under_triage_rate"]


def _columns_with_intervals(comparison: Comparison) -> list[Column]:
    keys = {key for variant in comparison.variants for key in variant.intervals}
    return [column for column in COLUMNS if column.key in keys]


def _over_seeds(variant: VariantResult, column: Column) -> str:
    """`0.590 ± 0.012`; with the number of models where some have no such metric."""
    summary = variant.metrics[column.key]
    text, count = decimal(summary.mean, column.digits), len(summary.values)
    text += "" if summary.std is None else f" ± {decimal(summary.std, column.digits)}"
    return text + ("" if count in (0, variant.num_models) else f" (n = {count})")


def _difference(difference: IntervalEstimate | None) -> str:
    if difference is None:
        return MISSING
    return with_interval(difference, "signed") + (MARK if difference.excludes_zero else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, num_words: int = 1) -> str:
    """A Markdown table: the first columns are words, to the left; numbers stand to the right."""
    rule = "|" + "---|" * num_words + "---:|" * (len(head) - num_words)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)])


def _list(notes: Sequence[str]) -> str:
    return "\n".join(f"- {note}" for note in notes)
