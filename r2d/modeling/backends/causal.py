"""Causal language models: prompt and target are one sequence, with the loss on the target alone.

A prompt is encoded as its keys and values. Its last token, which all prompts share, is the start token of the targets
(`r2d.modeling.prompts.Frame`), so that a target follows its prompt as in plain text. Several targets behind one prompt,
and several prompts in one line of a batch, do not see each other: each token keeps the position that it has when its
row stands alone, and a mask says what it sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from r2d.modeling.backends import kernels
from r2d.modeling.backends.backend import (
    Encoded,
    Indices,
    KeysValues,
    Losses,
    OnToken,
    Seq2SeqBackend,
    Task,
    TokenIds,
    TokenStreamer,
    flatten,
    until_end,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PADDING = -1


@dataclass
class Prompts(Encoded):
    """Prompts without their last token, and their keys and values once these are asked for without gradient."""

    embeddings: list[Tensor]
    """Of each prompt, [tokens, d_model]."""
    memory: KeysValues = field(default_factory=list)
    """Of each layer, both [rows, heads, longest, d_head]; padding stands on the left."""

    def take(self, rows: Sequence[int]) -> Prompts:
        memory = [(keys[rows], values[rows]) for keys, values in self.memory]
        return Prompts([self.embeddings[row].detach() for row in rows], memory)


class CausalBackend(Seq2SeqBackend[Prompts]):
    """A causal model of transformers by its own forward pass."""

    def __init__(self, model: PreTrainedModel, *, packed: bool = True) -> None:
        """`packed`: whether short rows share a line, which is as long as the longest row; else each has its own."""
        super().__init__(model)
        self.packed = packed
        layers = getattr(model.config, "layer_types", None) or ()
        self.window: int | None = model.config.sliding_window if "sliding_attention" in layers else None

    def encode(self, prompts: Sequence[TokenIds]) -> Prompts:
        return Prompts(self._embed(prompts))

    def encode_embeddings(self, rows: Sequence[Tensor]) -> Prompts:
        return Prompts(list(rows))

    def logits(
        self, encoded: Prompts, inputs: Sequence[TokenIds], rows: Indices = None, positions: Indices = None
    ) -> Tensor:
        states = self._decode(encoded, inputs, rows)
        return self.model.get_output_embeddings()(states if positions is None else states[positions])

    def token_losses(self, encoded: Prompts, targets: Sequence[TokenIds], rows: Indices = None) -> Tensor:
        with torch.no_grad():
            states = self._decode(encoded, self.decoder_inputs(targets), rows)
            return self._cross_entropy(states, targets, torch.ones(len(states), device=self.device))[1]

    def losses(self, tasks: Sequence[Task[Prompts]]) -> Losses:
        """All tasks in one pass."""
        prompts: list[Tensor] = []
        targets: list[TokenIds] = []
        for task in tasks:
            rows = [row for row, target in enumerate(task.targets) if target]
            targets += [task.targets[row] for row in rows]
            if isinstance(task.prompts, Prompts):
                prompts += [task.prompts.embeddings[row] for row in rows]
            elif rows:
                prompts += self._embed([task.prompts[row] for row in rows])
        if not targets:
            return Losses(torch.zeros((), device=self.device), [torch.zeros((), device=self.device) for _ in tasks])
        token_weights = [task.token_weights(self.device) for task in tasks]
        weights = torch.cat([weights * task.weight for task, weights in zip(tasks, token_weights, strict=True)])
        states = self._read(prompts, self.decoder_inputs(targets), range(len(prompts)))
        total, losses = self._cross_entropy(states, targets, weights)
        parts = losses.split([len(weights) for weights in token_weights])
        return Losses(total, [(part * weights).sum() for part, weights in zip(parts, token_weights, strict=True)])

    def generate(self, encoded: Prompts, max_new_tokens: int, on_token: OnToken | None = None) -> list[list[int]]:
        from transformers import DynamicCache

        memory, lengths = self._memory(encoded), torch.tensor([len(row) for row in encoded.embeddings])
        width, end_id = memory[0][0].shape[2] + 1, self.model.generation_config.eos_token_id
        # Of the tokens only the start token is read, behind the cache; the others stand for what is in it.
        tokens = torch.full((len(lengths), width), self.start_id)
        mask = (torch.arange(width) >= width - 1 - lengths[:, None]).long()
        output = self.model.generate(
            input_ids=tokens.to(self.device),
            attention_mask=mask.to(self.device),
            past_key_values=DynamicCache(memory),
            max_new_tokens=max_new_tokens + 1,
            do_sample=False,
            num_beams=1,
            streamer=None if on_token is None else TokenStreamer(on_token, end_id, max_new_tokens, width),
        )
        return until_end(output[:, width:].tolist(), end_id, max_new_tokens)

    def _embed(self, rows: Sequence[TokenIds]) -> list[Tensor]:
        embedded: Tensor = self.model.get_input_embeddings()(flatten(rows, self.device))
        return list(embedded.split([len(row) for row in rows]))

    def _cross_entropy(self, states: Tensor, targets: Sequence[TokenIds], weights: Tensor) -> tuple[Tensor, Tensor]:
        tokens = flatten(targets, self.device)
        return kernels.cross_entropy_of_head(self.model.get_output_embeddings(), states, tokens, weights)

    def _decode(self, encoded: Prompts, inputs: Sequence[TokenIds], rows: Indices) -> Tensor:
        """Last states of the decoder inputs, [decoder tokens, d_model]: in one pass with their prompts where a gradient
        is wanted, else behind the keys and values of the prompts."""
        rows = range(len(inputs)) if rows is None else rows
        if torch.is_grad_enabled():
            return self._read(encoded.embeddings, inputs, rows)
        return self._continue(encoded, inputs, rows)

    def _read(self, prompts: Sequence[Tensor], inputs: Sequence[TokenIds], rows: Sequence[int]) -> Tensor:
        """Last states of the decoder inputs, by one pass over them and their prompts."""
        inputs_of = _inputs_of_rows(rows)
        embedded = self._embed(inputs)
        sequences = [torch.cat([prompts[row], *(embedded[at] for at in of)]) for row, of in inputs_of.items()]
        places = [
            [(row, 0, position) for position in range(len(prompts[row]))]
            + _branch_places(row, len(prompts[row]), [len(inputs[at]) for at in of])
            for row, of in inputs_of.items()
        ]
        lengths = [len(sequence) for sequence in sequences]
        lines = pack_lines(lengths) if self.packed else [[number] for number in range(len(lengths))]
        tokens = self._padded([[place for number in line for place in places[number]] for line in lines])
        embeddings = pad_sequence([torch.cat([sequences[number] for number in line]) for line in lines], True)
        states = self._body(embeddings, tokens, tokens)
        starts = {
            number: index * states.shape[1] + start
            for index, line in enumerate(lines)
            for number, start in zip(line, accumulate((lengths[number] for number in line), initial=0), strict=False)
        }
        wanted = [
            starts[number] + at
            for number, row in enumerate(inputs_of)
            for at in range(len(prompts[row]), lengths[number])
        ]
        return states.flatten(0, 1)[torch.tensor(wanted, device=self.device)]

    def _continue(self, encoded: Prompts, inputs: Sequence[TokenIds], rows: Sequence[int]) -> Tensor:
        """Last states of the decoder inputs, behind the keys and values of their prompts: a line for each prompt."""
        from transformers import DynamicCache

        inputs_of, memory = _inputs_of_rows(rows), self._memory(encoded)
        lengths = [len(encoded.embeddings[row]) for row in inputs_of]
        if list(inputs_of) != list(range(len(encoded.embeddings))):
            memory = [(keys[list(inputs_of)], values[list(inputs_of)]) for keys, values in memory]
        branches = [[inputs[at] for at in of] for of in inputs_of.values()]
        tokens = self._padded(
            [_branch_places(0, start, list(map(len, of))) for start, of in zip(lengths, branches, strict=True)]
        )
        embeddings = pad_sequence(self._embed([[token for ids in of for token in ids] for of in branches]), True)
        past = self._past(lengths, memory[0][0].shape[2])
        states = self._body(embeddings, tokens, torch.cat([past, tokens], dim=1), DynamicCache(memory))
        return states[tokens[..., 0] != PADDING]

    def _memory(self, encoded: Prompts) -> KeysValues:
        """Keys and values of the prompts, computed once."""
        if not encoded.memory:
            from transformers import DynamicCache

            cache, embeddings = DynamicCache(), pad_sequence(encoded.embeddings, True, padding_side="left")
            tokens = self._past([len(row) for row in encoded.embeddings], embeddings.shape[1])
            with torch.no_grad():
                self._body(embeddings, tokens, tokens, cache)
            encoded.memory = [(layer.keys, layer.values) for layer in cache.layers]
        return encoded.memory

    def _past(self, lengths: Sequence[int], width: int) -> Tensor:
        """Places of the tokens of prompts, padded on the left: [prompts, width, 3]."""
        positions = torch.arange(width) - (width - torch.tensor(lengths)[:, None])
        known = torch.where(positions < 0, PADDING, 0)
        return torch.stack([known, known, positions.clamp(min=PADDING)], dim=-1).to(self.device)

    def _padded(self, places: Sequence[Sequence[tuple[int, int, int]]]) -> Tensor:
        """Places of the tokens of lines, padded on the right: [lines, longest, 3]."""
        lines = [torch.tensor(line) for line in places]
        return pad_sequence(lines, True, padding_value=PADDING).to(self.device)

    def _body(self, embeddings: Tensor, queries: Tensor, keys: Tensor, cache: Any = None) -> Tensor:
        """Last states, [lines, queries, d_model].

        A token sees its row's prompt and its own branch, up to its own position; padding sees padding.

        Args:
            queries: places of the tokens of `embeddings`, (row, branch, position) each: [lines, queries, 3].
            keys: places of the tokens in the cache and of those of `embeddings`, [lines, keys, 3].
        """
        rows, branches, positions = (queries[..., None, place] for place in range(3))
        key_rows, key_branches, key_positions = (keys[:, None, :, place] for place in range(3))
        is_seen = (rows == key_rows) & ((key_branches == 0) | (key_branches == branches)) & (key_positions <= positions)
        mask: Any = is_seen[:, None]
        if self.window is not None:
            is_near = (positions - key_positions < self.window)[:, None]
            mask = {"full_attention": mask, "sliding_attention": mask & is_near}
        states: Tensor = self.model.base_model(
            inputs_embeds=embeddings,
            attention_mask=mask,
            position_ids=queries[..., 2].clamp(min=0),
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state
        return states


def _inputs_of_rows(rows: Sequence[int]) -> dict[int, list[int]]:
    """Row -> the indices of its decoder inputs; both in their order."""
    inputs: dict[int, list[int]] = {}
    for at, row in enumerate(rows):
        inputs.setdefault(row, []).append(at)
    return inputs


def _branch_places(row: int, start: int, lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """(row, branch, position) of the tokens of a row's decoder inputs; each begins where the prompt ends."""
    return [(row, branch, start + at) for branch, length in enumerate(lengths, 1) for at in range(length)]


def pack_lines(lengths: Sequence[int]) -> list[list[int]]:
    """Sequence numbers in lines no longer than the longest sequence: the next longest goes where it fits first."""
    lines: list[list[int]] = []
    room: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        line = next((line for line, left in enumerate(room) if left >= lengths[number]), len(lines))
        if line == len(lines):
            lines.append([])
            room.append(max(lengths))
        lines[line].append(number)
        room[line] -= lengths[number]
    return lines
