"""Any encoder-decoder of transformers, by its own forward pass over padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from r2d.modeling.backends.base import Encoded, Losses, Network, Task, TokenIds, flat


@dataclass(frozen=True)
class PaddedStates(Encoded):
    states: Tensor
    """[rows, longest, d_model]."""
    attention_mask: Tensor
    """[rows, longest]."""

    def take(self, rows: Sequence[int]) -> PaddedStates:
        return PaddedStates(self.states[rows].detach(), self.attention_mask[rows])

    def inputs(self) -> dict[str, Any]:
        """What the library's model takes where the encoder has run already."""
        from transformers.modeling_outputs import BaseModelOutput

        return {
            "encoder_outputs": BaseModelOutput(last_hidden_state=self.states),
            "attention_mask": self.attention_mask,
        }


class PaddedNetwork(Network[PaddedStates]):
    """The library's own kernels: what runs on a GPU, and every architecture that has no packed pass."""

    def encode(self, prompts: Sequence[TokenIds]) -> PaddedStates:
        input_ids, mask = self._pad(prompts)
        states = self.model.get_encoder()(input_ids=input_ids, attention_mask=mask).last_hidden_state
        return PaddedStates(states, mask)

    def encode_embeddings(self, rows: Sequence[Tensor]) -> PaddedStates:
        embeddings = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
        mask = _mask([len(row) for row in rows], self.device)
        states = self.model.get_encoder()(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
        return PaddedStates(states, mask)

    def logits(
        self,
        encoded: PaddedStates,
        decoder_inputs: Sequence[TokenIds],
        rows: Sequence[int] | None = None,
        places: Sequence[int] | None = None,
    ) -> Tensor:
        if rows is not None:
            encoded = PaddedStates(encoded.states[rows], encoded.attention_mask[rows])
        inputs, mask = self._pad(decoder_inputs)
        outputs = self.model(**encoded.inputs(), decoder_input_ids=inputs, use_cache=False)
        logits = outputs.logits[mask.bool()]
        return logits if places is None else logits[places]

    def token_losses(
        self, encoded: PaddedStates, targets: Sequence[TokenIds], rows: Sequence[int] | None = None
    ) -> Tensor:
        logits = self.logits(encoded, self.decoder_inputs(targets), rows)
        return cross_entropy(logits.float(), flat(targets, self.device), reduction="none").detach()

    def losses(self, tasks: Sequence[Task[PaddedStates]]) -> Losses:
        total, of_tasks = torch.zeros((), device=self.device), []
        for task in tasks:
            weights = task.token_weights(self.device)
            if not len(weights):
                of_tasks.append(torch.zeros((), device=self.device))
                continue
            used = [row for row, target in enumerate(task.targets) if target]
            encoded = task.prompts
            if not isinstance(encoded, PaddedStates):
                encoded = self.encode([encoded[row] for row in used])
                used = list(range(len(used)))
            targets = [target for target in task.targets if target]
            logits = self.logits(encoded, self.decoder_inputs(targets), used)
            tokens = cross_entropy(logits.float(), flat(targets, self.device), reduction="none")
            loss = (tokens * weights).sum()
            total = total + task.weight * loss
            of_tasks.append(loss.detach())
        return Losses(total, of_tasks)

    def generate(self, encoded: PaddedStates, max_new_tokens: int) -> list[list[int]]:
        # One more for end-of-sequence: a limit of n tokens is a limit of n tokens of text.
        output = self.model.generate(
            **encoded.inputs(), max_new_tokens=max_new_tokens + 1, do_sample=False, num_beams=1
        )
        end_id = self.model.config.eos_token_id
        rows = [row if end_id not in row else row[: row.index(end_id)] for row in output[:, 1:].tolist()]
        return [row[:max_new_tokens] for row in rows]

    def _pad(self, rows: Sequence[TokenIds]) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask, both [rows, longest]."""
        mask = _mask([len(row) for row in rows], self.device)
        ids = torch.full_like(mask, self.model.config.pad_token_id)
        ids[mask.bool()] = flat(rows, self.device)
        return ids, mask


def _mask(lengths: Sequence[int], device: torch.device) -> Tensor:
    positions = torch.arange(max(lengths), device=device)
    return (positions < torch.tensor(lengths, device=device)[:, None]).long()
