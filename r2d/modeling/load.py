"""Model and tokenizer from a hub name, a folder, or from scratch. Safetensors only, no code from the hub."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2d.config import ModelConfig, ScratchConfig
from r2d.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

T5_FAMILY = ("t5", "mt5", "umt5", "longt5", "switch_transformers")


def start_model(
    config: ModelConfig, training_texts: Iterable[str], *, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model that Stage 1 starts from, with its tokenizer.

    Args:
        training_texts: texts of the training split; read only when `config.name` is `scratch`.
        seed: of the random weights of a model from scratch.

    Raises:
        ModelError: the checkpoint cannot be had, is no T5, or has no safetensors weights.
    """
    _no_progress_bars()
    if config.name == "scratch":
        tokenizer = start_tokenizer(config, training_texts)
        return _scratch_model(config.scratch, tokenizer, seed), tokenizer
    return load_pretrained(config.name, config.revision)


def start_tokenizer(config: ModelConfig, training_texts: Iterable[str]) -> PreTrainedTokenizerBase:
    """The tokenizer of `start_model` alone, for counting tokens before anything is trained.

    Raises:
        ModelError: the checkpoint's tokenizer cannot be had.
    """
    if config.name == "scratch":
        from r2d.modeling.tokenizer import train_tokenizer

        return train_tokenizer(training_texts, config.scratch.vocab_size)
    from transformers import AutoTokenizer

    revision = {} if Path(config.name).is_dir() else {"revision": config.revision}
    try:
        return AutoTokenizer.from_pretrained(config.name, trust_remote_code=False, **revision)
    except (OSError, ValueError) as error:
        raise ModelError(_cannot_load(config.name, config.revision, error)) from error


def load_pretrained(
    name_or_folder: str, revision: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a T5-family checkpoint and its tokenizer from a folder or from the hub.

    Raises:
        ModelError: as `start_model`.
    """
    from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer

    _no_progress_bars()
    source: dict[str, Any] = {"trust_remote_code": False}
    if not Path(name_or_folder).is_dir():
        source["revision"] = revision
    try:
        model_type = AutoConfig.from_pretrained(name_or_folder, **source).model_type
        if model_type not in T5_FAMILY:
            raise ModelError(
                f"model.name {name_or_folder!r} is of type {model_type!r}; the two tasks are told apart by T5's "
                f"prompts: allowed types are {', '.join(T5_FAMILY)} (for example google-t5/t5-small)"
            )
        tokenizer = AutoTokenizer.from_pretrained(name_or_folder, **source)
        model = AutoModelForSeq2SeqLM.from_pretrained(name_or_folder, use_safetensors=True, **source)
    except (OSError, ValueError) as error:
        raise ModelError(_cannot_load(name_or_folder, revision, error)) from error
    return model, tokenizer


def _no_progress_bars() -> None:
    """A bar for each file of weights says nothing that our own progress lines do not."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


def _cannot_load(name_or_folder: str, revision: str | None, error: Exception) -> str:
    if Path(name_or_folder).is_dir():
        found = sorted(path.name for path in Path(name_or_folder).iterdir())[:12]
        return (
            f"model.name {name_or_folder!r} is a folder that does not hold a complete T5 checkpoint: needed are "
            f"config.json, model.safetensors and a tokenizer, found {found}. Weights in pickle files (*.bin) are not "
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


def _scratch_model(sizes: ScratchConfig, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    from transformers import T5Config, T5ForConditionalGeneration, set_seed

    set_seed(seed)
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=sizes.d_model,
            d_kv=sizes.d_kv,
            d_ff=sizes.d_ff,
            num_layers=sizes.num_layers,
            num_decoder_layers=sizes.num_layers,
            num_heads=sizes.num_heads,
            dropout_rate=sizes.dropout_rate,
            feed_forward_proj="relu",
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
    )
