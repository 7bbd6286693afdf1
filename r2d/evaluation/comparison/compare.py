"""The comparison of methods and of rationale sources: figures over the seeds, intervals, differences, spreads."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.comparison.models import COLUMNS, SECONDS, MeasuredModel, comparison_runs
from r2d.evaluation.comparison.statistics import compared_intervals


def compare(
    models: Sequence[MeasuredModel], labels: LabelsConfig, config: IntervalsConfig = IntervalsConfig()
) -> dict[str, Any]:
    """Lay the models side by side, variants in the order in which they come. The first one is the reference.

    Returns:
        seeds, num_rows (of the test split), num_groups, decoding, bertscore_model, confidence, reference (variant),
        headline: `macro_f1`, or `accuracy` where each row has options of its own, baselines: name -> that figure,
        num_differences: that have an interval, num_marked: whose interval does not hold 0,
        variants: variant, method, source, references, n (models), figures: key -> mean, std, n (models that have the
        figure), intervals and differences as `compared_intervals`. `mean` is None for no model and `std` for fewer
        than two,
        sources: method, rows: variant, source, references; spread: key -> largest minus smallest mean over the
        sources, None where a source has none. Empty where no method was trained on several,
        zero_shot: facts of the row of which nothing was trained, None without one.

    Raises:
        DataError: two models were not evaluated on the same test rows.
    """
    runs = comparison_runs(models).to_pylist()
    sure = compared_intervals(models, labels, config)
    rows: list[dict[str, Any]] = []
    for variant in dict.fromkeys(model.variant for model in models):
        own = [run for run in runs if run["variant"] == variant]
        figures = {c.key: _over_seeds([run[c.key] for run in own if run[c.key] is not None]) for c in COLUMNS}
        known = {name: own[0][name] for name in ("variant", "method", "source", "references")}
        rows.append(known | {"n": len(own), "figures": figures} | sure[variant])
    differences = [one for row in rows for one in row["differences"].values() if one["low"] is not None]
    scored = [model.metrics["rationale"] for model in models if model.metrics["rationale"] is not None]
    used = {scores["bertscore"]["model"] for scores in scored if scores["bertscore"] is not None}
    first = models[0]
    headline = "accuracy" if first.metrics["label"]["macro_f1"] is None else "macro_f1"
    return {
        "seeds": sorted({model.seed for model in models if model.seed is not None}),
        "num_rows": first.metrics["num_rows"],
        "num_groups": _num_groups(first),
        "decoding": first.metrics["decoding"],
        "bertscore_model": ", ".join(sorted(used)) or None,
        "confidence": config.confidence,
        "reference": first.variant,
        "headline": headline,
        "baselines": {name: metrics[headline] for name, metrics in first.metrics["baselines"].items()},
        "num_differences": len(differences),
        "num_marked": sum(one["marked"] for one in differences),
        "variants": rows,
        "sources": _sources(rows),
        "zero_shot": next((model.metrics["zero_shot"] for model in models if "zero_shot" in model.metrics), None),
    }


def _sources(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The methods that were trained on several sources, each with its rows and their spread."""
    found = []
    for method in dict.fromkeys(row["method"] for row in rows if row["source"] is not None):
        own = [row for row in rows if row["method"] == method and row["source"] is not None]
        if len(own) > 1:
            means = {c.key: [row["figures"][c.key]["mean"] for row in own] for c in COLUMNS if c.key not in SECONDS}
            spread = {key: None if None in some else max(some) - min(some) for key, some in means.items()}
            named = [{name: row[name] for name in ("variant", "source", "references")} for row in own]
            found.append({"method": method, "rows": named, "spread": spread})
    return found


def _num_groups(model: MeasuredModel) -> int:
    groups = model.predictions["group"].to_pylist()
    return len({group for group in groups if group is not None}) + groups.count(None)


def _over_seeds(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": statistics.fmean(values) if values else None,
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "n": len(values),
    }
