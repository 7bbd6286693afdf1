"""The comparison of methods: one row a variant, each figure as mean and standard deviation over the seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from r2d.evaluation.label_metrics import HEADLINES, WHY_NO_CLASSES, headline_of
from r2d.pages.rendering import figure


@dataclass(frozen=True)
class MeasuredModel:
    """One model of a comparison: a variant trained with one seed."""

    variant: str
    seed: int
    metrics: Mapping[str, Any]
    """Those of `r2d.evaluation.evaluate`."""
    training_seconds: float | None = None
    """Stage 1 and Stage 2, validations included; None where it was not recorded."""
    evaluation_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of the comparison."""

    key: str
    name: str
    digits: int
    read: Callable[[MeasuredModel], float | None]
    """None where a model has no such figure; never 0 instead."""


COLUMNS = (
    Column("macro_f1", "macro-F1", 3, lambda model: model.metrics["label"]["macro_f1"]),
    Column("accuracy", "accuracy", 3, lambda model: model.metrics["label"]["accuracy"]),
    Column("consistency", "consistency", 3, lambda model: model.metrics["alignment"]["consistency"]),
    Column("sufficiency", "sufficiency", 3, lambda model: model.metrics["alignment"]["sufficiency"]),
    Column("gold_robustness", "gold robustness", 3, lambda model: model.metrics["alignment"]["gold_robustness"]),
    Column("bertscore_f1", "BERTScore F1", 3, lambda model: _rationale_figure(model, "bertscore_f1")),
    Column("bleu", "sacreBLEU", 1, lambda model: _rationale_figure(model, "bleu")),
    Column("training_seconds", "training, s", 0, lambda model: model.training_seconds),
    Column("evaluation_seconds", "evaluation, s", 0, lambda model: model.evaluation_seconds),
)


def comparison_runs(models: Sequence[MeasuredModel]) -> pa.Table:
    """One row a model: variant, seed and the value of each of `COLUMNS`, null where there is none."""
    rows = [
        {"variant": model.variant, "seed": model.seed} | {column.key: column.read(model) for column in COLUMNS}
        for model in models
    ]
    fields = [pa.field("variant", pa.string(), nullable=False), pa.field("seed", pa.int64(), nullable=False)]
    return pa.Table.from_pylist(rows, schema=pa.schema([*fields, *(pa.field(c.key, pa.float64()) for c in COLUMNS)]))


def compare(models: Sequence[MeasuredModel]) -> dict[str, Any]:
    """Mean and sample standard deviation over the seeds, in the order in which the variants come.

    Returns:
        seeds, num_rows (of the test split), decoding, bertscore_model,
        headline: `macro_f1`, or `accuracy` where each row has options of its own, baselines: name -> that figure,
        variants: variant, n (models), figures: key -> mean, std, n (models that have the figure). `mean` is None for
        no model and `std` for fewer than two.
    """
    runs = comparison_runs(models).to_pylist()
    rows = []
    for variant in dict.fromkeys(model.variant for model in models):
        own = [run for run in runs if run["variant"] == variant]
        figures = {c.key: _over_seeds([run[c.key] for run in own if run[c.key] is not None]) for c in COLUMNS}
        rows.append({"variant": variant, "n": len(own), "figures": figures})
    scored = [model.metrics["rationale"] for model in models if model.metrics["rationale"] is not None]
    used = {scores["bertscore"]["model"] for scores in scored if scores["bertscore"] is not None}
    first = models[0].metrics
    headline = headline_of(first["label"])
    return {
        "seeds": sorted({model.seed for model in models}),
        "num_rows": first["num_rows"],
        "decoding": first["decoding"],
        "bertscore_model": ", ".join(sorted(used)) or None,
        "headline": headline,
        "baselines": {name: metrics[headline] for name, metrics in first["baselines"].items()},
        "variants": rows,
    }


def comparison_markdown(comparison: Mapping[str, Any]) -> str:
    """The table as Markdown, and below it what its reader must know."""
    columns = ["variant", "n", *(column.name for column in COLUMNS)]
    lines = [f"| {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) - 1)]
    for row in comparison["variants"]:
        cells = [_cell(row["figures"][column.key], row["n"], column.digits) for column in COLUMNS]
        lines.append(f"| {' | '.join([row['variant'], str(row['n']), *cells])} |")
    return "\n".join([*lines, "", *(f"- {note}" for note in _notes(comparison)), ""])


def _notes(comparison: Mapping[str, Any]) -> list[str]:
    seeds = ", ".join(map(str, comparison["seeds"]))
    baselines = ", ".join(f"{name} {value:.3f}" for name, value in comparison["baselines"].items())
    bertscore = comparison["bertscore_model"]
    notes = [
        f"Mean ± sample standard deviation over the seeds {seeds} (of the training; the split is the same), each on "
        f"{comparison['num_rows']:,} test rows, {comparison['decoding']} label decoding.",
        f"{HEADLINES[comparison['headline']]} of the baselines on the same rows: {baselines}.",
        "Training: Stage 1 and Stage 2 with their validations, as measured when they ran; a Stage 1 that variants "
        "share counts in full in each.",
        "–: there is no such figure (a method that writes no rationale, or a time that was not recorded).",
    ]
    if comparison["headline"] == "accuracy":
        notes.append(f"Variants are judged by accuracy: {WHY_NO_CLASSES}.")
    return notes if bertscore is None else [*notes, f"BERTScore by {bertscore}, not rescaled."]


def _rationale_figure(model: MeasuredModel, name: str) -> float | None:
    rationale = model.metrics["rationale"]
    return None if rationale is None else rationale["populations"]["all"][name]


def _over_seeds(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": statistics.fmean(values) if values else None,
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "n": len(values),
    }


def _cell(over_seeds: Mapping[str, Any], num_models: int, digits: int) -> str:
    """`0.590 ± 0.012`; with the number of models where some have no such figure."""
    mean, std, count = over_seeds["mean"], over_seeds["std"], over_seeds["n"]
    text = figure(mean, digits) if std is None else f"{figure(mean, digits)} ± {figure(std, digits)}"
    return text if count in (0, num_models) else f"{text} (n = {count})"
