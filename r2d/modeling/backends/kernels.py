"""The arithmetic of the packed backend, over rows laid end to end: attention, dropout, layer norm and cross-entropy.

Each is an autograd function written by hand in both directions: many small autograd nodes would cost more than the
arithmetic. Tests hold them against finite differences and against the plain way.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, islice
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Linear
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

SCORES_AT_A_TIME = 1 << 18
"""Attention scores of a group over all heads: 1 MiB, which fits the cache of one core."""
MOST_PADDING = 0.3
"""Share of a group's scores that may be padding."""
VOCABULARY_TOKENS_AT_A_TIME = 256
"""Tokens whose logits are in memory together."""
HEAD_TOKENS_AT_A_TIME = 2048
"""The same on a GPU, in bf16, or where the output layer is more than a matrix."""
DROPOUT_LEVELS = 1 << 16


# --- Attention: rows of similar length are attended to together, in groups that fit the cache ---


class Span(NamedTuple):
    """A range of query tokens and the range of key tokens it attends to: (start, end) in the packed tensors."""

    query: tuple[int, int]
    key: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Number of query tokens and of key tokens."""
        return self.query[1] - self.query[0], self.key[1] - self.key[0]


class PaddedRanges(NamedTuple):
    """Ranges of tokens in the packed tensors, padded to the longest of them. All other layers see no padding."""

    positions: Tensor
    """Position of each token, [ranges, longest]; 0 behind the end of a range."""
    padding: Tensor | None
    """True behind the end of a range, [ranges, longest]; None without padding."""
    token_indices: Tensor | None
    """Indices of the tokens in the flattened `positions`; None without padding."""
    tokens: Tensor
    """Position of each token once, [tokens]."""


class AttentionGroup(NamedTuple):
    """Spans that are attended to in one piece."""

    query: PaddedRanges
    key: PaddedRanges


def row_ranges(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """(start, end) of each row among all tokens."""
    ends = list(accumulate(lengths))
    return list(zip([0, *ends], ends, strict=False))


def group_spans(spans: Sequence[Span], num_heads: int, device: torch.device) -> list[AttentionGroup]:
    """Groups of spans of similar size, within `SCORES_AT_A_TIME` and `MOST_PADDING`. No key may be in two spans."""
    groups: list[list[Span]] = []
    area = longest_key = 0
    for span in sorted(spans, key=lambda span: span.size):
        num_queries, num_keys = span.size  # in ascending order of queries: these are the most of the group
        padded = num_queries * max(longest_key, num_keys) * (len(groups[-1]) + 1) if groups else 0
        used = area + num_queries * num_keys
        if not groups or padded * num_heads > SCORES_AT_A_TIME or used < (1 - MOST_PADDING) * padded:
            groups.append([])
            used, longest_key = num_queries * num_keys, 0
        groups[-1].append(span)
        area, longest_key = used, max(longest_key, num_keys)
    return [AttentionGroup(*(_pad(ranges, device) for ranges in zip(*group, strict=True))) for group in groups]


def _pad(ranges: Sequence[tuple[int, int]], device: torch.device) -> PaddedRanges:
    starts, ends = torch.tensor(ranges).unbind(1)
    positions = starts[:, None] + torch.arange(int((ends - starts).max()))
    padding = positions >= ends[:, None]
    if not padding.any():
        return PaddedRanges(positions.to(device), None, None, positions.flatten().to(device))
    indices = (~padding).flatten().nonzero().squeeze(1)
    tokens = positions.flatten()[indices]
    positions = positions.masked_fill(padding, 0)
    return PaddedRanges(positions.to(device), padding.to(device), indices.to(device), tokens.to(device))


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
    """softmax(Q K^T + bias) V for each span on its own; T5 does not scale the scores.

    Args:
        query: [query tokens, heads * d_kv]; `key` and `value`: [key tokens, heads * d_kv].
        bias: [heads, longest, longest] of relative positions, -inf where a query may not look; None for no bias.
        drop: probability of dropping an attention weight, 0 outside training.

    Returns:
        [query tokens, heads * d_kv].
    """
    return _PackedAttention.apply(query, key, value, bias, groups, num_heads, drop)


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        query, key, value, bias, groups, num_heads, drop = inputs
        output = torch.empty_like(query)
        saved: list[Tensor | None] = []
        for group in groups:
            queries = take_heads(query, group.query, num_heads)
            keys, values = (take_heads(packed, group.key, num_heads) for packed in (key, value))
            scores = queries @ keys.transpose(2, 3)
            if bias is not None:
                scores += bias[:, : scores.shape[2], : scores.shape[3]]
            if group.key.padding is not None:
                scores.masked_fill_(group.key.padding[:, None, None], float("-inf"))
            weights = torch.softmax(scores, dim=-1)
            dropped = drop_mask(weights.shape, drop, weights.device) if drop else None
            attended = (weights if dropped is None else weights.masked_fill(dropped, 0.0)) @ values
            put_heads(output, attended.mul_(1 / (1 - drop)) if drop else attended, group.query)
            saved += (queries, keys, values, weights, dropped)
        ctx.save_for_backward(*saved)
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
            d_output = take_heads(d_packed, group.query, num_heads)
            if group.query.padding is not None:
                d_output.transpose(1, 2).masked_fill_(group.query.padding[:, :, None, None], 0.0)
            if dropped is not None:
                d_output = d_output * scale
            used = weights if dropped is None else weights.masked_fill(dropped, 0.0)
            put_heads(d_value, used.transpose(2, 3) @ d_output, group.key)
            d_weights = d_output @ values.transpose(2, 3)
            if dropped is not None:
                d_weights.masked_fill_(dropped, 0.0)
            d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            if d_bias is not None:
                d_bias[:, : d_scores.shape[2], : d_scores.shape[3]] += d_scores.sum(dim=0)
            put_heads(d_query, d_scores @ keys, group.query)
            put_heads(d_key, d_scores.transpose(2, 3) @ queries, group.key)
        return d_query, d_key, d_value, d_bias, None, None, None


def take_heads(packed: Tensor, ranges: PaddedRanges, num_heads: int) -> Tensor:
    """[tokens, heads * d] as [ranges, heads, longest, d]; values in the padding are arbitrary."""
    rows = packed.index_select(0, ranges.positions.flatten())
    return rows.view(*ranges.positions.shape, num_heads, -1).transpose(1, 2)


def put_heads(packed: Tensor, rows: Tensor, ranges: PaddedRanges) -> None:
    """Write [ranges, heads, longest, d] into [tokens, heads * d], without the padding."""
    by_token = rows.transpose(1, 2).reshape(ranges.positions.numel(), -1)
    indices = ranges.token_indices
    packed.index_copy_(0, ranges.tokens, by_token if indices is None else by_token.index_select(0, indices))


def position_bias(stack: Any, longest: int) -> Tensor:
    """Bias of relative positions, shared by all layers: [heads, longest, longest]."""
    bias: Tensor = stack.block[0].layer[0].SelfAttention.compute_bias(longest, longest)
    return bias[0].contiguous()


# --- Dropout with a cheaper mask: four elements from one 64-bit random number, one byte kept for each ---


def drop_mask(shape: torch.Size, drop: float, device: torch.device) -> Tensor:
    """True with probability `drop`, rounded to 1 / 65,536; from torch's global generator, as torch's own dropout."""
    num = shape.numel()
    words = torch.empty((num + 3) // 4, dtype=torch.int64, device=device).random_(-(1 << 63), None)
    threshold = round(drop * DROPOUT_LEVELS) - DROPOUT_LEVELS // 2
    return (words.view(torch.int16)[:num] < threshold).view(shape)


def dropout(states: Tensor, drop: float) -> Tensor:
    """`states`, each element zeroed with probability `drop` and the others scaled by 1 / (1 - drop)."""
    if not drop:
        return states
    return _Dropout.apply(states, drop)


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


# --- T5's layer norm (root mean square, no bias) in fewer passes over memory than its module takes ---


def layer_norm(states: Tensor, module: Any) -> Tensor:
    """The output of a `T5LayerNorm` for `states`, [tokens, d_model]."""
    return _LayerNorm.apply(states, module.weight, module.variance_epsilon)


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        mean_square = torch.linalg.vector_norm(states, dim=-1, keepdim=True).pow_(2).div_(states.shape[-1])
        scale = mean_square.add_(epsilon).rsqrt_()
        unit = states * scale
        ctx.save_for_backward(unit, scale, weight)
        return unit * weight

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        unit, scale, weight = ctx.saved_tensors
        along = gradients[0] * unit
        d_weight = along.sum(dim=0) if ctx.needs_input_grad[1] else None
        mean = (along @ weight).div_(unit.shape[-1])[:, None]
        return (gradients[0] * weight).addcmul_(unit, mean, value=-1).mul_(scale), d_weight, None


# --- Cross-entropy of the vocabulary layer, a slice of the tokens at a time: never all logits in memory ---


def cross_entropy_of_head(head: Any, states: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """As `vocabulary_cross_entropy`, by any output layer, on any device and in bf16.

    There, of several slices, the backward pass computes the logits again.
    """
    is_plain = type(head) is Linear and head.bias is None and states.dtype == torch.float32
    if is_plain and states.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
        return vocabulary_cross_entropy(states, head.weight, targets, weights)
    if len(targets) <= HEAD_TOKENS_AT_A_TIME:
        losses = _losses_of_head(head, states, targets)
    else:
        parts = zip(states.split(HEAD_TOKENS_AT_A_TIME), targets.split(HEAD_TOKENS_AT_A_TIME), strict=True)
        losses = torch.cat([checkpoint(_losses_of_head, head, *part, use_reentrant=False) for part in parts])
    return (losses * weights).sum(), losses.detach()


def _losses_of_head(head: Any, states: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(head(states).float(), targets, reduction="none")


def vocabulary_cross_entropy(
    states: Tensor, vocabulary: Tensor, targets: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """The weighted sum of the tokens' losses (scalar), and each token's loss in nats ([tokens], without gradient).

    The gradient is computed together with the loss, while the slice is still in the processor's cache.

    Args:
        states: last decoder states, [tokens, d_model].
        vocabulary: weight of the output layer, [vocabulary, d_model].
        targets, weights: token ids and their weights in the sum, [tokens].
    """
    total, losses = _VocabularyCrossEntropy.apply(states, vocabulary, targets, weights)
    return total, losses


class _VocabularyCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, vocabulary: Tensor, targets: Tensor, weights: Tensor) -> Any:
        wants_states, wants_vocabulary = ctx.needs_input_grad[:2]
        losses = torch.empty_like(weights)
        d_states = torch.empty_like(states) if wants_states else None
        d_vocabulary = torch.zeros_like(vocabulary) if wants_vocabulary else None
        for start in range(0, len(targets), VOCABULARY_TOKENS_AT_A_TIME):
            part = slice(start, start + VOCABULARY_TOKENS_AT_A_TIME)
            logits, gold = states[part] @ vocabulary.t(), targets[part, None]
            log_sum = logits.logsumexp(dim=-1, keepdim=True)
            losses[part] = (log_sum - logits.gather(1, gold)).squeeze(1)
            if d_states is None and d_vocabulary is None:
                continue
            d_logits = logits.sub_(log_sum).exp_().scatter_add_(1, gold, torch.full_like(log_sum, -1.0))
            d_logits.mul_(weights[part, None])
            if d_states is not None:
                torch.mm(d_logits, vocabulary, out=d_states[part])
            if d_vocabulary is not None:
                d_vocabulary.addmm_(d_logits.t(), states[part])
        ctx.save_for_backward(d_states, d_vocabulary)
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return *(None if part is None else part.mul_(gradients[0]) for part in ctx.saved_tensors), None, None
