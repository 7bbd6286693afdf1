"""Which encoder-decoders can be trained, why the others cannot, and what is the same for all of them afterwards.

A type is allowed when a test has trained it (`tests/modeling/test_architectures.py`): Stage 1, Stage 2, label scores,
free decoding, saving and loading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from r2d.config.model import ModelConfig
from r2d.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

ALLOWED = (
    "t5", "mt5", "umt5", "longt5", "t5gemma", "bart", "mvp", "blenderbot", "pegasus", "pegasus_x", "encoder-decoder",
)  # fmt: skip
"""Values of `model_type` in a checkpoint's config.json. Flan-T5 and T5 v1.1 are of type `t5`."""

ALLOWED_ENCODERS = ("bert", "roberta", "modernbert")
ALLOWED_DECODERS = ("bert", "roberta")
"""Of type `encoder-decoder`, which joins two models. ModernBERT's decoder has no attention to an encoder."""

_LANGUAGE_TOKENS = "its texts begin or end with a token of a language, which neither prompts nor labels have"
_TWO_VOCABULARIES = "it translates between two vocabularies, so that prompts and labels need different tokenizers"
_SPEECH = "it reads sound, not text"
REFUSED = {
    "switch_transformers": "its loss contains that of its routers, and transformers 5.23 gives its decoder no cache",
    "nllb-moe": "its loss contains that of its routers, and " + _LANGUAGE_TOKENS,
    "mbart": _LANGUAGE_TOKENS,
    "m2m_100": _LANGUAGE_TOKENS,
    "plbart": _LANGUAGE_TOKENS,
    "seamless_m4t": _LANGUAGE_TOKENS,
    "seamless_m4t_v2": _LANGUAGE_TOKENS,
    "marian": _TWO_VOCABULARIES,
    "fsmt": _TWO_VOCABULARIES,
    "bigbird_pegasus": "its attention draws random blocks, so that a decision would not be the same twice",
    "led": "it wants a global attention mask, which the two tasks do not give; longt5 reads long notes",
    "prophetnet": "its decoder takes one token at a time after a cache, so that labels cannot be scored together",
    "blenderbot-small": "its tokenizer ends no text with end-of-sequence, so that decoding would not stop",
    "t5gemma2": "it reads pictures too; t5gemma reads text alone",
    "whisper": _SPEECH,
    "speech_to_text": _SPEECH,
    "moonshine": _SPEECH,
}
"""Types that are encoder-decoders, but cannot do the two tasks as they are."""


def require_allowed(name: str, config: PreTrainedConfig) -> None:
    """Refuse a checkpoint of a type that was not seen to work, before its weights are read.

    Raises:
        ModelError: names the type, the reason, and what is allowed.
    """
    reason = _reason_to_refuse(config)
    if reason:
        raise ModelError(
            f"model.name {name!r} is of type {config.model_type!r}: {reason}. Allowed types are {', '.join(ALLOWED)} "
            "(for example google-t5/t5-small)"
        )


def _reason_to_refuse(config: PreTrainedConfig) -> str | None:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = config.model_type
    if kind == "encoder-decoder":
        for part, allowed in (("encoder", ALLOWED_ENCODERS), ("decoder", ALLOWED_DECODERS)):
            found = getattr(config, part).model_type
            if found not in allowed:
                return f"its {part} is of type {found!r}; tried were {', '.join(allowed)}"
    if kind in ALLOWED:
        return None
    if kind in REFUSED:
        return REFUSED[kind]
    if kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "it has no decoder, so it cannot write"
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return "it has no encoder, which both stages train"
    return "it was not tried with the two stages"


def make_alike(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give every family the same start, end and padding, and decoding that nothing in the checkpoint changes.

    A checkpoint's own generation settings (forced tokens, a least length, beams, forbidden repetitions) are left out:
    they would change which label or rationale is decoded from the same probabilities.

    Raises:
        ModelError: the checkpoint has no start or padding token, or fewer embeddings than its tokenizer has tokens.
    """
    from transformers import GenerationConfig

    config = model.config
    num_embeddings = min(_num_embeddings(model, part) for part in ("input", "output"))
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


def _num_embeddings(model: PreTrainedModel, which: str) -> int:
    module = model.get_input_embeddings() if which == "input" else model.get_output_embeddings()
    return int(module.weight.shape[0])


def end_every_text(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
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


def require_positions(model: PreTrainedModel, limits: ModelConfig) -> None:
    """Refuse token limits beyond the positions a model has. T5 has none: its positions are relative.

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
    for key, (part, tokens, besides) in wanted.items():
        positions = _positions(getattr(model.config, part, None) or model.config)
        if positions is not None and tokens + besides > positions:
            most = positions - besides
            faults.append(f"model.{key} is {tokens:,}, its {part} has {positions:,} positions: at most {most:,}")
    if faults:
        raise ModelError(
            f"model.name {limits.name!r} (max_position_embeddings): " + "; ".join(faults) + ". Lower it, or choose a "
            "model with more positions (a T5 has no such limit)"
        )


def _positions(config: Any) -> int | None:
    positions: int | None = getattr(config, "max_position_embeddings", None)
    if positions is not None and config.model_type == "roberta":
        return positions - config.pad_token_id - 1  # its positions begin behind the padding
    return positions


def embedding_scale(model: PreTrainedModel) -> float:
    """What a row of the embedding matrix is multiplied with before it may stand in `inputs_embeds`."""
    return math.sqrt(model.config.d_model) if getattr(model.config, "scale_embedding", False) else 1.0


def is_random_in_training(model: PreTrainedModel) -> bool:
    """Whether the model gives in training what it does not give in eval mode: dropout anywhere, layers left out."""
    from torch.nn import Dropout

    dropped = any(isinstance(module, Dropout) and module.p > 0 for module in model.modules())
    return dropped or _has_rate(model.config.to_dict())


def _has_rate(settings: Mapping[str, Any]) -> bool:
    return any(
        _has_rate(value) if isinstance(value, Mapping) else isinstance(value, float) and "drop" in key and value > 0
        for key, value in settings.items()
    )
