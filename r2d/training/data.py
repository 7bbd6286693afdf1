"""Tokenized rows of one stage and their batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from torch.utils.data import Dataset

from r2d.modeling.decoding import encoder_inputs, pad
from r2d.modeling.labels import LabelSet
from r2d.modeling.prompts import PromptEncoder

IGNORED = -100
"""Target id that the loss leaves out."""


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


def stage2_rows(examples: pa.Table, prompts: PromptEncoder, labels: LabelSet) -> StageRows:
    """`predict: x` -> `y*` and, with the gold label in the prompt, `given label: y*, explain: x` -> `r*`."""
    texts, gold = examples["text"].to_pylist(), examples["label"].to_pylist()
    token_ids = dict(zip(labels.names, labels.token_ids, strict=True))
    tokens = {
        "label_prompt": RaggedTokens(prompts.label_prompts(texts)),
        "label": RaggedTokens([token_ids[label] for label in gold]),
        "rationale_prompt": RaggedTokens(prompts.rationale_prompts(texts, gold)),
        "rationale": RaggedTokens(prompts.rationale_targets(examples["rationale"].to_pylist())),
    }
    columns = {"id": examples["id"], "gold_rationale": examples["rationale"]}
    as_given = {name: column.to_pylist() for name, column in columns.items()} | {"text": texts, "gold_label": gold}
    return StageRows(as_given, tokens)


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


def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Batch]:
    """The Trainer moves tensors and walks through lists; a `Batch` it hands on untouched."""
    return {"batch": Batch(rows)}


def seq2seq_inputs(
    prompts: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], pad_id: int, device: Any
) -> dict[str, Any]:
    """Tensors of one teacher-forced forward pass: input_ids, attention_mask and labels, each [rows, longest]."""
    return encoder_inputs(prompts, pad_id, device) | {"labels": pad(targets, IGNORED, device)}
