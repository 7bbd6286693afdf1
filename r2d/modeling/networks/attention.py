"""Attention over rows laid end to end: rows of similar length are attended to together, in groups that fit the cache.

What padding is left inside a group concerns the scores alone; all other layers see no padding at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from r2d.modeling.networks.dropout import drop_mask

SCORES_AT_A_TIME = 1 << 18
"""Attention scores of a group over all heads: 1 MiB, what a core's own cache holds."""
MOST_PADDING = 0.3
"""Share of a group's scores that may be padding."""


@dataclass(frozen=True, slots=True)
class Span:
    """A run of query tokens and the run of key tokens that it looks at: (start, end) in the packed tensors."""

    query: tuple[int, int]
    key: tuple[int, int]

    @property
    def num_queries(self) -> int:
        return self.query[1] - self.query[0]

    @property
    def num_keys(self) -> int:
        return self.key[1] - self.key[0]


@dataclass(frozen=True, slots=True)
class Group:
    """Spans attended to in one piece."""

    query: Tensor
    """Positions, [spans, longest]; a position behind the end of a span is 0."""
    query_beyond: Tensor | None
    """Where `query` is behind the end, [spans, longest]; None where nothing is."""
    key: Tensor
    key_beyond: Tensor | None


def runs(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Where each row lies among all tokens."""
    ends = list(accumulate(lengths))
    return list(zip([0, *ends], ends, strict=False))


def group_spans(spans: Sequence[Span], num_heads: int, device: torch.device) -> list[Group]:
    """Spans of similar size together. No key may stand in two spans."""
    return [
        Group(*_positions([span.query for span in some], device), *_positions([span.key for span in some], device))
        for some in _similar(spans, num_heads)
    ]


def _similar(spans: Sequence[Span], num_heads: int) -> Iterator[list[Span]]:
    some: list[Span] = []
    area = longest_query = longest_key = 0
    for span in sorted(spans, key=lambda span: (span.num_queries, span.num_keys)):
        query, key = max(longest_query, span.num_queries), max(longest_key, span.num_keys)
        padded, used = query * key * (len(some) + 1), area + span.num_queries * span.num_keys
        if some and (padded * num_heads > SCORES_AT_A_TIME or used < (1 - MOST_PADDING) * padded):
            yield some
            some, area, query, key = [], 0, span.num_queries, span.num_keys
        some.append(span)
        area, longest_query, longest_key = area + span.num_queries * span.num_keys, query, key
    if some:
        yield some


def _positions(some: Sequence[tuple[int, int]], device: torch.device) -> tuple[Tensor, Tensor | None]:
    starts, ends = torch.tensor(some).unbind(1)
    positions = starts[:, None] + torch.arange(int((ends - starts).max()))
    beyond = positions >= ends[:, None]
    if not beyond.any():
        return positions.to(device), None
    return positions.masked_fill(beyond, 0).to(device), beyond.to(device)


def packed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    groups: Sequence[Group],
    *,
    num_heads: int,
    drop: float,
) -> Tensor:
    """softmax(Q K^T + bias) V for each span on its own; T5 does not scale the scores.

    Args:
        query: [query tokens, heads * d_kv]; `key` and `value`: [key tokens, heads * d_kv].
        bias: [heads, longest, longest] of relative positions, -inf where a query may not look; None for no bias.
        drop: probability of dropping an attention weight, 0 outside training.

    Returns:
        [query tokens, heads * d_kv].
    """
    output: Tensor = _PackedAttention.apply(query, key, value, bias, groups, num_heads, drop)
    return output


class _PackedAttention(torch.autograd.Function):
    """Written by hand in both directions: many small autograd nodes would cost more than the arithmetic."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        groups: Sequence[Group],
        num_heads: int,
        drop: float,
    ) -> Tensor:
        output = torch.empty_like(query)
        kept: list[tuple[Tensor, Tensor | None]] = []
        for group in groups:
            scores = _take(query, group.query, num_heads) @ _take(key, group.key, num_heads).transpose(2, 3)
            if bias is not None:
                scores += bias[:, : scores.shape[2], : scores.shape[3]]
            if group.key_beyond is not None:
                scores.masked_fill_(group.key_beyond[:, None, None], float("-inf"))
            weights = torch.softmax(scores, dim=-1)
            dropped = drop_mask(weights.shape, drop, weights.device) if drop else None
            used = weights if dropped is None else weights.masked_fill(dropped, 0.0)
            attended = used @ _take(value, group.key, num_heads)
            _put(output, attended.mul_(1 / (1 - drop)) if drop else attended, group.query, group.query_beyond)
            kept.append((weights, dropped))
        ctx.save_for_backward(query, key, value)
        ctx.kept, ctx.groups, ctx.num_heads, ctx.drop = kept, groups, num_heads, drop
        ctx.bias_shape = None if bias is None else bias.shape
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        query, key, value = ctx.saved_tensors
        num_heads, scale = ctx.num_heads, 1 / (1 - ctx.drop)
        d_query, d_key, d_value = (torch.zeros_like(part) for part in (query, key, value))
        d_bias = query.new_zeros(ctx.bias_shape) if ctx.bias_shape and ctx.needs_input_grad[3] else None
        for group, (weights, dropped) in zip(ctx.groups, ctx.kept, strict=True):
            d_output = _take(gradients[0], group.query, num_heads, group.query_beyond)
            if dropped is not None:
                d_output = d_output * scale
            used = weights if dropped is None else weights.masked_fill(dropped, 0.0)
            _put(d_value, used.transpose(2, 3) @ d_output, group.key, group.key_beyond)
            d_weights = d_output @ _take(value, group.key, num_heads).transpose(2, 3)
            if dropped is not None:
                d_weights.masked_fill_(dropped, 0.0)
            d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            if d_bias is not None:
                d_bias[:, : d_scores.shape[2], : d_scores.shape[3]] += d_scores.sum(dim=0)
            _put(d_query, d_scores @ _take(key, group.key, num_heads), group.query, group.query_beyond)
            d_keys = d_scores.transpose(2, 3) @ _take(query, group.query, num_heads)
            _put(d_key, d_keys, group.key, group.key_beyond)
        return d_query, d_key, d_value, d_bias, None, None, None


def _take(packed: Tensor, positions: Tensor, num_heads: int, beyond: Tensor | None = None) -> Tensor:
    """[tokens, heads * d] at [spans, longest] as [spans, heads, longest, d]; 0 where `beyond`."""
    rows = packed.index_select(0, positions.flatten()).view(*positions.shape, num_heads, -1)
    if beyond is not None:
        rows.masked_fill_(beyond[:, :, None, None], 0.0)
    return rows.transpose(1, 2)


def _put(packed: Tensor, rows: Tensor, positions: Tensor, beyond: Tensor | None) -> None:
    """The way back of `_take`; what lies beyond the end of a span is left out."""
    by_token = rows.transpose(1, 2).reshape(positions.numel(), -1)
    where = positions.flatten()
    if beyond is not None:
        inside = ~beyond.flatten()
        where, by_token = where[inside], by_token[inside]
    packed.index_copy_(0, where, by_token)
