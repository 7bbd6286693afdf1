"""The declared label set as the tokenizer sees it (departures 11 and 13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from r2d.data.labels import normalise_label
from r2d.errors import ModelError

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
