"""Encoder texts of the three prompts, tokenized: one token limit for gold and sampled labels alike (departure 1)."""

from __future__ import annotations

from collections.abc import Sequence
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

    def rationale_targets(self, rationales: Sequence[str]) -> list[TokenIds]:
        """`r*`, cut at `max_rationale_tokens`; no tokens at all where there is no rationale."""
        ids = self._ids(rationales, self.config.max_rationale_tokens)
        return [tokens if rationale else [] for tokens, rationale in zip(ids, rationales, strict=True)]

    def label_prefix_ids(self) -> TokenIds:
        """What stands before the note in a label prompt, `predict: `, without end-of-sequence."""
        ids: TokenIds = self.tokenizer(self.config.prompts.label.format(text=""), add_special_tokens=False).input_ids
        return ids

    def _input_ids(self, texts: Sequence[str]) -> list[TokenIds]:
        return self._ids(texts, self.config.max_input_tokens)

    def _ids(self, texts: Sequence[str], limit: int) -> list[TokenIds]:
        if not texts:
            return []
        ids: list[TokenIds] = self.tokenizer(list(texts), truncation=True, max_length=limit).input_ids
        return ids
