"""What a batch inference and its callers may set; `configs/batch_inference.yaml` is one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from r2d.config.section import Name, Section

CallsFormat = Literal["csv", "jsonl", "parquet"]
SUFFIXES: dict[str, CallsFormat] = {
    ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


class CallsColumns(Section):
    """Which column of the file holds what. A column that is not named here is not read."""

    id: Name = "id"
    text: Name = "text"
    options: Name | None = None
    """List of the labels that this call can have, for a model trained with `data.labels.per_row`."""


class CallsConfig(Section):
    """The calls to decide, and how their file is read; it is read as a stream."""

    path: Name
    """A file, or a folder of Parquet files. Shell placeholders for environment variables are filled in."""
    format: CallsFormat | None = None
    """By default that of the ending: .csv, .jsonl, .ndjson, .parquet, .pq; of a folder: parquet."""
    columns: CallsColumns = CallsColumns()
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Of a CSV."""
    encoding: Name = "utf-8"
    """Of a CSV or JSONL."""

    @model_validator(mode="after")
    def _known_format(self) -> CallsConfig:
        if self.format is None and Path(self.path).suffix and Path(self.path).suffix.lower() not in SUFFIXES:
            raise ValueError(
                f"path {Path(self.path).name!r} ends with none of {', '.join(SUFFIXES)}; set format to csv, jsonl or "
                "parquet"
            )
        if self.columns.options is not None and self.resolved_format == "csv":
            raise ValueError("columns.options is a list, which format 'csv' cannot hold; use jsonl or parquet")
        return self

    @property
    def resolved_format(self) -> CallsFormat:
        """`format`, or that of the ending; what has no ending is a folder of Parquet files."""
        return self.format or SUFFIXES.get(Path(self.path).suffix.lower(), "parquet")


class InferenceConfig(Section):
    """One batch of calls, decided and explained by one model."""

    data: CallsConfig
    output: Name
    """The Parquet file to write. While it grows, finished parts lie in a folder beside it, `<output>.parts`."""
    model: Name = "reason2decide@champion"
    """A registered model, `name@alias` or `name/version`, or a model folder."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Calls decided at a time; more need more memory, and are quicker on a GPU."""
    rows_per_part: Annotated[int, Field(ge=1)] = 4096
    """Calls in a part, which is what memory holds and what a killed run loses at most; also the row groups of the
    output."""
