"""Section `model`: the language model, its prompts and its limits."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from r2d.config.section import Name, Section


class ScratchConfig(Section):
    """Sizes of a T5 made from nothing, its tokenizer trained on the training split alone."""

    vocab_size: Annotated[int, Field(ge=64)] = 4000
    """Most tokens of the vocabulary."""
    min_groups_per_word: Annotated[int, Field(ge=1)] = 20
    """Groups (`data.columns.group`; without it, rows) that must have a word for it to stand in the vocabulary. What
    fewer have, or what looks like a name, is written in pieces. 1 takes every other word: for published texts only."""
    d_model: Annotated[int, Field(ge=8)] = 128
    """Numbers that stand for a token between the layers."""
    d_kv: Annotated[int, Field(ge=4)] = 32
    """Numbers in the key, query and value of each head."""
    d_ff: Annotated[int, Field(ge=8)] = 512
    """Width of the feed-forward layers."""
    num_layers: Annotated[int, Field(ge=1)] = 2
    """Of the encoder, and as many of the decoder."""
    num_heads: Annotated[int, Field(ge=1)] = 4
    """Attention heads of each layer."""
    dropout_rate: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Share of the numbers that training sets to 0."""

    @property
    def vocabulary(self) -> str:
        """What the tokenizer's vocabulary is made of, for a report and a card."""
        groups = "one group" if self.min_groups_per_word == 1 else f"{self.min_groups_per_word:,} groups"
        return f"at most {self.vocab_size:,} tokens, of words that at least {groups} have"


class PromptsConfig(Section):
    """Prompt templates: data, not code. `{text}` and `{label}` are filled in."""

    stage1: str = "explain: {text}"
    """Of Stage 1: the rationale from the note."""
    label: str = "predict: {text}"
    """Of Stage 2 and of inference: the label from the note."""
    rationale: str = "given label: {label}, explain: {text}"
    """Of Stage 2 and of inference: the rationale for a label."""

    @model_validator(mode="after")
    def _placeholders(self) -> PromptsConfig:
        wanted = {"stage1": {"text"}, "label": {"text"}, "rationale": {"label", "text"}}
        for key, names in wanted.items():
            template = getattr(self, key)
            if set(re.findall(r"\{(\w*)\}", template)) != names or not template.endswith("{text}"):
                raise ValueError(
                    f"{key} must contain {' and '.join(f'{{{n}}}' for n in sorted(names))}, end with {{text}} and "
                    f"contain no other braces; found {template!r}"
                )
        return self


class LoraConfig(Section):
    """Low-rank adapters (arXiv 2106.09685): each stage trains them alone and leaves them merged into the weights."""

    rank: Annotated[int, Field(ge=1)] = 16
    """Inner width of an adapter."""
    alpha: Annotated[int, Field(ge=1)] = 32
    """The adapters' product is scaled by `alpha / rank`."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    """Of what goes into an adapter."""
    target_modules: tuple[Name, ...] = ()
    """Names of the linear layers that get one, such as `q` and `v` in a T5 or `q_proj` and `v_proj` in a Llama; by
    default all but the output layer."""
    base: Literal["fp32", "bf16"] = "fp32"
    """Numbers that the frozen weights are kept in while adapters, in fp32, train: bf16 takes half the memory, rounds
    the start weights of each stage, and needs `precision: bf16` in the stages. What a stage leaves is fp32."""


class ModelConfig(Section):
    """The encoder-decoder or causal language model that does both tasks."""

    name: Name = "google-t5/t5-large"
    """A checkpoint by hub name or local folder, a registered version (`models:/reason2decide@champion`,
    `models:/reason2decide/3`), or `scratch`. Allowed types: `r2d.modeling.load`."""
    revision: str | None = None
    """Commit of a hub checkpoint; a branch name is accepted but the run can then not be repeated exactly. Of a folder
    or a registered version it is set by the run itself, to what identifies the weights."""
    scratch: ScratchConfig = ScratchConfig()
    """Read only when `name` is `scratch`."""
    lora: LoraConfig | None = None
    """Adapters in place of full training, for models whose optimiser state would not fit; off by default."""
    prompts: PromptsConfig = PromptsConfig()
    max_input_tokens: Annotated[int, Field(ge=8)] = 1024
    """Of every prompt, gold or sampled label alike, a causal model's chat template included; the note is cut, never
    the prompt."""
    max_rationale_tokens: Annotated[int, Field(ge=2)] = 256
    """Of a rationale with its end-of-sequence: a longer target is cut, and a longer text is not written."""
    max_label_tokens: Annotated[int, Field(ge=1)] = 49
    """Longest label that free decoding may write, its end-of-sequence left out; longer declared labels are refused
    before training. The published limit of 50 counts the decoder's start token."""
    label_decoding: Literal["constrained", "free"] = "constrained"
    """`constrained`: the most probable label of the declared set. `free`: greedy text, as published; it may be no
    label at all. Evaluation reports both; this one is used in training, in the headline and in the registered model."""

    def without_limits(self) -> ModelConfig:
        """The same, for which no text is cut."""
        return self.model_copy(update={"max_input_tokens": 10**9, "max_rationale_tokens": 10**9})
