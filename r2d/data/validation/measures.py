"""What is measured on the examples: lengths, counts and clusters of each row, and metrics of the whole data set.

The expectations are held against these measures, never against the notes: no text leaves this module.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from r2d.config.data import LabelsConfig
from r2d.config.validation import ValidationConfig
from r2d.data.drift import LengthProfile, jensen_shannon_divergence, length_profile, population_stability_index
from r2d.data.duplicates import exact_duplicates, near_duplicates
from r2d.data.examples import SPLITS, TokenCounts, shown_splits
from r2d.data.text_quality import in_language, num_control_characters, num_markup, num_mojibake
from r2d.errors import DataError, ModelError
from r2d.text import show_label

TOKEN_SAMPLE = 2_000
"""Rows whose tokens are counted: the share that a limit would cut is then known to about two points."""
RATIONALE_CHARACTERS = "rationale_characters."  # begins the column with the rationale lengths of a source

CountTokens = Callable[[pa.Table, int], Sequence[TokenCounts]]
"""Counts the tokens of a sample of so many examples, as `r2d.modeling.load.count_tokens` does for a model."""


class Profile(TypedDict):
    """What later data can be compared with; no row can be read from it."""

    labels: dict[str, float]  # declared label -> its share; empty where the rows bring their own options
    text_characters: LengthProfile


@dataclass(frozen=True)
class DatasetMetric:
    """One metric of the whole data set, and the limits it should keep to."""

    check: str  # the expectation that it belongs to
    name: str  # for readers: `texts cut at 1,024 tokens`
    value: float | None = None
    low: float | None = None
    high: float | None = None
    not_measured: str = ""  # why there is no value, where there is none

    def line(self) -> str:
        """Value and limit for a message."""
        limit = f"at least {self.low:g}" if self.low is not None else f"at most {self.high:g}"
        return f"{self.name}: {self.value:.3g}, should be {limit}"


def measure_rows(
    examples: pa.Table, labels: LabelsConfig, config: ValidationConfig, num_identifiers: NDArray[np.int64]
) -> pd.DataFrame:
    """A frame with one row per example, without the measures of checks that are switched off.

    Args:
        num_identifiers: findings of identifying text in each row.

    Returns:
        columns:
        id_characters, id_number: equal for equal ids
        split, label; options_equal_to_label instead of label where the rows bring their own options
        text_characters; text_first_letter: byte offset of the first letter or digit, -1 where there is none
        control_characters, mojibake_sequences, markup, in_language: 1, 0, or null where the language is not determined
        rationale_characters.<source>: null where there is no rationale of this source
        rationales_equal_to_text, identifiers
        earlier_copies_in_split, earlier_near_copies_in_split, labels_of_text, splits_of_group
        splits_to_copy, splits_to_near_copy: how many splits nearer to test a copy is, 0 where none is
    """
    is_on = {name: config.severity(name) != "off" for name in config.checks()}
    texts, splits = examples["text"], examples["split"].to_pandas()
    frame = pd.DataFrame(
        {
            "id_characters": pc.utf8_length(examples["id"]).to_numpy(),
            "id_number": pd.factorize(examples["id"].to_pandas())[0],
            "split": _without_notes(splits, SPLITS),
            "text_characters": pc.utf8_length(texts).to_numpy(),
            "text_first_letter": pc.find_substring_regex(texts, r"[\pL\pN]").to_numpy(),
            "identifiers": num_identifiers,
        }
    )
    raw_labels = examples["label"].to_pandas()
    if labels.per_row:
        of_row = pc.list_parent_indices(examples["options"])
        is_label = pc.equal(pc.list_flatten(examples["options"]), examples["label"].take(of_row))
        frame["options_equal_to_label"] = np.bincount(of_row.filter(is_label), minlength=len(examples))
    else:
        frame["label"] = _without_notes(raw_labels, labels.names)
    if is_on["control_characters"]:
        frame["control_characters"] = num_control_characters(texts)
    if is_on["mojibake"]:
        frame["mojibake_sequences"] = num_mojibake(texts)
    if is_on["markup"]:
        frame["markup"] = num_markup(texts)
    if is_on["language"]:
        is_in_language = in_language(texts, config.language)
        frame["in_language"] = is_in_language.cast(pa.float64()).to_numpy(zero_copy_only=False)

    pairs = examples["rationales"].cast(pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())])))
    rows = pc.list_parent_indices(pairs).to_numpy()
    sources, rationales = (pc.struct_field(pc.list_flatten(pairs), name) for name in ("key", "value"))
    lengths = pd.DataFrame({"row": rows, "source": sources, "length": pc.utf8_length(rationales)})
    lengths = lengths.pivot(index="row", columns="source", values="length").reindex(frame.index).astype("Int64")
    frame = frame.join(lengths.add_prefix(RATIONALE_CHARACTERS))
    is_text = pc.fill_null(pc.equal(_normalise(rationales), _normalise(texts).take(pa.array(rows))), False)
    frame["rationales_equal_to_text"] = np.bincount(rows[is_text.to_numpy()], minlength=len(examples))

    groups = examples["group"].to_pandas()
    frame["splits_of_group"] = splits.groupby(groups.where(groups != "")).transform("nunique")
    exact = pd.Series(exact_duplicates(texts))
    is_empty = frame["text_first_letter"] < 0  # an empty text is no copy of another
    copies = exact.groupby([exact, splits]).cumcount().mask(is_empty, 0)
    frame["earlier_copies_in_split"] = copies
    frame["labels_of_text"] = raw_labels.groupby(exact).transform("nunique").mask(is_empty, 1)
    frame["splits_to_copy"] = _splits_to_copy(exact, splits).mask(is_empty, 0)
    if is_on["near_duplicate"] or is_on["near_duplicate_across_splits"]:
        near = pd.Series(near_duplicates(texts, config.near_duplicate_similarity, exact.to_numpy()))
        is_copy, is_copy_across = copies > 0, frame["splits_to_copy"] > 0  # those are no near copies as well
        near_copies = near.groupby([near, splits]).cumcount()
        frame["earlier_near_copies_in_split"] = near_copies.mask(is_empty | is_copy, 0)
        frame["splits_to_near_copy"] = _splits_to_copy(near, splits).mask(is_empty | is_copy_across, 0)
    return frame


def _without_notes(values: pd.Series, allowed: Sequence[str]) -> pd.Series:
    """The values, of which those that are not allowed are shown as in messages."""
    is_other = ~values.isin(allowed)
    values = values.copy()
    values[is_other] = [show_label(value, allowed) for value in values[is_other]]
    return values


def _splits_to_copy(clusters: pd.Series, splits: pd.Series) -> pd.Series:
    """How many splits nearer to test the copy of a row stands that is nearest to it; 0 where none is nearer."""
    rank = splits.map({split: rank for rank, split in enumerate(shown_splits(splits))}).fillna(0)
    return (rank.groupby(clusters).transform("max") - rank).astype(np.int64)


def _normalise(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return pc.utf8_lower(pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, r"\s+", " ")))


def profile_of(frame: pd.DataFrame, labels: LabelsConfig) -> Profile:
    """Shares of the labels and deciles of the text lengths, from the frame of `measure_rows`."""
    return {
        "labels": {name: float((frame["label"] == name).mean()) for name in labels.names},
        "text_characters": length_profile(frame["text_characters"].to_numpy()),
    }


def measure_dataset(
    examples: pa.Table,
    frame: pd.DataFrame,
    profile: Profile,
    labels: LabelsConfig,
    config: ValidationConfig,
    count_tokens: CountTokens | None,
) -> list[DatasetMetric]:
    """The metrics that no aggregate of the row measures gives, of the checks that are switched on.

    Raises:
        DataError: `validation.reference` is no result of a validation.
    """
    metrics: list[DatasetMetric] = []
    if config.severity("token_limit") != "off":
        metrics += _cut_shares(examples, config, count_tokens)
    if config.severity("label_balance") != "off" and not labels.per_row:
        shares = list(profile["labels"].values())
        for split in SPLITS:
            of_split = frame.loc[frame["split"] == split, "label"]
            if len(of_split) and any(shares):
                split_shares = [float((of_split == name).mean()) for name in labels.names]
                value = jensen_shannon_divergence(split_shares, shares) if any(split_shares) else 1.0
                name = f"Jensen-Shannon divergence of the labels of {split}"
                metrics.append(DatasetMetric("label_balance", name, value, high=config.max_label_divergence))
    drift_checks = [check for check in ("label_drift", "length_drift") if config.severity(check) != "off"]
    if config.reference is None or not drift_checks:
        return metrics
    path = Path(config.reference)
    try:
        reference: Any = json.loads(path.read_text(encoding="utf-8"))["profile"]
        if set(reference) != {"labels", "text_characters"}:
            raise KeyError("profile")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); correct validation.reference") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{path}: is no result of a validation; validation.reference takes a result.json that `r2d validate` wrote"
        ) from None
    names = sorted({*profile["labels"], *reference["labels"]})
    expected, found = ([float(side["labels"].get(name, 0.0)) for name in names] for side in (reference, profile))
    if "label_drift" in drift_checks and names:
        name, value = "population stability index of labels", population_stability_index(expected, found)
        metrics.append(DatasetMetric("label_drift", name, value, high=config.max_drift))
    if "length_drift" in drift_checks:
        earlier = reference["text_characters"]
        lengths = length_profile(frame["text_characters"].to_numpy(), earlier["edges"])
        name = "population stability index of text lengths"
        value = population_stability_index(earlier["shares"], lengths["shares"])
        metrics.append(DatasetMetric("length_drift", name, value, high=config.max_drift))
    return metrics


def _cut_shares(
    examples: pa.Table, config: ValidationConfig, count_tokens: CountTokens | None
) -> Iterator[DatasetMetric]:
    """Shares of the texts and of the rationales of a sample that the token limits would cut."""
    ids = examples["id"].to_pylist()
    if len(ids) > TOKEN_SAMPLE:  # the rows with the lowest hashes, the same whatever their order
        digests = [hashlib.blake2b(row_id.encode("utf-8", "surrogatepass"), digest_size=8).digest() for row_id in ids]
        examples = examples.take(sorted(sorted(range(len(ids)), key=digests.__getitem__)[:TOKEN_SAMPLE]))
    try:
        token_counts = count_tokens(examples, len(ids)) if count_tokens else None
        reason = "no tokenizer was given"
    except ModelError as error:
        token_counts, reason = None, str(error).splitlines()[0]
    if token_counts is None:
        yield DatasetMetric("token_limit", "tokens", high=config.max_cut_share, not_measured=reason)
        return
    for what, counts, limit in token_counts:
        if counts:
            share = float(np.mean([count > limit for count in counts]))
            yield DatasetMetric("token_limit", f"{what} cut at {limit:,} tokens", share, high=config.max_cut_share)
