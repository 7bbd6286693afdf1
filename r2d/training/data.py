"""Tokenized rows of one stage and their batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from torch.utils.data import Dataset

from r2d.modeling.labels import LabelSets
from r2d.modeling.prompts import PromptEncoder


class RaggedTokens:
    """Token ids of many rows, 4 bytes each: the notes of a hospital do not fit into Python lists."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self.ends = np.cumsum([len(row) for row in rows])
        self.flat = np.fromiter((token for row in rows for token in row), dtype=np.int32, count=self.ends[-1])

    def __getitem__(self, index: int) -> list[int]:
        start = self.ends[index - 1] if index else 0
        return self.flat[start : self.ends[index]].tolist()

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.ends, prepend=0)


class StageRows(Dataset[dict[str, Any]]):
    """Rows of one split as the stage reads them: texts as given, token ids by column."""

    def __init__(self, texts: Mapping[str, Sequence[str]], tokens: Mapping[str, RaggedTokens]) -> None:
        self.texts = texts
        self.tokens = tokens

    def __len__(self) -> int:
        return len(self.texts["id"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        row: dict[str, Any] = {name: column[index] for name, column in self.texts.items()}
        return row | {name: column[index] for name, column in self.tokens.items()}

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row over all its columns: what a batch costs."""
        return np.sum([column.lengths for column in self.tokens.values()], axis=0)


def stage1_rows(examples: pa.Table, prompts: PromptEncoder) -> StageRows:
    """`explain: x` -> `r*`."""
    texts = examples["text"].to_pylist()
    tokens = {
        "prompt": RaggedTokens(prompts.stage1_prompts(texts)),
        "rationale": RaggedTokens(prompts.rationale_targets(examples["rationale"].to_pylist())),
    }
    return StageRows({"id": examples["id"].to_pylist()}, tokens)


def stage2_rows(examples: pa.Table, prompts: PromptEncoder, labels: LabelSets) -> StageRows:
    """`predict: x` -> `y*` and `r*`; the rationale prompt depends on the label and is composed at the step."""
    texts, gold = examples["text"].to_pylist(), examples["label"].to_pylist()
    label_prompts = prompts.label_prompts(texts)
    token_ids = {label: prompts.tokenizer(label).input_ids for label in set(gold)}
    tokens = {
        "label_prompt": RaggedTokens(label_prompts),
        "label": RaggedTokens([token_ids[label] for label in gold]),
        "rationale": RaggedTokens(prompts.rationale_targets(examples["rationale"].to_pylist())),
    }
    options = examples["options"].to_pylist()
    columns = {
        "id": examples["id"].to_pylist(),
        "text": texts,
        "gold_label": gold,
        "gold_rationale": examples["rationale"].to_pylist(),
        "composable": prompts.can_compose(texts, label_prompts, gold),
        "options": [some or () for some in options],
    }
    for some in options:
        labels.of(some or ())
    return StageRows(columns, tokens)


def rationale_prompts(rows: Batch, labels: Sequence[str], prompts: PromptEncoder) -> list[list[int]]:
    """`given label: {y}, explain: {x}` for each row: joined token ids, or the whole text where those would differ."""
    composed: list[list[int] | None] = [
        prompts.compose_rationale_prompt(row["label_prompt"], label) if row["composable"] else None
        for row, label in zip(rows.rows, labels, strict=True)
    ]
    missing = [place for place, ids in enumerate(composed) if ids is None]
    whole = prompts.rationale_prompts([rows.rows[i]["text"] for i in missing], [labels[i] for i in missing])
    for place, ids in zip(missing, whole, strict=True):
        composed[place] = ids
    return [ids for ids in composed if ids is not None]


class Batch:
    """Rows of one batch, still as lists: Stage 2 knows its prompts only at the step, and padding comes last."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, column: str) -> list[Any]:
        return [row[column] for row in self.rows]

    def num_tokens(self, column: str) -> int:
        return sum(len(row[column]) for row in self.rows)

    def take(self, rows: Sequence[int]) -> Batch:
        return Batch([self.rows[row] for row in rows])


def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Batch]:
    """The Trainer moves tensors and walks through lists; a `Batch` it hands on untouched."""
    return {"batch": Batch(rows)}
