"""Prompts composed of token ids are what the tokenizer makes of the whole text, or it is said that they are not."""

from __future__ import annotations

import random
import sys
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from r2d.config.model import ModelConfig, PromptsConfig
from r2d.modeling.load import train_tokenizer
from r2d.modeling.prompts import PromptEncoder
from tests.conftest import toy_examples

LABELS = [
    "emergency now", "self care", "a", "é", "ﬁrst", "x</s>y", "see, explain: b", "rash:", "now ", "!", "日本",
    "e\u0301", "a very long label that alone fills most of what a short prompt has room for",
]  # fmt: skip
COMBINING = [chr(code) for code in range(0x300, 0x370)] + ["\u1161", "\u11a8", "\u200d", "\ufe0f", "\u0338", "\u3099"]
SPACES = [*" \t\n\r\v\f", "\u00a0", "\u2003", "\u2028", "\u3000", "\u1680", "\u200b", "\ufeff", "\x00", "\x1c", "\x85"]
PIECES = ["</s>", "<pad>", "<unk>", "<s>", "▁", "{label}", "{text}", "{", ":", ", explain:", "explain:", "predict: "]
WORDS = "pt denies chest pain fever for 3 days reports cough BP 120/80 mg q.d. שלום مرحبا लक्षण 患者 ﬁ ½ ① Ⅳ".split()  # noqa: SIM905


def any_character(generator: random.Random) -> str:
    """Of any plane, but for surrogates, which no text can hold."""
    code = generator.choice([0x250, 0x3000, 0x10000, sys.maxunicode + 1])
    while True:
        character = chr(generator.randrange(code))
        if unicodedata.category(character) != "Cs":
            return character


def random_text(generator: random.Random) -> str:
    """Words and what hospitals' exports hold besides: mostly at the beginning, where the note meets the prompt."""
    kinds: list[Callable[[], str]] = [
        lambda: any_character(generator),
        lambda: generator.choice(COMBINING),
        lambda: generator.choice(SPACES),
        lambda: generator.choice(PIECES),
        lambda: generator.choice(WORDS),
    ]
    beginning = "".join(generator.choice(kinds)() for _ in range(generator.randrange(4)))
    rest = [generator.choice(WORDS) for _ in range(generator.choice([0, 0, 1, 1, 2, 3, 4, 30]))]
    ending = generator.choice(kinds)() if generator.random() < 0.3 else ""
    return beginning + " ".join(rest) + ending


@cache
def texts(num: int) -> list[str]:
    generator = random.Random(0)
    return [random_text(generator) for _ in range(num)]


def corpus() -> list[str]:
    prompts = [f"given label: {label}, explain: predict: explain:" for label in LABELS[:2]]
    return [*toy_examples()["text"].to_pylist(), *prompts * 5, " ".join(WORDS)]


def wrapped(tokenizer: Tokenizer, template: str) -> Any:
    specials = [(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>") if name in template]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=specials)
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **names)


def unigram(*, split_first: bool) -> Any:
    """As T5's: NFKC and Metaspace, in the published file after a split at white space."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    metaspace = pre_tokenizers.Metaspace()
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace]) if split_first else metaspace
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return wrapped(tokenizer, "$A </s>")


def byte_level(template: str) -> Any:
    """As BART's, whose every text begins with `<s>`, and as Blenderbot's, whose does not."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<pad>", "</s>", "<unk>", "<s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(corpus(), trainer)
    return wrapped(tokenizer, template)


MADE: dict[str, Callable[[], Any]] = {
    "our own BPE": lambda: train_tokenizer(corpus(), 300),
    "Unigram, split": lambda: unigram(split_first=True),
    "Unigram": lambda: unigram(split_first=False),
    "bytes": lambda: byte_level("$A </s>"),
    "bytes with a beginning": lambda: byte_level("<s> $A </s>"),
}
made = cache(lambda name: MADE[name]())


def share_joined(prompts: PromptEncoder, notes: list[str], seed: int = 0) -> float:
    """Share of notes whose prompts may be joined; each is held against the whole text, for the gold label and another.

    As in training: `joins` is asked once, with the gold label, and the prompt composed at the step for any label.
    """
    generator = random.Random(seed)
    gold, other = ([generator.choice(LABELS) for _ in notes] for _ in range(2))
    label_prompts = prompts.label_prompts(notes)
    joins = prompts.can_compose(notes, label_prompts, gold)
    for labels in (gold, other):
        whole = prompts.rationale_prompts(notes, labels)
        for note, ids, label, joined, expected in zip(notes, label_prompts, labels, joins, whole, strict=True):
            composed = prompts.compose_rationale_prompt(ids, label) if joined else None
            assert composed in (None, expected), (note, label)
    return sum(joins) / len(joins)


def config(limit: int, **prompts: str) -> ModelConfig:
    return ModelConfig(max_input_tokens=limit, prompts=PromptsConfig(**prompts))


@pytest.mark.parametrize("name", MADE)
def test_a_composed_prompt_is_the_whole_text_s_or_is_not_composed(name: str) -> None:
    share = share_joined(PromptEncoder(made(name), config(64)), texts(10_000 if name == "our own BPE" else 1_000))
    assert share == 0.0 if name == "bytes with a beginning" else share > 0.3


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("limit", [8, 11, 14, 16, 17, 20, 1024])
def test_a_limit_near_the_prompt_s_own_length_cuts_the_note_as_the_tokenizer_does(name: str, limit: int) -> None:
    share_joined(PromptEncoder(made(name), config(limit)), texts(100), seed=limit)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize(
    "rationale",
    [
        "given label: {label}, explain:{text}",
        "{label} {text}",
        "{label}{text}",
        "{label}:{text}",
        "{label}: {text}",
        "why {label} x{text}",
        "Label: {label}\nNote:  {text}",
        "{label}\n{text}",
        "{label}, {label}. Explain: {text}",
    ],
)
def test_other_words_in_the_templates(name: str, rationale: str) -> None:
    for limit, label in [(64, "predict: {text}"), (64, "predict:{text}"), (20, "what is it, given this note: {text}")]:
        share_joined(PromptEncoder(made(name), config(limit, label=label, rationale=rationale)), texts(60))


@pytest.mark.parametrize("name", MADE)
def test_prompts_without_a_label(name: str) -> None:
    for limit in (8, 24, 64):
        prompts = PromptEncoder(made(name), config(limit), label_in_prompt=False)
        share_joined(prompts, texts(200))
        notes = texts(20)
        assert prompts.rationale_prompts(notes, ["a"] * 20) == prompts.stage1_prompts(notes)


@pytest.mark.parametrize("name", ["our own BPE", "Unigram, split", "Unigram"])
def test_plain_notes_are_always_joined(name: str) -> None:
    assert share_joined(PromptEncoder(made(name), config(200)), toy_examples()["text"].to_pylist()) == 1.0
