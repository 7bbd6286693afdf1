"""The interface of a model that writes targets for prompts, rows of unequal length, and its general implementation for
encoder-decoders by padded batches.

`r2d.modeling.backends.packed` holds the faster implementation for T5 on a CPU, and `make_backend`, which chooses;
`r2d.modeling.backends.causal` that for causal language models.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TokenIds = Sequence[int]
Indices = Sequence[int] | None
OnToken = Callable[[int], None]
KeysValues = list[tuple[Tensor, Tensor]]
"""Of each layer."""


class Encoded(ABC):
    """What a model has read of some prompts: an encoder's output, or a causal model's keys and values. Only the backend
    that made it looks inside."""

    @abstractmethod
    def take(self, rows: Sequence[int]) -> Encoded:
        """The given rows in the given order, without gradient."""


EncodedT = TypeVar("EncodedT", bound=Encoded)


@dataclass(frozen=True)
class Task(Generic[EncodedT]):
    """Rows to be learnt by teacher forcing. Rows with an empty target take no part."""

    prompts: Sequence[TokenIds] | EncodedT
    """Encoder token ids of each row, or the output of `encode` for them."""
    targets: Sequence[TokenIds]
    """Decoder token ids of each row, end-of-sequence included."""
    num_tokens: float
    """Divisor of the summed loss: the (weighted) target tokens of the whole optimiser step."""
    weight: float = 1.0
    """Of this task in the total loss."""
    row_weights: Sequence[float] | None = None
    """Of each row in the task's loss; all 1 by default."""

    def token_weights(self, device: torch.device) -> Tensor:
        """Weight of each target token in the task's loss, [target tokens]."""
        row_weights = self.row_weights or [1.0] * len(self.targets)
        lengths = torch.tensor([len(target) for target in self.targets])
        return (torch.tensor(row_weights).repeat_interleave(lengths) / self.num_tokens).to(device)


@dataclass(frozen=True)
class Losses:
    total: Tensor
    """Sum of weight x loss over the tasks: scalar, with gradient."""
    of_tasks: list[Tensor]
    """Loss of each task before its weight: scalars, without gradient."""


class Seq2SeqBackend(ABC, Generic[EncodedT]):
    """Reads prompts and writes targets, rows of unequal length. Holds a library model and no weights of its own."""

    gives_logits = True
    """Whether `logits` and what learns from them can be asked for."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def start_id(self) -> int:
        """The token that every decoder input begins with."""
        return int(self.model.config.decoder_start_token_id)

    @abstractmethod
    def encode(self, prompts: Sequence[TokenIds]) -> EncodedT:
        """Run the encoder; gradient and dropout follow the mode of the model."""

    @abstractmethod
    def encode_embeddings(self, rows: Sequence[Tensor]) -> EncodedT:
        """Run the encoder on embeddings instead of tokens, each row [tokens, d_model], with gradient to them."""

    @abstractmethod
    def logits(
        self, encoded: EncodedT, inputs: Sequence[TokenIds], rows: Indices = None, positions: Indices = None
    ) -> Tensor:
        """Next-token logits at every position, rows end to end: [decoder tokens, vocabulary].

        Args:
            inputs: token ids of each decoder input, the start token included.
            rows: the encoded row of each decoder input, in ascending order; one each by default.
            positions: the positions to return, counted through all decoder inputs; all by default.
        """

    @abstractmethod
    def token_losses(self, encoded: EncodedT, targets: Sequence[TokenIds], rows: Indices = None) -> Tensor:
        """Cross-entropy of each target token in nats, rows end to end, without gradient: [target tokens]."""

    def log_probabilities(self, encoded: EncodedT, targets: Sequence[TokenIds], rows: Sequence[int]) -> Tensor:
        """Log-probability of each whole target after the prompt of its row, without gradient: [targets]."""
        losses = self.token_losses(encoded, targets, rows).split([len(target) for target in targets])
        return torch.stack([-loss.sum() for loss in losses])

    @abstractmethod
    def losses(self, tasks: Sequence[Task[EncodedT]]) -> Losses:
        """Weighted cross-entropy of several tasks over one set of weights."""

    @abstractmethod
    def generate(self, encoded: EncodedT, max_new_tokens: int, on_token: OnToken | None = None) -> list[list[int]]:
        """The greedy continuation of each row, without start and end-of-sequence token.

        Args:
            on_token: receives each token as soon as it is known; for a single row.
        """

    def decoder_inputs(self, targets: Sequence[TokenIds]) -> list[list[int]]:
        """Targets shifted to the right, behind the start token."""
        return [[self.start_id, *target[:-1]] for target in targets]

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Eval mode without gradient (departure 2); the earlier mode is restored, also after an error."""
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(was_training)


class TokenStreamer:
    """What the library calls with the tokens of one row: first those that were given, then each as it is known."""

    def __init__(self, on_token: OnToken, end_id: int, limit: int, num_given: int = 1) -> None:
        self.on_token, self.end_id, self.limit, self.num_tokens = on_token, end_id, limit, -num_given

    def put(self, tokens: Tensor) -> None:
        for token in tokens.flatten().tolist():
            self.num_tokens += 1
            if 0 < self.num_tokens <= self.limit and token != self.end_id:
                self.on_token(token)

    def end(self) -> None: ...


def until_end(rows: Sequence[TokenIds], end_id: int, limit: int) -> list[list[int]]:
    """Generated rows up to end-of-sequence, and no longer than the limit."""
    ended = (list(row) if end_id not in row else list(row[: row.index(end_id)]) for row in rows)
    return [row[:limit] for row in ended]


def flatten(rows: Sequence[TokenIds], device: torch.device) -> Tensor:
    """Token ids of all rows end to end, [tokens]."""
    return torch.tensor([token for row in rows for token in row], dtype=torch.long, device=device)


@dataclass(frozen=True)
class PaddedStates(Encoded):
    states: Tensor
    """[rows, longest, d_model]."""
    attention_mask: Tensor
    """[rows, longest]."""

    def take(self, rows: Sequence[int]) -> PaddedStates:
        return PaddedStates(self.states[rows].detach(), self.attention_mask[rows])

    def as_model_inputs(self) -> dict[str, object]:
        """Arguments of the library's model in place of `input_ids`: encoder_outputs, attention_mask."""
        from transformers.modeling_outputs import BaseModelOutput

        outputs = BaseModelOutput(last_hidden_state=self.states)
        return {"encoder_outputs": outputs, "attention_mask": self.attention_mask}


class PaddedBackend(Seq2SeqBackend[PaddedStates]):
    """Any encoder-decoder of transformers, by its own forward pass: on a GPU, in bf16, and beyond T5."""

    def encode(self, prompts: Sequence[TokenIds]) -> PaddedStates:
        input_ids, mask = self._pad(prompts)
        return PaddedStates(self.model.get_encoder()(input_ids=input_ids, attention_mask=mask)[0], mask)

    def encode_embeddings(self, rows: Sequence[Tensor]) -> PaddedStates:
        embeddings, mask = pad_sequence(list(rows), batch_first=True), self._mask(rows)
        return PaddedStates(self.model.get_encoder()(inputs_embeds=embeddings, attention_mask=mask)[0], mask)

    def logits(
        self, encoded: PaddedStates, inputs: Sequence[TokenIds], rows: Indices = None, positions: Indices = None
    ) -> Tensor:
        if rows is not None:
            encoded = PaddedStates(encoded.states[rows], encoded.attention_mask[rows])
        input_ids, mask = self._pad(inputs)
        outputs = self.model(**encoded.as_model_inputs(), decoder_input_ids=input_ids, use_cache=False)
        logits = outputs.logits[mask.bool()]
        return logits if positions is None else logits[positions]

    def token_losses(self, encoded: PaddedStates, targets: Sequence[TokenIds], rows: Indices = None) -> Tensor:
        return self._cross_entropy(encoded, targets, rows).detach()

    def losses(self, tasks: Sequence[Task[PaddedStates]]) -> Losses:
        total, of_tasks = torch.zeros((), device=self.device), []
        for task in tasks:
            rows = [row for row, target in enumerate(task.targets) if target]
            loss = torch.zeros((), device=self.device)
            if rows:
                encoded = task.prompts
                if not isinstance(encoded, PaddedStates):
                    encoded = self.encode([encoded[row] for row in rows])
                    rows = list(range(len(rows)))
                tokens = self._cross_entropy(encoded, [target for target in task.targets if target], rows)
                loss = (tokens * task.token_weights(self.device)).sum()
                total = total + task.weight * loss
            of_tasks.append(loss.detach())
        return Losses(total, of_tasks)

    def generate(self, encoded: PaddedStates, max_new_tokens: int, on_token: OnToken | None = None) -> list[list[int]]:
        # One more for end-of-sequence: a limit of n tokens is a limit of n tokens of text.
        end_id = self.model.config.eos_token_id
        streamer = None if on_token is None else TokenStreamer(on_token, end_id, max_new_tokens)
        output = self.model.generate(
            **encoded.as_model_inputs(),
            max_new_tokens=max_new_tokens + 1,
            do_sample=False,
            num_beams=1,
            streamer=streamer,
        )
        return until_end(output[:, 1:].tolist(), end_id, max_new_tokens)

    def _cross_entropy(self, encoded: PaddedStates, targets: Sequence[TokenIds], rows: Indices) -> Tensor:
        logits = self.logits(encoded, self.decoder_inputs(targets), rows)
        return cross_entropy(logits.float(), flatten(targets, self.device), reduction="none")

    def _pad(self, rows: Sequence[TokenIds]) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask, both [rows, longest]."""
        mask = self._mask(rows)
        ids = torch.full_like(mask, self.model.config.pad_token_id)
        ids[mask.bool()] = flatten(rows, self.device)
        return ids, mask

    def _mask(self, rows: Sequence[TokenIds | Tensor]) -> Tensor:
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        return (torch.arange(int(lengths.max()), device=self.device) < lengths[:, None]).long()
