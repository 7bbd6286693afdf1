"""Inputs of the library's own forward pass, which ours is held against."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def padded_inputs(rows: Sequence[Sequence[int]], pad_id: int = 0) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask`, both [rows, longest]."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad_id] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}
