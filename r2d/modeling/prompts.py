"""The three prompts as token ids: one token limit for gold and sampled labels alike (departure 1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from r2d.config.model import ModelConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
        self._head_ids = lru_cache(maxsize=4096)(self._tokenize_head)

    def stage1_prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """`explain: {x}`."""
        return self._ids([self.config.prompts.stage1.format(text=text) for text in texts], self.config.max_input_tokens)

    def label_prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """`predict: {x}`."""
        return self._ids([self.config.prompts.label.format(text=text) for text in texts], self.config.max_input_tokens)

    def rationale_prompts(self, texts: Sequence[str], labels: Sequence[str]) -> list[list[int]]:
        """`given label: {y}, explain: {x}`; `labels` are gold or the model's own, left out where the method does."""
        prompts = [self._rationale_text(text, label) for text, label in zip(texts, labels, strict=True)]
        return self._ids(prompts, self.config.max_input_tokens)

    def compose_rationale_prompt(self, label_prompt: Sequence[int], label: str) -> list[int] | None:
        """The rationale prompt from the token ids of the label prompt, which hold the same note: nothing is tokenized.

        None where the ids cannot tell: the note was cut and the rationale prompt has more room for it. Whether the
        tokens of a note may be joined to another prompt at all is for `can_compose` to say.
        """
        label_head = self._head_ids(self.config.prompts.label.format(text=""))
        head = self._head_ids(self._rationale_text("", label))
        limit = self.config.max_input_tokens
        cut = len(label_prompt) == limit and len(head) < len(label_head)
        if cut or len(head) >= limit - 1 or len(label_head) >= limit - 1:
            return None
        note = label_prompt[len(label_head) : -1][: limit - 1 - len(head)]
        return [*head, *note, label_prompt[-1]]

    def can_compose(
        self, texts: Sequence[str], label_prompts: Sequence[Sequence[int]], labels: Sequence[str]
    ) -> list[bool]:
        """Whether each note's rationale prompt, composed of token ids, is what the tokenizer makes of its whole text.

        It is not where the tokenizer puts something in front of every text, or where the beginning of the note
        melts into the prompt (a combining character, a special token written out). The answer for `labels` holds
        for every label: all tokens of the note are compared, also those that a long label would leave no room for.
        """
        # Words of the template and a space must keep the label from the note: else their tokens could melt.
        between = self.config.prompts.rationale.rpartition("{label}")[2].removesuffix("{text}")
        stands_apart = not self.label_in_prompt or (" " in between and not between.isspace())
        if self.tokenizer("").input_ids != [self.tokenizer.eos_token_id] or not stands_apart:
            return [False] * len(texts)
        heads = [list(self._head_ids(self._rationale_text("", label))) for label in labels]
        limit, start = self.config.max_input_tokens, len(self.label_prefix_ids())
        tokenized = self._ids(
            [self._rationale_text(text, label) for text, label in zip(texts, labels, strict=True)],
            limit + max(map(len, heads), default=0),
        )
        return [
            ids[: len(head) + len(prompt) - start - 1] == [*head, *prompt[start:-1]]
            and (len(prompt) == limit or len(ids) == len(head) + len(prompt) - start)
            for ids, head, prompt in zip(tokenized, heads, label_prompts, strict=True)
        ]

    def rationale_targets(self, rationales: Sequence[str]) -> list[list[int]]:
        """`r*`, cut at `max_rationale_tokens`; no tokens at all where there is no rationale."""
        ids = self._ids(rationales, self.config.max_rationale_tokens)
        return [tokens if rationale else [] for tokens, rationale in zip(ids, rationales, strict=True)]

    def label_target(self, label: str) -> list[int]:
        """`y`."""
        ids: list[int] = self.tokenizer(label).input_ids
        return ids

    def label_prefix_ids(self) -> list[int]:
        """Token ids before the note in a label prompt, `predict: `, without end-of-sequence."""
        return list(self._head_ids(self.config.prompts.label.format(text="")))

    def _rationale_text(self, text: str, label: str) -> str:
        if not self.label_in_prompt:
            return self.config.prompts.stage1.format(text=text)
        return self.config.prompts.rationale.format(text=text, label=label)

    def _tokenize_head(self, head: str) -> tuple[int, ...]:
        """Token ids of a prompt before the note. The space before the note belongs to the note's first token."""
        return tuple(self.tokenizer(head.rstrip(" "), add_special_tokens=False).input_ids)

    def _ids(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=limit).input_ids
        return ids
