"""T5 over rows laid end to end: the weights and sub-modules of the library's model, without a token of padding.

It computes what `transformers` computes (tests hold both against each other); only the layout differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from r2d.errors import ModelError
from r2d.modeling.backends import kernels, sdpa
from r2d.modeling.backends.backend import (
    Encoded,
    Indices,
    KeysValues,
    Losses,
    OnToken,
    PaddedBackend,
    Seq2SeqBackend,
    Task,
    TokenIds,
    flatten,
)
from r2d.modeling.backends.causal import CausalBackend
from r2d.modeling.load import CAUSAL_TYPES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PACKED_TYPES = ("t5",)
"""Model types that `PackedT5` runs; Flan-T5 and T5 v1.1 are of type `t5`. Their kin differ in position bias or
scaling."""
SHRINK_BELOW = 0.8
"""In greedy decoding, rows that have ended are taken out of the caches when fewer than this share is left."""


def make_backend(
    model: PreTrainedModel, *, precision: str = "fp32", layout: Literal["auto", "packed", "compiled"] = "auto"
) -> Seq2SeqBackend[Any]:
    """The faster backend for this model that gives the same numbers: packed for T5 in fp32 on a CPU, and for a causal
    model; else padded.

    Args:
        layout: `packed` packs a T5 on a GPU and in bf16 too, `compiled` with its layers compiled.

    Raises:
        ModelError: a model of this type has no such layout.
    """
    model_type = model.config.model_type
    if model_type in CAUSAL_TYPES and layout != "compiled":
        return CausalBackend(model)
    if model_type not in PACKED_TYPES and layout != "auto":
        raise ModelError(
            f"layout: {layout} is for model types {', '.join(PACKED_TYPES)}; found {model_type!r}; use auto"
        )
    if layout == "compiled":
        return PackedT5(model, arithmetic=sdpa, compiled=True)
    if model_type in PACKED_TYPES and model.device.type == "cpu" and precision == "fp32":
        return PackedT5(model)
    return PackedT5(model, arithmetic=sdpa) if layout == "packed" else PaddedBackend(model)


@dataclass
class PackedStates(Encoded):
    states: Tensor
    """[tokens, d_model]."""
    lengths: list[int]
    """Tokens of each row."""
    memory: KeysValues = field(default_factory=list)
    """Keys and values of each decoder layer's cross-attention, kept where no gradient is wanted."""

    def take(self, rows: Sequence[int]) -> PackedStates:
        ranges = kernels.row_ranges(self.lengths)
        states = torch.cat([self.states[slice(*ranges[row])] for row in rows]).detach()
        return PackedStates(states, [self.lengths[row] for row in rows])


class PackedT5(Seq2SeqBackend[PackedStates]):
    """T5 in training and inference."""

    def __init__(self, model: PreTrainedModel, *, arithmetic: Any = kernels, compiled: bool = False) -> None:
        """
        Args:
            arithmetic: the module `kernels`, for fp32 on a CPU, or `sdpa`, for all else.
            compiled: whether what is not attention is compiled, by torch's own operations alone: with `sdpa`.
        """
        super().__init__(model)
        self.arithmetic, self.body = arithmetic, compiled_body() if compiled else EAGER

    def encode(self, prompts: Sequence[TokenIds]) -> PackedStates:
        return self._encode(self._embed(prompts), [len(prompt) for prompt in prompts])

    def encode_embeddings(self, rows: Sequence[Tensor]) -> PackedStates:
        return self._encode(torch.cat(list(rows)), [len(row) for row in rows])

    def logits(
        self, encoded: PackedStates, inputs: Sequence[TokenIds], rows: Indices = None, positions: Indices = None
    ) -> Tensor:
        states = self._decode(encoded, inputs, rows)
        return self.model.lm_head(states if positions is None else states[positions])

    def token_losses(self, encoded: PackedStates, targets: Sequence[TokenIds], rows: Indices = None) -> Tensor:
        with torch.no_grad():
            states = self._decode(encoded, self.decoder_inputs(targets), rows)
            return self._cross_entropy(states, targets, states.new_ones(len(states)))[1]

    def losses(self, tasks: Sequence[Task[PackedStates]]) -> Losses:
        """All tasks in one pass of the encoder, where it has not run yet, and one of the decoder."""
        rows_of_tasks = [[row for row, target in enumerate(task.targets) if target] for task in tasks]
        targets = [task.targets[row] for task, rows in zip(tasks, rows_of_tasks, strict=True) for row in rows]
        if not targets:
            return Losses(torch.zeros((), device=self.device), [torch.zeros((), device=self.device) for _ in tasks])
        encoded, encoded_rows = self._encode_tasks(tasks, rows_of_tasks)
        token_weights = [task.token_weights(self.device) for task in tasks]
        states = self._decode(encoded, self.decoder_inputs(targets), encoded_rows)
        weights = torch.cat([weights * task.weight for task, weights in zip(tasks, token_weights, strict=True)])
        total, losses = self._cross_entropy(states, targets, weights)
        parts = losses.split([len(weights) for weights in token_weights])
        return Losses(total, [(part * weights).sum() for part, weights in zip(parts, token_weights, strict=True)])

    def generate(self, encoded: PackedStates, max_new_tokens: int, on_token: OnToken | None = None) -> list[list[int]]:
        """Decode many rows at once; a row that has ended takes no further part."""
        config = self.model.config
        cache = _DecoderCache(self.model, self._memory(encoded), encoded.lengths, max_new_tokens)
        rows = list(range(len(encoded.lengths)))  # the row of each line in the caches; -1 for one that has ended
        generated: list[list[int]] = [[] for _ in rows]
        tokens = torch.full((len(rows),), config.decoder_start_token_id, device=self.device)
        for step in range(max_new_tokens):
            tokens = cache.next_tokens(tokens, step)
            unfinished = []
            for line, token in enumerate(tokens.tolist()):
                if token == config.eos_token_id or rows[line] < 0:
                    rows[line] = -1
                    continue
                generated[rows[line]].append(token)
                if on_token is not None:
                    on_token(token)
                unfinished.append(line)
            if not unfinished:
                break
            if len(unfinished) < SHRINK_BELOW * len(rows):
                rows, lines = [rows[line] for line in unfinished], torch.tensor(unfinished, device=self.device)
                tokens = tokens[lines]
                cache.keep(lines)
        return generated

    @property
    def _drop(self) -> float:
        return float(self.model.config.dropout_rate) if self.model.training else 0.0

    def _embed(self, rows: Sequence[TokenIds]) -> Tensor:
        return self.model.get_input_embeddings()(flatten(rows, self.device))

    def _encode(self, embedded: Tensor, lengths: list[int]) -> PackedStates:
        stack = self.model.get_encoder()
        bias = self.arithmetic.position_bias(stack, max(lengths))
        groups = self._groups([kernels.Span(row, row) for row in kernels.row_ranges(lengths)])
        hidden = self.arithmetic.dropout(embedded, self._drop)
        for block in stack.block:
            hidden = _run_block(block, self.body, self.arithmetic, hidden, bias, groups, self._drop)
        return PackedStates(self._last_states(stack, hidden), lengths)

    def _encode_tasks(
        self, tasks: Sequence[Task[PackedStates]], rows_of_tasks: Sequence[Sequence[int]]
    ) -> tuple[PackedStates, list[int]]:
        """One `PackedStates` for all tasks, and the row in it that each target belongs to.

        Rows of tasks that are encoded already come first, then those that are encoded here in one pass.
        """
        parts = [task.prompts for task in tasks if isinstance(task.prompts, PackedStates)]
        next_row, next_missing = 0, sum(len(part.lengths) for part in parts)
        missing: list[TokenIds] = []
        encoded_rows: list[int] = []
        for task, rows in zip(tasks, rows_of_tasks, strict=True):
            if isinstance(task.prompts, PackedStates):
                encoded_rows += [next_row + row for row in rows]
                next_row += len(task.prompts.lengths)
            else:
                encoded_rows += range(next_missing + len(missing), next_missing + len(missing) + len(rows))
                missing += [task.prompts[row] for row in rows]
        if missing:
            parts.append(self.encode(missing))
        if len(parts) == 1:
            return parts[0], encoded_rows
        lengths = [length for part in parts for length in part.lengths]
        return PackedStates(torch.cat([part.states for part in parts]), lengths), encoded_rows

    def _decode(self, encoded: PackedStates, inputs: Sequence[TokenIds], rows: Indices) -> Tensor:
        """Last decoder states as the output layer takes them, [decoder tokens, d_model]."""
        stack = self.model.get_decoder()
        lengths = [len(row) for row in inputs]
        queries, keys = kernels.row_ranges(lengths), kernels.row_ranges(encoded.lengths)
        bias = self.arithmetic.position_bias(stack, max(lengths))
        future = torch.ones(bias.shape[-2:], dtype=torch.bool, device=bias.device).triu(1)
        bias = bias.masked_fill(future, float("-inf"))
        groups = self._groups([kernels.Span(query, query) for query in queries])
        # One span for each encoded row: neighbouring decoder inputs of a row attend to it together.
        spans: dict[int, kernels.Span] = {}
        for query, row in zip(queries, range(len(keys)) if rows is None else rows, strict=True):
            start = spans[row].query[0] if row in spans else query[0]
            spans[row] = kernels.Span((start, query[1]), keys[row])
        memory, memory_groups = self._memory(encoded), self._groups(list(spans.values()))
        hidden = self.arithmetic.dropout(self._embed(inputs), self._drop)
        for block, keys_values in zip(stack.block, memory, strict=True):
            hidden = _run_block(
                block, self.body, self.arithmetic, hidden, bias, groups, self._drop, keys_values, memory_groups
            )
        states = self._last_states(stack, hidden)
        return states * self.model.model_dim**-0.5 if self.model.config.scale_decoder_outputs else states

    def _last_states(self, stack: Any, hidden: Tensor) -> Tensor:
        normed: Tensor = self.arithmetic.layer_norm(hidden, stack.final_layer_norm)
        return self.arithmetic.dropout(normed, self._drop)

    def _memory(self, encoded: PackedStates) -> KeysValues:
        """Keys and values of the encoder's output for each decoder layer, [tokens, heads * d_kv] each."""
        if encoded.memory and not torch.is_grad_enabled():
            return encoded.memory
        layers = [block.layer[1].EncDecAttention for block in self.model.get_decoder().block]
        memory = [(layer.k(encoded.states), layer.v(encoded.states)) for layer in layers]
        if not torch.is_grad_enabled():
            encoded.memory = memory
        return memory

    def _cross_entropy(self, states: Tensor, targets: Sequence[TokenIds], weights: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sum of the target tokens' losses, and each token's loss: as `vocabulary_cross_entropy`."""
        return self.arithmetic.cross_entropy_of_head(self.model.lm_head, states, flatten(targets, self.device), weights)

    def _groups(self, spans: Sequence[kernels.Span]) -> list[kernels.AttentionGroup]:
        return kernels.group_spans(spans, self.model.config.num_heads, self.device)


class _Body(NamedTuple):
    """The parts of a block around its attention, which look at each token alone."""

    enter: Callable[..., tuple[Tensor, Tensor, Tensor]]
    cross: Callable[..., tuple[Tensor, Tensor]]
    leave: Callable[..., Tensor]


def _enter(block: Any, arithmetic: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of the self-attention."""
    attention, states = block.layer[0].SelfAttention, arithmetic.layer_norm(hidden, block.layer[0].layer_norm)
    return attention.q(states), attention.k(states), attention.v(states)


def _cross(block: Any, arithmetic: Any, hidden: Tensor, attended: Tensor, drop: float) -> tuple[Tensor, Tensor]:
    """The states behind the self-attention, and the queries of the cross-attention."""
    hidden = hidden + arithmetic.dropout(block.layer[0].SelfAttention.o(attended), drop)
    return hidden, block.layer[1].EncDecAttention.q(arithmetic.layer_norm(hidden, block.layer[1].layer_norm))


def _leave(block: Any, output: Any, arithmetic: Any, hidden: Tensor, attended: Tensor, drop: float) -> Tensor:
    """The states behind the last attention, whose output layer is given, and the feed-forward layers."""
    hidden = hidden + arithmetic.dropout(output(attended), drop)
    dense, states = block.layer[-1].DenseReluDense, arithmetic.layer_norm(hidden, block.layer[-1].layer_norm)
    inner = dense.act(dense.wi_0(states) if hasattr(dense, "wi_0") else dense.wi(states))
    if hasattr(dense, "wi_1"):
        inner = inner * dense.wi_1(states)
    left: Tensor = hidden + arithmetic.dropout(dense.wo(arithmetic.dropout(inner, drop)), drop)
    return left


EAGER = _Body(_enter, _cross, _leave)


@cache
def compiled_body() -> _Body:
    """`EAGER` by torch.compile, once for any number of tokens."""
    parts: list[Any] = [torch.compile(part, dynamic=True) for part in EAGER]
    return _Body(*parts)


def _run_block(block: Any, *arguments: Any) -> Tensor:
    """`_block`, computed again in the backward pass where activation checkpointing is on."""
    if block.gradient_checkpointing and torch.is_grad_enabled():
        return checkpoint(_block, block, *arguments, use_reentrant=False)
    return _block(block, *arguments)


def _block(
    block: Any,
    body: _Body,
    arithmetic: Any,
    hidden: Tensor,
    bias: Tensor,
    groups: Sequence[kernels.AttentionGroup],
    drop: float,
    memory: tuple[Tensor, Tensor] | None = None,
    memory_groups: Sequence[kernels.AttentionGroup] = (),
) -> Tensor:
    """A block of the encoder, or of the decoder where `memory` holds keys and values of the encoder's output."""
    attention = block.layer[0].SelfAttention
    heads = {"num_heads": attention.n_heads, "drop": drop}
    attended = arithmetic.packed_attention(*body.enter(block, arithmetic, hidden), bias, groups, **heads)
    if memory is not None:
        attention = block.layer[1].EncDecAttention
        hidden, query = body.cross(block, arithmetic, hidden, attended, drop)
        attended = arithmetic.packed_attention(query, *memory, None, memory_groups, **heads)
    return body.leave(block, attention.o, arithmetic, hidden, attended, drop)


class _DecoderCache:
    """Keys and values for greedy decoding: those of the tokens decoded so far, and the encoder's output, padded."""

    def __init__(self, model: PreTrainedModel, memory: KeysValues, lengths: Sequence[int], max_new_tokens: int) -> None:
        self.model, self.stack = model, model.get_decoder()
        config, limit = model.config, max_new_tokens + 1
        shape = (len(lengths), config.num_heads, limit, config.d_kv)
        self.decoded = [
            (torch.empty(shape, device=model.device), torch.empty(shape, device=model.device)) for _ in self.stack.block
        ]

        def padded(packed: Tensor) -> Tensor:
            """[tokens, heads * d_kv] as [rows, heads, longest, d_kv]."""
            rows = pad_sequence(list(packed.split(list(lengths))), batch_first=True)
            return rows.view(len(lengths), rows.shape[1], config.num_heads, -1).transpose(1, 2).contiguous()

        self.memory = [(padded(keys), padded(values)) for keys, values in memory]
        longest = torch.arange(max(lengths), device=model.device)
        padding = longest >= torch.tensor(lengths, device=model.device)[:, None]
        self.memory_mask = torch.where(padding, float("-inf"), 0.0)[:, None, None]
        self.bias = self.stack.block[0].layer[0].SelfAttention.compute_bias(limit, limit)

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        self.decoded = [(keys[rows], values[rows]) for keys, values in self.decoded]
        self.memory = [(keys[rows], values[rows]) for keys, values in self.memory]
        self.memory_mask = self.memory_mask[rows]

    def next_tokens(self, tokens: Tensor, step: int) -> Tensor:
        """The most probable next token of each row, [rows], after its token of this step."""
        hidden: Tensor = self.model.get_input_embeddings()(tokens)
        past = slice(step + 1)
        for number, block in enumerate(self.stack.block):
            attention, normed = block.layer[0].SelfAttention, block.layer[0].layer_norm(hidden)
            shape = (len(hidden), attention.n_heads, attention.key_value_proj_dim)
            keys, values = self.decoded[number]
            keys[:, :, step] = attention.k(normed).view(shape)
            values[:, :, step] = attention.v(normed).view(shape)
            query = attention.q(normed).view(*shape[:2], 1, shape[2])
            bias = self.bias[:, :, step : step + 1, past]
            hidden = hidden + _attend(attention, query, keys[:, :, past], values[:, :, past], bias)
            attention, normed = block.layer[1].EncDecAttention, block.layer[1].layer_norm(hidden)
            query = attention.q(normed).view(len(hidden), attention.n_heads, 1, -1)
            hidden = hidden + _attend(attention, query, *self.memory[number], self.memory_mask)
            hidden = block.layer[-1](hidden)
        states = self.stack.final_layer_norm(hidden)
        if self.model.config.scale_decoder_outputs:
            states = states * self.model.model_dim**-0.5
        return self.model.lm_head(states).argmax(dim=-1)


def _attend(attention: Any, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    weights = torch.softmax(query @ keys.transpose(2, 3) + bias, dim=-1)
    return attention.o((weights @ values).reshape(len(query), -1))
