"""Where a row and its rationales come from, and which versions saw it. Neither note nor rationale is ever held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from r2d.lineage.facts import stages_with_rationales
from r2d.lineage.tree import Node

USES = {"train": "trained on it", "validation": "chosen by it (validation)", "test": "measured on it (test)"}
ROW_COLUMNS = ("id", "split", "row", "place", "rationale_source")
COUNTED = dict.fromkeys(("csv", "openai_batch", "vllm_batch", "synthetic_triage_batch", "endpoint"), "line")
COUNTED |= {"column": "row"}
"""What is counted in a source of each format; in others it may be lines or items of a list: records."""
NOT_SHOWN = ("example_id", "split", "source", "stages", "file", "row", "counted")
"""Of a rationale's provenance: what stands elsewhere in its line."""


def row_of(
    row_id: str, *, provenance: pa.Table, config: Mapping[str, Any], examples: pa.Table | None
) -> dict[str, Any] | None:
    """What one version knows of a row; None where it did not see it.

    Args:
        provenance: of the version, the column `stages` included.
        config: the sections of its run.
        examples: of Stage 2, where the pipeline run is reachable; without them a row that has no rationale is not
            found, though its label may have been learnt.

    Returns:
        split, place and row (counted from 1; both None where `examples` is None), data (format, path), rationales: of
        each, the columns of its provenance, of `stages` those that the method has, and counted: what its `row` counts
        from 1, `row` of the data, `line` or `record` of its file.
    """
    records = provenance.filter(pc.equal(provenance["example_id"], row_id)).to_pylist()
    found = [] if examples is None else _without_text(examples, row_id)
    if not records and not found:
        return None
    stages = stages_with_rationales(config)
    for record in records:
        record["stages"] = [stage for stage in record["stages"] if stage in stages]
        record["counted"] = _counted(config, record["source"])
        record["record_id"] = record["record_id"] or None  # a rationale in the row itself has none
    example = found[0] if found else {"split": records[0]["split"], "place": None, "row": None}
    data = config.get("data") or {}
    return {
        "split": example["split"],
        "place": example["place"],
        "row": None if example["row"] is None else example["row"] + 1,
        "data": {"format": data.get("format"), "path": data.get("path")},
        "rationales": records,
    }


def _counted(config: Mapping[str, Any], source: str) -> str:
    declared = ((config.get("rationales") or {}).get("sources") or {}).get(source)
    return "row" if declared is None else COUNTED.get(declared["format"], "record")


def _without_text(examples: pa.Table, row_id: str) -> list[dict[str, Any]]:
    table = examples.select([name for name in ROW_COLUMNS if name in examples.column_names])
    found: list[dict[str, Any]] = table.filter(pc.equal(table["id"], row_id)).to_pylist()
    return found


def row_tree(row_id: str, seen: Sequence[Mapping[str, Any]]) -> Node:
    """The tree of the facts that a registry gives (`ModelRegistry.row_facts`)."""
    versions = "1 version" if len(seen) == 1 else f"{len(seen)} versions"
    root = Node(f"row {row_id}, seen by {versions}")
    for one in seen:
        aliases = f" ({', '.join(one['aliases'])})" if one["aliases"] else ""
        node = root.add(f"{one['name']} version {one['version']}{aliases} {USES.get(one['split'], one['split'])}")
        source = node.add(f"row: {_place(one)}")
        source.add(f"fingerprint of the data {one['data_sha256']}")
        for record in one["rationales"]:
            _add_rationale(node, record)
        if not one["rationales"]:
            node.add("rationale: none, its label alone was used")
        if one["not_reachable"]:
            node.add(f"not reachable: {one['not_reachable']}; so where the row lies in its file is not known")
    return root


def _place(one: Mapping[str, Any]) -> str:
    """Format, path, and the row in it; a place begins with the name of its file, which the path may end in."""
    path, place = str(one["data"]["path"] or ""), str(one["place"] or "")
    if place and path.endswith(place.split(": ")[0]):
        place = place.split(": ", 1)[-1]
    return f"{one['data']['format'] or 'unknown format'} {', '.join(part for part in (path, place) if part)}".rstrip()


def _add_rationale(node: Node, record: Mapping[str, Any]) -> None:
    taken = " and ".join(stage.replace("stage", "Stage ") for stage in record["stages"])
    child = node.add(f"rationale of {record['source']}: " + (f"taken by {taken}" if taken else "taken by no stage"))
    place = record["file"] or "the row itself"
    row = "" if record["row"] is None else f", {record['counted']} {record['row']}"
    child.add(f"from {place}{row}")
    for name, value in record.items():
        if name in NOT_SHOWN or value in (None, "", []):
            continue
        shown = ", ".join(str(one) for one in value) if isinstance(value, list) else value
        child.add(f"{name.replace('_', ' ')}: {shown}")
