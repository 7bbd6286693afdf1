"""Which encoder-decoders can be trained, why the others cannot, and in what they differ for training.

A type is allowed when a test has trained it (`tests/modeling/test_architectures.py`): Stage 1, Stage 2, label scores,
free decoding, saving and loading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from r2d.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

ALLOWED = (
    "t5", "mt5", "umt5", "longt5", "t5gemma", "bart", "mvp", "blenderbot", "pegasus", "pegasus_x", "encoder-decoder",
)  # fmt: skip
"""Values of `model_type` in a checkpoint's config.json. Flan-T5 and T5 v1.1 are of type `t5`."""

ALLOWED_PARTS = {"encoder": ("bert", "roberta", "modernbert"), "decoder": ("bert", "roberta")}
"""Parts of type `encoder-decoder`, which joins two models. ModernBERT's decoder has no attention to an encoder."""

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
"""Types that are encoder-decoders, but cannot do the two tasks as they are, and why."""


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

    model_type = config.model_type
    if model_type == "encoder-decoder":
        for part, allowed in ALLOWED_PARTS.items():
            part_type = getattr(config, part).model_type
            if part_type not in allowed:
                return f"its {part} is of type {part_type!r}; tried were {', '.join(allowed)}"
    if model_type in ALLOWED:
        return None
    if model_type in REFUSED:
        return REFUSED[model_type]
    if model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "it has no decoder, so it cannot write"
    if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return "it has no encoder, which both stages train"
    return "it was not tried with the two stages"


def embedding_scale(model: PreTrainedModel) -> float:
    """Factor that a row of the embedding matrix is multiplied with before it can be used as `inputs_embeds`."""
    return math.sqrt(model.config.d_model) if getattr(model.config, "scale_embedding", False) else 1.0


def is_random_in_training(model: PreTrainedModel) -> bool:
    """Whether the model's output differs between training and eval mode: dropout anywhere, or layers left out."""
    from torch.nn import Dropout

    has_dropout = any(isinstance(module, Dropout) and module.p > 0 for module in model.modules())
    return has_dropout or _has_drop_rate(model.config.to_dict())


def _has_drop_rate(settings: Mapping[str, Any]) -> bool:
    return any(
        _has_drop_rate(value)
        if isinstance(value, Mapping)
        else isinstance(value, float) and "drop" in key and value > 0
        for key, value in settings.items()
    )
