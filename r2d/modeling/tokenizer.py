"""The tokenizer of a model from scratch: a byte-pair encoding whose vocabulary holds no person's name.

A byte-pair encoding keeps frequent words whole, and `tokenizer.json` travels with the model. So it learns only from
words that stand in the notes or rationales of enough groups (patients or callers) and do not look like names; all
others, names among them, are written in the pieces of those words. docs/clinical-safety.md has the rule for readers.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, get_args

import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig, ScratchConfig
from r2d.config.validation import PrivacyConfig, Recogniser
from r2d.privacy.deidentify import find_identifiers
from r2d.privacy.names import NOT_NAMES

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
        columns = (examples[name].to_pylist() for name in ("id", "group", "text", "rationale", "rationales", "label"))
        for row_id, group, text, chosen, pairs, label in zip(*columns, strict=True):
            rationales = [chosen] if chosen else [rationale for _, rationale in pairs]
            prompts = [model.prompts.rationale.format(label=label, text=""), model.prompts.label.format(text="")]
            of_row = [text, *rationales, *prompts]
            texts += of_row
            groups += [f"row {row_id}" if group is None else f"group {group}"] * len(of_row)
        prompts = [model.prompts.stage1.format(text=""), model.prompts.rationale.format(label="", text="")]
        return cls(texts, groups, (*labels.names, *prompts, model.prompts.label.format(text="")))


def train_tokenizer(learned: TokenizerTexts, config: ScratchConfig) -> PreTrainedTokenizerFast:
    """Train a byte-pair tokenizer with T5's special tokens: `<pad>` = 0, `</s>` = 1 (ends every text), `<unk>` = 2.

    BPE and not T5's Unigram: on a few thousand notes the Unigram trainer keeps letters where BPE keeps whole words.
    Small corpora give fewer tokens than `config.vocab_size`. Every character of the texts has a token.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])

    @cache
    def words_of(chunk: str) -> tuple[str, ...]:
        """The words of a text between two blanks, as the tokenizer divides it."""
        return tuple(word for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(chunk)))

    words = choose_words(learned, config.min_groups_per_word, words_of)
    level = logging.INFO if words.taken else logging.WARNING
    logger.log(level, "the vocabulary holds %s", words.sentence(config.min_groups_per_word))

    def texts_of_taken_words() -> Iterator[str]:
        for text in (*learned.texts, *learned.declared):
            yield " ".join(word for chunk in text.split() for word in words_of(chunk) if word in words.taken)

    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        special_tokens=[*SPECIAL_TOKENS.values()],
        initial_alphabet=words.characters,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts_of_taken_words(), trainer)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **SPECIAL_TOKENS)


class ChosenWords(NamedTuple):
    """The words of some texts, in the form in which the tokenizer divides them, and those that it may keep whole."""

    taken: frozenset[str]
    characters: list[str]
    num_words: int
    """Different words of the texts."""
    num_rare: int
    """Of those left out: in too few groups. All others look like names."""

    def sentence(self, min_groups: int) -> str:
        """How many words are kept whole, and why the others are not. It names none."""
        return (
            f"{len(self.taken):,} of {self.num_words:,} words; {self.num_rare:,} stand in the texts of fewer than "
            f"{min_groups:,} groups (model.scratch.min_groups_per_word) and "
            f"{self.num_words - len(self.taken) - self.num_rare:,} look like names: these are written in pieces"
        )


def choose_words(learned: TokenizerTexts, min_groups: int, words_of: Callable[[str], tuple[str, ...]]) -> ChosenWords:
    """Choose the words that a vocabulary may hold.

    Those are the words of `learned.declared` and of placeholders, single characters, and words in the texts of at least
    `min_groups` groups, unless they look like names. A word looks like a name where the recogniser of names has found
    it somewhere, or where it has a capital and is not as frequent in small letters, nor known to be no name
    (`not_names.yaml`).

    Args:
        words_of: divides what stands between two blanks; a first word begins with `WORD_START`.
    """
    chunks_of_group: defaultdict[str, set[str]] = defaultdict(set)
    for text, group in zip(learned.texts, learned.groups, strict=True):
        chunks_of_group[group].update(text.split())
    num_groups: Counter[str] = Counter()
    for chunks in chunks_of_group.values():
        num_groups.update({word.lstrip(WORD_START) for chunk in chunks for word in words_of(chunk)})
    declared, exempt = (
        {word for text in texts for chunk in text.split() for word in words_of(chunk)}
        for texts in (learned.declared, (*learned.declared, *PLACEHOLDERS))
    )
    different = list(dict.fromkeys(learned.texts))
    by_name = PrivacyConfig(policy="warn", recognisers=("person_name",), min_score=0.0)
    names = {
        word.lstrip(WORD_START)
        for row, findings in find_identifiers(pa.array(different, pa.string()), by_name).items()
        for finding in findings
        for chunk in different[row][finding.start : finding.end].split()
        for word in words_of(chunk)
    }

    rare, taken = set[str](), set[str]()
    every = declared | {word for chunks in chunks_of_group.values() for chunk in chunks for word in words_of(chunk)}
    for word in every:
        bare = word.lstrip(WORD_START)
        small = bare.lower()
        is_plain = small in NOT_NAMES or bare == small or (num_groups[small] >= min_groups and small not in names)
        if word in exempt or len(bare) <= 1:
            taken.add(word)
        elif num_groups[bare] < min_groups:
            rare.add(word)
        elif bare not in names and is_plain:
            taken.add(word)
    return ChosenWords(frozenset(taken), sorted(set().union(*every)), len(every), len(rare))
