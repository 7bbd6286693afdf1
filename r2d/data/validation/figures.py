"""What is measured on the whole table: shares, divergences, drift against an earlier profile."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.validation import ValidationConfig
from r2d.data.drift import jensen_shannon_divergence, length_profile, population_stability_index
from r2d.data.examples import SPLITS, split_of
from r2d.data.validation.measures import by_source
from r2d.errors import DataError, ModelError

TOKEN_SAMPLE = 2_000
"""Rows whose tokens are counted: the share that a limit would cut is then known to about two points."""


@dataclass(frozen=True)
class Figure:
    """One figure of the table, and the limits it should keep to."""

    check: str
    name: str
    """What it is, as a reader would call it: `texts cut at 1,024 tokens`."""
    value: float | None
    low: float | None = None
    high: float | None = None
    not_measured: str = ""

    def shown(self) -> str:
        """Figure and limit for a message."""
        limit = f"at least {self.low:g}" if self.low is not None else f"at most {self.high:g}"
        return f"{self.name}: {self.value:.3g}, should be {limit}"


def figures_of(
    examples: pa.Table,
    frame: pd.DataFrame,
    labels: LabelsConfig,
    config: ValidationConfig,
    model: ModelConfig,
    start_folder: Path | None,
) -> tuple[list[Figure], dict[str, Any]]:
    """Every figure whose check is switched on, and the profile that later data can be compared with.

    Raises:
        DataError: `validation.reference` is no result of a validation.
    """
    profile, lengths = profile_of(frame, labels), frame["text_characters"].to_numpy()
    figures: list[Figure] = []
    for check, measured in {
        "token_limit": lambda: _cut_shares(examples, config, model, start_folder),
        "language": lambda: _language(examples, config),
        "labels_in_every_split": lambda: _absent_labels(frame, labels),
        "label_balance": lambda: _balance(frame, labels, config),
        "rationale_coverage": lambda: _coverage(examples, config),
        "label_drift": lambda: _drift(profile, lengths, config, "label_drift"),
        "length_drift": lambda: _drift(profile, lengths, config, "length_drift"),
    }.items():
        if config.severity(check) != "off":
            figures += measured()
    return figures, profile


def profile_of(frame: pd.DataFrame, labels: LabelsConfig) -> dict[str, Any]:
    """Shares of the labels and deciles of the text lengths; no row can be read from it."""
    shares = {} if labels.per_row else {name: float((frame["label"] == name).mean()) for name in labels.names}
    return {"labels": shares, "text_characters": length_profile(frame["text_characters"].to_numpy())}


def _cut_shares(
    examples: pa.Table, config: ValidationConfig, model: ModelConfig, start_folder: Path | None
) -> Iterator[Figure]:
    from r2d.modeling.load import start_tokenizer
    from r2d.modeling.prompts import PromptEncoder

    sample = examples.take(_sample(examples["id"].to_pylist(), TOKEN_SAMPLE))
    texts = sample["text"].to_pylist()
    rationales = [text for pairs in sample["rationales"].to_pylist() for _, text in pairs]
    try:
        training = split_of(sample, "train")["text"].to_pylist() + rationales
        tokenizer = start_tokenizer(model, training, folder=start_folder)
    except ModelError as error:
        reason = str(error).splitlines()[0]
        yield Figure("token_limit", "tokens", None, high=config.max_cut_share, not_measured=reason)
        return
    longest = model.model_copy(update={"max_input_tokens": 10**9, "max_rationale_tokens": 10**9})
    prompts = PromptEncoder(tokenizer, longest)
    for name, ids, limit in (
        ("texts", prompts.label_prompts(texts), model.max_input_tokens),
        ("rationales", prompts.rationale_targets(rationales), model.max_rationale_tokens),
    ):
        if ids:
            share = float(np.mean([len(tokens) > limit for tokens in ids]))
            yield Figure("token_limit", f"{name} cut at {limit:,} tokens", share, high=config.max_cut_share)


def _sample(ids: Sequence[str], size: int) -> list[int]:
    """Rows that nobody picks, the same whatever their order."""
    if len(ids) <= size:
        return list(range(len(ids)))
    digests = [hashlib.blake2b(row_id.encode("utf-8", "surrogatepass"), digest_size=8).digest() for row_id in ids]
    return sorted(sorted(range(len(ids)), key=digests.__getitem__)[:size])


def _language(examples: pa.Table, config: ValidationConfig) -> Iterator[Figure]:
    from r2d.data.language import in_language

    share = pc.mean(in_language(examples["text"], config.language)).as_py()
    if share is None:
        yield Figure("language", "language", None, low=config.min_language_share, not_measured="texts are too short")
    else:
        yield Figure("language", f"texts in {config.language!r}", share, low=config.min_language_share)


def _absent_labels(frame: pd.DataFrame, labels: LabelsConfig) -> Iterator[Figure]:
    for split in SPLITS:
        there = set(frame.loc[frame["split"] == split, "label"])
        if there and not labels.per_row:
            absent = [name for name in labels.names if name not in there]
            named = f" ({', '.join(absent[:10])})" if absent else ""
            yield Figure("labels_in_every_split", f"labels absent from {split}{named}", len(absent), high=0)


def _balance(frame: pd.DataFrame, labels: LabelsConfig, config: ValidationConfig) -> Iterator[Figure]:
    if labels.per_row:
        return
    whole = [float((frame["label"] == name).mean()) for name in labels.names]
    for split in SPLITS:
        rows = frame.loc[frame["split"] == split, "label"]
        if len(rows) and any(whole):
            shares = [float((rows == name).mean()) for name in labels.names]
            divergence = jensen_shannon_divergence(shares, whole) if any(shares) else 1.0
            name = f"Jensen-Shannon divergence of the labels of {split}"
            yield Figure("label_balance", name, divergence, high=config.max_label_divergence)


def _coverage(examples: pa.Table, config: ValidationConfig) -> Iterator[Figure]:
    for source, there in by_source(examples).items():
        name = f"rows with a rationale of source {source!r}"
        yield Figure("rationale_coverage", name, float(there.mean()), low=config.min_rationale_coverage)


def _drift(profile: dict[str, Any], lengths: np.ndarray, config: ValidationConfig, check: str) -> Iterator[Figure]:
    if config.reference is None:
        return
    reference = _reference(Path(config.reference))
    if check == "label_drift":
        names = sorted({*profile["labels"], *reference["labels"]})
        expected, found = ([float(side["labels"].get(name, 0.0)) for name in names] for side in (reference, profile))
        kind = "labels"
    else:
        expected = reference["text_characters"]["shares"]
        found = length_profile(lengths, reference["text_characters"]["edges"])["shares"]
        kind = "text lengths"
    if expected:
        index = population_stability_index(expected, found)
        yield Figure(check, f"population stability index of {kind}", index, high=config.max_drift)


def _reference(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        profile = content["profile"]
        if set(profile) != {"labels", "text_characters"}:
            raise KeyError("profile")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); correct validation.reference") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{path}: is no result of a validation; validation.reference takes a result.json that `r2d validate` wrote"
        ) from None
    return dict(profile)
