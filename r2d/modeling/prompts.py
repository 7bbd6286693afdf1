"""Prompts and labels as token ids: one limit for gold and sampled labels alike (departure 1), and the label set as the
tokenizer sees it (departures 11 and 13).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.errors import ModelError
from r2d.text import normalise_label

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


MIN_TEXT_TOKENS = 8
"""Of a prompt's text, template included; fewer say nothing of a note."""


class Frame(NamedTuple):
    """What stands before and behind a text in every prompt of a causal model: token ids of its chat template, or of
    the start token and a line break.

    A prompt ends before the last token of `tail`: that is the start token, which every target begins behind.
    """

    head: list[int]
    tail: list[int]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Frame | None:
        """The frame by `tokenizer.chat_template`, as `load_tokenizer` leaves it; None for an encoder-decoder."""
        if getattr(tokenizer, "chat_template", None) is None:
            return None
        parts = render_chat(tokenizer)
        return cls(*(tokenizer(text, add_special_tokens=False).input_ids for text in parts))

    @property
    def start_id(self) -> int:
        """The token that every target begins behind."""
        return self.tail[-1]


class RenderedChat(NamedTuple):
    """A chat of one message, to be answered: what stands before and behind the message."""

    before: str
    behind: str


def render_chat(tokenizer: PreTrainedTokenizerBase) -> RenderedChat:
    """What the tokenizer's chat template writes around a user's message; a model that may think first is told not to.

    Raises:
        ModelError: the template is faulty, or does not write the message once, as it is.
    """
    from jinja2 import TemplateError

    message = "MESSAGE"
    try:
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": message}], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
    except TemplateError as error:
        raise ModelError(
            f"the tokenizer's chat template writes no chat of one user's message ({error}); mend its chat_template"
        ) from error
    parts = chat.split(message)
    if len(parts) != 2:
        raise ModelError(
            f"the tokenizer's chat template writes a user's message {len(parts) - 1} times, not once; mend its "
            "chat_template"
        )
    return RenderedChat(*parts)


class PromptEncoder:
    """Turns notes and labels into prompts, rationales and labels into targets, all as token ids.

    Every target ends with end-of-sequence, and so does every prompt of an encoder-decoder; a causal model's stands in
    its `Frame`. Templates end with the note, so a limit cuts the note and never the prompt.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, config: ModelConfig, *, label_in_prompt: bool = True
    ) -> None:
        """`label_in_prompt` is False for a method whose rationale is not written for a label (`dss`).

        Raises:
            ModelError: `max_input_tokens` leaves no room for a text inside the chat template.
        """
        self.tokenizer, self.config, self.label_in_prompt = tokenizer, config, label_in_prompt
        self.frame = Frame.of(tokenizer)
        around = 0 if self.frame is None else len(self.frame.head) + len(self.frame.tail)
        self.max_text_tokens = config.max_input_tokens - around
        if self.max_text_tokens < MIN_TEXT_TOKENS:
            raise ModelError(
                f"model.max_input_tokens is {config.max_input_tokens}, of which the chat template of {config.name!r} "
                f"takes {around}; at least {around + MIN_TEXT_TOKENS} are needed"
            )

    def stage1_prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """`explain: {x}`."""
        return self._prompts([self.config.prompts.stage1.format(text=text) for text in texts])

    def label_prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """`predict: {x}`."""
        return self._prompts([self.config.prompts.label.format(text=text) for text in texts])

    def rationale_prompts(self, texts: Sequence[str], labels: Sequence[str]) -> list[list[int]]:
        """`given label: {y}, explain: {x}`; `labels` are gold or the model's own, left out where the method does."""
        if not self.label_in_prompt:
            return self.stage1_prompts(texts)
        template, pairs = self.config.prompts.rationale, zip(texts, labels, strict=True)
        return self._prompts([template.format(text=text, label=label) for text, label in pairs])

    def rationale_targets(self, rationales: Sequence[str]) -> list[list[int]]:
        """`r*`, cut at `max_rationale_tokens`; no tokens at all where there is no rationale."""
        ids = self._ids(rationales, self.config.max_rationale_tokens)
        return [tokens if rationale else [] for tokens, rationale in zip(ids, rationales, strict=True)]

    def label_target(self, label: str) -> list[int]:
        return self.tokenizer(label).input_ids

    def label_prefix_ids(self) -> list[int]:
        """Token ids before the note in a label prompt, `predict: `, without end-of-sequence.

        The space before the note belongs to the note's first token.
        """
        prefix = self.config.prompts.label.format(text="").rstrip(" ")
        head = [] if self.frame is None else self.frame.head
        return [*head, *self.tokenizer(prefix, add_special_tokens=False).input_ids]

    def _prompts(self, texts: Sequence[str]) -> list[list[int]]:
        if self.frame is None or not texts:
            return self._ids(texts, self.max_text_tokens)
        rows = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,  # a note that quotes a mark of the chat does not end its own turn
            truncation=True,
            max_length=self.max_text_tokens,
        ).input_ids
        return [[*self.frame.head, *row, *self.frame.tail[:-1]] for row in rows]

    def _ids(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        if not texts:
            return []
        return self.tokenizer(list(texts), truncation=True, max_length=limit).input_ids


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
        self.tokenizer, self.max_label_tokens = tokenizer, max_label_tokens
        self.is_ordered = config.is_ordered
        self.declared = None if config.per_row else self._tokenize(config.names)
        self._of_options = lru_cache(maxsize=65_536)(self._options)
        faults = []
        for name, ids in zip(self.declared.names, self.declared.token_ids, strict=True) if self.declared else ():
            decoded = tokenizer.decode(ids, skip_special_tokens=True)
            if normalise_label(decoded) != normalise_label(name):
                faults.append(f"label {name!r} comes back from the tokenizer as {decoded!r}")
            if len(ids) - 1 > max_label_tokens:
                faults.append(f"label {name!r} has {len(ids) - 1} tokens, model.max_label_tokens is {max_label_tokens}")
        if faults:
            raise ModelError(
                f"the label set does not fit the tokenizer: {'; '.join(faults)}. Rename those labels, raise "
                "model.max_label_tokens, or choose a model whose vocabulary has their characters"
            )

    def of(self, options: Sequence[str]) -> LabelSet:
        """The declared set; without one, the set of a row that has these options.

        Raises:
            ModelError: the tokenizer cannot tell two options apart, or one is too long to be decoded.
        """
        return self.declared or self._of_options(tuple(options))

    def of_all(self, options: Sequence[Sequence[str]]) -> list[LabelSet]:
        return [self.of(row_options) for row_options in options]

    def _options(self, options: tuple[str, ...]) -> LabelSet:
        labels = self._tokenize(tuple(dict.fromkeys(options)))  # an option that is written twice is one
        num_distinct, longest = len(set(labels.token_ids)), max(map(len, labels.token_ids)) - 1
        if num_distinct < len(labels.names):
            raise ModelError(
                f"{len(labels.names)} options of a row become {num_distinct} for the tokenizer; choose a model whose "
                "vocabulary has their characters, or mend the options"
            )
        if longest > self.max_label_tokens:
            raise ModelError(
                f"an option of a row has {longest} tokens, model.max_label_tokens is {self.max_label_tokens}; raise it"
            )
        return labels

    def _tokenize(self, names: tuple[str, ...]) -> LabelSet:
        return LabelSet(names, tuple(tuple(self.tokenizer(name).input_ids) for name in names))
