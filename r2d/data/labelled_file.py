"""A file of labelled notes without a run configuration, for a model that is there already: all of it is test data."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from r2d.config.data import ColumnsConfig, DataConfig, LabelsConfig
from r2d.data.examples import EXAMPLES_SCHEMA
from r2d.data.load import load_examples
from r2d.errors import DataError

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
REFERENCE = "reference"
"""What the source of the column `rationale` is called."""


def load_labelled_file(path: Path, labels: LabelsConfig) -> tuple[pa.Table, DataConfig]:
    """The rows of a file with the columns `id`, `text`, `label`, and how they were read.

    Read as well where they are there: `rationale` (the reference), `group`, `split` (without it every row is test) and,
    where labels stand in the rows, `options`.

    Returns:
        table of `EXAMPLES_SCHEMA`, its rationales chosen.

    Raises:
        DataError: the file is of another kind, has no such column, or a row has no text or a label that is not among
            `labels`.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise DataError(
            f"{path}: a data file ends in {', '.join(FORMATS)}; other formats and columns are declared in a run "
            "configuration, which is taken instead (.yaml)"
        )
    there = _columns(path, kind)
    config = DataConfig(
        format=kind,  # type: ignore[arg-type]
        path=str(path),
        labels=labels,
        columns=ColumnsConfig(
            options="options" if labels.per_row else None,
            group="group" if "group" in there else None,
            split="split" if "split" in there else None,
            rationales={REFERENCE: "rationale"} if "rationale" in there else {},
        ),
    )
    examples = load_examples(config, divide=False)
    rationales = [dict(some).get(REFERENCE, "") for some in examples["rationales"].to_pylist()]
    examples = _with(examples, rationale=rationales, rationale_source=[REFERENCE if one else "" for one in rationales])
    for place, text in zip(examples["place"].to_pylist(), examples["text"].to_pylist(), strict=True):
        if not text.strip():
            raise DataError(f"{place}: has no text; remove the row or give its note")
    return examples, config


def _columns(path: Path, kind: str) -> set[str]:
    """Names at the head of the file; an empty set where there is none, which the reader then says better."""
    if not path.is_file():
        raise DataError(f"{path}: is no file; give a file with the columns id, text and label")
    if kind == "parquet":
        return set(pq.read_schema(path).names)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        if kind == "csv":
            return {name.strip() for name in next(csv.reader(stream), [])}
        try:
            first = json.loads(stream.readline() or "{}")
        except json.JSONDecodeError:
            return set()
        return set(first) if isinstance(first, dict) else set()


def _with(examples: pa.Table, **columns: list[str]) -> pa.Table:
    for name, values in columns.items():
        place = EXAMPLES_SCHEMA.get_field_index(name)
        examples = examples.set_column(place, EXAMPLES_SCHEMA.field(name), pa.array(values, pa.string()))
    return examples
