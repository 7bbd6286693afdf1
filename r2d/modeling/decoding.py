"""How the model decides (a label) and explains (a rationale): always in eval mode, without gradient (departure 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from r2d.modeling.backends import Encoded, Network, TokenIds
from r2d.modeling.label_search import most_probable_labels
from r2d.modeling.labels import LabelSet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LabelDecoding = Literal["constrained", "free"]

LABEL_TOKENS_AT_A_TIME = 4096
"""Decoder tokens of one pass over the labels of several rows: what bounds the memory where labels are many."""


def decode_labels(
    network: Network[Any],
    tokenizer: PreTrainedTokenizerBase,
    prompts: Encoded | Sequence[TokenIds],
    sets: Sequence[LabelSet],
    *,
    decoding: LabelDecoding,
    max_label_tokens: int,
) -> list[str]:
    """`y_hat` for each label prompt.

    `constrained`: the label of the row's set with the highest probability. `free`: the greedy text, which may be no
    label.

    Args:
        prompts: token ids, or what the encoder has made of them already.
        sets: the labels that each row can have.
    """
    if not sets:
        return []
    with network.evaluating():
        encoded = prompts if isinstance(prompts, Encoded) else network.encode(prompts)
        if decoding == "constrained":
            return [found.name for found in most_probable_labels(network, encoded, sets)]
        return _texts(tokenizer, network.generate(encoded, max_label_tokens))


def label_log_probabilities(network: Network[Any], encoded: Encoded, sets: Sequence[LabelSet]) -> list[Tensor]:
    """Log-probability of every label of each row's set, end-of-sequence included: one [labels] for each row.

    These are the model's own sequence probabilities, not yet normalised over the set.
    """
    scores: list[Tensor] = []
    with network.evaluating():
        for rows in _portions([sum(map(len, labels.token_ids)) for labels in sets]):
            targets = [ids for row in rows for ids in sets[row].token_ids]
            row_of_target = [row for row in rows for _ in sets[row].token_ids]
            losses = network.token_losses(encoded, targets, row_of_target).split([len(target) for target in targets])
            of_labels = torch.stack([-loss.sum() for loss in losses])
            scores += of_labels.split([len(sets[row].names) for row in rows])
    return scores


def generate_rationales(
    network: Network[Any],
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[TokenIds],
    *,
    max_rationale_tokens: int,
) -> list[str]:
    """The greedy rationale for each prompt, special tokens removed."""
    if not prompts:
        return []
    with network.evaluating():
        return _texts(tokenizer, network.generate(network.encode(prompts), max_rationale_tokens))


def _texts(tokenizer: PreTrainedTokenizerBase, written: Sequence[TokenIds]) -> list[str]:
    return [text.strip() for text in tokenizer.batch_decode(written, skip_special_tokens=True)]


def _portions(num_tokens: Sequence[int]) -> Iterator[list[int]]:
    """Row numbers in portions of `LABEL_TOKENS_AT_A_TIME`, or of one row that has more."""
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
