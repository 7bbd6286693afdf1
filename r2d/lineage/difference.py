"""What changed between two versions, and by how much their figures moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r2d.config.gate import GATE_METRICS
from r2d.evaluation.metrics import IntervalEstimate
from r2d.gate.rules import format_comparably
from r2d.lineage.tree import Node
from r2d.lineage.version_tree import flat

PARTS = {
    "code": ("code_commit", "code_dirty", "sources_sha256"),
    "lock": ("lock_sha256",),
    "data": ("data_sha256", "files_sha256", "files_read", "num_rows"),
    "rationales": ("rationales_sha256",),
    "seeds": ("seeds",),
    "weights": ("model_sha256", "model_files"),
}
"""Part of the difference -> keys of the origin."""


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The values that differ between two nested mappings.

    Returns:
        dotted key -> before, after; None where a mapping does not have the key. A list is one value.
    """
    one, two = flat(before), flat(after)
    return {
        key: {"before": one.get(key), "after": two.get(key)}
        for key in [*one, *(key for key in two if key not in one)]
        if one.get(key) != two.get(key)
    }


def difference_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The difference of two versions, from the facts that a registry gives (`ModelRegistry.lineage_facts`).

    Returns:
        before, after: `name/version`;
        changed: part (start model, config, code, lock, data, rationales, seeds, weights, origin) -> dotted key ->
            before, after; parts without a change are left out;
        same_data: whether both read the same data in the same way; None where that is not known;
        figures: name -> before, after (each value, low, high, or None), difference (None where one is missing), and
            paired: value, low, high of the difference on the same rows, where `after` was compared with `before`.
    """
    parts = {
        "start model": changed(_start(before), _start(after)),
        "config": changed(before["config"], after["config"]),
        "rationales": changed(_counts(before), _counts(after)),
    }
    origins = before["origin"], after["origin"]
    for part, keys in PARTS.items():
        parts[part] = parts.get(part, {}) | changed(*({key: one.get(key) for key in keys} for one in origins))
    known = {key for keys in PARTS.values() for key in keys}
    parts["origin"] = changed(*({key: one[key] for key in one if key not in known} for one in origins))
    hashes = [one.get("data_sha256") for one in origins]
    read_alike = not any(key.startswith(("data.", "validation.")) for key in parts["config"])
    return {
        "before": _named(before),
        "after": _named(after),
        "changed": {part: found for part, found in parts.items() if found},
        "same_data": None if None in hashes else hashes[0] == hashes[1] and read_alike,
        "figures": _figures(before, after),
    }


def _figures(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    compared = after["compared"]
    paired = compared["differences"] if compared and compared["reference"] == _named(before) else {}
    figures = {}
    for name in GATE_METRICS:
        one, two = before["figures"].get(name), after["figures"].get(name)
        if one is None and two is None:
            continue
        difference = None if one is None or two is None else two["value"] - one["value"]
        figures[name] = {"before": one, "after": two, "difference": difference, "paired": paired.get(name)}
    return figures


def _start(facts: Mapping[str, Any]) -> dict[str, Any]:
    model = facts["config"].get("model") or {}
    return {name: model.get(name) for name in ("name", "revision")}


def _counts(facts: Mapping[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in facts["rationales"]["trained_on"]:
        said = [one["stage"], one["source"], one["author"], one["prompt_hash"] and f"prompt {one['prompt_hash'][:12]}"]
        key = ", ".join(str(part) for part in said if part)
        counts[key] = counts.get(key, 0) + one["num_rationales"]
    return counts


def _named(facts: Mapping[str, Any]) -> str:
    return f"{facts['name']}/{facts['version']}"


def difference_tree(found: Mapping[str, Any]) -> Node:
    """The difference as a tree of lines."""
    root = Node(f"{found['before']} -> {found['after']}")
    for part, keys in found["changed"].items():
        node = root.add(f"{part}: {len(keys)} changed")
        for key, values in keys.items():
            node.add(f"{key}: {_shown(values['before'])} -> {_shown(values['after'])}")
    if not found["changed"]:
        root.add("nothing changed in data, rationales, code, locked versions, seeds or configuration")
    node = root.add(f"metrics{_caution(found['same_data'])}")
    for name, figure in found["figures"].items():
        node.add(_moved(name, figure))
    return root


def _caution(same_data: bool | None) -> str:
    if same_data:
        return ""
    why = (
        "it is not known whether the data are the same"
        if same_data is None
        else "the data, or how they are read, are not the same"
    )
    return f": {why}, so they may be of other test rows"


def _moved(name: str, figure: Mapping[str, Any]) -> str:
    known = GATE_METRICS[name]
    if figure["difference"] is None:
        shown = (
            IntervalEstimate(**one).text() if one else "not measured" for one in (figure["before"], figure["after"])
        )
        return f"{known.name}: {' -> '.join(shown)}"
    one, two = IntervalEstimate(**figure["before"]), IntervalEstimate(**figure["after"])
    line = f"{known.name}: {one.text()} -> {two.text()}, "
    if figure["difference"] == 0:
        return line + "the same"
    better = (figure["difference"] > 0) == known.higher_is_better
    line += f"{format_comparably(figure['difference'], 0.0, signed=True)[0]}, {'better' if better else 'worse'}"
    paired = figure["paired"]
    if paired is not None and paired["low"] is not None:
        holds = ", which holds 0" if paired["low"] <= 0 <= paired["high"] else ""
        line += f"; on the same rows {IntervalEstimate(**paired).text(signed=True)}{holds}"
    return line


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)
