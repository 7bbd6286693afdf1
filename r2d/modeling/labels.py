"""The declared label set as the tokenizer sees it (departures 11 and 13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from r2d.config.data import LabelsConfig
from r2d.errors import ModelError
from r2d.text import normalise_label

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class LabelSet:
    """Declared labels with the token ids the decoder must write for each, end-of-sequence included."""

    names: tuple[str, ...]
    token_ids: tuple[tuple[int, ...], ...]

    @property
    def longest(self) -> int:
        """Tokens of the longest label, end-of-sequence included."""
        return max(len(ids) for ids in self.token_ids)


class LabelSets:
    """The labels that each row can have: the declared set, or the row's own options."""

    def __init__(self, config: LabelsConfig, tokenizer: PreTrainedTokenizerBase, *, max_label_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.max_label_tokens = max_label_tokens
        self.declared = (
            None if config.per_row else tokenize_labels(config.names, tokenizer, max_label_tokens=max_label_tokens)
        )
        self._of_options = lru_cache(maxsize=65_536)(self._tokenize_options)

    def of(self, options: Sequence[str]) -> LabelSet:
        """The set of a row that brings these options; where labels are declared, the declared set.

        Raises:
            ModelError: the tokenizer cannot tell two options apart, or one is too long to be decoded.
        """
        return self.declared or self._of_options(tuple(options))

    def of_all(self, options: Sequence[Sequence[str]]) -> list[LabelSet]:
        """`of` for several rows."""
        return [self.of(some) for some in options]

    def _tokenize_options(self, given: tuple[str, ...]) -> LabelSet:
        options = tuple(dict.fromkeys(given))  # an option that is written twice is one
        token_ids = tuple(tuple(self.tokenizer(option).input_ids) for option in options)
        if len(set(token_ids)) < len(options):
            raise ModelError(
                f"{len(options)} options of a row become {len(set(token_ids))} for the tokenizer; choose a model whose "
                "vocabulary has their characters, or mend the options"
            )
        longest = max(len(ids) for ids in token_ids) - 1
        if longest > self.max_label_tokens:
            raise ModelError(
                f"an option of a row has {longest} tokens, model.max_label_tokens is {self.max_label_tokens}; raise it"
            )
        return LabelSet(options, token_ids)


def tokenize_labels(names: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, max_label_tokens: int) -> LabelSet:
    """Tokenize the label set and check that every label survives encode -> decode and stays apart from the others.

    Raises:
        ModelError: names each label that the tokenizer garbles or that is too long to be decoded.
    """
    token_ids = tuple(tuple(tokenizer(name).input_ids) for name in names)
    faults = []
    for name, ids in zip(names, token_ids, strict=True):
        decoded = tokenizer.decode(ids, skip_special_tokens=True)
        if normalise_label(decoded) != normalise_label(name):
            faults.append(f"label {name!r} comes back from the tokenizer as {decoded!r}")
        if len(ids) - 1 > max_label_tokens:
            faults.append(f"label {name!r} has {len(ids) - 1} tokens, model.max_label_tokens is {max_label_tokens}")
    if faults:
        raise ModelError(
            "the label set does not fit the tokenizer: "
            + "; ".join(faults)
            + ". Rename those labels, raise model.max_label_tokens, or choose a model whose vocabulary "
            "has their characters"
        )
    return LabelSet(tuple(names), token_ids)
