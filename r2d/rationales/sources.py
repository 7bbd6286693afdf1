"""From a declared source to its records: columns of the data, files, the demo's generator, or an endpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from r2d.config.data import DataConfig
from r2d.config.rationales import AnySource, ColumnSource, EndpointSource, SyntheticBatchSource
from r2d.rationales.readers import read_batch, read_records
from r2d.rationales.records import Record


def records_of(name: str, source: AnySource, examples: pa.Table, *, data: DataConfig, work_dir: Path) -> list[Record]:
    """Every record of a source, usable or not.

    Args:
        examples: for columns, and for what an endpoint is asked.
        work_dir: where the answers of an endpoint and the generator's files are kept.

    Raises:
        DataError: a file cannot be read.
        GenerationError: an endpoint cannot be used, or its budget is spent.
    """
    if isinstance(source, ColumnSource):
        return column_records(name, examples)
    if isinstance(source, SyntheticBatchSource):
        from r2d.synthetic.llm_batch import write_llm_batch

        output, errors = write_llm_batch(data.synthetic, work_dir / "synthetic_batch")
        return read_batch(name, [str(output)], [str(errors)])
    if isinstance(source, EndpointSource):
        from r2d.llm.answers import write_current_answers
        from r2d.rationales.generation.generate import generate

        answers = answers_file(name, source, work_dir)
        generate(examples, source, data.labels.names, answers)
        # The file keeps answers to earlier prompts and failures that were mended since; they are not this run's.
        current = answers.with_suffix(".current.jsonl")
        num_current = write_current_answers(examples, source, data.labels.names, answers, current)
        return read_batch(name, [str(current)]) if num_current else []
    return read_records(name, source)


def column_records(name: str, examples: pa.Table) -> list[Record]:
    """The rationales that stand in the data themselves."""
    columns = [examples[column].to_pylist() for column in ("id", "row", "place", "rationales")]
    return [
        Record(source=name, file=place.split(": ")[0], row=row + 1, example_id=example_id, rationale=text)
        for example_id, row, place, pairs in zip(*columns, strict=True)
        for source, text in pairs
        if source == name
    ]


def answers_file(name: str, source: EndpointSource, work_dir: Path) -> Path:
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
