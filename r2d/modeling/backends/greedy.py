"""Greedy decoding of a T5, many rows at once; a row that has ended takes no further part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SHRINK_BELOW = 0.8
"""Rows that have ended are taken out of the caches when fewer than this share is left."""


def greedy(
    model: PreTrainedModel, memory: Sequence[tuple[Tensor, Tensor]], lengths: Sequence[int], max_new_tokens: int
) -> list[list[int]]:
    """The most probable next token, again and again, until end-of-sequence or `max_new_tokens` tokens of text.

    Args:
        memory: keys and values of the encoder's output for each decoder layer, [tokens, heads * d_kv], rows end to end.
        lengths: encoder tokens of each row.
    """
    end_id = model.config.eos_token_id
    cache = _Cache(model, memory, lengths, max_new_tokens + 1)
    rows = list(range(len(lengths)))
    written: list[list[int]] = [[] for _ in rows]
    tokens = torch.full((len(rows),), model.config.decoder_start_token_id, device=model.device)
    for step in range(max_new_tokens):
        tokens = _next_tokens(model, cache, tokens, step)
        going_on = []
        for place, token in enumerate(tokens.tolist()):
            if token == end_id or rows[place] < 0:
                rows[place] = -1
                continue
            written[rows[place]].append(token)
            going_on.append(place)
        if not going_on:
            break
        if len(going_on) < SHRINK_BELOW * len(rows):
            rows, kept = [rows[place] for place in going_on], torch.tensor(going_on, device=model.device)
            tokens = tokens[kept]
            cache.keep(kept)
    return written


class _Cache:
    """Keys and values of the decoder's own tokens so far, and those of the encoder's output, padded."""

    def __init__(
        self, model: PreTrainedModel, memory: Sequence[tuple[Tensor, Tensor]], lengths: Sequence[int], limit: int
    ) -> None:
        config, blocks = model.config, model.get_decoder().block
        shape = (len(lengths), config.num_heads, limit, config.d_kv)
        self.own = [tuple(torch.empty(shape, device=model.device) for _ in range(2)) for _ in blocks]
        self.memory = [tuple(_by_row(part, lengths, config.num_heads) for part in layer) for layer in memory]
        longest = torch.arange(max(lengths), device=model.device)
        beyond = longest >= torch.tensor(lengths, device=model.device)[:, None]
        self.beyond = torch.zeros(beyond.shape, device=model.device).masked_fill(beyond, float("-inf"))[:, None, None]
        self.bias = blocks[0].layer[0].SelfAttention.compute_bias(limit, limit)

    def keep(self, rows: Tensor) -> None:
        self.own = [(keys[rows], values[rows]) for keys, values in self.own]
        self.memory = [(keys[rows], values[rows]) for keys, values in self.memory]
        self.beyond = self.beyond[rows]


def _by_row(packed: Tensor, lengths: Sequence[int], num_heads: int) -> Tensor:
    """[tokens, heads * d] as [rows, heads, longest, d], zeros behind the end of a row."""
    padded = pad_sequence(list(packed.split(list(lengths))), batch_first=True)
    return padded.view(len(lengths), padded.shape[1], num_heads, -1).transpose(1, 2).contiguous()


def _next_tokens(model: PreTrainedModel, cache: _Cache, tokens: Tensor, step: int) -> Tensor:
    stack = model.get_decoder()
    hidden: Tensor = model.get_input_embeddings()(tokens)
    for layer, block in enumerate(stack.block):
        hidden = hidden + _self_attention(block.layer[0], hidden, cache, layer, step)
        hidden = hidden + _cross_attention(block.layer[1], hidden, cache, layer)
        hidden = block.layer[-1](hidden)
    states = stack.final_layer_norm(hidden)
    if model.config.scale_decoder_outputs:
        states = states * model.model_dim**-0.5
    chosen: Tensor = model.lm_head(states).argmax(dim=-1)
    return chosen


def _self_attention(layer: Any, hidden: Tensor, cache: _Cache, number: int, step: int) -> Tensor:
    attention, normed = layer.SelfAttention, layer.layer_norm(hidden)
    shape = (len(hidden), attention.n_heads, attention.key_value_proj_dim)
    keys, values = cache.own[number]
    keys[:, :, step] = attention.k(normed).view(shape)
    values[:, :, step] = attention.v(normed).view(shape)
    query = attention.q(normed).view(*shape[:2], 1, shape[2])
    bias = cache.bias[:, :, step : step + 1, : step + 1]
    return _attend(attention, query, keys[:, :, : step + 1], values[:, :, : step + 1], bias)


def _cross_attention(layer: Any, hidden: Tensor, cache: _Cache, number: int) -> Tensor:
    attention = layer.EncDecAttention
    query = attention.q(layer.layer_norm(hidden)).view(len(hidden), attention.n_heads, 1, -1)
    keys, values = cache.memory[number]
    return _attend(attention, query, keys, values, cache.beyond)


def _attend(attention: Any, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    weights = torch.softmax(query @ keys.transpose(2, 3) + bias, dim=-1)
    attended: Tensor = attention.o((weights @ values).reshape(len(query), -1))
    return attended
