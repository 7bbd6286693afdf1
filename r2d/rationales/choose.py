"""Choice of the rationale source."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa

from r2d.data.examples import EXAMPLES_SCHEMA
from r2d.errors import DataError


def choose_rationales(examples: pa.Table, source: str) -> pa.Table:
    """The examples with `rationale` and `rationale_source` set from one source; both stay empty where it has none.

    Raises:
        DataError: no row has a rationale of that source.
    """
    rationales = [dict(pairs).get(source, "").strip() for pairs in examples["rationales"].to_pylist()]
    if not any(rationales):
        found = sorted({name for pairs in examples["rationales"].to_pylist() for name, _ in pairs})
        raise DataError(
            f"no row has a rationale of source {source!r}; found sources {found}. "
            "Set rationales.stage1_source / stage2_source to one of them, or declare its column in "
            "data.columns.rationales"
        )
    sources = [source if rationale else "" for rationale in rationales]
    for name, values in (("rationale", rationales), ("rationale_source", sources)):
        position = EXAMPLES_SCHEMA.get_field_index(name)
        examples = examples.set_column(position, EXAMPLES_SCHEMA.field(name), pa.array(values, pa.string()))
    return examples


def coverage(examples: pa.Table) -> dict[str, Any]:
    """Rows with a rationale, by split: `{train: {num_rows, num_with_rationale}, ...}`."""
    splits, rationales = examples["split"].to_pylist(), examples["rationale"].to_pylist()
    rows, covered = Counter(splits), Counter(split for split, text in zip(splits, rationales, strict=True) if text)
    return {split: {"num_rows": rows[split], "num_with_rationale": covered[split]} for split in sorted(rows)}
