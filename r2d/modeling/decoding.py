"""How the model decides (a label) and explains (a rationale): always in eval mode, without gradient (departure 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

from r2d.config.model import ModelConfig
from r2d.modeling.backends.backend import Encoded, Seq2SeqBackend, TokenIds
from r2d.modeling.prompts import LabelSet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LabelDecoding = Literal["constrained", "free"]

LABEL_TOKENS_AT_A_TIME = 4096
"""Decoder tokens of one pass over the labels of several rows: bounds the memory where labels are many."""
SEARCH_MARGIN = 1.0
"""Nats behind the best prefix within which other prefixes are followed in the same decoder pass: a pass costs more than
a few more tokens in it."""
LABEL_TOKENS_IN_ONE_PASS = 64
"""Tokens of a row's labels up to which a GPU scores them all: each step of the search would wait for it."""
PREFIXES_AT_A_TIME = 8
"""Prefixes of a row in one decoder pass."""


class ScoredLabel(NamedTuple):
    """The decoded label of a row."""

    name: str
    log_probability: float
    """Of its whole token sequence, end-of-sequence included where it has one."""
    num_tokens: int

    @property
    def mean_log_probability(self) -> float:
        return self.log_probability / self.num_tokens


class Decoder:
    """Decodes labels and rationales with the current weights of a model."""

    def __init__(self, backend: Seq2SeqBackend[Any], tokenizer: PreTrainedTokenizerBase, config: ModelConfig) -> None:
        self.backend, self.tokenizer, self.config = backend, tokenizer, config

    def labels(
        self, prompts: Encoded | Sequence[TokenIds], sets: Sequence[LabelSet], decoding: LabelDecoding | None = None
    ) -> list[str]:
        """`y_hat` for each label prompt, given as token ids or as the encoder output for them.

        `constrained` decoding gives the label of the row's set with the highest probability, `free` decoding the greedy
        text, which may be no label; the default is `model.label_decoding`.
        """
        if not sets:
            return []
        with self.backend.evaluating():
            encoded = prompts if isinstance(prompts, Encoded) else self.backend.encode(prompts)
            if (decoding or self.config.label_decoding) == "constrained":
                return [label.name for label in most_probable_labels(self.backend, encoded, sets)]
            return self._decode(self.backend.generate(encoded, self.config.max_label_tokens))

    def scored_labels(self, prompts: Sequence[TokenIds], sets: Sequence[LabelSet]) -> list[ScoredLabel]:
        """`y_hat` for each label prompt with its probability, by `model.label_decoding`."""
        with self.backend.evaluating():
            encoded = self.backend.encode(prompts)
            if self.config.label_decoding == "constrained":
                return most_probable_labels(self.backend, encoded, sets)
            limit, end_id = self.config.max_label_tokens, self.tokenizer.eos_token_id
            written = self.backend.generate(encoded, limit)
            # A text that was cut at the limit has no end.
            whole = [ids if len(ids) == limit else [*ids, end_id] for ids in written]
            losses = self.backend.token_losses(encoded, whole).split([len(ids) for ids in whole])
            scores = [(-float(loss.sum()), len(loss)) for loss in losses]
            return [ScoredLabel(text, *score) for text, score in zip(self._decode(written), scores, strict=True)]

    def rationales(self, prompts: Sequence[TokenIds]) -> list[str]:
        """The greedy rationale for each prompt, special tokens removed; not longer than a target without its end."""
        if not prompts:
            return []
        with self.backend.evaluating():
            encoded = self.backend.encode(prompts)
            return self._decode(self.backend.generate(encoded, self.config.max_rationale_tokens - 1))

    def stream_rationale(self, prompt: TokenIds, on_text: Callable[[str], object]) -> str:
        """The rationale for one prompt, as `rationales`; `on_text` receives each further piece of it meanwhile.

        The pieces, end to end, are the rationale: a word is passed on when the next has begun.
        """
        token_ids: list[int] = []
        num_sent = 0

        def on_token(token: int) -> None:
            nonlocal num_sent
            token_ids.append(token)
            whole_words = self._decode([token_ids])[0].rpartition(" ")[0]
            if len(whole_words) > num_sent:
                on_text(whole_words[num_sent:])
                num_sent = len(whole_words)

        with self.backend.evaluating():
            limit = self.config.max_rationale_tokens - 1
            rationale = self._decode(self.backend.generate(self.backend.encode([prompt]), limit, on_token))[0]
        if rest := rationale[num_sent:]:
            on_text(rest)
        return rationale

    def _decode(self, token_ids: Sequence[TokenIds]) -> list[str]:
        return [text.strip() for text in self.tokenizer.batch_decode(token_ids, skip_special_tokens=True)]


def label_log_probabilities(backend: Seq2SeqBackend[Any], encoded: Encoded, sets: Sequence[LabelSet]) -> list[Tensor]:
    """Log-probability of every label of each row's set, end-of-sequence included: one [labels] for each row.

    These are the model's own sequence probabilities, not normalised over the set.
    """
    portions: list[list[int]] = []  # rows that are scored together: at most `LABEL_TOKENS_AT_A_TIME`, or one row
    total = 0
    for row, num_tokens in enumerate(sum(map(len, labels.token_ids)) for labels in sets):
        if not portions or total + num_tokens > LABEL_TOKENS_AT_A_TIME:
            portions.append([])
            total = 0
        portions[-1].append(row)
        total += num_tokens
    scores: list[Tensor] = []
    with backend.evaluating():
        for rows in portions:
            targets = [ids for row in rows for ids in sets[row].token_ids]
            row_of_target = [row for row in rows for _ in sets[row].token_ids]
            label_scores = backend.log_probabilities(encoded, targets, row_of_target)
            scores += label_scores.split([len(sets[row].names) for row in rows])
    return scores


# --- The most probable label of a set, by a best-first search in the tree of the labels' tokens ---


class _Prefix(NamedTuple):
    """Labels that share their first `depth` tokens; at depth -1 one label that was scored to its end."""

    cost: float
    """Minus the log-probability of the prefix; ties go to the label that was declared first."""
    labels: tuple[int, ...]
    depth: int


def most_probable_labels(backend: Seq2SeqBackend[Any], encoded: Encoded, sets: Sequence[LabelSet]) -> list[ScoredLabel]:
    """The label of each row's set with the highest probability; exact, and seldom more than a walk down the tree.

    The probability of a prefix bounds that of every label that begins with it. So the best prefix is always followed
    first, and the search ends when a whole label is more probable than every prefix that was not followed. Where
    `scores_all_labels`, every label is scored instead.
    """
    if scores_all_labels(backend, sets):
        scores = iter(torch.cat(label_log_probabilities(backend, encoded, sets)).tolist())
        scored = [
            [
                ScoredLabel(name, next(scores), len(ids))
                for name, ids in zip(labels.names, labels.token_ids, strict=True)
            ]
            for labels in sets
        ]
        return [max(of_row, key=lambda label: label.log_probability) for of_row in scored]
    heaps = [[_Prefix(0.0, tuple(range(len(labels.names))), 0)] for labels in sets]
    while followed := [(row, prefix) for row, heap in enumerate(heaps) for prefix in _pop_promising(heap)]:
        for row, prefix in _follow(backend, encoded, followed, sets):
            heappush(heaps[row], prefix)
    best = [(labels, heap[0].labels[0], heap[0].cost) for labels, heap in zip(sets, heaps, strict=True)]
    return [ScoredLabel(labels.names[index], -cost, len(labels.token_ids[index])) for labels, index, cost in best]


def scores_all_labels(backend: Seq2SeqBackend[Any], sets: Sequence[LabelSet]) -> bool:
    """Whether one pass over all labels replaces the search: of small sets on a GPU, or by a backend without logits."""
    if not backend.gives_logits:
        return True
    most = max(sum(map(len, labels.token_ids)) for labels in sets)
    return backend.device.type != "cpu" and most <= LABEL_TOKENS_IN_ONE_PASS


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
    longer: list[tuple[int, _Prefix, int]] = []  # row, prefix at the cost of the one before, its number of `tokens`
    num_inputs = 0
    for row, (cost, labels, depth) in followed:
        ids = sets[row].token_ids
        first = ids[labels[0]]
        if len(labels) == 1:
            inputs.append([backend.start_id, *first[:-1]])
            new_tokens = first[depth:]
            num_positions = len(new_tokens)
            token_positions += range(len(positions), len(positions) + num_positions)
            longer.append((row, _Prefix(cost, labels, -1), num_positions))
        else:
            inputs.append([backend.start_id, *first[:depth]])
            branches: dict[int, list[int]] = {}  # next token -> labels
            for label in labels:
                branches.setdefault(ids[label][depth], []).append(label)
            new_tokens, num_positions = tuple(branches), 1
            token_positions += [len(positions)] * len(branches)
            for branch in branches.values():
                ended = len(branch) == 1 and len(ids[branch[0]]) == depth + 1
                longer.append((row, _Prefix(cost, tuple(branch), -1 if ended else depth + 1), 1))
        tokens += new_tokens
        num_inputs += len(inputs[-1])
        positions += range(num_inputs - num_positions, num_inputs)
    logits = backend.logits(encoded, inputs, [row for row, _ in followed], positions)
    costs = iter((-logits.float().log_softmax(dim=-1)[token_positions, tokens]).tolist())
    for row, prefix, num_tokens in longer:
        yield row, prefix._replace(cost=prefix.cost + sum(islice(costs, num_tokens)))
