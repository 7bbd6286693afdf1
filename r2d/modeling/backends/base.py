"""What training and inference ask of an encoder-decoder, however it is run: rows of unequal length in and out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TokenIds = Sequence[int]


class Encoded(ABC):
    """What the encoder made of some rows. Only the network that made it looks inside."""

    @abstractmethod
    def take(self, rows: Sequence[int]) -> Encoded:
        """These rows alone, in this order, without gradient."""


EncodedT = TypeVar("EncodedT", bound=Encoded)


@dataclass(frozen=True)
class Task(Generic[EncodedT]):
    """Rows to be learnt with the right answer given (teacher forcing). Rows with an empty target take no part."""

    prompts: Sequence[TokenIds] | EncodedT
    """Encoder token ids of each row, or what `encode` made of them."""
    targets: Sequence[TokenIds]
    """Decoder token ids of each row, end-of-sequence included."""
    num_tokens: float
    """What the summed loss is divided by: the (weighted) target tokens of the whole optimiser step."""
    weight: float = 1.0
    """Of this task in the total."""
    row_weights: Sequence[float] | None = None
    """Of each row in the task's loss; all 1 by default."""

    def token_weights(self, device: torch.device) -> Tensor:
        """Weight of each target token in the task's loss, [target tokens]."""
        row_weights = self.row_weights or [1.0] * len(self.targets)
        lengths = torch.tensor([len(target) for target in self.targets])
        return (torch.tensor(row_weights).repeat_interleave(lengths) / self.num_tokens).to(device)


@dataclass(frozen=True)
class Losses:
    """Of a list of tasks."""

    total: Tensor
    """Sum of weight x loss over the tasks: scalar, with gradient."""
    of_tasks: list[Tensor]
    """Loss of each task before its weight: scalars, without gradient."""


class Network(ABC, Generic[EncodedT]):
    """An encoder-decoder over rows of unequal length. Holds a library model and no weights of its own."""

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
        """Run the encoder; with gradient and dropout as the model stands."""

    @abstractmethod
    def encode_embeddings(self, rows: Sequence[Tensor]) -> EncodedT:
        """Run the encoder on embeddings instead of tokens, each row [tokens, d_model], with gradient to them."""

    @abstractmethod
    def logits(
        self,
        encoded: EncodedT,
        decoder_inputs: Sequence[TokenIds],
        rows: Sequence[int] | None = None,
        places: Sequence[int] | None = None,
    ) -> Tensor:
        """Next-token logits at every position, rows end to end: [decoder tokens, vocabulary].

        Args:
            decoder_inputs: token ids that the decoder is given, the start token included.
            rows: the encoded row that each decoder input belongs to, in ascending order; one each by default.
            places: the positions wanted, counted through all rows; all by default.
        """

    @abstractmethod
    def token_losses(self, encoded: EncodedT, targets: Sequence[TokenIds], rows: Sequence[int] | None = None) -> Tensor:
        """Cross-entropy of each target token in nats, rows end to end, without gradient: [target tokens]."""

    @abstractmethod
    def losses(self, tasks: Sequence[Task[EncodedT]]) -> Losses:
        """Weighted cross-entropy of several tasks over one set of weights."""

    @abstractmethod
    def generate(self, encoded: EncodedT, max_new_tokens: int) -> list[list[int]]:
        """The greedy continuation of each row, without start and end-of-sequence token."""

    def decoder_inputs(self, targets: Sequence[TokenIds]) -> list[list[int]]:
        """Targets shifted to the right, behind the start token."""
        return [[self.start_id, *target[:-1]] for target in targets]

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Eval mode without gradient (departure 2); the mode found is restored, also after an error."""
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(was_training)


def flat(rows: Sequence[TokenIds], device: torch.device) -> Tensor:
    """Token ids of all rows end to end, [tokens]."""
    return torch.tensor([token for row in rows for token in row], dtype=torch.long, device=device)
