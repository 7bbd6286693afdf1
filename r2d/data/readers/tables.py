"""Whole data sources as tables of text: one reader for each `data.format`. No row is judged here."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from r2d.config.data import DataConfig
from r2d.config.files import TextFileConfig
from r2d.data.readers.delimited import DelimitedFile, check_columns
from r2d.data.readers.files import check_content, existing_file, existing_path, files_below, open_text, parquet_files
from r2d.data.readers.rows import (
    Format,
    column_root,
    declared_columns,
    parquet_tables,
    read_json,
    stream_rows,
    with_class_names,
)  # fmt: skip
from r2d.data.readers.shapes import RowShape, repeats_columns, without_blank_rows, without_repeats
from r2d.errors import DataError
from r2d.synthetic.calls import generate_calls
from r2d.text import first_of, plural

PUBMEDQA_PREFIX = "pubmedqa-"  # stands before the PubMed id in the ids of examples


@dataclass(frozen=True)
class SourceTable:
    """The declared columns of a data source."""

    columns: pa.Table
    """Nullable string columns, named by config key: `id`, `text`, `label`, `group`, `split`, `time`,
    `rationales.<source>`, `attributes.<name>`; the undeclared ones are absent. `options` alone is a column of lists of
    strings."""
    source: str  # the file, folder or data set, for messages
    places: Sequence[str]  # where each row stands, counted from 1 without any header
    has_own_split: bool = False
    """Whether `split` holds the data set's own division and not a column that the config names."""
    notes: Sequence[str] = ()
    """What was left out or joined on the way, as `Reading.notes`."""


def _table(tables: Mapping[str, pa.Table], source: str, *, has_own_split: bool = False) -> SourceTable:
    """The tables of a source as one; their names, of files or splits, begin the places: `part.parquet: row 3`."""
    places = [
        f"{name and f'{name}: '}row {row}" for name, table in tables.items() for row in range(1, table.num_rows + 1)
    ]
    return SourceTable(pa.concat_tables(tables.values()), source, places, has_own_split)


def read_source(config: DataConfig) -> SourceTable:
    """Read the declared columns of whatever `config` points at.

    Raises:
        DataError: a file is missing, empty, of another format, wrongly encoded, lacks a declared column or has faulty
            rows; or a data set cannot be built or fetched.
    """
    readers = {
        "csv": read_text_rows,
        "jsonl": read_text_rows,
        "parquet": read_parquet,
        "huggingface": read_huggingface,
        "pubmedqa": read_pubmedqa,
        "synthetic_triage": read_synthetic_triage,
    }
    table = readers[config.format](config)
    if config.format in ("pubmedqa", "synthetic_triage"):
        return table
    columns, places, notes = table.columns, list(table.places), list(table.notes)
    if config.repeats is not None:
        columns, places, more = without_repeats(columns, places, config.repeats)
        notes += more
    columns, places, more = without_blank_rows(columns, places)
    columns, shaped = RowShape(config.columns).applied(columns)
    table = replace(table, columns=columns, places=places, notes=[*notes, *more, *shaped])
    if "options" in table.columns.column_names and table.columns["options"].null_count:
        is_null = table.columns["options"].is_null().to_pylist()
        missing = [place for place, null in zip(table.places, is_null, strict=True) if null]
        declared = config.columns.options
        where = f"column {declared!r}" if isinstance(declared, str) else "the columns or the pattern"
        raise DataError(
            f"{table.source}: {plural(len(missing), 'row has', 'rows have')} no list in {where} "
            f"(data.columns.options): {first_of(missing)}; give each row its options"
        )
    return table


def _wanted_columns(config: DataConfig) -> dict[str, str]:
    """Config key -> name of every declared column."""
    columns = config.columns
    wanted: dict[str, str | None] = dict(RowShape(columns).sources)
    wanted |= {key: getattr(columns, key) for key in ("label", "group", "split", "time")}
    wanted |= {f"rationales.{source}": column for source, column in columns.rationales.items()}
    wanted |= {f"attributes.{name}": column for name, column in columns.attributes.items()}
    if config.repeats is not None:
        wanted |= repeats_columns(config.repeats)
    return {key: column for key, column in wanted.items() if column is not None}


def _text_table(columns: Mapping[str, str], rows: Sequence[Sequence[Any]], where: str) -> pa.Table:
    """Rows of texts (`options` of lists of texts) as nullable columns.

    Args:
        columns: config key -> name of the column, in the order of the values of a row.

    Raises:
        DataError: a text holds half a surrogate pair and is no Unicode.
    """
    arrays = {}
    for place, (key, name) in enumerate(columns.items()):
        values = [row[place] for row in rows]
        try:
            arrays[key] = pa.array(values, pa.list_(pa.string()) if key == "options" else pa.string())
        except UnicodeEncodeError:
            broken = [f"row {row}" for row, text in enumerate(values, 1) if re.search("[\ud800-\udfff]", str(text))]
            raise DataError(
                f"{where}: column {name!r} holds half a surrogate pair (\\ud800 to \\udfff alone) in "
                f"{plural(len(broken), 'row')}: {first_of(broken)}; write the whole character or remove it"
            ) from None
    return pa.table(arrays)


def read_text_rows(config: DataConfig) -> SourceTable:
    """A CSV or JSON Lines file."""
    file = existing_file(config.path or "")
    wanted = _wanted_columns(config)
    kind: Format = "csv" if config.format == "csv" else "jsonl"
    notes: list[str] = []
    rows = list(stream_rows(file, wanted, kind, config, notes))
    table = _text_table(wanted, [row.values for row in rows], str(file))
    places = [f"row {number} (line {row.line})" for number, row in enumerate(rows, 1)]
    return SourceTable(table, str(file), places, notes=notes)


def read_parquet(config: DataConfig) -> SourceTable:
    """A Parquet file or a folder of them."""
    files, folder = parquet_files(config.path or ""), existing_path(config.path or "")
    wanted = _wanted_columns(config)
    names = [str(file.relative_to(folder)) if len(files) > 1 else "" for file in files]
    tables = {name: next(parquet_tables(file, wanted)) for name, file in zip(names, files, strict=True)}
    return _table(tables, str(folder))


def read_synthetic_triage(config: DataConfig) -> SourceTable:
    """The generated calls; the LLM's rationales are left to the rationale source `synthetic_triage_batch`."""
    calls = generate_calls(config.synthetic)
    columns = {key: [getattr(call, key) for call in calls] for key in ("id", "text", "label", "group")}
    for source in ("nurse", "nurse_post_processed"):
        columns[f"rationales.{source}"] = [call.rationales[source] for call in calls]
    columns["time"] = [call.time.isoformat() for call in calls]
    for name in ("age_band", "family", "sex", "site"):
        columns[f"attributes.{name}"] = [call.attributes.get(name, "") for call in calls]
    if config.synthetic.num_test_calls:
        columns["split"] = ["test" if call.is_test else "train" for call in calls]
    return _table({"": pa.table(columns)}, "synthetic triage calls", has_own_split="split" in columns)


def read_pubmedqa(config: DataConfig) -> SourceTable:
    """PubMedQA as published (`ori_pqal.json`): an object from PubMed id to question, abstract, conclusion and answer.

    The rationale source `human` is the abstract's own conclusion, the label the expert's answer.
    """
    names = {"id": "(its key)", "text": "QUESTION", "label": "final_decision", "rationales.human": "LONG_ANSWER"}
    file = existing_file(config.path or "")
    content = read_json(file, "give PubMedQA's ori_pqal.json as published")
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise DataError(
            f"{file}: expected an object from PubMed id to {{QUESTION, CONTEXTS, LONG_ANSWER, final_decision}}; give "
            "PubMedQA's ori_pqal.json as published, or use data.format: jsonl"
        )
    rows: list[tuple[str, ...]] = []
    faults: list[str] = []
    for number, (pubmed_id, entry) in enumerate(content.items(), 1):
        try:
            text = f"Question: {entry['QUESTION']}\nContext: {' '.join(entry['CONTEXTS'])}"
            rows.append((PUBMEDQA_PREFIX + pubmed_id, text, entry["final_decision"], entry["LONG_ANSWER"]))
        except (KeyError, TypeError) as error:
            fault = f"lacks {error}" if isinstance(error, KeyError) else "is no object of texts"
            faults.append(f"entry {number} {fault}")
    if faults:
        raise DataError(
            f"{file}: {len(faults)} entries are faulty: {first_of(faults)}; download the published file again"
        )
    return _table({"": _text_table(names, rows, str(file))}, str(file))


def local_dataset_folder(config: DataConfig) -> Path | None:
    """The folder that `data.path` names for format huggingface; None where it names a data set of the hub.

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


def read_huggingface(config: DataConfig) -> SourceTable:
    """A folder made by `save_to_disk`, any folder of data files, or a pinned data set of the hub, all splits.

    ClassLabel numbers become their names. Where `data.columns.split` is not declared, a data set of several splits
    keeps its own, as the column `split`.
    """
    from datasets import ClassLabel, Dataset

    folder = local_dataset_folder(config)
    source = str(folder or f"{config.path}@{config.revision}")
    wanted = _wanted_columns(config)
    # A temporary cache: no copy of clinical data is left in the user's own.
    with tempfile.TemporaryDirectory(prefix="r2d-datasets-") as cache:
        loaded = _load_dataset(folder, config, wanted, cache)
        tables: dict[str, pa.Table] = {}
        for name, split in ({"": loaded} if isinstance(loaded, Dataset) else dict(loaded)).items():
            where = f"{source}{name and f' split {name!r}'}"
            roots = {key: column_root(column, split.column_names) for key, column in wanted.items()}
            check_columns(roots, split.column_names, where)
            table = split.select_columns(list(dict.fromkeys(roots.values()))).with_format("arrow")[:]
            classes = {
                column: feature.names
                for column, feature in split.features.items()
                if isinstance(feature, ClassLabel) and column in table.column_names
            }
            tables[name] = declared_columns(with_class_names(table, classes), wanted, where)
    has_own_split = len(tables) > 1 and config.columns.split is None
    if has_own_split:
        for name, table in tables.items():
            tables[name] = table.append_column("split", pa.repeat(pa.scalar(name, pa.string()), table.num_rows))
    return _table(tables, source, has_own_split=has_own_split)


def _load_dataset(folder: Path | None, config: DataConfig, wanted: Mapping[str, str], cache: str) -> Any:
    """A `datasets.Dataset` or `DatasetDict`."""
    from datasets import load_dataset, load_dataset_builder, load_from_disk

    options: dict[str, object] = {"name": config.hub_config, "revision": config.revision}
    if folder is not None:
        options = {"name": config.hub_config, "cache_dir": cache}
        files = [file for file in files_below(folder) if file.stat().st_size]
        if not files:
            raise DataError(f"{folder}: is empty; give a folder made by `save_to_disk` or one with data files")
        for file in files:
            check_content(file)
    else:
        files = []
    path = str(folder or config.path)
    try:
        if folder is not None and ((folder / "dataset_dict.json").exists() or (folder / "state.json").exists()):
            return load_from_disk(path, keep_in_memory=True)
        builder = load_dataset_builder(path, **options)
        if type(builder.config).__name__ == "CsvConfig":
            # `datasets` reads CSV through pandas, where "None" is null and "007" is 7: keep it text.
            options |= {"keep_default_na": False, "converters": dict.fromkeys(wanted.values(), str)}
            # And it merges the rows between two stray quotes without a word, and takes a second header for a row: our
            # reader refuses such a file.
            for file in files:
                if file.suffix.lower() == ".csv":
                    with open_text(file) as stream:
                        delimited = DelimitedFile(file, stream, TextFileConfig(), wanted)
                        for _ in delimited.records():
                            pass
                        if delimited.num_left_out:
                            raise DataError(
                                f"{file}: {'; '.join(delimited.notes)}: `datasets` takes them for rows; remove them"
                            )
        return load_dataset(path, keep_in_memory=True if folder else None, **options)  # nosec B615 # options have it
    except DataError:
        raise
    except Exception as error:  # whatever a builder or the network meets; its message may quote the data
        kind = type(error).__name__
        if folder is not None:
            raise DataError(
                f"{folder}: `datasets` cannot load it ({kind}); give a folder made by `save_to_disk`, or one with "
                "files of one kind and equal columns; a single file is read by data.format csv, jsonl or parquet"
            ) from None
        raise DataError(
            f"data.path {path!r} at revision {config.revision!r}: cannot be fetched from the hub ({kind}); check the "
            "name, data.revision, data.hub_config and the network; or fetch it where there is one, keep it by "
            "`datasets.load_dataset(...).save_to_disk(folder)` and set data.path to that folder"
        ) from None
