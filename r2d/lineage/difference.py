"""What changed between two registered versions, and by how much their metrics moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from r2d.config.gate import GATE_METRICS
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.lineage.records import VersionLineage, bounds_of
from r2d.text import changed_values

PARTS = {
    "code": ("code_commit", "code_dirty", "sources_sha256"),
    "lock": ("lock_sha256",),
    "data": ("data_sha256", "files_sha256", "files_read", "num_rows"),
    "rationales": ("rationales_sha256",),
    "seeds": ("seeds",),
    "weights": ("model_sha256", "model_files"),
}
"""Part of the difference -> keys of the origin; its other keys are the part `origin`."""


@dataclass(frozen=True)
class Change:
    """A value before and after; None where there is none."""

    before: Any
    after: Any


@dataclass(frozen=True)
class MetricChange:
    before: IntervalEstimate | None
    after: IntervalEstimate | None
    difference: float | None
    """None where one of them is missing."""
    paired: IntervalEstimate | None
    """The difference on the same rows, where one of the versions was compared with the other."""


@dataclass(frozen=True)
class VersionDifference:
    """The difference of two versions, each `name/version`."""

    before: str
    after: str
    changed: Mapping[str, Mapping[str, Change]]
    """Part (start model, config, code, lock, data, rationales, seeds, weights, origin) -> dotted key -> change. Parts
    without a change are left out."""
    same_data: bool | None
    """Whether both read the same data in the same way; None where that is not known."""
    metrics: Mapping[str, MetricChange]

    def to_json(self) -> dict[str, object]:
        """The fields as JSON values, the metrics under `figures`."""
        values = asdict(self)
        del values["metrics"]
        values["figures"] = {
            name: {key: bounds_of(getattr(change, key)) for key in ("before", "after", "paired")}
            | {"difference": change.difference}
            for name, change in self.metrics.items()
        }
        return values


def difference_of(before: VersionLineage, after: VersionLineage) -> VersionDifference:
    versions, origins = (before, after), (before.origin, after.origin)
    starts = [
        {key: (version.config.get("model") or {}).get(key) for key in ("name", "revision")} for version in versions
    ]
    parts = {
        "start model": changed(*starts),
        "config": changed(before.config, after.config),
        "rationales": changed(*map(_rationale_counts, versions)),
    }
    for part, keys in PARTS.items():
        parts[part] = parts.get(part, {}) | changed(*({key: origin.get(key) for key in keys} for origin in origins))
    known = {key for keys in PARTS.values() for key in keys}
    parts["origin"] = changed(*({key: origin[key] for key in origin if key not in known} for origin in origins))
    hashes = [origin.get("data_sha256") for origin in origins]
    read_alike = not any(key.startswith(("data.", "validation.")) for key in parts["config"])

    paired, metrics = _paired(before, after), {}
    for name in GATE_METRICS:
        old, new = (version.metrics.get(name) for version in versions)
        if old is None and new is None:
            continue
        values = [None if side is None else side.value for side in (old, new)]
        difference = None if values[0] is None or values[1] is None else values[1] - values[0]
        metrics[name] = MetricChange(old, new, difference, paired.get(name))
    return VersionDifference(
        before=before.reference,
        after=after.reference,
        changed={part: changes for part, changes in parts.items() if changes},
        same_data=None if None in hashes else hashes[0] == hashes[1] and read_alike,
        metrics=metrics,
    )


def _paired(before: VersionLineage, after: VersionLineage) -> Mapping[str, IntervalEstimate]:
    """Metric -> its difference on the same rows, reversed where it was the first that was compared with the second."""
    if after.compared is not None and after.compared.reference == before.reference:
        return after.compared.differences
    if before.compared is None or before.compared.reference != after.reference:
        return {}
    return {
        name: replace(
            estimate,
            value=None if estimate.value is None else -estimate.value,
            low=None if estimate.high is None else -estimate.high,
            high=None if estimate.low is None else -estimate.low,
        )
        for name, estimate in before.compared.differences.items()
    }


def _rationale_counts(version: VersionLineage) -> dict[str, int]:
    """Stage, source, author and prompt -> rationales that the stage was trained on."""
    counts: Counter[str] = Counter()
    for use in version.rationales["trained_on"]:
        prompt = use["prompt_hash"] and f"prompt {use['prompt_hash'][:12]}"
        name = ", ".join(part for part in (use["stage"], use["source"], use["author"], prompt) if part)
        counts[name] += use["num_rationales"]
    return counts


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, Change]:
    """Dotted key -> change of each value that differs between two nested mappings. A list is one value."""
    return {key: Change(*values) for key, values in changed_values(before, after).items()}
