"""What the lineage says of a version's figures and rationales, from the files that are registered with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from r2d.config.gate import GATE_METRICS
from r2d.config.training import MethodConfig
from r2d.evaluation.metrics import Comparator, Metrics
from r2d.gate.rules import estimate_of
from r2d.rationales.provenance import trained_on


def figures_of(metrics: Metrics) -> dict[str, dict[str, float | None]]:
    """The headline figures that were measured.

    Returns:
        name (`r2d.config.gate.GATE_METRICS`) -> value, and low and high, None where the figure has no interval.
    """
    found = {}
    for name, figure in GATE_METRICS.items():
        if figure.section == "class":
            continue
        measured = estimate_of(name, metrics)
        if measured is not None and measured.value is not None:
            found[name] = {"value": measured.value, "low": measured.low, "high": measured.high}
    return found


def compared_of(metrics: Metrics) -> dict[str, Any] | None:
    """The champion that the version was compared with when it was registered; None at a cold start.

    Returns:
        reference, and differences: name -> value, low, high, of this model minus the champion on the same rows.
    """
    if metrics.champion is None:
        return None
    paired = metrics.differences.get(Comparator.CHAMPION)
    estimates = {name: getattr(paired, name, None) for name in GATE_METRICS}
    differences = {
        name: {"value": estimate.value, "low": estimate.low, "high": estimate.high}
        for name, estimate in estimates.items()
        if estimate is not None
    }
    return {"reference": metrics.champion.reference, "differences": differences}


def stages_with_rationales(config: Mapping[str, Any]) -> list[str]:
    """The stages that learn from rationales under the method of a run.

    Args:
        config: the sections of a run.
    """
    method = method_of(config)
    return [*(["stage1"] if method.has_stage1 else []), *(["stage2"] if method.explains else [])]


def method_of(config: Mapping[str, Any]) -> MethodConfig:
    """The method by its name alone: other fields of the section may be those of another version of this code."""
    return MethodConfig(name=(config.get("method") or {}).get("name", "r2d"))


def rationales_of(provenance: pa.Table, config: Mapping[str, Any]) -> dict[str, Any]:
    """Where the rationales of a version come from, counted.

    Returns:
        trained_on: as `r2d.rationales.provenance.trained_on`, of the stages that the method has;
        files: source, file and num_rationales of each file, every split together.
    """
    stages = stages_with_rationales(config)
    files = Counter(zip(provenance["source"].to_pylist(), provenance["file"].to_pylist(), strict=True))
    return {
        "trained_on": [one for one in trained_on(provenance) if one["stage"] in stages],
        "files": [
            {"source": source, "file": file, "num_rationales": count}
            for (source, file), count in sorted(files.items(), key=lambda item: (item[0][0], item[0][1] or ""))
        ],
    }
