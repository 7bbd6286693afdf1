"""Rows of our own making whose token lengths cost what MedReason's cost, for benchmarks that may not carry MedReason.

Lengths are lognormal: words of the text exp(N(4.76, 0.57)), from 8 to 450; words of the rationale exp(N(3.88, 0.42)),
from 4 to 255; words of the label uniform from 2 to 9. A rationale belongs to a label, so 20 labels give 20 lengths, one
from the middle of each twentieth. The parameters were chosen (least squares over the first six figures and the bucketed
ones, then by hand for the 20 lengths) after what was measured on real MedReason rows at T5-small sizes; reached on
6,400 rows:

| figure | MedReason | these rows |
|---|---|---|
| Stage 2, computed / useful work at batch 8, 16, 32, 64 | 1.92, 2.17, 2.47, 2.79 | 1.92, 2.25, 2.55, 2.79 |
| the same, length-bucketed in windows of 50 batches | 1.21, 1.28, 1.35, 1.44 | 1.24, 1.30, 1.33, 1.35 |
| useful work of a row, Stage 1 and Stage 2, GFLOP | 32.3, 54.6 | 32.1, 54.6 |
| padding among question tokens in natural order, batch 8, 64 (not fitted) | 0.49, 0.64 | 0.49, 0.66 |

Words are invented and each is one token of `benchmark_tokenizer`, so that lengths are what the distribution says. The
filler of a text follows Zipf's law. The task can be learned in a few hundred steps, so that a briefly trained model
ends its texts by itself, at natural lengths: the first word of a text tells its label, the label tells the rationale,
and rationales are the last words of one fixed sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.work import RowTokens
from r2d.config.model import PromptsConfig, ScratchConfig
from r2d.modeling.tokenizer import TokenizerTexts, train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SEED = 20260815
NUM_LABELS = 20
NUM_FILLERS = 2000
TEXT_WORDS = (4.76, 0.57, 8, 450)
"""Mean and standard deviation of the logarithm, least, most."""
RATIONALE_WORDS = (3.88, 0.42, 4, 255)
LABEL_WORDS = (2, 9)
PROMPTS = PromptsConfig()


@dataclass(frozen=True, slots=True)
class Row:
    """One example."""

    id: str
    text: str
    label: str
    rationale: str


@dataclass(frozen=True)
class Words:
    """The invented words by what they are for."""

    fillers: list[str]
    cues: list[str]
    """The word of a text that tells its label, by label."""
    sequence: list[str]
    """Every rationale is a tail of it."""


@cache
def words() -> Words:
    """Words of two to four syllables, all different."""
    generator = np.random.default_rng(SEED)
    syllables = [consonant + vowel for consonant in "bdfghklmnprstvz" for vowel in "aeiou"]
    made: dict[str, None] = {}
    while len(made) < NUM_FILLERS + NUM_LABELS + RATIONALE_WORDS[3]:
        made["".join(generator.choice(syllables, size=generator.integers(2, 5)))] = None
    every = list(made)
    return Words(every[:NUM_FILLERS], every[NUM_FILLERS : NUM_FILLERS + NUM_LABELS], every[NUM_FILLERS + NUM_LABELS :])


@cache
def label_names(num_labels: int = NUM_LABELS) -> tuple[str, ...]:
    """A label set; a larger one begins with the smaller. Many labels share first words, as real ones do."""
    generator = np.random.default_rng(SEED)
    fillers, chances = words().fillers, _zipf(NUM_FILLERS)
    names: dict[str, None] = {}
    while len(names) < num_labels:
        chosen = generator.choice(NUM_FILLERS, size=generator.integers(LABEL_WORDS[0], LABEL_WORDS[1] + 1), p=chances)
        names[" ".join(fillers[word] for word in chosen)] = None
    return tuple(names)


def make_rows(num_rows: int, *, seed: int = SEED, text_words: int | None = None) -> list[Row]:
    """Rows whose text lengths hold the whole distribution, in random order; the same rows for the same arguments.

    Args:
        text_words: gives every text this many words instead.
    """
    generator = np.random.default_rng(seed)
    lengths = _lengths(generator, num_rows, TEXT_WORDS)
    if text_words is not None:
        lengths = np.full(num_rows, text_words)
    labels = generator.permutation(num_rows) % NUM_LABELS
    rationale_lengths = _lengths(np.random.default_rng(SEED), NUM_LABELS, RATIONALE_WORDS)
    chances, known, names = _zipf(NUM_FILLERS), words(), label_names()
    rows = []
    for number, (length, label) in enumerate(zip(lengths, labels, strict=True)):
        rationale = known.sequence[-rationale_lengths[label] :]
        filler = generator.choice(NUM_FILLERS, size=length - 1, p=chances)
        text = [known.cues[label], *(known.fillers[word] for word in filler)]
        rows.append(Row(f"row-{number}", " ".join(text), names[label], " ".join(rationale)))
    return rows


def _lengths(generator: np.random.Generator, num_rows: int, distribution: tuple[float, float, int, int]) -> np.ndarray:
    """One length from the middle of each of `num_rows` equally probable parts of the distribution, shuffled."""
    from scipy.stats import norm

    mean, deviation, least, most = distribution
    normal = norm.ppf((generator.permutation(num_rows) + 0.5) / num_rows)
    return np.clip(np.rint(np.exp(mean + deviation * normal)), least, most).astype(int)


def _zipf(count: int) -> Any:
    chances = 1 / np.arange(1, count + 1)
    return chances / chances.sum()


@cache
def benchmark_tokenizer() -> PreTrainedTokenizerBase:
    """A BPE in which each invented word is one token; it needs fewer than the 32,000 tokens it is allowed."""
    known = words()
    texts = [" ".join(part) for part in (known.fillers, known.cues, known.sequence)]
    texts += [PROMPTS.rationale.format(label="", text=""), PROMPTS.label.format(text="")]
    return train_tokenizer(TokenizerTexts((), (), declared=texts * 2), ScratchConfig(vocab_size=32_000))


def row_tokens(rows: list[Row]) -> RowTokens:
    """Tokens of every sequence of these rows, as the tokenizer gives them."""
    return RowTokens(
        stage1_prompt=_count([PROMPTS.stage1.format(text=row.text) for row in rows]),
        label_prompt=_count([PROMPTS.label.format(text=row.text) for row in rows]),
        rationale_prompt=_count([PROMPTS.rationale.format(label=row.label, text=row.text) for row in rows]),
        label=_count([row.label for row in rows]),
        rationale=_count([row.rationale for row in rows]),
    )


def _count(texts: list[str]) -> np.ndarray:
    return np.array([len(ids) for ids in benchmark_tokenizer()(texts).input_ids])
