"""Choice of the rationales that a stage is trained on: a source, the first of several, or a mixture."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from r2d.config.rationales import names_of
from r2d.data.examples import EXAMPLES_SCHEMA
from r2d.errors import DataError

Selection = str | tuple[str, ...] | dict[str, float]


def choose_rationales(examples: pa.Table, selection: Selection, *, seed: int = 42) -> pa.Table:
    """The examples with `rationale` and `rationale_source` set; both stay empty where no selected source has one.

    Args:
        selection: one source; several, of which the first that the example has is taken; or weights of sources, of
            which one is drawn among those that the example has.
        seed: of the draws, which depend on it and the example's id alone.

    Raises:
        DataError: no row has a rationale of a selected source.
    """
    names = names_of(selection)
    rationales, sources, found = [], [], Counter[str]()
    for example_id, pairs in zip(examples["id"].to_pylist(), examples["rationales"].to_pylist(), strict=True):
        there = {name: text.strip() for name, text in pairs if text.strip()}
        found.update(there.keys())
        there = {name: there[name] for name in names if name in there}
        source = (
            _drawn(there, selection, f"{seed}:{example_id}") if isinstance(selection, dict) else next(iter(there), "")
        )
        rationales.append(there.get(source, ""))
        sources.append(source)
    absent = [name for name in names if not found[name]]
    if absent:
        raise DataError(
            f"no row has a rationale of source {absent[0]!r}; found sources {sorted(found)}. "
            "Set rationales.stage1_source / stage2_source to one of them, or declare it in data.columns.rationales or "
            "rationales.sources"
        )
    for name, values in (("rationale", rationales), ("rationale_source", sources)):
        position = EXAMPLES_SCHEMA.get_field_index(name)
        examples = examples.set_column(position, EXAMPLES_SCHEMA.field(name), pa.array(values, pa.string()))
    return examples


def coverage(examples: pa.Table) -> dict[str, Any]:
    """Rows with a rationale, by split: `{train: {num_rows, num_with_rationale, sources: {llm: 7}}, ...}`."""
    chosen = Counter(zip(examples["split"].to_pylist(), examples["rationale_source"].to_pylist(), strict=True))
    report: dict[str, Any] = {}
    for split in sorted({split for split, _ in chosen}):
        sources = {source: count for (where, source), count in sorted(chosen.items()) if where == split and source}
        num_rows = sum(count for (where, _), count in chosen.items() if where == split)
        report[split] = {"num_rows": num_rows, "num_with_rationale": sum(sources.values()), "sources": sources}
    return report


def _drawn(there: Mapping[str, str], weights: Mapping[str, float], key: str) -> str:
    """One of the sources that are there, by weight; empty where none is, or all that are weigh nothing."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    left = int.from_bytes(digest, "big") / 2**64 * sum(weights[name] for name in there)
    for name in there:
        left -= weights[name]
        if left < 0:
            return name
    return ""
