"""Model and tokenizer from a hub name, a folder, a registered version, or scratch: safetensors only, no hub code.

A model type is allowed when a test has trained it (`tests/modeling/test_load.py`): Stage 1, Stage 2, label
scores, free decoding, saving and loading. All get the same start, end and padding tokens and plain greedy decoding.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.data.examples import TokenCounts, split_of
from r2d.errors import ModelError
from r2d.modeling.hub import locate, not_fetched
from r2d.modeling.manifest import verify_model
from r2d.modeling.model_folder import require_same_labels
from r2d.modeling.prompts import Frame, LabelSets, PromptEncoder, RenderedChat, render_chat
from r2d.modeling.tokenizer import TokenizerTexts, train_tokenizer
from r2d.registered import REGISTERED
from r2d.text import flatten

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase, T5ForConditionalGeneration

logger = logging.getLogger(__name__)

CAUSAL_TYPES = ("llama", "qwen3", "gemma3_text")
"""Model types that `CausalBackend` runs; SmolLM and SmolLM2 are of type `llama`."""

ALLOWED = (
    "t5", "mt5", "umt5", "longt5", "t5gemma", "t5gemma2", "bart", "mvp", "blenderbot", "pegasus", "pegasus_x",
    "encoder-decoder", *CAUSAL_TYPES,
)  # fmt: skip
"""Values of `model_type` in a checkpoint's config.json. Flan-T5 and T5 v1.1 are of type `t5`; the part of T5Gemma 2
that reads pictures is kept as it is, and not used."""

ALLOWED_PARTS = {"encoder": ("bert", "roberta", "modernbert"), "decoder": ("bert", "roberta")}
"""Parts of type `encoder-decoder`, which joins two models. ModernBERT's decoder has no attention to an encoder."""

_LANGUAGE_TOKENS = "its texts begin or end with a token of a language, which neither prompts nor labels have"
_TWO_VOCABULARIES = "it translates between two vocabularies, so that prompts and labels need different tokenizers"
_SPEECH = "it reads sound, not text"
REFUSED = {
    "switch_transformers": "its loss contains that of its routers, and transformers 5.23 gives its decoder no cache",
    "nllb-moe": "its loss contains that of its routers, and " + _LANGUAGE_TOKENS,
    **dict.fromkeys(("mbart", "m2m_100", "plbart", "seamless_m4t", "seamless_m4t_v2"), _LANGUAGE_TOKENS),
    **dict.fromkeys(("marian", "fsmt"), _TWO_VOCABULARIES),
    "bigbird_pegasus": "its attention draws random blocks, so that a decision would not be the same twice",
    "led": "it wants a global attention mask, which the two tasks do not give; longt5 reads long notes",
    "prophetnet": "its decoder takes one token at a time after a cache, so that labels cannot be scored together",
    "blenderbot-small": "its tokenizer ends no text with end-of-sequence, so that decoding would not stop",
    "gemma3": "it reads pictures too; gemma3_text, the sizes of 270 million and 1 billion, reads text alone",
    **dict.fromkeys(("whisper", "speech_to_text", "moonshine"), _SPEECH),
}
"""Types that cannot do the two tasks as they are, and why."""


def start_model(
    config: ModelConfig, train: pa.Table, labels: LabelsConfig, *, seed: int, folder: Path | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model that the first stage starts from, with its tokenizer.

    Args:
        train, seed: training rows and seed, for tokenizer and random weights of a model from scratch.
        labels: of this run; a model that was trained here before must have been trained on the same ones.
        folder: where `config.name` lies, if it is a registered version.

    Raises:
        ModelError: the checkpoint cannot be had, is of no allowed type, has too few positions for the limits of
            `config`, has a tokenizer that the labels do not fit, or decides between other labels: all before its
            weights are read; or it has no safetensors weights, or not all of them.
    """
    if config.name == "scratch":
        from transformers import T5Config, T5ForConditionalGeneration, set_seed

        _hide_progress_bars()
        tokenizer = start_tokenizer(config, train, labels)
        set_seed(seed)
        t5_config = T5Config(
            **config.scratch.model_dump(exclude={"vocab_size", "min_groups_per_word"}),
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
        model = T5ForConditionalGeneration(t5_config)
        _look_nearby_at_first(model)
        return model, tokenizer
    name_or_folder, revision = _location(config, folder)
    require_same_labels(Path(name_or_folder), labels, name=config.name)
    with loading(name_or_folder, revision):
        facts, tokenizer = _read_config_and_tokenizer(name_or_folder, revision)
        require_positions(facts, config)
        LabelSets(labels, tokenizer, max_label_tokens=config.max_label_tokens)
        model = _read_weights(name_or_folder, revision, facts)
    normalise_special_tokens(name_or_folder, model, tokenizer)
    if model.config.model_type in CAUSAL_TYPES:
        logger.info("%s: each prompt stands between %r and %r", config.name, *render_chat(tokenizer))
    return model, tokenizer


def start_tokenizer(
    config: ModelConfig, train: pa.Table, labels: LabelsConfig, *, folder: Path | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer of `start_model` alone, for counting tokens before anything is trained.

    Raises:
        ModelError: the checkpoint's tokenizer cannot be had.
    """
    if config.name == "scratch":
        return train_tokenizer(TokenizerTexts.of(train, config, labels), config.scratch)
    name_or_folder, revision = _location(config, folder)
    with loading(name_or_folder, revision):
        return _read_config_and_tokenizer(name_or_folder, revision)[1]


def count_tokens(
    examples: pa.Table, num_rows: int, model: ModelConfig, labels: LabelsConfig, start_folder: Path | None = None
) -> list[TokenCounts]:
    """Numbers of tokens of the label prompts and of all rationales of a sample, beside the limits of `model`.

    A tokenizer from scratch is trained on this sample; a word needs a share of the groups that is as large as in
    training.

    Args:
        num_rows: of the data that the sample was taken from.

    Raises:
        ModelError: the tokenizer cannot be had.
    """
    rationales = [text for pairs in examples["rationales"].to_pylist() for _, text in pairs]
    min_groups = max(1, round(model.scratch.min_groups_per_word * len(examples) / num_rows))
    scratch = model.scratch.model_copy(update={"min_groups_per_word": min_groups})
    sampled = model.model_copy(update={"scratch": scratch})
    tokenizer = start_tokenizer(sampled, split_of(examples, "train"), labels, folder=start_folder)
    prompts = PromptEncoder(tokenizer, model.without_limits())
    texts = [len(ids) for ids in prompts.label_prompts(examples["text"].to_pylist())]
    targets = [len(ids) for ids in prompts.rationale_targets(rationales)]
    return [
        TokenCounts("texts", texts, model.max_input_tokens),
        TokenCounts("rationales", targets, model.max_rationale_tokens),
    ]


def load_pretrained(
    name_or_folder: str, revision: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model of an allowed type and its tokenizer, from a folder or from the hub.

    Weights are read as fp32, whatever they are stored in: fp16 has too small a range for T5, and both stages keep
    their master weights in fp32.

    Raises:
        ModelError: as `start_model`.
    """
    with loading(name_or_folder, revision):
        config, tokenizer = _read_config_and_tokenizer(name_or_folder, revision)
        model = _read_weights(name_or_folder, revision, config)
    normalise_special_tokens(name_or_folder, model, tokenizer)
    return model, tokenizer


def _read_config_and_tokenizer(
    name_or_folder: str, revision: str | None
) -> tuple[PreTrainedConfig, PreTrainedTokenizerBase]:
    from transformers import AutoConfig, __version__

    try:
        config = AutoConfig.from_pretrained(name_or_folder, revision=revision, trust_remote_code=False)
    except ValueError as error:
        if Path(name_or_folder).is_dir() and not (Path(name_or_folder) / "config.json").is_file():
            raise
        raise ModelError(
            f"model.name {name_or_folder!r}: its config.json names no architecture that transformers {__version__} "
            f"has, or one whose code lies on the hub, which is not run. Allowed types are {', '.join(ALLOWED)}"
        ) from error
    require_allowed(name_or_folder, config)
    return config, load_tokenizer(name_or_folder, revision, causal=config.model_type in CAUSAL_TYPES)


def _read_weights(name_or_folder: str, revision: str | None, config: PreTrainedConfig) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    _hide_progress_bars()
    auto_class: Any = AutoModelForCausalLM if config.model_type in CAUSAL_TYPES else AutoModelForSeq2SeqLM
    model, report = auto_class.from_pretrained(
        name_or_folder,
        revision=revision,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    unfit = sorted({*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])})
    if unfit:
        more = f" and {len(unfit) - 3:,} more" if len(unfit) > 3 else ""
        raise ModelError(
            f"model.name {name_or_folder!r}: its weights lack {', '.join(unfit[:3])}{more}, or have them in other "
            "sizes than its config.json says, so that they would begin at random; take weights and config.json of one "
            "model that writes text"
        )
    return model  # type: ignore[no-any-return]


def _hide_progress_bars() -> None:
    """A bar for each file of weights, loaded or saved, adds nothing to our own progress lines."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


def _location(config: ModelConfig, folder: Path | None) -> tuple[str, str | None]:
    """Folder or hub name of the start model, and the hub's revision."""
    if folder is not None:
        return str(folder), None
    if config.name.startswith(REGISTERED):
        raise ModelError(f"model.name {config.name!r} is a registered version; fetch it and give its folder")
    return locate(config.name, config.revision), config.revision


@contextmanager
def loading(name_or_folder: str, revision: str | None, key: str = "model.name") -> Iterator[None]:
    """Verify a model folder before it is read, and turn an error of the library into a `ModelError` that says what is
    missing and how to get it; `key` is the config key that names the model."""
    from safetensors import SafetensorError

    if Path(name_or_folder).is_dir():
        verify_model(Path(name_or_folder))
    try:
        yield
    except (OSError, ValueError) as error:
        if Path(name_or_folder).is_dir():
            files = sorted(path.name for path in Path(name_or_folder).iterdir())[:12]
            raise ModelError(
                f"{key} {name_or_folder!r} is a folder that does not hold a complete checkpoint: needed are "
                f"config.json, model.safetensors and a tokenizer, found {files}. Weights in pickle files (*.bin) are "
                f"not read, nor those in GGUF (*.gguf): convert them to safetensors. ({type(error).__name__})"
            ) from error
        raise ModelError(not_fetched(name_or_folder, revision, error, key)) from error
    except Exception as error:
        if type(error) not in (SafetensorError, Exception):  # tokenizers has no class of its own
            raise
        raise ModelError(
            f"{key} {name_or_folder!r}: its weights or its tokenizer are cut off or damaged, and cannot be read "
            f"({type(error).__name__}); copy or fetch them again"
        ) from error


def load_tokenizer(name: str, revision: str | None = None, *, causal: bool = False) -> PreTrainedTokenizerBase:
    """Load a tokenizer that ends every text with end-of-sequence, as T5's does: decoding stops there.

    BERT's separator is its end-of-sequence; T5Gemma's tokenizer is asked to add its own. That of a causal model begins
    no text with a start token, and has a chat template that says what stands around a prompt: `r2d.modeling.prompts`.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
    if causal:
        _prepare_for_causal(name, tokenizer)
    else:
        tokenizer.chat_template = None
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
    return tokenizer


def _prepare_for_causal(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """End every text with end-of-sequence and begin it with no start token, and fix the chat template.

    A template may hold the date or other conditions: what it writes now around a message is kept, and goes into the
    folders of the model. Without one, a prompt begins with the start token, if there is one, and ends with a line break
    (with end-of-sequence where the tokenizer has no line break).
    """
    from tokenizers.processors import TemplateProcessing

    end, start = tokenizer.eos_token, tokenizer.bos_token or ""
    if end is None:
        raise ModelError(f"model.name {name!r}: the tokenizer has no eos_token; name one in tokenizer_config.json")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = end  # never seen: what is padded is masked
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=["$A", end], pair=["$A", "$B", end], special_tokens=[(end, tokenizer.eos_token_id)]
    )
    if tokenizer.chat_template is None:
        has_break = bool(tokenizer("\n", add_special_tokens=False).input_ids)
        around = RenderedChat(start, "\n" if has_break else end)
    else:
        around = render_chat(tokenizer)
    before, behind = map(json.dumps, around)
    tokenizer.chat_template = f"{{{{ {before} }}}}{{{{ messages[0]['content'] }}}}{{{{ {behind} }}}}"
    if not tokenizer(around.behind, add_special_tokens=False).input_ids:
        raise ModelError(f"model.name {name!r}: its chat template writes nothing behind a message; mend it")


def require_allowed(name: str, config: PreTrainedConfig) -> None:
    """Refuse a checkpoint of a type that no test has trained, before its weights are read."""
    from transformers.models.auto import modeling_auto

    model_type, part_reasons = config.model_type, []
    if model_type == "encoder-decoder":
        types = {part: getattr(config, part).model_type for part in ALLOWED_PARTS}
        part_reasons = [
            f"its {part} is of type {types[part]!r}; tried were {', '.join(allowed)}"
            for part, allowed in ALLOWED_PARTS.items()
            if types[part] not in allowed
        ]
    if model_type in ALLOWED and not part_reasons:
        if quantised := getattr(config, "quantization_config", None):
            raise ModelError(
                f"model.name {name!r}: its weights are quantised ({quantised['quant_method']}) and cannot be trained; "
                "give the checkpoint that they were made from"
            )
        return
    if part_reasons:
        reason = part_reasons[0]
    elif model_type in REFUSED:
        reason = REFUSED[model_type]
    elif model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        reason = "it has no decoder, so it cannot write"
    elif model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        reason = f"of causal models, {', '.join(CAUSAL_TYPES)} were tried with the two stages"
    else:
        reason = "it was not tried with the two stages"
    raise ModelError(
        f"model.name {name!r} is of type {model_type!r}: {reason}. Allowed types are {', '.join(ALLOWED)} "
        "(for example google-t5/t5-small)"
    )


def normalise_special_tokens(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give every family the same start, end and padding, and plain greedy decoding.

    A checkpoint's own generation settings (forced tokens, a least length, beams, forbidden repetitions) are left out:
    they would change which label or rationale is decoded from the same probabilities.
    """
    from transformers import GenerationConfig

    config = model.config
    if config.model_type in CAUSAL_TYPES:
        frame = Frame.of(tokenizer)
        assert frame is not None  # `load_tokenizer` gave it a chat template
        config.decoder_start_token_id, config.pad_token_id = frame.start_id, tokenizer.pad_token_id
    embeddings = (model.get_input_embeddings(), model.get_output_embeddings())
    num_embeddings = min(int(module.weight.shape[0]) for module in embeddings)
    if len(tokenizer) > num_embeddings:
        raise ModelError(
            f"model.name {name!r}: the tokenizer has {len(tokenizer):,} tokens, the model has embeddings for "
            f"{num_embeddings:,}; give the tokenizer that the checkpoint was trained with"
        )
    if config.model_type in ("t5gemma", "t5gemma2"):  # they name no start token
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


def require_positions(model_config: PreTrainedConfig, limits: ModelConfig) -> None:
    """Refuse token limits beyond the positions a model has. T5 has no limit: its positions are relative."""
    faults = []
    if model_config.model_type in CAUSAL_TYPES:
        positions = usable_positions(model_config)
        needed = limits.max_input_tokens + max(limits.max_rationale_tokens, limits.max_label_tokens + 1)
        if positions is not None and needed > positions:
            raise ModelError(
                f"model.name {limits.name!r} has {positions:,} positions for a prompt and what is written behind it; "
                f"model.max_input_tokens {limits.max_input_tokens:,} and the longer of model.max_rationale_tokens and "
                f"model.max_label_tokens need {needed:,}. Lower them, or choose a model with more positions"
            )
        return
    parts = {"max_input_tokens": "encoder", "max_rationale_tokens": "decoder", "max_label_tokens": "decoder"}
    for key, part in parts.items():
        config = getattr(model_config, part, None) or model_config
        config = getattr(config, "text_config", config)
        positions = usable_positions(config)
        if positions is None:
            continue
        # The decoder reads its start token besides, and generation writes end-of-sequence after the last token.
        most, tokens = positions - (part == "decoder"), getattr(limits, key)
        if tokens > most:
            faults.append(f"model.{key} is {tokens:,}, its {part} has {positions:,} positions: at most {most:,}")
    if faults:
        raise ModelError(
            f"model.name {limits.name!r} (max_position_embeddings): " + "; ".join(faults) + ". Lower it, or choose a "
            "model with more positions (a T5 has no such limit)"
        )


def usable_positions(config: PreTrainedConfig) -> int | None:
    """Tokens that a model can read at most; None where its positions are relative and have no limit."""
    positions: int | None = getattr(config, "max_position_embeddings", None)
    if positions is not None and config.model_type in ("roberta", "xlm-roberta", "camembert"):
        positions -= config.pad_token_id + 1  # their positions begin behind the padding
    return positions


def _look_nearby_at_first(model: T5ForConditionalGeneration) -> None:
    """Lower the position biases of random weights by the distance, in each further head by 0.7 of what the last has.

    As ALiBi (Press et al. 2022), but by T5's buckets of distances, and training changes it as any weight. Without it a
    small model learns late which answer belongs to which question: AdamW moves a bias by at most the learning rate a
    step, and one that singles out a neighbour among sixty tokens is about 5.
    """
    import torch

    for part, num_directions in ((model.encoder, 2), (model.decoder, 1)):
        bias = part.block[0].layer[0].SelfAttention.relative_attention_bias.weight  # [buckets, heads]
        num_buckets, num_heads = bias.shape
        distances = torch.arange(num_buckets) % (num_buckets // num_directions)
        with torch.no_grad():
            bias -= torch.outer(distances, 0.5 ** (torch.arange(num_heads) / 2))


def embedding_scale(model: PreTrainedModel) -> float:
    """Factor that a row of the embedding matrix is multiplied with before it can be used as `inputs_embeds`."""
    if model.config.model_type in ("gemma3_text", "t5gemma2"):
        return float(model.get_input_embeddings().embed_scale)
    return math.sqrt(model.config.d_model) if getattr(model.config, "scale_embedding", False) else 1.0


def is_random_in_training(model: PreTrainedModel) -> bool:
    """Whether the model's output differs between training and eval mode: dropout anywhere, or layers left out."""
    from torch.nn import Dropout

    has_dropout = any(isinstance(module, Dropout) and module.p > 0 for module in model.modules())
    settings = flatten(model.config.to_dict()).items()
    return has_dropout or any(
        isinstance(value, float) and value > 0 and "drop" in key.rpartition(".")[2] for key, value in settings
    )
