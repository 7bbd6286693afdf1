"""The label set as the tokenizer sees it (departures 11 and 13)."""

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
    """Labels with the token ids that the decoder must write for each, end-of-sequence included."""

    names: tuple[str, ...]
    token_ids: tuple[tuple[int, ...], ...]


class LabelSets:
    """The labels that each row can have: the declared set, or the row's own options."""

    def __init__(self, config: LabelsConfig, tokenizer: PreTrainedTokenizerBase, *, max_label_tokens: int) -> None:
        """Tokenize the declared labels.

        Raises:
            ModelError: names each label that the tokenizer garbles or that is too long to be decoded.
        """
        self.tokenizer = tokenizer
        self.max_label_tokens = max_label_tokens
        self.declared = None if config.per_row else self._declared(config.names)
        self._of_options = lru_cache(maxsize=65_536)(self._options)

    def of(self, options: Sequence[str]) -> LabelSet:
        """The declared set; without one, the set of a row that has these options.

        Raises:
            ModelError: the tokenizer cannot tell two options apart, or one is too long to be decoded.
        """
        return self.declared or self._of_options(tuple(options))

    def of_all(self, options: Sequence[Sequence[str]]) -> list[LabelSet]:
        """`of` for several rows."""
        return [self.of(row_options) for row_options in options]

    def _declared(self, names: tuple[str, ...]) -> LabelSet:
        token_ids = self._token_ids(names)
        faults = []
        for name, ids in zip(names, token_ids, strict=True):
            decoded = self.tokenizer.decode(ids, skip_special_tokens=True)
            if normalise_label(decoded) != normalise_label(name):
                faults.append(f"label {name!r} comes back from the tokenizer as {decoded!r}")
            if len(ids) - 1 > self.max_label_tokens:
                faults.append(
                    f"label {name!r} has {len(ids) - 1} tokens, model.max_label_tokens is {self.max_label_tokens}"
                )
        if faults:
            raise ModelError(
                f"the label set does not fit the tokenizer: {'; '.join(faults)}. Rename those labels, raise "
                "model.max_label_tokens, or choose a model whose vocabulary has their characters"
            )
        return LabelSet(names, token_ids)

    def _options(self, options: tuple[str, ...]) -> LabelSet:
        options = tuple(dict.fromkeys(options))  # an option that is written twice is one
        token_ids = self._token_ids(options)
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

    def _token_ids(self, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(self.tokenizer(name).input_ids) for name in names)
