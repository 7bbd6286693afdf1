"""From a `data` section, or a labelled file, to the table of examples: read, name every row, split.

Rows are not judged: one without a text or with an unknown label stays, and `r2d.data.validation` decides about it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from r2d.config.data import DataConfig, LabelsConfig, SplitConfig
from r2d.config.files import suffix_of
from r2d.config.section import parse_section
from r2d.data.examples import EXAMPLES_SCHEMA, SPLITS, with_columns
from r2d.data.forgotten import Forgotten
from r2d.data.labels import declared_labels, undeclared_rows
from r2d.data.readers.files import existing_file, existing_path
from r2d.data.readers.rows import MAX_CELL_CHARACTERS, Format, cells_cut, column_names, read_json
from r2d.data.readers.tables import PUBMEDQA_PREFIX, SourceTable, read_source
from r2d.data.reading import Reading, with_set_aside
from r2d.data.reviewed import reviewed_config, with_reviews
from r2d.data.splits import assign_splits
from r2d.data.times import PERIOD, divide_by_time, period_of, read_times
from r2d.errors import ConfigError, DataError
from r2d.text import first_of

logger = logging.getLogger(__name__)

SPLIT_NAMES = (
    {name: name for name in SPLITS} | dict.fromkeys(("val", "valid", "dev"), "validation") | {"cal": "calibration"}
)
LABELLED_FORMATS: dict[str, Format] = {".csv": "csv", ".xlsx": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
"""Ending of a labelled file -> its format."""
SET_ASIDE = "set aside"  # in place of a split, until the row is left out
REFERENCE_SOURCE = "reference"  # rationale source of the column `rationale` of a labelled file


def load_examples(config: DataConfig, *, divide: bool = True) -> pa.Table:
    """Every row of a data set with its split, in the order of the file: a table of `EXAMPLES_SCHEMA`.

    Labels are stored as declared, codes translated (an undeclared one as found; no number is a position), ids and
    groups without outer spaces, texts and rationales unchanged. A Hugging Face data set that has its own train,
    validation and test keeps them; where it has no validation, the rows beside test are divided; where it has one split
    only, or `data.split.test_ids` is given, its own are ignored. `data.split.test_from` divides by time. Rows of
    `data.forgotten` are left out, and the others stay in their splits. `data.reviewed` is laid over the training rows.
    What was done to the file while it was read is logged and stands in the table's metadata (`Reading`).

    Args:
        divide: False leaves every row in the split that it comes with, and all rows of data without splits in test.

    Raises:
        DataError: the source cannot be read as declared, or no sound split can be made.
    """
    if config.reviewed is not None and divide:
        reviews = load_examples(reviewed_config(config.reviewed, config.labels, config.forgotten), divide=False)
        return with_reviews(load_examples(config.model_copy(update={"reviewed": None})), reviews)
    if config.test is not None and divide:
        return _with_fresh_test(load_examples(config.without_test()), config)
    if config.columns.split is not None and config.split.test_ids is not None:
        raise DataError("data.columns.split and data.split.test_ids both say which rows are test; remove one of them")
    source, num_cut = _without_endless_cells(read_source(config))
    num_rows = source.columns.num_rows
    if not num_rows:
        raise DataError(
            "; ".join([f"{source.source}: has columns but no rows", *source.notes, "give a file with data"])
        )
    trimmed: dict[str, list[str]] = {}
    for key in ("id", "label", "group", "split"):
        is_declared = key in source.columns.column_names
        column = source.columns[key].fill_null("") if is_declared else pa.repeat(pa.scalar(""), num_rows)
        trimmed[key] = pc.utf8_trim_whitespace(column).to_pylist()
    ids, has_options = trimmed["id"], "options" in source.columns.column_names
    options = source.columns["options"].to_pylist() if has_options else ()
    labels, translated = declared_labels(trimmed["label"], config.labels, options)
    reading = Reading(list(source.notes), num_read=num_rows)
    if num_cut:
        reading.notes.append(cells_cut(num_cut))
    reading.add_codes(translated)
    groups = [group or None for group in trimmed["group"]]
    if divide and config.columns.group is not None and 1 < len(set(groups) - {None}) == num_rows:
        reading.notes.append(
            "data.columns.group has another value in each row, as ids have: it keeps no rows of one patient or caller "
            "in one split; name the column whose values repeat, or remove the key"
        )
    given = None
    if "split" in source.columns.column_names:
        given = [SPLIT_NAMES.get(split.casefold(), split) for split in trimmed["split"]]
    test_ids, test_source = None, "data.split.test_ids"
    if config.split.test_ids is not None:
        test_source = str(existing_path(config.split.test_ids, test_source))
        test_ids = _known_test_ids(config, set(ids))
    elif source.has_own_split and given is not None and set(given) <= {"train", "test"}:
        test_source = "the data set's own split 'test'"
        test_ids = {row_id for row_id, split in zip(ids, given, strict=True) if split == "test"}
    times, set_aside = list[datetime | None](), set[int]()
    if "time" in source.columns.column_names:
        times = read_times(source.columns["time"].to_pylist(), source.places, config, source.source)
    if divide and config.split.test_from is not None:
        test_source = "data.split.test_from"
        if source.has_own_split:
            raise DataError(f"{source.source}: brings its own splits, so that {test_source} divides nothing; remove it")
        by_time = divide_by_time(times, groups, source.places, config, source.source)
        test_ids, set_aside = {ids[row] for row in by_time.test}, by_time.set_aside
    if divide and (given is None or test_ids is not None):
        # Options of the row are no classes: strata of one row each would send all rare answers to training.
        strata = [""] * num_rows if config.labels.per_row else labels
        kept = [row for row in range(num_rows) if row not in set_aside]
        assigned = assign_splits(
            [ids[row] for row in kept], [strata[row] for row in kept], [groups[row] for row in kept], config.split,
            test_ids=test_ids, source=source.source, test_source=test_source,
        )  # fmt: skip
        splits = [SET_ASIDE] * num_rows
        for row, split in zip(kept, assigned, strict=True):
            splits[row] = split
    else:
        splits = given or ["test"] * num_rows
        if (
            divide
            and config.split.calibration_fraction
            and "calibration" not in splits
            and config.columns.split is None
        ):
            raise DataError(
                f"{source.source}: brings its own splits ({', '.join(sorted(set(splits)))}), so that "
                "data.split.calibration_fraction divides nothing; remove it, and the validation rows choose the "
                "threshold, or name the test rows in data.split.test_ids, and all others are divided"
            )
    file_name = Path(source.source).name
    attributes = _map_column(source, "attributes.")
    for pairs, time in zip(attributes, times, strict=False):
        pairs += [] if time is None else [(PERIOD, period_of(time, config.period))]
    columns = {
        "id": ids,
        "split": splits,
        "text": source.columns["text"].fill_null(""),
        "label": labels,
        "rationale": [""] * num_rows,
        "rationale_source": [""] * num_rows,
        "group": groups,
        "attributes": attributes,
        "rationales": _map_column(source, "rationales."),
        "options": source.columns["options"].combine_chunks() if has_options else [[]] * num_rows,
        "row": np.arange(num_rows),
        "place": [f"{file_name}: {place}" for place in source.places],
    }
    examples = Forgotten(frozenset(config.forgotten)).without(pa.table(columns, schema=EXAMPLES_SCHEMA))
    reading.leave_out("of forgotten groups", num_rows - len(examples))
    if set_aside:
        is_kept = pc.not_equal(examples["split"], SET_ASIDE)
        left = examples.filter(pc.invert(is_kept))
        rows = list(zip(left["row"].to_pylist(), left["id"].to_pylist(), strict=True))
        examples = with_set_aside(examples.filter(is_kept), rows)
        reading.leave_out("from before the cut in time, of patients with test rows", len(rows))
    for note in reading.notes:
        logger.info("%s: %s", source.source, note)
    return reading.attached_to(examples)


def _without_endless_cells(source: SourceTable) -> tuple[SourceTable, int]:
    """The source with every string cut at `MAX_CELL_CHARACTERS`, and how many were cut."""
    columns, num_cut = source.columns, 0
    for place, name in enumerate(columns.column_names):
        if not (pa.types.is_string(columns[name].type) or pa.types.is_large_string(columns[name].type)):
            continue
        is_long = pc.fill_null(pc.greater(pc.utf8_length(columns[name]), MAX_CELL_CHARACTERS), False)
        if num_long := pc.sum(is_long).as_py():
            cut = pc.utf8_slice_codeunits(columns[name], 0, MAX_CELL_CHARACTERS)
            columns, num_cut = (
                columns.set_column(place, name, pc.if_else(is_long, cut, columns[name])),
                num_cut + num_long,
            )
    return replace(source, columns=columns), num_cut


def _with_fresh_test(examples: pa.Table, config: DataConfig) -> pa.Table:
    """The examples, then the rows of `data.test.path` as their test split.

    Raises:
        DataError: the data have test rows of their own, or share an id or a group with the fresh ones.
    """
    path = "" if config.test is None else config.test.path
    columns = config.columns.model_copy(update={"split": None})
    fresh = load_examples(
        config.model_copy(update={"path": path, "test": None, "columns": columns, "split": SplitConfig()}), divide=False
    )
    num_test = pc.sum(pc.equal(examples["split"], "test")).as_py()
    if num_test:
        raise DataError(
            f"data.test.path: {num_test:,} rows of the data are in split test already; name them train or validation "
            f"in column {config.columns.split!r}, or remove data.test"
        )
    for key in ("id", "group"):
        known = pc.is_in(fresh[key], value_set=pc.drop_null(examples[key].combine_chunks()))
        shared = fresh["place"].filter(known).to_pylist()
        if shared:
            raise DataError(
                f"data.test.path: {len(shared):,} rows have the {key} of a row of the data, so they are not fresh: "
                f"{first_of(shared)}; remove them from one of the two"
            )
    reading, of_fresh = Reading.of(examples), Reading.of(fresh)
    reading.notes += of_fresh.notes
    reading.num_read += of_fresh.num_read
    for why, num_rows in of_fresh.left_out.items():
        reading.left_out[why] = reading.left_out.get(why, 0) + num_rows
    left_out = Forgotten.of(examples, ())
    offset = len(examples) + len(left_out.rows)
    left_out = left_out.joined(Forgotten.of(fresh, ()), offset)
    fresh = with_columns(fresh, row=pc.add(fresh["row"], offset))
    return reading.attached_to(left_out.attached_to(pa.concat_tables([examples, fresh]).combine_chunks()))


def load_labelled_file(
    path: Path, labels: LabelsConfig, declared: Mapping[str, Any] = MappingProxyType({})
) -> tuple[pa.Table, DataConfig]:
    """The rows of a file with the columns `id`, `text`, `label`, as test data for an existing model.

    Optional columns: `rationale` (the reference), `group`, `split` (without it every row is test) and, where labels
    stand in the rows, `options`.

    Args:
        declared: keys of section `data` that say how the file is read, where it is not as usual.

    Returns:
        table of `EXAMPLES_SCHEMA`, its rationales chosen; and the `data` section that reads the file this way.

    Raises:
        ConfigError: what is declared is no key of `data`, or other labels than those of the model.
        DataError: the file has another format or lacks a column, or a row has no text.
    """
    kind = LABELLED_FORMATS.get(suffix_of(path))
    if kind is None:
        raise DataError(
            f"{path}: a data file ends in {', '.join(LABELLED_FORMATS)}; other formats and columns are declared in a "
            "run configuration, which is taken instead (.yaml)"
        )
    if not path.is_file():
        raise DataError(f"{path}: is no file; give a file with the columns id, text and label")
    own_columns = dict(declared.get("columns", {}))
    values = {"format": kind, "path": str(path), **declared}
    values |= {"labels": labels.model_dump() | declared.get("labels", {}), "columns": own_columns}
    if labels.per_row:
        own_columns.setdefault("options", "options")
    config = parse_section(DataConfig, values, where=str(path))
    if not config.labels.decide_alike(labels):
        raise ConfigError(f"{path}: data.labels are those of the model; declare codes alone")
    if others := sorted(config.columns.rationales.keys() - {REFERENCE_SOURCE}):
        raise ConfigError(
            f"{path}: data.columns.rationales names {', '.join(map(repr, others))}; a labelled file has one column of "
            f"rationales to compare with, data.columns.rationales.{REFERENCE_SOURCE}"
        )
    names = {name.strip() for name in column_names(path, kind, config)}
    found = {name: name for name in ("group", "split") if name in names}
    rationales = {"rationales": {REFERENCE_SOURCE: "rationale"}} if "rationale" in names else {}
    config = parse_section(DataConfig, values | {"columns": {**found, **rationales, **own_columns}}, where=str(path))
    examples = load_examples(config, divide=False)
    has_no_text = pc.equal(pc.utf8_trim_whitespace(examples["text"]), "")
    for place in examples["place"].filter(has_no_text):
        raise DataError(f"{place}: has no text; remove the row or give its note")
    if fault := undeclared_rows(examples["label"].to_pylist(), labels, none="no label of the model"):
        raise DataError(f"{path}: {fault}. Mend the rows, or declare their codes (data.labels.codes)")
    texts = pc.fill_null(pc.map_lookup(examples["rationales"], pa.scalar(REFERENCE_SOURCE), "first"), "")
    sources = pc.if_else(pc.equal(texts, ""), "", REFERENCE_SOURCE)
    return with_columns(examples, rationale=texts, rationale_source=sources), config


def _known_test_ids(config: DataConfig, ids: set[str]) -> set[str]:
    """The ids in the file of `data.split.test_ids`; PubMedQA publishes them without our prefix."""
    file = existing_file(config.split.test_ids or "", "data.split.test_ids")
    content = read_json(file, "data.split.test_ids takes a JSON list of ids")
    if not isinstance(content, list | dict) or not all(isinstance(item, str | int) for item in content):
        raise DataError(f"{file}: data.split.test_ids takes a JSON list of ids, or an object whose keys are the ids")
    if not content:
        raise DataError(f"{file}: names no id; list the test ids, or remove data.split.test_ids")
    prefix = PUBMEDQA_PREFIX if config.format == "pubmedqa" else ""
    return {text if text in ids else prefix + text for text in (str(item).strip() for item in content)}


def _map_column(source: SourceTable, prefix: str) -> list[list[tuple[str, str]]]:
    """(rest of the key, value) of each row in the columns whose key begins with `prefix`, without null and blank."""
    rows: list[list[tuple[str, str]]] = [[] for _ in range(source.columns.num_rows)]
    for key in source.columns.column_names:
        if key.startswith(prefix):
            for row, value in zip(rows, source.columns[key].to_pylist(), strict=True):
                if value and value.strip():
                    row.append((key.removeprefix(prefix), value))
    return rows
