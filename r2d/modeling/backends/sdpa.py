"""The arithmetic of the packed backend by torch's own operations, for GPUs and for bf16: what `kernels` has for a CPU.

All sums have a fixed order, so that a resumed run keeps its bits: rows are copied into groups and out of them, where no
two write to one place, and the gradient of the position bias is summed by rows, then by distances. Held against
`kernels` on a CPU; not measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout as torch_dropout
from torch.nn.functional import scaled_dot_product_attention

from r2d.modeling.backends.kernels import AttentionGroup, PaddedRanges, cross_entropy_of_head, put_heads, take_heads

__all__ = ["cross_entropy_of_head", "dropout", "layer_norm", "packed_attention", "position_bias"]


def position_bias(stack: Any, longest: int) -> Tensor:
    """Bias of relative positions, shared by all layers, [heads, longest, longest]: looked up once for each distance."""
    attention = stack.block[0].layer[0].SelfAttention
    table = attention.relative_attention_bias
    buckets = attention._relative_position_bucket(
        torch.arange(1 - longest, longest, device=table.weight.device),  # from the query to the key
        bidirectional=not attention.is_decoder,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=attention.relative_attention_max_distance,
    )
    by_distance: Tensor = table(buckets).t()
    return by_distance.unfold(1, longest, 1).flip(1)


def packed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    groups: Sequence[AttentionGroup],
    *,
    num_heads: int,
    drop: float,
) -> Tensor:
    """As `kernels.packed_attention`."""
    queries = _Split.apply(query, [group.query for group in groups], num_heads)
    keys, values = (_Split.apply(packed, [group.key for group in groups], num_heads) for packed in (key, value))
    attended = []
    for of, rows, row_keys, row_values in zip(groups, queries, keys, values, strict=True):
        mask = None if bias is None else bias[None, :, : rows.shape[2], : row_keys.shape[2]].to(rows.dtype)
        if of.key.padding is not None:
            padding = torch.zeros_like(of.key.padding, dtype=rows.dtype).masked_fill(of.key.padding, float("-inf"))
            mask = padding[:, None, None] if mask is None else mask + padding[:, None, None]
        attended.append(
            scaled_dot_product_attention(rows, row_keys, row_values, attn_mask=mask, dropout_p=drop, scale=1.0)
        )
    joined: Tensor = _Join.apply(len(query), [group.query for group in groups], *attended)
    return joined


def layer_norm(states: Tensor, module: Any) -> Tensor:
    """The output of a `T5LayerNorm`."""
    normed: Tensor = module(states)
    return normed


def dropout(states: Tensor, drop: float) -> Tensor:
    return torch_dropout(states, drop)


class _Split(torch.autograd.Function):
    """[tokens, heads * d] as [ranges, heads, longest, d] of each group."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, ranges: Sequence[PaddedRanges], num_heads: int) -> tuple[Tensor, ...]:
        ctx.ranges, ctx.shape = ranges, packed.shape
        return tuple(take_heads(packed, of, num_heads) for of in ranges)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        d_packed = gradients[0].new_zeros(ctx.shape)
        for gradient, of in zip(gradients, ctx.ranges, strict=True):
            put_heads(d_packed, gradient, of)
        return d_packed, None, None


class _Join(torch.autograd.Function):
    """[ranges, heads, longest, d] of each group as [tokens, heads * d]."""

    @staticmethod
    def forward(ctx: Any, num_tokens: int, ranges: Sequence[PaddedRanges], *rows: Tensor) -> Tensor:
        ctx.ranges, ctx.num_heads = ranges, rows[0].shape[1]
        packed = rows[0].new_zeros(num_tokens, ctx.num_heads * rows[0].shape[3])
        for of_group, of in zip(rows, ranges, strict=True):
            put_heads(packed, of_group, of)
        return packed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        d_rows = []
        for of in ctx.ranges:
            d_of = take_heads(gradients[0], of, ctx.num_heads)
            d_rows.append(d_of if of.padding is None else d_of.masked_fill(of.padding[:, None, :, None], 0.0))
        return None, None, *d_rows
