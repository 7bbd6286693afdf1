"""From a declared source to its records: columns of the data, files, the demo's generator, or an endpoint."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from r2d.config.data import DataConfig
from r2d.config.rationales import AnySource, BatchSource, ColumnSource, EndpointSource, FileSource, SyntheticBatchSource
from r2d.data.examples import iterate_examples
from r2d.llm.answers import write_current_answers
from r2d.llm.runner import run_requests
from r2d.rationales.generation import RationaleRequests
from r2d.rationales.readers.outputs import read_batch, read_texts
from r2d.rationales.readers.written import read_argilla, read_label_studio, read_table
from r2d.rationales.records import Record
from r2d.synthetic.calls import write_llm_batch

READERS: dict[str, Callable[[str, Any], list[Record]]] = {
    **dict.fromkeys(("text", "messages", "sharegpt", "vllm_offline"), read_texts),
    **dict.fromkeys(
        ("openai_batch", "azure_batch", "vllm_batch", "anthropic_batch", "gemini_batch", "bedrock_batch"), read_batch
    ),
    "label_studio": read_label_studio,
    "argilla": read_argilla,
    "csv": read_table,
}
"""Format of a source of files -> its reader."""


def read_source(name: str, source: AnySource, examples: pa.Table, *, data: DataConfig, work_dir: Path) -> list[Record]:
    """Every record of a source, usable or not.

    Args:
        examples: table of `EXAMPLES_SCHEMA`, for columns, and for what an endpoint is asked.
        work_dir: where the answers of an endpoint and the generator's files are kept.

    Raises:
        DataError: a file cannot be read.
        GenerationError: an endpoint cannot be used, or its budget is spent.
    """
    if isinstance(source, ColumnSource):
        return [
            Record(name, row.place.split(": ")[0], row.row + 1, example_id=row.id, rationale=row.rationales[name])
            for row in iterate_examples(examples)
            if name in row.rationales
        ]
    if isinstance(source, SyntheticBatchSource):
        output, errors = write_llm_batch(data.synthetic, work_dir / "synthetic_batch")
        return read_records(name, BatchSource(format="openai_batch", paths=(str(output),), error_paths=(str(errors),)))
    if isinstance(source, EndpointSource):
        requests = RationaleRequests(examples, source, data.labels.names)
        # One file for each source, endpoint and model.
        asked = hashlib.sha256(f"{source.base_url} {source.model}".encode()).hexdigest()[:12]
        answers = work_dir / "answers" / f"{name}-{asked}.jsonl"
        run_requests(requests, answers)
        # The file keeps answers to earlier prompts and failures that were mended since; they are not this run's.
        current = answers.with_suffix(".current.jsonl")
        num_current = write_current_answers(requests, answers, current)
        return read_records(name, BatchSource(format="openai_batch", paths=(str(current),))) if num_current else []
    return read_records(name, source)


def read_records(name: str, source: AnySource) -> list[Record]:
    """Every record of a source's files, in their order.

    Raises:
        DataError: a file is missing, empty, no such format or wrongly encoded, or lacks a declared column.
    """
    records = [_with_plain_id(record, source) for record in READERS[source.format](name, source)]
    for place, record in enumerate(records):
        try:
            "".join(filter(None, _texts_of(record))).encode()
        except UnicodeEncodeError:  # no file can hold half a surrogate pair
            kept = Record(record.source, record.file, record.row, order=record.order)
            records[place] = kept._replace(reason="malformed_record", detail="half a surrogate pair")
    return records


_texts_of = attrgetter(*(name for name, kind in Record.__annotations__.items() if "str" in str(kind)))


def _with_plain_id(record: Record, source: AnySource) -> Record:
    """The record with the id that its example has in the data: without what `id_pattern` takes away, with the zeros of
    `id_width`."""
    if not isinstance(source, FileSource) or record.example_id is None:
        return record
    example_id: str | None = record.example_id
    if source.id_pattern is not None:
        match = re.search(source.id_pattern, record.example_id)
        example_id = (match.group(1) or "").strip() or None if match else None
    if example_id is None:
        known = record.reason is not None
        return record._replace(
            example_id=None,
            reason=record.reason if known else "no_id",
            detail=record.detail if known else "id_pattern is not found in the id",
        )
    if source.id_width is not None and example_id.isascii() and example_id.isdigit():
        example_id = example_id.zfill(source.id_width)
    return record if example_id == record.example_id else record._replace(example_id=example_id)


def source_files(sources: Mapping[str, AnySource]) -> list[tuple[str, str]]:
    """Config key and path of every file that the sources read, prompts and findings too: for the key of a cache."""
    files = []
    for name, source in sources.items():
        key = f"rationales.sources.{name}"
        for field in ("paths", "error_paths", "input_paths"):
            files += [(f"{key}.{field}", path) for path in getattr(source, field, ())]
        if isinstance(source, EndpointSource):
            files.append((f"{key}.prompt", source.prompt))
        for field in ("findings_file", "negation_file"):
            if (path := getattr(source.quality, field)) is not None:
                files.append((f"{key}.quality.{field}", path))
    return files
