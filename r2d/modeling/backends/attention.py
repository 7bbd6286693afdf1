"""Attention over rows laid end to end: rows of similar length are attended to together, in groups that fit the cache.

What padding is left inside a group concerns the scores alone; all other layers see no padding at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any

import torch
from torch import Tensor

from r2d.modeling.backends.dropout import drop_mask

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
class Runs:
    """Runs of tokens in the packed tensors, padded to the longest of them."""

    positions: Tensor
    """Of the tokens, [runs, longest]; 0 behind the end of a run."""
    beyond: Tensor | None
    """What is behind the end of its run, [runs, longest]; None where nothing is."""
    inside: Tensor | None
    """The other places of `positions`, counted through; None where all are."""
    tokens: Tensor
    """The position of each token once."""


@dataclass(frozen=True, slots=True)
class Group:
    """Spans attended to in one piece."""

    query: Runs
    key: Runs


def runs(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Where each row lies among all tokens."""
    ends = list(accumulate(lengths))
    return list(zip([0, *ends], ends, strict=False))


def group_spans(spans: Sequence[Span], num_heads: int, device: torch.device) -> list[Group]:
    """Spans of similar size together. No key may stand in two spans."""
    return [
        Group(_runs([span.query for span in some], device), _runs([span.key for span in some], device))
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


def _runs(some: Sequence[tuple[int, int]], device: torch.device) -> Runs:
    starts, ends = torch.tensor(some).unbind(1)
    positions = starts[:, None] + torch.arange(int((ends - starts).max()))
    beyond = positions >= ends[:, None]
    if not beyond.any():
        return Runs(positions.to(device), None, None, positions.flatten().to(device))
    inside = (~beyond).flatten().nonzero().squeeze(1)
    tokens = positions.flatten()[inside]
    return Runs(positions.masked_fill(beyond, 0).to(device), beyond.to(device), inside.to(device), tokens.to(device))


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
        kept: list[tuple[Tensor | None, ...]] = []
        for group in groups:
            queries, keys, values = (
                _take(packed, positions, num_heads)
                for packed, positions in ((query, group.query), (key, group.key), (value, group.key))
            )
            scores = queries @ keys.transpose(2, 3)
            if bias is not None:
                scores += bias[:, : scores.shape[2], : scores.shape[3]]
            if group.key.beyond is not None:
                scores.masked_fill_(group.key.beyond[:, None, None], float("-inf"))
            weights = torch.softmax(scores, dim=-1)
            dropped = drop_mask(weights.shape, drop, weights.device) if drop else None
            used = weights if dropped is None else weights.masked_fill(dropped, 0.0)
            attended = used @ values
            _put(output, attended.mul_(1 / (1 - drop)) if drop else attended, group.query)
            kept.append((queries, keys, values, weights, dropped))
        ctx.save_for_backward(*(tensor for tensors in kept for tensor in tensors))
        ctx.groups, ctx.num_heads, ctx.drop = groups, num_heads, drop
        ctx.shapes = query.shape, key.shape
        ctx.bias_shape = None if bias is None else bias.shape
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (d_packed,), num_heads, scale = gradients, ctx.num_heads, 1 / (1 - ctx.drop)
        query_shape, key_shape = ctx.shapes
        d_query, d_key, d_value = (d_packed.new_zeros(shape) for shape in (query_shape, key_shape, key_shape))
        d_bias = d_packed.new_zeros(ctx.bias_shape) if ctx.bias_shape and ctx.needs_input_grad[3] else None
        saved = iter(ctx.saved_tensors)
        for group in ctx.groups:
            queries, keys, values, weights, dropped = islice(saved, 5)
            d_output = _take(d_packed, group.query, num_heads)
            if group.query.beyond is not None:
                d_output.transpose(1, 2).masked_fill_(group.query.beyond[:, :, None, None], 0.0)
            if dropped is not None:
                d_output = d_output * scale
            used = weights if dropped is None else weights.masked_fill(dropped, 0.0)
            _put(d_value, used.transpose(2, 3) @ d_output, group.key)
            d_weights = d_output @ values.transpose(2, 3)
            if dropped is not None:
                d_weights.masked_fill_(dropped, 0.0)
            d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            if d_bias is not None:
                d_bias[:, : d_scores.shape[2], : d_scores.shape[3]] += d_scores.sum(dim=0)
            _put(d_query, d_scores @ keys, group.query)
            _put(d_key, d_scores.transpose(2, 3) @ queries, group.key)
        return d_query, d_key, d_value, d_bias, None, None, None


def _take(packed: Tensor, runs: Runs, num_heads: int) -> Tensor:
    """[tokens, heads * d] as [runs, heads, longest, d]; what is beyond the end of a run means nothing."""
    rows = packed.index_select(0, runs.positions.flatten())
    return rows.view(*runs.positions.shape, num_heads, -1).transpose(1, 2)


def _put(packed: Tensor, rows: Tensor, runs: Runs) -> None:
    """The way back of `_take`."""
    by_token = rows.transpose(1, 2).reshape(runs.positions.numel(), -1)
    packed.index_copy_(0, runs.tokens, by_token if runs.inside is None else by_token.index_select(0, runs.inside))
