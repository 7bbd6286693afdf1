"""The tokenizer of a model from scratch: a byte-pair encoding whose vocabulary holds no person's name.

A byte-pair encoding keeps frequent words whole, and `tokenizer.json` travels with the model. So it learns only from
words that stand in the notes or rationales of enough groups (patients or callers) and do not look like names; all
others, names among them, are written in the pieces of those words. docs/clinical-safety.md has the rule for readers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, get_args

import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig, ScratchConfig
from r2d.config.privacy import Recogniser
from r2d.data.examples import groups_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

WORD_START = "▁"
SPECIAL_TOKENS = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
PLACEHOLDERS = tuple(f"[{recogniser.upper()}_1]" for recogniser in get_args(Recogniser))


@dataclass(frozen=True, repr=False)
class TokenizerTexts:
    """What a tokenizer from scratch learns from. It holds notes: its repr never shows them."""

    texts: Sequence[str]
    groups: Sequence[str]
    """Of each text: the patient or caller that it is about, or the id of its row."""
    declared: Sequence[str] = ()
    """Texts of the configuration, whose words need no group and are no names."""

    @classmethod
    def of(cls, examples: pa.Table, model: ModelConfig, labels: LabelsConfig) -> TokenizerTexts:
        """The training rows as both tasks will present them: each row's note, rationales and label prompts."""
        texts, groups = list[str](), list[str]()
        columns = (examples[name].to_pylist() for name in ("text", "rationale", "rationales", "label"))
        for group, text, chosen, pairs, label in zip(groups_of(examples), *columns, strict=True):
            rationales = [chosen] if chosen else [rationale for _, rationale in pairs]
            prompts = [model.prompts.rationale.format(label=label, text=""), model.prompts.label.format(text="")]
            of_row = [text, *rationales, *prompts]
            texts += of_row
            groups += [group] * len(of_row)
        prompts = [model.prompts.stage1.format(text=""), model.prompts.rationale.format(label="", text="")]
        return cls(texts, groups, (*labels.names, *prompts, model.prompts.label.format(text="")))


def train_tokenizer(learned: TokenizerTexts, config: ScratchConfig) -> PreTrainedTokenizerFast:
    """Train a byte-pair tokenizer with T5's special tokens: `<pad>` = 0, `</s>` = 1 (ends every text), `<unk>` = 2.

    BPE and not T5's Unigram: on a few thousand notes the Unigram trainer keeps letters where BPE keeps whole words.
    Small corpora give fewer tokens than `config.vocab_size`. Every character of the texts has a token.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    from r2d.privacy.words import shared_words  # a registered model decides without its libraries

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])

    @cache
    def words_of(chunk: str) -> tuple[str, ...]:
        """The words of what stands between two blanks, as the tokenizer divides it."""
        return tuple(word for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(chunk)))

    @cache
    def bare_words_of(chunk: str) -> tuple[str, ...]:
        return tuple(word.lstrip(WORD_START) for word in words_of(chunk))

    def divide(text: str) -> Iterable[str]:
        """The different words of a text, each at least once."""
        return chain.from_iterable(map(bare_words_of, set(text.split())))

    texts, min_groups = (*learned.texts, *learned.declared), config.min_groups_per_word
    exempt = {word for text in (*learned.declared, *PLACEHOLDERS) for word in divide(text)}
    words = shared_words(learned.texts, learned.groups, divide, min_groups=min_groups, exempt=exempt)
    level = logging.INFO if words.kept - exempt else logging.WARNING
    logger.log(level, "vocabulary: %s", words.sentence(min_groups))
    taken = words.kept | exempt

    @cache
    def taken_words_of(chunk: str) -> str:
        return " ".join(word for word in words_of(chunk) if word.lstrip(WORD_START) in taken)

    chunks = {chunk for text in texts for chunk in text.split()}
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        special_tokens=[*SPECIAL_TOKENS.values()],
        initial_alphabet=sorted({WORD_START}.union(*(word for chunk in chunks for word in divide(chunk)))),
        show_progress=False,
    )
    tokenizer.train_from_iterator((" ".join(map(taken_words_of, text.split())) for text in texts), trainer)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **SPECIAL_TOKENS)
