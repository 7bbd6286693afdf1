"""From a `data` section to the table of examples: read, check every row, split.

All faults of a file are collected and raised in one message, which names rows, ids and labels but never quotes a note.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from r2d.config import DataConfig, LabelsConfig
from r2d.data.examples import EXAMPLES_SCHEMA, SPLITS
from r2d.data.labels import normalise_label
from r2d.data.readers import read_rows
from r2d.data.readers.files import existing_file, existing_path, files_below, text_of
from r2d.data.readers.huggingface import local_folder
from r2d.data.readers.parquet import parquet_files
from r2d.data.readers.pubmedqa import ID_PREFIX
from r2d.data.readers.rows import Rows, first_of, shown
from r2d.data.splits import assign_splits
from r2d.errors import DataError

SPLIT_NAMES = {name: name for name in SPLITS} | dict.fromkeys(("val", "valid", "dev"), "validation")


def load_examples(config: DataConfig) -> pa.Table:
    """Every example of a data set with its split, in the order of the file: a table of `EXAMPLES_SCHEMA`.

    Labels are stored as declared, ids and groups without outer spaces, texts and rationales untouched. A Hugging Face
    data set that has its own train, validation and test keeps them; where it has no validation, the rows beside test
    are divided; where it has but one split, or `data.split.test_ids` is given, its own are passed over.

    Raises:
        DataError: the source cannot be read, rows break the contract, or no sound split can be made.
    """
    if config.columns.split is not None and config.split.test_ids is not None:
        raise DataError("data.columns.split and data.split.test_ids both say which rows are test; remove one of them")
    rows = read_rows(config)
    if not rows.table.num_rows:
        raise DataError(f"{rows.source}: has columns but no rows; give a file with data")
    ids = [value.strip() for value in _texts(rows, "id", "")]
    labels, label_faults = _labels(rows, ids, config.labels)
    given, split_faults = _given_splits(rows, ids)
    faults = [*_id_faults(rows, ids), *_text_faults(rows, ids), *label_faults, *split_faults]
    if faults:
        count = "1 kind of fault" if len(faults) == 1 else f"{len(faults)} kinds of fault"
        raise DataError("\n".join([f"{rows.source}: {count}", *(f"  {fault}" for fault in faults)]))
    groups = [value.strip() or None for value in _texts(rows, "group", "")]
    splits = _assign(config, rows, ids, labels, groups, given)
    empty = pa.repeat(pa.scalar("", pa.string()), len(ids))
    columns = {
        "id": pa.array(ids, pa.string()),
        "split": pa.array(splits, pa.string()),
        "text": rows.table["text"],
        "label": pa.array(labels, pa.string()),
        "rationale": empty,
        "rationale_source": empty,
        "group": pa.array(groups, pa.string()),
        "attributes": _maps(rows, "attributes."),
        "rationales": _maps(rows, "rationales."),
    }
    return pa.table([columns[field.name] for field in EXAMPLES_SCHEMA], schema=EXAMPLES_SCHEMA)


def fingerprint(config: DataConfig) -> str:
    """SHA-256 that changes when the data do, and not when they only move: for caching and for the record.

    Over the bytes of every file that is read (in a folder with its relative path), the pinned revision of a hub data
    set, or the parameters of synthetic data.

    Raises:
        DataError: a file is missing or has no content.
    """
    digest = hashlib.sha256(config.format.encode())
    if config.format == "synthetic_triage":
        digest.update(config.synthetic.model_dump_json().encode())
    elif config.format == "huggingface":
        folder = local_folder(config)
        if folder is None:
            digest.update(json.dumps([config.path, config.hub_config, config.revision]).encode())
        else:
            _update(digest, files_below(folder), folder)
    elif config.format == "parquet":
        _update(digest, parquet_files(config.path or ""), existing_path(config.path or ""))
    else:
        file = existing_file(config.path or "")
        _update(digest, [file], file)
    if config.split.test_ids is not None:
        file = existing_file(config.split.test_ids, "data.split.test_ids")
        _update(digest, [file], file)
    return digest.hexdigest()


def _update(digest: hashlib._Hash, files: Sequence[Path], root: Path) -> None:
    """Add each file as relative path, size and content, so that no two sets of files give the same bytes."""
    for file in files:
        digest.update(json.dumps([str(file.relative_to(root)), file.stat().st_size]).encode())
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)


def _texts(rows: Rows, key: str, absent: str) -> list[str]:
    """A column as Python texts, `absent` for null or where the column is not declared."""
    if key not in rows.table.column_names:
        return [absent] * rows.table.num_rows
    filled: list[str] = rows.table[key].fill_null(absent).to_pylist()
    return filled


def _named(rows: Rows, ids: Sequence[str], index: int) -> str:
    return f"{rows.place(index)}, id {shown(ids[index])}"


def _id_faults(rows: Rows, ids: Sequence[str]) -> list[str]:
    first: dict[str, int] = {}
    twice = [
        f"id {shown(row_id)}: {rows.place(first[row_id])} and {rows.place(index)}"
        for index, row_id in enumerate(ids)
        if row_id and first.setdefault(row_id, index) != index
    ]
    empty = [rows.place(index) for index, row_id in enumerate(ids) if not row_id]
    faults = []
    if empty:
        faults.append(
            f"{rows.column('id')}: {len(empty)} row(s) without an id: {first_of(empty)}; give each row its own id"
        )
    if twice:
        faults.append(
            f"{rows.column('id')}: {len(twice)} row(s) repeat an id: {first_of(twice)}; give each row its own id"
        )
    return faults


def _text_faults(rows: Rows, ids: Sequence[str]) -> list[str]:
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(rows.table["text"].fill_null(""))), 0)
    places = [_named(rows, ids, index) for index in pc.indices_nonzero(blank).to_pylist()]
    if not places:
        return []
    return [
        f"{rows.column('text')}: {len(places)} row(s) have no text: {first_of(places)}; fill in or remove these rows"
    ]


def _labels(rows: Rows, ids: Sequence[str], declared: LabelsConfig) -> tuple[list[str], list[str]]:
    """The declared name of each row's label, and the faults. Numbers 0 to n-1 mean positions in `data.labels.names`,
    when there is nothing else in the column and no label is itself such a number."""
    found = _texts(rows, "label", "")
    names = {normalise_label(name): name for name in declared.names}
    positions = {str(position): name for position, name in enumerate(declared.names)}
    distinct = set(found)
    if not positions.keys() & names.keys() and {value.strip() for value in distinct} <= positions.keys():
        names = positions
    meaning = {value: names.get(normalise_label(value)) for value in distinct}
    unknown = [
        f"{_named(rows, ids, index)}: {shown(value) if value.strip() else '(empty)'}"
        for index, value in enumerate(found)
        if meaning[value] is None
    ]
    if not unknown:
        return [meaning[value] or "" for value in found], []
    allowed = ", ".join(repr(name) for name in declared.names[:50])
    more = f" and {len(declared.names) - 50} more" if len(declared.names) > 50 else ""
    return [], [
        f"{rows.column('label')}: {len(unknown)} row(s) hold a label that is not declared: {first_of(unknown)}; "
        f"allowed: {allowed}{more}; correct the rows, or declare the label in data.labels.names"
    ]


def _given_splits(rows: Rows, ids: Sequence[str]) -> tuple[list[str] | None, list[str]]:
    """The split each row comes with, or None where the data knows none, and the faults."""
    if "split" not in rows.table.column_names:
        return None, []
    found = _texts(rows, "split", "")
    meaning = {value: SPLIT_NAMES.get(value.strip().casefold()) for value in set(found)}
    unknown = [
        f"{_named(rows, ids, index)}: {shown(value) if value.strip() else '(empty)'}"
        for index, value in enumerate(found)
        if meaning[value] is None
    ]
    if not unknown:
        return [meaning[value] or "" for value in found], []
    return None, [
        f"{rows.column('split')}: {len(unknown)} row(s) hold an unknown split: {first_of(unknown)}; allowed: train, "
        "validation (or val, valid, dev), test; correct the rows, or remove data.columns.split to have them divided"
    ]


def _assign(
    config: DataConfig,
    rows: Rows,
    ids: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str | None],
    given: Sequence[str] | None,
) -> list[str]:
    test_ids, test_source = None, "data.split.test_ids"
    if config.split.test_ids is not None:
        test_ids, given = _test_ids(config, set(ids)), None
        test_source = str(existing_path(config.split.test_ids, test_source))
    elif rows.own_split and given is not None and "validation" not in given:
        test_ids = {row_id for row_id, split in zip(ids, given, strict=True) if split == "test"}
        test_source, given = "the data set's own split 'test'", None
    return assign_splits(
        ids, labels, groups, config.split, given=given, test_ids=test_ids, source=rows.source, test_source=test_source
    )


def _test_ids(config: DataConfig, ids: set[str]) -> set[str]:
    """The ids in the file of `data.split.test_ids`; PubMedQA publishes them without our prefix."""
    file = existing_file(config.split.test_ids or "", "data.split.test_ids")
    with text_of(file, "utf-8") as stream:
        try:
            content = json.load(stream)
        except (json.JSONDecodeError, RecursionError):
            raise DataError(f"{file}: is no JSON; data.split.test_ids takes a JSON list of ids") from None
    if not isinstance(content, list | dict) or not all(isinstance(item, str | int) for item in content):
        raise DataError(f"{file}: data.split.test_ids takes a JSON list of ids, or an object whose keys are the ids")
    if not content:
        raise DataError(f"{file}: names no id; list the test ids, or remove data.split.test_ids")
    prefix = ID_PREFIX if config.format == "pubmedqa" else ""
    return {text if text in ids else prefix + text for text in (str(item).strip() for item in content)}


def _maps(rows: Rows, prefix: str) -> pa.Array:
    """One map a row over the columns of a kind; what is null or blank is left out."""
    keys = [key for key in rows.table.column_names if key.startswith(prefix)]
    num_rows = rows.table.num_rows
    columns = [rows.table[key].fill_null("").combine_chunks() for key in keys]
    filled = np.zeros((num_rows, len(keys)), dtype=bool)
    for order, column in enumerate(columns):
        filled[:, order] = pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0)
    row, position = np.nonzero(filled)
    values = pa.concat_arrays([*columns, pa.array([], pa.string())]).take(pa.array(position * num_rows + row))
    names = pa.array([key.removeprefix(prefix) for key in keys], pa.string()).take(pa.array(position))
    offsets = np.concatenate([[0], np.cumsum(filled.sum(axis=1))]).astype(np.int32)
    return pa.MapArray.from_arrays(pa.array(offsets), names, values)
