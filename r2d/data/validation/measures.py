"""What is measured on every row: lengths, flags and clusters. The texts themselves do not leave this module."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from r2d.config.data import LabelsConfig
from r2d.config.validation import ValidationConfig
from r2d.data.duplicates import exact_duplicates, near_duplicates
from r2d.data.examples import SPLITS
from r2d.data.text_damage import control_characters, mojibake

NEARNESS = {split: rank for rank, split in enumerate(SPLITS)}
"""Of two copies in different splits, the one of the lower rank is taken out: test rows stay."""


def measure(examples: pa.Table, labels: LabelsConfig, config: ValidationConfig) -> pd.DataFrame:
    """One row an example: what the expectations look at.

    Lengths are in characters. A flag is True where something is wrong. Checks that are switched off are not measured.
    """
    wanted = {name for name in config.checks() if config.severity(name) != "off"}
    texts = examples["text"]
    frame = pd.DataFrame(
        {
            "id": examples["id"].to_pandas(),
            "split": examples["split"].to_pandas(),
            "group": examples["group"].to_pandas(),
            "label": examples["label"].to_pandas(),
            "id_length": pc.utf8_length(examples["id"]).to_numpy(),
            "text_characters": pc.utf8_length(texts).to_numpy(),
            "text_empty": ~_flags(pc.match_substring_regex(texts, r"[\pL\pN]")),
            "label_undeclared": ~_declared(examples, labels),
        }
    )
    frame = frame.join(_rationale_measures(examples))
    if "control_characters" in wanted:
        frame["control_characters"] = control_characters(texts)
    if "mojibake" in wanted:
        frame["mojibake"] = mojibake(texts)
    frame["group_across_splits"] = _in_several_splits(frame["group"], frame["split"])
    return frame.join(_duplicate_measures(texts, frame, wanted, config))


def by_source(examples: pa.Table) -> Mapping[str, np.ndarray]:
    """Rationale source -> whether each row has a rationale of it."""
    rows, names, _ = _rationales(examples)
    return {str(name): np.isin(np.arange(len(examples)), rows[names == name]) for name in sorted(set(names.tolist()))}


def _rationales(examples: pa.Table) -> tuple[np.ndarray, np.ndarray, pa.Array]:
    """All rationales of all rows, flat: index of the row, source, text."""
    column = examples["rationales"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    offsets = column.offsets.to_numpy()
    rows = np.repeat(np.arange(len(column)), np.diff(offsets))
    keys = column.keys.slice(offsets[0], offsets[-1] - offsets[0])
    items = column.items.slice(offsets[0], offsets[-1] - offsets[0])
    return rows, keys.to_numpy(zero_copy_only=False), items


def _rationale_measures(examples: pa.Table) -> pd.DataFrame:
    """Shortest and longest rationale of each row (null where it has none), and whether one is the text itself."""
    rows, _, items = _rationales(examples)
    lengths = pd.Series(pc.utf8_length(items).to_numpy(zero_copy_only=False), dtype="Int64").groupby(rows)
    texts = _normalised(examples["text"]).take(pa.array(rows))
    equal = np.zeros(len(examples), dtype=bool)
    equal[rows[_flags(pc.equal(_normalised(items), texts))]] = True
    index = range(len(examples))
    return pd.DataFrame(
        {
            "rationale_shortest": lengths.min().reindex(index),
            "rationale_longest": lengths.max().reindex(index),
            "rationale_equals_text": equal,
        }
    )


def _duplicate_measures(
    texts: pa.ChunkedArray, frame: pd.DataFrame, wanted: set[str], config: ValidationConfig
) -> pd.DataFrame:
    """Flags from clusters of equal texts, and of nearly equal ones. Empty texts are nobody's copy."""
    exact = pd.Series(exact_duplicates(texts))
    flags = pd.DataFrame(
        {
            "exact_duplicate": frame.groupby([exact, frame["split"]]).cumcount() > 0,
            "label_conflict": frame.groupby(exact)["label"].transform("nunique") > 1,
            "text_across_splits": _copied_towards_training(exact, frame["split"]),
        }
    )
    if wanted & {"near_duplicate", "near_duplicate_across_splits"}:
        near = pd.Series(near_duplicates(texts, config.near_duplicate_similarity, exact.to_numpy()))
        flags["near_duplicate"] = (frame.groupby([near, frame["split"]]).cumcount() > 0) & ~flags["exact_duplicate"]
        flags["near_duplicate_across_splits"] = (
            _copied_towards_training(near, frame["split"]) & ~flags["text_across_splits"]
        )
    return flags.mask(frame["text_empty"], False).astype(bool)


def _copied_towards_training(clusters: pd.Series, splits: pd.Series) -> pd.Series:
    """Rows whose text also stands in a split further from training: validation for train, test for both."""
    rank = splits.map(NEARNESS).fillna(0)
    return rank < rank.groupby(clusters).transform("max")


def _in_several_splits(groups: pd.Series, splits: pd.Series) -> pd.Series:
    known = groups.notna() & (groups != "")
    return known & (splits.groupby(groups.where(known)).transform("nunique").fillna(1) > 1)


def _declared(examples: pa.Table, labels: LabelsConfig) -> np.ndarray:
    if not labels.per_row:
        return _flags(pc.is_in(examples["label"], pa.array(labels.names, pa.string())))
    rows = zip(examples["label"].to_pylist(), examples["options"].to_pylist(), strict=True)
    return np.fromiter((label in options for label, options in rows), dtype=bool, count=len(examples))


def _normalised(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return pc.utf8_lower(pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, r"\s+", " ")))


def _flags(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    return pc.fill_null(values, False).to_numpy(zero_copy_only=False).astype(bool)
