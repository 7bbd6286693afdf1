"""From a declared source to its records: columns of the data, files, the demo's generator, or an endpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from r2d.config.data import DataConfig
from r2d.config.rationales import AnySource, ColumnSource, EndpointSource, SyntheticBatchSource
from r2d.data.examples import iterate_examples
from r2d.llm.answers import write_current_answers
from r2d.llm.runner import run_requests
from r2d.rationales.generation import RationaleRequests
from r2d.rationales.readers.annotations import read_argilla, read_label_studio
from r2d.rationales.readers.batch import read_batch, read_batch_source
from r2d.rationales.readers.items import only_unicode
from r2d.rationales.readers.table import read_table
from r2d.rationales.readers.text import read_text_source
from r2d.rationales.records import Record
from r2d.synthetic.llm_batch import write_llm_batch

READERS: dict[str, Callable[[str, Any], list[Record]]] = {
    "text": read_text_source,
    "openai_batch": read_batch_source,
    "vllm_batch": read_batch_source,
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
            Record(
                name, file=row.place.split(": ")[0], row=row.row + 1, example_id=row.id, rationale=row.rationales[name]
            )
            for row in iterate_examples(examples)
            if name in row.rationales
        ]
    if isinstance(source, SyntheticBatchSource):
        output, errors = write_llm_batch(data.synthetic, work_dir / "synthetic_batch")
        return read_batch(name, [str(output)], [str(errors)])
    if isinstance(source, EndpointSource):
        requests = RationaleRequests(examples, source, data.labels.names)
        answers = answers_path(name, source, work_dir)
        run_requests(requests, answers)
        # The file keeps answers to earlier prompts and failures that were mended since; they are not this run's.
        current = answers.with_suffix(".current.jsonl")
        num_current = write_current_answers(requests, answers, current)
        return read_batch(name, [str(current)]) if num_current else []
    return read_records(name, source)


def read_records(name: str, source: AnySource) -> list[Record]:
    """Every record of a source's files, in their order.

    Raises:
        DataError: a file is missing, empty, no such format or wrongly encoded, or lacks a declared column.
    """
    return only_unicode(READERS[source.format](name, source))


def answers_path(name: str, source: EndpointSource, work_dir: Path) -> Path:
    """Where the answers of an endpoint are kept: one file for each source, endpoint and model."""
    asked = hashlib.sha256(f"{source.base_url} {source.model}".encode()).hexdigest()[:12]
    return work_dir / "answers" / f"{name}-{asked}.jsonl"


def source_files(sources: Mapping[str, AnySource]) -> list[tuple[str, str]]:
    """Config key and path of every file that the sources read, prompts and findings too: for the key of a cache."""
    files = []
    for name, source in sources.items():
        for field in ("paths", "error_paths", "input_paths"):
            files += [(f"rationales.sources.{name}.{field}", path) for path in getattr(source, field, ())]
        if isinstance(source, EndpointSource):
            files.append((f"rationales.sources.{name}.prompt", source.prompt))
        if source.quality.findings_file is not None:
            files.append((f"rationales.sources.{name}.quality.findings_file", source.quality.findings_file))
    return files
