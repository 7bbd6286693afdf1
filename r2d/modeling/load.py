"""Model and tokenizer from a hub name, a folder, a registered version, or scratch: safetensors only, no hub code."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2d.config.data import LabelsConfig
from r2d.config.model import REGISTERED, ModelConfig, ScratchConfig
from r2d.errors import ModelError
from r2d.modeling.architectures import ALLOWED, end_every_text, make_alike, require_allowed, require_positions
from r2d.modeling.model_folder import require_same_labels

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


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
    place, revision = _place(config, folder)
    if labels is not None:
        require_same_labels(Path(place), labels, name=config.name)
    model, tokenizer = load_pretrained(place, revision)
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
        from r2d.modeling.tokenizer import train_tokenizer

        return train_tokenizer(training_texts, config.scratch.vocab_size)
    place, revision = _place(config, folder)
    try:
        return _tokenizer(place, _source(place, revision))
    except (OSError, ValueError) as error:
        raise ModelError(_cannot_load(place, revision, error)) from error


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
    from transformers import AutoModelForSeq2SeqLM

    _no_progress_bars()
    source = _source(name_or_folder, revision)
    try:
        require_allowed(name_or_folder, _architecture(name_or_folder, source))
        tokenizer = _tokenizer(name_or_folder, source)
        model = AutoModelForSeq2SeqLM.from_pretrained(
            name_or_folder, use_safetensors=True, dtype=torch.float32, **source
        )
    except (OSError, ValueError) as error:
        raise ModelError(_cannot_load(name_or_folder, revision, error)) from error
    make_alike(name_or_folder, model, tokenizer)
    return model, tokenizer


def _place(config: ModelConfig, folder: Path | None) -> tuple[str, str | None]:
    """Folder or hub name of the start model, and the hub's revision."""
    if folder is not None:
        return str(folder), None
    if config.name.startswith(REGISTERED):
        raise ModelError(f"model.name {config.name!r} is a registered version; fetch it and give its folder")
    return config.name, config.revision


def _source(name_or_folder: str, revision: str | None) -> dict[str, Any]:
    here = Path(name_or_folder).is_dir()
    return {"trust_remote_code": False} | ({} if here else {"revision": revision})


def _architecture(name_or_folder: str, source: dict[str, Any]) -> PreTrainedConfig:
    from transformers import AutoConfig, __version__

    try:
        return AutoConfig.from_pretrained(name_or_folder, **source)
    except ValueError as error:
        raise ModelError(
            f"model.name {name_or_folder!r}: its config.json names no architecture that transformers {__version__} "
            f"has, or one whose code lies on the hub, which is not run. Allowed types are {', '.join(ALLOWED)}"
        ) from error


def _tokenizer(name_or_folder: str, source: dict[str, Any]) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name_or_folder, **source)
    end_every_text(name_or_folder, tokenizer)
    return tokenizer


def _no_progress_bars() -> None:
    """A bar for each file of weights says nothing that our own progress lines do not."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


def _cannot_load(name_or_folder: str, revision: str | None, error: Exception) -> str:
    if Path(name_or_folder).is_dir():
        found = sorted(path.name for path in Path(name_or_folder).iterdir())[:12]
        return (
            f"model.name {name_or_folder!r} is a folder that does not hold a complete checkpoint: needed are "
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
