"""The tables of a comparison as Markdown, and below each what its reader must know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from r2d.evaluation.comparison.models import COLUMNS, SECONDS, Column
from r2d.evaluation.metrics import HEADLINES, WHY_NO_CLASSES
from r2d.reports.formatting import decimal, plural, with_interval

MARK = " \\*"
"""Behind a figure whose difference to the first variant has an interval without 0; escaped for Markdown."""


def comparison_markdown(comparison: Mapping[str, Any]) -> str:
    """All tables: the variants, their intervals, their differences to the first, and the rationale sources."""
    parts = ["## Variants", *_variants(comparison), "## Intervals", *_intervals(comparison)]
    if len(comparison["variants"]) > 1:
        parts += [f"## Differences to {comparison['reference']}", *_differences(comparison)]
    if comparison["sources"]:
        parts += ["## Sources of rationales", *_sources(comparison)]
    return "\n\n".join([*parts, ""])


def _variants(comparison: Mapping[str, Any]) -> list[str]:
    columns = _measured(comparison, COLUMNS)
    lines = [
        [row["variant"], str(row["n"]), *(_over_seeds(row, column) for column in columns)]
        for row in comparison["variants"]
    ]
    return [_table(["variant", "n", *(column.name for column in columns)], lines), _listed(_notes(comparison))]


def _intervals(comparison: Mapping[str, Any]) -> list[str]:
    columns = _with_intervals(comparison)
    lines = [
        [row["variant"], *(with_interval(row["intervals"][column.key], "decimal") for column in columns)]
        for row in comparison["variants"]
    ]
    note = (
        f"{comparison['confidence']:.0%} bootstrap intervals over {comparison['num_groups']:,} groups (patients or "
        "callers; a row without one is its own). The figure of a variant is the mean of its seeds, all measured on the "
        "same draws. The interval says what other test rows of this kind could have given; it takes the trained models "
        "as they are, and knows nothing of other seeds: ± does."
    )
    return [_table(["variant", *(column.name for column in columns)], lines), _listed([note])]


def _differences(comparison: Mapping[str, Any]) -> list[str]:
    columns = _with_intervals(comparison)
    lines = [
        [row["variant"], *(_difference(row["differences"].get(column.key)) for column in columns)]
        for row in comparison["variants"]
        if row["variant"] != comparison["reference"]
    ]
    num, confidence = comparison["num_differences"], comparison["confidence"]
    notes = [
        f"Each variant minus {comparison['reference']}, on the same rows and the same draws.",
        f"\\*: the {confidence:.0%} interval of the difference does not hold 0, so other test rows would probably show "
        "a difference too. The mark says nothing about seeds: trained once more, both could come out otherwise.",
        f"{num} differences are looked at, {plural(comparison['num_marked'], 'is marked', 'are marked')}; by chance "
        f"alone {(1 - confidence) * num:.1f} would be. The intervals are not corrected for that, and a marked "
        "difference can be too small to matter.",
    ]
    if any(_other_references(comparison, row) for row in comparison["variants"]):
        notes.append(
            "–: no such difference. Figures of rationales are not subtracted where two variants are measured against "
            "different references."
        )
    return [_table(["variant", *(column.name for column in columns)], lines), _listed(notes)]


def _sources(comparison: Mapping[str, Any]) -> list[str]:
    columns = [c for c in _measured(comparison, COLUMNS) if c.key not in SECONDS]
    rows = {row["variant"]: row for row in comparison["variants"]}
    lines = []
    for group in comparison["sources"]:
        for place in group["rows"]:
            row = rows[place["variant"]]
            figures = [_over_seeds(row, column, mark=False) for column in columns]
            lines.append([group["method"], place["source"], place["references"], *figures])
        spread = [decimal(group["spread"][column.key], column.digits) for column in columns]
        lines.append([group["method"], "**spread**", "", *spread])
    return [
        _table(["method", "source", "references", *(column.name for column in columns)], lines, num_words=3),
        _listed(_source_notes(comparison)),
    ]


def _source_notes(comparison: Mapping[str, Any]) -> list[str]:
    names = ", ".join(column.name for column in COLUMNS if column.of_rationales)
    used = {place["references"] for group in comparison["sources"] for place in group["rows"]}
    notes = ["Spread: the largest minus the smallest mean over the sources. A robust method has a small one."]
    if len(used) > 1:
        notes.append(
            f"{names} are measured against rationales of the source in the column `references`, which differ from row "
            "to row: their spread is one of the references too. With `rationales.stage2_source` all have the same "
            "ones, and the source changes Stage 1 alone."
        )
    else:
        notes.append(f"{names} are measured against the same rationales in every row: those of {used.pop()}.")
    return notes


def _notes(comparison: Mapping[str, Any]) -> list[str]:
    seeds = ", ".join(map(str, comparison["seeds"]))
    over = f"Mean ± sample standard deviation over the seeds {seeds}"
    if len(comparison["seeds"]) == 1:
        over = f"One seed, {seeds}, so that nothing is known of how much another start would change"
    baselines = ", ".join(f"{name} {value:.3f}" for name, value in comparison["baselines"].items())
    bertscore = comparison["bertscore_model"]
    notes = [
        f"{over} (of the training; the split is the same), each on "
        f"{comparison['num_rows']:,} test rows, {comparison['decoding']} label decoding.",
        f"{HEADLINES[comparison['headline']]} of the baselines on the same rows: {baselines or 'none was measured'}.",
        "Training: Stage 1 and Stage 2 with their validations, as measured when they ran; a Stage 1 that variants "
        "share counts in full in each.",
        "–: there is no such figure (a method that writes no rationale, or a time that was not recorded).",
    ]
    if any(one["marked"] for row in comparison["variants"] for one in row["differences"].values()):
        notes.append(f"\\*: differs from {comparison['reference']} on these rows; see the differences below.")
    if comparison["headline"] == "accuracy":
        notes.append(f"Variants are judged by accuracy: {WHY_NO_CLASSES}.")
    if comparison["zero_shot"] is not None:
        notes.append(_zero_shot(comparison["zero_shot"], comparison))
    return notes if bertscore is None else [*notes, f"BERTScore by {bertscore}, not rescaled."]


def _zero_shot(facts: Mapping[str, Any], comparison: Mapping[str, Any]) -> str:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in facts["without_label"].items())
    by = f" ({', '.join(facts['authors'])})" if facts["authors"] else ""
    text = (
        f"zero-shot {facts['source']}: nothing was trained; its labels are those that the records of this source"
        f"{by} state. {facts['num_without_label']:,} of {comparison['num_rows']:,} rows have none"
        f"{f' ({reasons})' if reasons else ''} and count as wrong. "
        "Only of an endpoint is it known what the prompt showed."
    )
    if own := facts["num_own_references"]:
        text += f" {own:,} references are its own rationales; it is not measured against those."
    return text


def _measured(comparison: Mapping[str, Any], columns: Iterable[Column]) -> list[Column]:
    """Without figures that no variant can have: under-triage where labels are not ordered."""
    rows = comparison["variants"]
    optional = ("under_triage_rate",)
    return [c for c in columns if c.key not in optional or any(row["figures"][c.key]["n"] for row in rows)]


def _with_intervals(comparison: Mapping[str, Any]) -> list[Column]:
    known = {name for row in comparison["variants"] for name in row["intervals"]}
    return [column for column in COLUMNS if column.key in known]


def _other_references(comparison: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether figures of rationales are not subtracted for that row."""
    return row["variant"] != comparison["reference"] and row["intervals"].keys() != row["differences"].keys()


def _over_seeds(row: Mapping[str, Any], column: Column, *, mark: bool = True) -> str:
    """`0.590 ± 0.012 *`; with the number of models where some have no such figure."""
    over_seeds = row["figures"][column.key]
    mean, std, count = over_seeds["mean"], over_seeds["std"], over_seeds["n"]
    text = decimal(mean, column.digits)
    text += "" if std is None else f" ± {decimal(std, column.digits)}"
    text += "" if count in (0, row["n"]) else f" (n = {count})"
    difference = row["differences"].get(column.key)
    return text + MARK if mark and difference is not None and difference["marked"] else text


def _difference(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    return with_interval(found, "signed") + (MARK if found["marked"] else "")


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], *, num_words: int = 1) -> str:
    """Words to the left, figures to the right."""
    rule = "|" + "---|" * num_words + "---:|" * (len(head) - num_words)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])


def _listed(notes: Sequence[str]) -> str:
    return "\n".join(f"- {note}" for note in notes)
