"""From a `data` section to the table of examples: read, name every row, split.

A file that cannot be read as declared stops here. Rows are not judged: a row without a text or with an unknown label
goes on as it is, and `r2d.data.validation` says what becomes of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from r2d.config.data import DataConfig, LabelsConfig
from r2d.data.examples import EXAMPLES_SCHEMA, SPLITS
from r2d.data.readers import read_rows
from r2d.data.readers.files import existing_file, existing_path, text_of
from r2d.data.readers.pubmedqa import ID_PREFIX
from r2d.data.readers.rows import Rows
from r2d.data.splits import assign_splits
from r2d.errors import DataError
from r2d.text import normalise_label

SPLIT_NAMES = {name: name for name in SPLITS} | dict.fromkeys(("val", "valid", "dev"), "validation")


def load_examples(config: DataConfig, *, divide: bool = True) -> pa.Table:
    """Every row of a data set with its split, in the order of the file: a table of `EXAMPLES_SCHEMA`.

    Labels are stored as declared (one that is not, as found), ids and groups without outer spaces, texts and rationales
    untouched. A Hugging Face
    data set that has its own train, validation and test keeps them; where it has no validation, the rows beside test
    are divided; where it has but one split, or `data.split.test_ids` is given, its own are passed over.

    Args:
        divide: False leaves every row in the split that it comes with, and all rows of data that knows none in test.

    Raises:
        DataError: the source cannot be read as declared, or no sound split can be made.
    """
    if config.columns.split is not None and config.split.test_ids is not None:
        raise DataError("data.columns.split and data.split.test_ids both say which rows are test; remove one of them")
    rows = read_rows(config)
    if not rows.table.num_rows:
        raise DataError(f"{rows.source}: has columns but no rows; give a file with data")
    ids = [value.strip() for value in _texts(rows, "id", "")]
    labels = _labels(rows, config.labels)
    groups = [value.strip() or None for value in _texts(rows, "group", "")]
    # Options of the row are no classes: strata of one row each would send all rare answers to training.
    strata = [""] * len(ids) if config.labels.per_row else labels
    given = _given_splits(rows)
    splits = _assign(config, rows, ids, strata, groups, given) if divide else given or ["test"] * len(ids)
    empty = pa.repeat(pa.scalar("", pa.string()), len(ids))
    columns = {
        "id": pa.array(ids, pa.string()),
        "split": pa.array(splits, pa.string()),
        "text": rows.table["text"].fill_null(""),
        "label": pa.array(labels, pa.string()),
        "rationale": empty,
        "rationale_source": empty,
        "group": pa.array(groups, pa.string()),
        "attributes": _maps(rows, "attributes."),
        "rationales": _maps(rows, "rationales."),
        "options": _options(rows),
        "row": pa.array(np.arange(len(ids)), pa.int64()),
        "place": pa.array([f"{Path(rows.source).name}: {rows.place(i)}" for i in range(len(ids))], pa.string()),
    }
    return pa.table([columns[field.name] for field in EXAMPLES_SCHEMA], schema=EXAMPLES_SCHEMA)


def _texts(rows: Rows, key: str, absent: str) -> list[str]:
    """A column as Python texts, `absent` for null or where the column is not declared."""
    if key not in rows.table.column_names:
        return [absent] * rows.table.num_rows
    filled: list[str] = rows.table[key].fill_null(absent).to_pylist()
    return filled


def _labels(rows: Rows, declared: LabelsConfig) -> list[str]:
    """The declared name of each row's label, or the label as found. Numbers 0 to n-1 mean positions in
    `data.labels.names`, when there is nothing else in the column and no label is itself such a number."""
    found = _texts(rows, "label", "")
    names = {normalise_label(name): name for name in declared.names}
    positions = {str(position): name for position, name in enumerate(declared.names)}
    distinct = {value.strip() for value in found}
    if not positions.keys() & names.keys() and distinct <= {*positions, ""}:
        names = positions
    meaning = {value: names.get(normalise_label(value), value) for value in distinct}
    return [meaning[value.strip()] for value in found]


def _given_splits(rows: Rows) -> list[str] | None:
    """The split each row comes with (one that is unknown, as found), or None where the data knows none."""
    if "split" not in rows.table.column_names:
        return None
    return [SPLIT_NAMES.get(value.strip().casefold(), value.strip()) for value in _texts(rows, "split", "")]


def _options(rows: Rows) -> pa.Array:
    if "options" in rows.table.column_names:
        return rows.table["options"].combine_chunks()
    return pa.array([[]] * rows.table.num_rows, pa.list_(pa.string()))


def _assign(
    config: DataConfig,
    rows: Rows,
    ids: Sequence[str],
    strata: Sequence[str],
    groups: Sequence[str | None],
    given: Sequence[str] | None,
) -> list[str]:
    test_ids, test_source = None, "data.split.test_ids"
    if config.split.test_ids is not None:
        test_ids, given = _test_ids(config, set(ids)), None
        test_source = str(existing_path(config.split.test_ids, test_source))
    elif rows.own_split and given is not None and set(given) <= {"train", "test"}:
        test_ids = {row_id for row_id, split in zip(ids, given, strict=True) if split == "test"}
        test_source, given = "the data set's own split 'test'", None
    return assign_splits(
        ids, strata, groups, config.split, given=given, test_ids=test_ids, source=rows.source, test_source=test_source
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
