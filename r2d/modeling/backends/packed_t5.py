"""T5 over rows laid end to end: the weights and sub-modules of the library's model, without a token of padding.

What is computed is what `transformers` computes (tests hold both against each other); only the layout differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from r2d.modeling.backends.attention import Group, Span, group_spans, packed_attention, runs
from r2d.modeling.backends.base import Encoded, Losses, Network, Task, TokenIds, flat
from r2d.modeling.backends.cross_entropy import vocabulary_cross_entropy
from r2d.modeling.backends.dropout import dropout
from r2d.modeling.backends.greedy import greedy
from r2d.modeling.backends.norm import normed

PACKED_TYPES = ("t5",)
"""Model types that are run here; Flan-T5 and T5 v1.1 are of type `t5`. Their kin differ in position bias or scaling."""

KeysValues = list[tuple[Tensor, Tensor]]


@dataclass
class PackedStates(Encoded):
    states: Tensor
    """[tokens, d_model]."""
    lengths: list[int]
    """Tokens of each row."""
    memory: KeysValues = field(default_factory=list)
    """Keys and values that each decoder layer looks at, kept where no gradient is wanted."""

    def take(self, rows: Sequence[int]) -> PackedStates:
        where = runs(self.lengths)
        states = torch.cat([self.states[slice(*where[row])] for row in rows]).detach()
        return PackedStates(states, [self.lengths[row] for row in rows])


class PackedT5(Network[PackedStates]):
    """The engine of training and inference on CPUs."""

    def encode(self, prompts: Sequence[TokenIds]) -> PackedStates:
        return self._encode(self._embed(flat(prompts, self.device)), [len(prompt) for prompt in prompts])

    def encode_embeddings(self, rows: Sequence[Tensor]) -> PackedStates:
        return self._encode(torch.cat(list(rows)), [len(row) for row in rows])

    def logits(
        self,
        encoded: PackedStates,
        decoder_inputs: Sequence[TokenIds],
        rows: Sequence[int] | None = None,
        places: Sequence[int] | None = None,
    ) -> Tensor:
        states = self._decode(encoded, decoder_inputs, rows)
        head: Tensor = self.model.lm_head(states if places is None else states[places])
        return head

    def token_losses(
        self, encoded: PackedStates, targets: Sequence[TokenIds], rows: Sequence[int] | None = None
    ) -> Tensor:
        with torch.no_grad():
            states = self._decode(encoded, self.decoder_inputs(targets), rows)
            return self._cross_entropy(states, flat(targets, self.device), states.new_ones(len(states)))[1]

    def losses(self, tasks: Sequence[Task[PackedStates]]) -> Losses:
        """All tasks in one pass of the encoder, where it has not run yet, and one of the decoder."""
        used = [[row for row, target in enumerate(task.targets) if target] for task in tasks]
        targets = [task.targets[row] for task, some in zip(tasks, used, strict=True) for row in some]
        if not targets:
            return Losses(torch.zeros((), device=self.device), [torch.zeros((), device=self.device) for _ in tasks])
        encoded, rows = self._encode_tasks(tasks, used)
        of_task = [task.token_weights(self.device) for task in tasks]
        states = self._decode(encoded, self.decoder_inputs(targets), rows)
        weights = torch.cat([some * task.weight for task, some in zip(tasks, of_task, strict=True)])
        total, tokens = self._cross_entropy(states, flat(targets, self.device), weights)
        parts = tokens.split([len(some) for some in of_task])
        return Losses(total, [(part * some).sum() for part, some in zip(parts, of_task, strict=True)])

    def generate(self, encoded: PackedStates, max_new_tokens: int) -> list[list[int]]:
        return greedy(self.model, self._memory(encoded), encoded.lengths, max_new_tokens)

    @property
    def _drop(self) -> float:
        return float(self.model.config.dropout_rate) if self.model.training else 0.0

    def _embed(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.model.get_input_embeddings()(tokens)
        return embedded

    def _encode(self, embedded: Tensor, lengths: list[int]) -> PackedStates:
        stack = self.model.get_encoder()
        bias = _position_bias(stack, max(lengths))
        groups = self._groups([Span(row, row) for row in runs(lengths)])
        hidden = dropout(embedded, self._drop)
        for block in stack.block:
            hidden = _run(_encoder_block, block, hidden, bias, groups, self._drop)
        return PackedStates(dropout(normed(hidden, stack.final_layer_norm), self._drop), lengths)

    def _encode_tasks(
        self, tasks: Sequence[Task[PackedStates]], used: Sequence[Sequence[int]]
    ) -> tuple[PackedStates, list[int]]:
        """One `PackedStates` for all tasks, and the row in it that each target belongs to."""
        given = [task.prompts for task in tasks if isinstance(task.prompts, PackedStates)]
        missing = [
            task.prompts[row]
            for task, some in zip(tasks, used, strict=True)
            if not isinstance(task.prompts, PackedStates)
            for row in some
        ]
        parts = [*given, self.encode(missing)] if missing else given
        starts_given, rows = 0, []
        starts_missing = sum(len(part.lengths) for part in given)
        for task, some in zip(tasks, used, strict=True):
            if isinstance(task.prompts, PackedStates):
                rows += [starts_given + row for row in some]
                starts_given += len(task.prompts.lengths)
            else:
                rows += range(starts_missing, starts_missing + len(some))
                starts_missing += len(some)
        if len(parts) == 1:
            return parts[0], rows
        lengths = [length for part in parts for length in part.lengths]
        return PackedStates(torch.cat([part.states for part in parts]), lengths), rows

    def _decode(self, encoded: PackedStates, decoder_inputs: Sequence[TokenIds], rows: Sequence[int] | None) -> Tensor:
        """Last decoder states as the output layer takes them, [decoder tokens, d_model]."""
        stack = self.model.get_decoder()
        lengths = [len(row) for row in decoder_inputs]
        bias = _causal(_position_bias(stack, max(lengths)))
        groups = self._groups([Span(row, row) for row in runs(lengths)])
        memory, memory_groups = self._memory(encoded), self._groups(_memory_spans(lengths, encoded.lengths, rows))
        hidden = dropout(self._embed(flat(decoder_inputs, self.device)), self._drop)
        for block, keys_values in zip(stack.block, memory, strict=True):
            hidden = _run(_decoder_block, block, hidden, bias, groups, keys_values, memory_groups, self._drop)
        states = dropout(normed(hidden, stack.final_layer_norm), self._drop)
        return states * self.model.model_dim**-0.5 if self.model.config.scale_decoder_outputs else states

    def _memory(self, encoded: PackedStates) -> KeysValues:
        """Keys and values of the encoder's output for each decoder layer, [tokens, heads * d_kv] each."""
        if encoded.memory and not torch.is_grad_enabled():
            return encoded.memory
        layers = [block.layer[1].EncDecAttention for block in self.model.get_decoder().block]
        memory = [(layer.k(encoded.states), layer.v(encoded.states)) for layer in layers]
        if not torch.is_grad_enabled():
            encoded.memory = memory
        return memory

    def _cross_entropy(self, states: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        head = self.model.lm_head
        if type(head) is Linear and head.bias is None:
            return vocabulary_cross_entropy(states, head.weight, targets, weights)
        tokens = cross_entropy(head(states), targets, reduction="none")
        return (tokens * weights).sum(), tokens.detach()

    def _groups(self, spans: Sequence[Span]) -> list[Group]:
        return group_spans(spans, self.model.config.num_heads, self.device)


def _run(compute: Callable[..., Tensor], block: Any, *arguments: Any) -> Tensor:
    """A block, computed again in the backward pass where activation checkpointing is on."""
    if block.gradient_checkpointing and torch.is_grad_enabled():
        result: Tensor = checkpoint(compute, block, *arguments, use_reentrant=False)
        return result
    return compute(block, *arguments)


def _encoder_block(block: Any, hidden: Tensor, bias: Tensor, groups: Sequence[Group], drop: float) -> Tensor:
    hidden = _self_attention(block.layer[0], hidden, bias, groups, drop)
    return _feed_forward(block.layer[-1], hidden, drop)


def _decoder_block(
    block: Any,
    hidden: Tensor,
    bias: Tensor,
    groups: Sequence[Group],
    keys_values: tuple[Tensor, Tensor],
    memory_groups: Sequence[Group],
    drop: float,
) -> Tensor:
    hidden = _self_attention(block.layer[0], hidden, bias, groups, drop)
    layer = block.layer[1]
    attention = layer.EncDecAttention
    query = attention.q(normed(hidden, layer.layer_norm))
    attended = packed_attention(query, *keys_values, None, memory_groups, num_heads=attention.n_heads, drop=drop)
    hidden = hidden + dropout(attention.o(attended), drop)
    return _feed_forward(block.layer[-1], hidden, drop)


def _self_attention(layer: Any, hidden: Tensor, bias: Tensor, groups: Sequence[Group], drop: float) -> Tensor:
    attention, states = layer.SelfAttention, normed(hidden, layer.layer_norm)
    query, key, value = attention.q(states), attention.k(states), attention.v(states)
    attended = packed_attention(query, key, value, bias, groups, num_heads=attention.n_heads, drop=drop)
    return hidden + dropout(attention.o(attended), drop)


def _feed_forward(layer: Any, hidden: Tensor, drop: float) -> Tensor:
    dense, states = layer.DenseReluDense, normed(hidden, layer.layer_norm)
    if hasattr(dense, "wi_0"):
        inner = dense.act(dense.wi_0(states)) * dense.wi_1(states)
    else:
        inner = dense.act(dense.wi(states))
    return hidden + dropout(dense.wo(dropout(inner, drop)), drop)


def _position_bias(stack: Any, longest: int) -> Tensor:
    """Bias of relative positions, shared by all layers: [heads, longest, longest]."""
    bias: Tensor = stack.block[0].layer[0].SelfAttention.compute_bias(longest, longest)
    return bias[0].contiguous()


def _causal(bias: Tensor) -> Tensor:
    ahead = torch.ones(bias.shape[-2:], dtype=torch.bool, device=bias.device).triu(1)
    return bias.masked_fill(ahead, float("-inf"))


def _memory_spans(lengths: Sequence[int], encoded_lengths: Sequence[int], rows: Sequence[int] | None) -> list[Span]:
    """Decoder inputs over their encoded rows; neighbours that share a row look at it together."""
    queries, keys = runs(lengths), runs(encoded_lengths)
    last: dict[int, Span] = {}
    for query, row in zip(queries, range(len(keys)) if rows is None else rows, strict=True):
        start = last[row].query[0] if row in last else query[0]
        last[row] = Span((start, query[1]), keys[row])
    return list(last.values())
