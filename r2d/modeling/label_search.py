"""The most probable label of a set, by a search in the tree of the labels' tokens: exact, and seldom more than a walk.

The probability of a prefix bounds that of every label that begins with it. So the best prefix is always followed first,
and the search ends when a whole label is more probable than every prefix left open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from r2d.modeling.backends import Encoded, Network
from r2d.modeling.labels import LabelSet

MARGIN = 1.0
"""Nats behind the best prefix within which others are followed in the same pass of the decoder: a pass costs more than
a few tokens more in it."""
MOST_AT_ONCE = 8
"""Prefixes of a row in one pass."""


@dataclass(frozen=True, slots=True)
class FoundLabel:
    """The most probable label of a row."""

    name: str
    log_probability: float
    """Of its whole token sequence, end-of-sequence included."""
    num_tokens: int

    @property
    def mean_log_probability(self) -> float:
        return self.log_probability / self.num_tokens


@dataclass(frozen=True, order=True, slots=True)
class _Open:
    """Labels that share a prefix of `depth` tokens; at -1 a label that has been followed to its end."""

    cost: float
    """Minus the log-probability of the prefix; ties go to the label that was declared first."""
    labels: tuple[int, ...]
    depth: int


def most_probable_labels(network: Network[Any], encoded: Encoded, sets: Sequence[LabelSet]) -> list[FoundLabel]:
    """For each encoded row the label of its set with the highest probability.

    Args:
        encoded: the rows' label prompts.
        sets: of each row; the same one again where the labels are declared.
    """
    heaps = [[_Open(0.0, tuple(range(len(labels.names))), 0)] for labels in sets]
    while asked := [(row, node) for row, heap in enumerate(heaps) for node in _promising(heap)]:
        for row, node in _follow(network, encoded, asked, sets):
            heappush(heaps[row], node)
    best = [heap[0] for heap in heaps]
    return [
        FoundLabel(labels.names[one.labels[0]], -one.cost, len(labels.token_ids[one.labels[0]]))
        for labels, one in zip(sets, best, strict=True)
    ]


def _promising(heap: list[_Open]) -> list[_Open]:
    """Take out the best prefix and those not far behind it; nothing where a whole label is best."""
    taken: list[_Open] = []
    while heap and heap[0].depth >= 0 and len(taken) < MOST_AT_ONCE:
        if taken and heap[0].cost > taken[0].cost + MARGIN:
            break
        taken.append(heappop(heap))
    return taken


def _follow(
    network: Network[Any], encoded: Encoded, asked: Sequence[tuple[int, _Open]], sets: Sequence[LabelSet]
) -> Iterator[tuple[int, _Open]]:
    """One pass of the decoder for all rows: a prefix to its next tokens, a prefix of one label to that label's end."""
    inputs: list[list[int]] = []
    places: list[int] = []
    wanted: list[list[int]] = []
    num_given = 0
    for row, node in asked:
        label, alone = sets[row].token_ids[node.labels[0]], len(node.labels) == 1
        inputs.append([network.start_id, *(label[:-1] if alone else label[: node.depth])])
        wanted.append(_next_tokens(sets[row], node))
        num_given += len(inputs[-1])
        places += range(num_given - (len(wanted[-1]) if alone else 1), num_given)
    log_probabilities = network.logits(encoded, inputs, [row for row, _ in asked], places).float().log_softmax(dim=-1)
    costs = iter(_costs(log_probabilities, asked, wanted))
    for (row, node), some in zip(asked, wanted, strict=True):
        for found in _found(sets[row], node, list(islice(costs, len(some)))):
            yield row, found


def _next_tokens(labels: LabelSet, node: _Open) -> list[int]:
    """What comes after the prefix: each possible next token, or all that is left of the only label."""
    if len(node.labels) == 1:
        return list(labels.token_ids[node.labels[0]][node.depth :])
    return list(dict.fromkeys(labels.token_ids[label][node.depth] for label in node.labels))


def _costs(
    log_probabilities: Tensor, asked: Sequence[tuple[int, _Open]], wanted: Sequence[Sequence[int]]
) -> list[float]:
    """Minus the log-probability of every wanted token: of a prefix all at one place, of a single label one a place."""
    places: list[int] = []
    for (_, node), tokens in zip(asked, wanted, strict=True):
        first = places[-1] + 1 if places else 0
        places += range(first, first + len(tokens)) if len(node.labels) == 1 else [first] * len(tokens)
    where = torch.tensor(places, device=log_probabilities.device)
    tokens_there = torch.tensor([token for some in wanted for token in some], device=where.device)
    costs: list[float] = (-log_probabilities[where, tokens_there]).tolist()
    return costs


def _found(labels: LabelSet, node: _Open, costs: list[float]) -> list[_Open]:
    if len(node.labels) == 1:
        return [_Open(node.cost + sum(costs), node.labels, -1)]
    branches: dict[int, list[int]] = {}
    for label in node.labels:
        branches.setdefault(labels.token_ids[label][node.depth], []).append(label)
    opened = []
    for (_, some), cost in zip(branches.items(), costs, strict=True):
        ended = len(some) == 1 and len(labels.token_ids[some[0]]) == node.depth + 1
        opened.append(_Open(node.cost + cost, tuple(some), -1 if ended else node.depth + 1))
    return opened
