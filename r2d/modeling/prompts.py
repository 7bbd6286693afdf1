"""Encoder texts of the three prompts, tokenized: one token limit for gold and sampled labels alike (departure 1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from r2d.config import ModelConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TokenIds = list[int]


class PromptEncoder:
    """Turns notes and labels into encoder token ids, rationales and labels into decoder targets.

    Every list ends with end-of-sequence. Templates end with the note, so a limit cuts the note and never the prompt.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, config: ModelConfig, *, label_in_prompt: bool = True
    ) -> None:
        """`label_in_prompt` is False for a method whose rationale is not written for a label (`dss`)."""
        self.tokenizer = tokenizer
        self.config = config
        self.label_in_prompt = label_in_prompt
        self._head = lru_cache(maxsize=4096)(self._head_ids)

    def stage1_prompts(self, texts: Sequence[str]) -> list[TokenIds]:
        """`explain: {x}`."""
        return self._input_ids([self.config.prompts.stage1.format(text=text) for text in texts])

    def label_prompts(self, texts: Sequence[str]) -> list[TokenIds]:
        """`predict: {x}`."""
        return self._input_ids([self.config.prompts.label.format(text=text) for text in texts])

    def rationale_prompts(self, texts: Sequence[str], labels: Sequence[str]) -> list[TokenIds]:
        """`given label: {y}, explain: {x}`; `labels` are gold or the model's own, left out where the method does."""
        if not self.label_in_prompt:
            return self.stage1_prompts(texts)
        template = self.config.prompts.rationale
        return self._input_ids([template.format(text=t, label=y) for t, y in zip(texts, labels, strict=True)])

    def composed_rationale_prompt(self, label_prompt: Sequence[int], label: str) -> TokenIds | None:
        """The rationale prompt from the token ids of the label prompt, which hold the same note: nothing is tokenized.

        None where the ids cannot tell: the note was cut and the rationale prompt leaves it more room. Whether a note's
        tokens may be joined to another prompt at all is for `joins` to say.
        """
        begun = self._head(self.config.prompts.label.format(text=""))
        head = self._head(
            self.config.prompts.rationale.format(label=label, text="")
            if self.label_in_prompt
            else self.config.prompts.stage1.format(text="")
        )
        limit = self.config.max_input_tokens
        cut = len(label_prompt) == limit and len(head) < len(begun)
        if cut or len(head) >= limit - 1 or len(begun) >= limit - 1:
            return None
        note = label_prompt[len(begun) : -1][: limit - 1 - len(head)]
        return [*head, *note, label_prompt[-1]]

    def joins(self, texts: Sequence[str], label_prompts: Sequence[Sequence[int]], labels: Sequence[str]) -> list[bool]:
        """Whether each note's rationale prompt, composed of token ids, is what the tokenizer makes of its whole text.

        It is not where the tokenizer puts something in front of every text, or where the beginning of the note
        melts into the prompt (a combining character, a special token written out).
        """
        if self.tokenizer("").input_ids != [self.tokenizer.eos_token_id]:
            return [False] * len(texts)
        whole = self.rationale_prompts(texts, labels)
        composed = map(self.composed_rationale_prompt, label_prompts, labels)
        return [one == other for one, other in zip(composed, whole, strict=True)]

    def rationale_targets(self, rationales: Sequence[str]) -> list[TokenIds]:
        """`r*`, cut at `max_rationale_tokens`; no tokens at all where there is no rationale."""
        ids = self._ids(rationales, self.config.max_rationale_tokens)
        return [tokens if rationale else [] for tokens, rationale in zip(ids, rationales, strict=True)]

    def label_target(self, label: str) -> TokenIds:
        """`y`."""
        ids: TokenIds = self.tokenizer(label).input_ids
        return ids

    def label_prefix_ids(self) -> TokenIds:
        """What stands before the note in a label prompt, `predict: `, without end-of-sequence."""
        return list(self._head(self.config.prompts.label.format(text="")))

    def _head_ids(self, text: str) -> tuple[int, ...]:
        """What stands before the note. The space before the note belongs to the note's first token."""
        return tuple(self.tokenizer(text.rstrip(" "), add_special_tokens=False).input_ids)

    def _input_ids(self, texts: Sequence[str]) -> list[TokenIds]:
        return self._ids(texts, self.config.max_input_tokens)

    def _ids(self, texts: Sequence[str], limit: int) -> list[TokenIds]:
        if not texts:
            return []
        ids: list[TokenIds] = self.tokenizer(list(texts), truncation=True, max_length=limit).input_ids
        return ids
