"""One reader for each `data.format`: it finds the declared columns and gives their values as text; it judges no row.

`read_rows` is the door. What a row must look like is checked in `r2d.data.load`, alike for every format.
"""

from __future__ import annotations

from r2d.config.data import DataConfig
from r2d.data.readers.delimited import read_csv
from r2d.data.readers.huggingface import read_huggingface
from r2d.data.readers.json_lines import read_jsonl
from r2d.data.readers.parquet import read_parquet
from r2d.data.readers.pubmedqa import read_pubmedqa
from r2d.data.readers.rows import Rows
from r2d.data.readers.synthetic import read_synthetic_triage

READERS = {
    "csv": read_csv,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "huggingface": read_huggingface,
    "pubmedqa": read_pubmedqa,
    "synthetic_triage": read_synthetic_triage,
}


def read_rows(config: DataConfig) -> Rows:
    """Read the declared columns of whatever `config` points at.

    Raises:
        DataError: a file is missing, empty, no such format, wrongly encoded, or lacks a declared column.
    """
    return READERS[config.format](config)
