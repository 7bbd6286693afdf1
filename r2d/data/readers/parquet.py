"""Parquet: one file, or a folder of them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from r2d.config.data import DataConfig
from r2d.data.readers.files import existing_path, files_below, with_content
from r2d.data.readers.rows import Rows, check_columns, declared_column, wanted_columns
from r2d.errors import DataError


def parquet_files(path: str) -> list[Path]:
    """The file itself, or the `*.parquet` files of a folder in order of name.

    Raises:
        DataError: there is none, or one has no content.
    """
    place = existing_path(path)
    files = files_below(place, ".parquet") if place.is_dir() else [place]
    if not files:
        raise DataError(f"{place}: holds no *.parquet file; correct data.path or data.format")
    return [with_content(file) for file in files]


def read_parquet(config: DataConfig) -> Rows:
    """Read the declared columns; numbers become text.

    Raises:
        DataError: see `r2d.data.readers.read_rows`; also a column whose type has no plain text.
    """
    files = parquet_files(config.path or "")
    wanted = wanted_columns(config.columns)
    tables = [_read_file(file, wanted) for file in files]
    source = str(existing_path(config.path or ""))
    several = len(files) > 1
    parts = [
        (str(file.relative_to(source)), table.num_rows) for file, table in zip(files, tables, strict=True) if several
    ]
    return Rows(pa.concat_tables(tables), source, wanted, parts=parts)


def _read_file(file: Path, wanted: dict[str, str]) -> pa.Table:
    try:
        with pq.ParquetFile(file) as opened:
            check_columns(wanted, opened.schema_arrow.names, str(file))
            table = opened.read(columns=list(dict.fromkeys(wanted.values())))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file}: is no whole Parquet file ({type(error).__name__}); write it again, or correct data.format"
        ) from None
    return pa.table({key: declared_column(key, table[column], str(file), column) for key, column in wanted.items()})
