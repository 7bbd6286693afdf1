"""Hugging Face data sets: a folder made by `save_to_disk`, any folder of data files, or a pinned one from the hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from r2d.config.data import DataConfig
from r2d.data.readers.files import existing_path, files_below, with_content
from r2d.data.readers.rows import Rows, check_columns, declared_column, text_array, wanted_columns
from r2d.errors import DataError


def local_folder(config: DataConfig) -> Path | None:
    """The folder `data.path` names, or None where it names a data set of the hub.

    Raises:
        DataError: a path that can only be local is missing, or is a file; or a hub name comes without a revision.
    """
    path = config.path or ""
    looks_local = path.startswith((".", "/", "~")) or path.count("/") > 1 or "\\" in path
    if looks_local or Path(path).exists():
        folder = existing_path(path)
        if not folder.is_dir():
            raise DataError(
                f"{folder}: is a file, but data.format huggingface takes a folder or a hub name; name its folder, or "
                "set data.format to csv, jsonl or parquet"
            )
        return folder
    if config.revision is None:
        raise DataError(
            f"data.path {path!r}: no such folder, so a data set of the hub; its data.revision is not set, and without "
            "a commit the data may change under a run that then cannot be repeated; set data.revision to the commit "
            "hash shown in the data set's history, or correct the path of a local folder"
        )
    return None


def read_huggingface(config: DataConfig) -> Rows:
    """Read the declared columns of every split; ClassLabel numbers become their names.

    Where `data.columns.split` is not declared, a data set of several splits keeps its own, as the column `split`.

    Raises:
        DataError: see `r2d.data.readers.read_rows`; also a data set that cannot be built or fetched.
    """
    from datasets import Dataset

    folder = local_folder(config)
    source = str(folder or f"{config.path}@{config.revision}")
    wanted = wanted_columns(config.columns)
    with tempfile.TemporaryDirectory(prefix="r2d-datasets-") as cache:
        loaded = _load_folder(folder, config, cache) if folder else _load_from_hub(config)
        splits = {"": loaded} if isinstance(loaded, Dataset) else dict(loaded)
        tables = {
            name: _table(split, wanted, f"{source}{name and f' split {name!r}'}") for name, split in splits.items()
        }
    parts = [(name, table.num_rows) for name, table in tables.items() if name]
    own_split = len(tables) > 1 and config.columns.split is None
    if own_split:
        wanted = wanted | {"split": "(the data set's own splits)"}
        tables = {name: table.append_column("split", _repeated(name, table)) for name, table in tables.items()}
    return Rows(pa.concat_tables(tables.values()), source, wanted, parts=parts, own_split=own_split)


def _load_folder(folder: Path, config: DataConfig, cache: str) -> Any:
    """Load a folder without leaving a copy of clinical data in the user's cache."""
    from datasets import load_dataset, load_dataset_builder, load_from_disk

    files = [with_content(file) for file in files_below(folder) if file.stat().st_size]
    if not files:
        raise DataError(f"{folder}: is empty; give a folder made by `save_to_disk` or one with data files")
    try:
        if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
            return load_from_disk(str(folder), keep_in_memory=True)
        options: dict[str, Any] = {"name": config.hub_config, "cache_dir": cache}
        builder = load_dataset_builder(str(folder), **options)
        options |= _keeping_text(builder, config)
        return load_dataset(str(folder), keep_in_memory=True, **options)
    except Exception as error:  # whatever a builder meets; its message may quote the data
        raise DataError(
            f"{folder}: `datasets` cannot load it ({type(error).__name__}); give a folder made by `save_to_disk`, or "
            "one with files of one kind and equal columns; a single file is read by data.format csv, jsonl or parquet"
        ) from None


def _load_from_hub(config: DataConfig) -> Any:
    from datasets import load_dataset, load_dataset_builder

    name = config.path or ""
    options: dict[str, Any] = {"name": config.hub_config, "revision": config.revision}
    try:
        options |= _keeping_text(load_dataset_builder(name, **options), config)
        return load_dataset(name, **options)
    except Exception as error:  # network, name, revision, configuration, permission: `datasets` has a class for each
        raise DataError(
            f"data.path {name!r} at revision {config.revision!r}: cannot be fetched from the hub "
            f"({type(error).__name__}); check the name, data.revision, data.hub_config and the network; or fetch it "
            "where there is one, keep it by `datasets.load_dataset(...).save_to_disk(folder)` and set data.path to "
            "that folder"
        ) from None


def _keeping_text(builder: Any, config: DataConfig) -> dict[str, Any]:
    """Options under which CSV stays text: `datasets` reads it through pandas, where "None" is null and "007" is 7."""
    if type(builder.config).__name__ != "CsvConfig":
        return {}
    return {"keep_default_na": False, "converters": dict.fromkeys(wanted_columns(config.columns).values(), str)}


def _table(split: Any, wanted: dict[str, str], where: str) -> pa.Table:
    check_columns(wanted, split.column_names, where)
    table = split.select_columns(list(dict.fromkeys(wanted.values()))).with_format("arrow")[:]
    columns = {}
    for key, column in wanted.items():
        feature = split.features[column]
        if type(feature).__name__ == "ClassLabel":
            names = [None if number in (None, -1) else feature.names[number] for number in table[column].to_pylist()]
            columns[key] = text_array(names, where, column)
        else:
            columns[key] = declared_column(key, table[column], where, column)
    return pa.table(columns)


def _repeated(name: str, table: pa.Table) -> pa.Array:
    return pa.repeat(pa.scalar(name, pa.string()), table.num_rows)
