"""Dropout with a cheaper mask: four elements from one 64-bit random number, and one byte kept for each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_NUM_LEVELS = 1 << 16


def drop_mask(shape: torch.Size, drop: float, device: torch.device) -> Tensor:
    """True with probability `drop`, rounded to 1 / 65,536; from torch's global generator, as torch's own dropout."""
    num = shape.numel()
    words = torch.empty((num + 3) // 4, dtype=torch.int64, device=device).random_(-(1 << 63), None)
    threshold = round(drop * _NUM_LEVELS) - _NUM_LEVELS // 2
    return (words.view(torch.int16)[:num] < threshold).view(shape)


def dropout(states: Tensor, drop: float) -> Tensor:
    """`states`, each element zeroed with probability `drop` and the others scaled by 1 / (1 - drop)."""
    if not drop:
        return states
    result: Tensor = _Dropout.apply(states, drop)
    return result


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, drop: float) -> Tensor:
        mask = drop_mask(states.shape, drop, states.device)
        ctx.save_for_backward(mask)
        ctx.scale = 1 / (1 - drop)
        return states.masked_fill(mask, 0.0).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (mask,) = ctx.saved_tensors
        return gradients[0].masked_fill(mask, 0.0).mul_(ctx.scale), None
