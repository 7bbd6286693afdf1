"""Model and tokenizer from a hub name, a folder, a registered version, or scratch: safetensors only, no hub code.

All families get the same start, end and padding, and decoding that no setting of a checkpoint changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.model import REGISTERED, ModelConfig, ScratchConfig
from r2d.data.examples import TokenCounts, split_of
from r2d.errors import ModelError
from r2d.modeling.architectures import ALLOWED, require_allowed
from r2d.modeling.model_folder import require_same_labels
from r2d.modeling.prompts import PromptEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast


def start_model(
    config: ModelConfig,
    training_texts: Iterable[str],
    *,
    seed: int,
    labels: LabelsConfig | None = None,
    folder: Path | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model that the first stage starts from, with its tokenizer.

    Args:
        training_texts: texts of the training split; read only when `config.name` is `scratch`.
        seed: of the random weights of a model from scratch.
        labels: of this run; a model that was trained here before must have been trained on the same ones.
        folder: where `config.name` lies, if it is a registered version.

    Raises:
        ModelError: the checkpoint cannot be had, is of no allowed type, has no safetensors weights, has too few
            positions for the limits of `config`, or decides between other labels.
    """
    _no_progress_bars()
    if config.name == "scratch":
        tokenizer = start_tokenizer(config, training_texts)
        return _scratch_model(config.scratch, tokenizer, seed), tokenizer
    name_or_folder, revision = _location(config, folder)
    if labels is not None:
        require_same_labels(Path(name_or_folder), labels, name=config.name)
    model, tokenizer = load_pretrained(name_or_folder, revision)
    require_positions(model, config)
    return model, tokenizer


def start_tokenizer(
    config: ModelConfig, training_texts: Iterable[str], *, folder: Path | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer of `start_model` alone, for counting tokens before anything is trained.

    Raises:
        ModelError: the checkpoint's tokenizer cannot be had.
    """
    if config.name == "scratch":
        return train_tokenizer(training_texts, config.scratch.vocab_size)
    name_or_folder, revision = _location(config, folder)
    try:
        return _load_tokenizer(name_or_folder, revision)
    except (OSError, ValueError) as error:
        raise ModelError(_cannot_load(name_or_folder, revision, error)) from error


def count_tokens(examples: pa.Table, model: ModelConfig, start_folder: Path | None = None) -> list[TokenCounts]:
    """Numbers of tokens of the label prompts and of all rationales of some examples, beside the limits of `model`.

    A tokenizer from scratch is trained on these examples.

    Args:
        examples: table of `EXAMPLES_SCHEMA`.
        start_folder: where `model.name` lies, if it is a registered version.

    Raises:
        ModelError: the tokenizer cannot be had.
    """
    rationales = [text for pairs in examples["rationales"].to_pylist() for _, text in pairs]
    training_texts = split_of(examples, "train")["text"].to_pylist() + rationales
    tokenizer = start_tokenizer(model, training_texts, folder=start_folder)
    unlimited = model.model_copy(update={"max_input_tokens": 10**9, "max_rationale_tokens": 10**9})
    prompts = PromptEncoder(tokenizer, unlimited)
    texts = [len(ids) for ids in prompts.label_prompts(examples["text"].to_pylist())]
    targets = [len(ids) for ids in prompts.rationale_targets(rationales)]
    return [
        TokenCounts("texts", texts, model.max_input_tokens),
        TokenCounts("rationales", targets, model.max_rationale_tokens),
    ]


def load_pretrained(
    name_or_folder: str, revision: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load an encoder-decoder of an allowed type and its tokenizer, from a folder or from the hub.

    Weights are read as fp32, whatever they are stored in: fp16 has too small a range for T5, and both stages keep
    their master weights in fp32.

    Raises:
        ModelError: as `start_model`.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSeq2SeqLM, __version__

    _no_progress_bars()
    source = _source(name_or_folder, revision)
    try:
        try:
            config = AutoConfig.from_pretrained(name_or_folder, **source)
        except ValueError as error:
            raise ModelError(
                f"model.name {name_or_folder!r}: its config.json names no architecture that transformers {__version__} "
                f"has, or one whose code lies on the hub, which is not run. Allowed types are {', '.join(ALLOWED)}"
            ) from error
        require_allowed(name_or_folder, config)
        tokenizer = _load_tokenizer(name_or_folder, revision)
        model = AutoModelForSeq2SeqLM.from_pretrained(
            name_or_folder, use_safetensors=True, dtype=torch.float32, **source
        )
    except (OSError, ValueError) as error:
        raise ModelError(_cannot_load(name_or_folder, revision, error)) from error
    normalise_special_tokens(name_or_folder, model, tokenizer)
    return model, tokenizer


def _no_progress_bars() -> None:
    """A bar for each file of weights, loaded or saved, adds nothing to our own progress lines."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


def _location(config: ModelConfig, folder: Path | None) -> tuple[str, str | None]:
    """Folder or hub name of the start model, and the hub's revision."""
    if folder is not None:
        return str(folder), None
    if config.name.startswith(REGISTERED):
        raise ModelError(f"model.name {config.name!r} is a registered version; fetch it and give its folder")
    return config.name, config.revision


def _source(name_or_folder: str, revision: str | None) -> dict[str, Any]:
    return {"trust_remote_code": False} | ({} if Path(name_or_folder).is_dir() else {"revision": revision})


def _load_tokenizer(name_or_folder: str, revision: str | None) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name_or_folder, **_source(name_or_folder, revision))
    ensure_eos(name_or_folder, tokenizer)
    return tokenizer


def _cannot_load(name_or_folder: str, revision: str | None, error: Exception) -> str:
    if Path(name_or_folder).is_dir():
        files = sorted(path.name for path in Path(name_or_folder).iterdir())[:12]
        return (
            f"model.name {name_or_folder!r} is a folder that does not hold a complete checkpoint: needed are "
            f"config.json, model.safetensors and a tokenizer, found {files}. Weights in pickle files (*.bin) are not "
            f"read: convert them to safetensors. ({type(error).__name__})"
        )
    at = f" at revision {revision!r}" if revision else ""
    option = f" --revision {revision}" if revision else ""
    folder = f"models/{Path(name_or_folder).name}"
    return (
        f"model.name {name_or_folder!r}{at} is no folder here and could not be fetched from the Hugging Face hub "
        f"({type(error).__name__}). Without a way to the hub: on a machine that has one, run "
        f"`hf download {name_or_folder}{option} --local-dir {folder}`, copy the folder here and set model.name to its "
        "path; or set model.name to `scratch`"
    )


def ensure_eos(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Have the tokenizer end every text with end-of-sequence, as T5's does: decoding stops there.

    BERT's separator is its end-of-sequence; Gemma's tokenizer is asked to add its own.

    Raises:
        ModelError: it has no padding token, or ends texts otherwise.
    """
    if tokenizer.eos_token is None and tokenizer.sep_token is not None:
        tokenizer.eos_token = tokenizer.sep_token
    if tokenizer.pad_token_id is None:
        raise ModelError(f"model.name {name!r}: the tokenizer has no pad_token; name one in tokenizer_config.json")
    if tokenizer.eos_token is not None and tokenizer("a").input_ids[-1:] != [tokenizer.eos_token_id]:
        tokenizer.add_eos_token = True
    last = tokenizer.convert_ids_to_tokens(tokenizer("a").input_ids[-1:])
    if tokenizer.eos_token is None or last != [tokenizer.eos_token]:
        raise ModelError(
            f"model.name {name!r}: a text must end with end-of-sequence ({tokenizer.eos_token!r}), where decoding "
            f"stops; the tokenizer ends it with {last[0] if last else 'nothing'!r}. Set eos_token and add_eos_token in "
            "tokenizer_config.json"
        )


def normalise_special_tokens(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give every family the same start, end and padding, and plain greedy decoding.

    A checkpoint's own generation settings (forced tokens, a least length, beams, forbidden repetitions) are left out:
    they would change which label or rationale is decoded from the same probabilities.

    Raises:
        ModelError: the checkpoint has no start or padding token, or fewer embeddings than its tokenizer has tokens.
    """
    from transformers import GenerationConfig

    config = model.config
    embeddings = (model.get_input_embeddings(), model.get_output_embeddings())
    num_embeddings = min(int(module.weight.shape[0]) for module in embeddings)
    if len(tokenizer) > num_embeddings:
        raise ModelError(
            f"model.name {name!r}: the tokenizer has {len(tokenizer):,} tokens, the model has embeddings for "
            f"{num_embeddings:,}; give the tokenizer that the checkpoint was trained with"
        )
    if config.model_type == "t5gemma":  # it shifts its targets by its decoder's tokens and names no start token
        config.decoder_start_token_id = config.decoder.bos_token_id
        config.pad_token_id = config.decoder.pad_token_id
    for key in ("decoder_start_token_id", "pad_token_id"):
        if getattr(config, key, None) is None:
            raise ModelError(
                f"model.name {name!r}: its config.json has no {key}, without which targets cannot be shifted; "
                "add the one that the checkpoint was trained with"
            )
    model.generation_config = GenerationConfig(
        decoder_start_token_id=config.decoder_start_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
    )


def require_positions(model: PreTrainedModel, limits: ModelConfig) -> None:
    """Refuse token limits beyond the positions a model has. T5 has no limit: its positions are relative.

    Raises:
        ModelError: names each limit of the config and what the checkpoint has.
    """
    # The decoder reads its start token besides, and generation writes end-of-sequence after the last token.
    wanted = {
        "max_input_tokens": ("encoder", limits.max_input_tokens, 0),
        "max_rationale_tokens": ("decoder", limits.max_rationale_tokens, 1),
        "max_label_tokens": ("decoder", limits.max_label_tokens, 1),
    }
    faults = []
    for key, (part, tokens, extra) in wanted.items():
        config = getattr(model.config, part, None) or model.config
        positions = getattr(config, "max_position_embeddings", None)
        if positions is not None and config.model_type == "roberta":
            positions -= config.pad_token_id + 1  # its positions begin behind the padding
        if positions is not None and tokens + extra > positions:
            most = positions - extra
            faults.append(f"model.{key} is {tokens:,}, its {part} has {positions:,} positions: at most {most:,}")
    if faults:
        raise ModelError(
            f"model.name {limits.name!r} (max_position_embeddings): " + "; ".join(faults) + ". Lower it, or choose a "
            "model with more positions (a T5 has no such limit)"
        )


def _scratch_model(sizes: ScratchConfig, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    from transformers import T5Config, T5ForConditionalGeneration, set_seed

    set_seed(seed)
    config = T5Config(
        **sizes.model_dump(exclude={"vocab_size"}),
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    return T5ForConditionalGeneration(config)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-pair tokenizer with T5's special tokens: `<pad>` = 0, `</s>` = 1 (ends every text), `<unk>` = 2.

    BPE and not T5's Unigram: on a few thousand notes the Unigram trainer keeps letters where BPE keeps whole words.

    Args:
        texts: training texts; only their words shape the vocabulary.
        vocab_size: upper bound; small corpora give fewer tokens.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )
