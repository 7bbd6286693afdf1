"""How the model decides (a label) and explains (a rationale): always in eval mode, without gradient (departure 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from r2d.config.model import ModelConfig
from r2d.modeling.backends.backend import Encoded, Seq2SeqBackend, TokenIds
from r2d.modeling.labels import LabelSet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LabelDecoding = Literal["constrained", "free"]

LABEL_TOKENS_AT_A_TIME = 4096
"""Decoder tokens of one pass over the labels of several rows: bounds the memory where labels are many."""
SEARCH_MARGIN = 1.0
"""Nats behind the best prefix within which other prefixes are followed in the same decoder pass: a pass costs more than
a few more tokens in it."""
PREFIXES_AT_A_TIME = 8
"""Prefixes of a row in one decoder pass."""


@dataclass(frozen=True, slots=True)
class ScoredLabel:
    """The most probable label of a row."""

    name: str
    log_probability: float
    """Of its whole token sequence, end-of-sequence included."""
    num_tokens: int

    @property
    def mean_log_probability(self) -> float:
        return self.log_probability / self.num_tokens


class Decoder:
    """Decodes labels and rationales with the current weights of a model."""

    def __init__(self, backend: Seq2SeqBackend[Any], tokenizer: PreTrainedTokenizerBase, config: ModelConfig) -> None:
        self.backend = backend
        self.tokenizer = tokenizer
        self.config = config

    def labels(
        self,
        prompts: Encoded | Sequence[TokenIds],
        sets: Sequence[LabelSet],
        decoding: LabelDecoding | None = None,
    ) -> list[str]:
        """`y_hat` for each label prompt.

        Args:
            prompts: token ids, or the encoder output for them.
            sets: the labels that each row can have.
            decoding: `constrained`: the label of the row's set with the highest probability. `free`: the greedy text,
                which may be no label. By default as `model.label_decoding` says.
        """
        if not sets:
            return []
        with self.backend.evaluating():
            encoded = prompts if isinstance(prompts, Encoded) else self.backend.encode(prompts)
            if (decoding or self.config.label_decoding) == "constrained":
                return [label.name for label in most_probable_labels(self.backend, encoded, sets)]
            return self._texts(encoded, self.config.max_label_tokens)

    def rationales(self, prompts: Sequence[TokenIds]) -> list[str]:
        """The greedy rationale for each prompt, special tokens removed."""
        if not prompts:
            return []
        with self.backend.evaluating():
            return self._texts(self.backend.encode(prompts), self.config.max_rationale_tokens)

    def _texts(self, encoded: Encoded, max_new_tokens: int) -> list[str]:
        token_ids = self.backend.generate(encoded, max_new_tokens)
        return [text.strip() for text in self.tokenizer.batch_decode(token_ids, skip_special_tokens=True)]


def label_log_probabilities(backend: Seq2SeqBackend[Any], encoded: Encoded, sets: Sequence[LabelSet]) -> list[Tensor]:
    """Log-probability of every label of each row's set, end-of-sequence included: one [labels] for each row.

    These are the model's own sequence probabilities, not normalised over the set.
    """
    scores: list[Tensor] = []
    with backend.evaluating():
        for rows in _portions([sum(map(len, labels.token_ids)) for labels in sets]):
            targets = [ids for row in rows for ids in sets[row].token_ids]
            row_of_target = [row for row in rows for _ in sets[row].token_ids]
            losses = backend.token_losses(encoded, targets, row_of_target).split([len(target) for target in targets])
            label_scores = torch.stack([-loss.sum() for loss in losses])
            scores += label_scores.split([len(sets[row].names) for row in rows])
    return scores


def _portions(num_tokens: Sequence[int]) -> Iterator[list[int]]:
    """Row numbers in portions of at most `LABEL_TOKENS_AT_A_TIME` tokens, or of one row that has more."""
    rows: list[int] = []
    total = 0
    for row, tokens in enumerate(num_tokens):
        if rows and total + tokens > LABEL_TOKENS_AT_A_TIME:
            yield rows
            rows, total = [], 0
        rows.append(row)
        total += tokens
    if rows:
        yield rows


# --- The most probable label of a set, by a best-first search in the tree of the labels' tokens ---


@dataclass(frozen=True, order=True, slots=True)
class _Prefix:
    """Labels that share their first `depth` tokens; at depth -1 one label that was scored to its end."""

    cost: float
    """Minus the log-probability of the prefix; ties go to the label that was declared first."""
    labels: tuple[int, ...]
    depth: int


def most_probable_labels(backend: Seq2SeqBackend[Any], encoded: Encoded, sets: Sequence[LabelSet]) -> list[ScoredLabel]:
    """The label of each row's set with the highest probability; exact, and seldom more than a walk down the tree.

    The probability of a prefix bounds that of every label that begins with it. So the best prefix is always followed
    first, and the search ends when a whole label is more probable than every prefix that was not followed.

    Args:
        encoded: encoder output for the rows' label prompts.
        sets: the labels that each row can have.
    """
    heaps = [[_Prefix(0.0, tuple(range(len(labels.names))), 0)] for labels in sets]
    while followed := [(row, prefix) for row, heap in enumerate(heaps) for prefix in _pop_promising(heap)]:
        for row, prefix in _follow(backend, encoded, followed, sets):
            heappush(heaps[row], prefix)
    best = [(labels, heap[0]) for labels, heap in zip(sets, heaps, strict=True)]
    return [
        ScoredLabel(labels.names[prefix.labels[0]], -prefix.cost, len(labels.token_ids[prefix.labels[0]]))
        for labels, prefix in best
    ]


def _pop_promising(heap: list[_Prefix]) -> list[_Prefix]:
    """Take out the best prefix and those within `SEARCH_MARGIN` of it; none where a whole label is best."""
    popped: list[_Prefix] = []
    while heap and heap[0].depth >= 0 and len(popped) < PREFIXES_AT_A_TIME:
        if popped and heap[0].cost > popped[0].cost + SEARCH_MARGIN:
            break
        popped.append(heappop(heap))
    return popped


def _follow(
    backend: Seq2SeqBackend[Any], encoded: Encoded, followed: Sequence[tuple[int, _Prefix]], sets: Sequence[LabelSet]
) -> Iterator[tuple[int, _Prefix]]:
    """(row, longer prefix) for each continuation of the prefixes, by one decoder pass.

    A prefix of several labels is followed by one token, a prefix of a single label to that label's end.
    """
    inputs: list[list[int]] = []
    positions: list[int] = []  # decoder positions whose logits are needed
    tokens: list[int] = []  # the tokens whose probabilities are needed, and for each its index in `positions`
    token_positions: list[int] = []
    branches: list[dict[int, list[int]]] = []  # for each prefix of several labels: next token -> labels
    num_inputs = 0
    for row, prefix in followed:
        ids = sets[row].token_ids
        first = ids[prefix.labels[0]]
        next_tokens: dict[int, list[int]] = {}
        if len(prefix.labels) == 1:
            inputs.append([backend.start_id, *first[:-1]])
            tokens += first[prefix.depth :]
            num_positions = len(first) - prefix.depth
            token_positions += range(len(positions), len(positions) + num_positions)
        else:
            inputs.append([backend.start_id, *first[: prefix.depth]])
            for label in prefix.labels:
                next_tokens.setdefault(ids[label][prefix.depth], []).append(label)
            tokens += next_tokens
            num_positions = 1
            token_positions += [len(positions)] * len(next_tokens)
        branches.append(next_tokens)
        num_inputs += len(inputs[-1])
        positions += range(num_inputs - num_positions, num_inputs)
    logits = backend.logits(encoded, inputs, [row for row, _ in followed], positions)
    log_probabilities = logits.float().log_softmax(dim=-1)
    costs = iter((-log_probabilities[token_positions, tokens]).tolist())
    for (row, prefix), next_tokens in zip(followed, branches, strict=True):
        ids = sets[row].token_ids
        if not next_tokens:
            rest = sum(next(costs) for _ in range(len(ids[prefix.labels[0]]) - prefix.depth))
            yield row, _Prefix(prefix.cost + rest, prefix.labels, -1)
        for labels in next_tokens.values():
            ended = len(labels) == 1 and len(ids[labels[0]]) == prefix.depth + 1
            yield row, _Prefix(prefix.cost + next(costs), tuple(labels), -1 if ended else prefix.depth + 1)
