"""The Hugging Face hub: whether a model can be had, asked once and with patience of seconds.

`transformers` asks for each file and tries again with pauses: a name that cannot be had took minutes of warnings.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from r2d.errors import ModelError

PATIENCE_SECONDS = 5.0
WITHOUT_HUB = {
    "model.name": "scratch", "evaluation.bertscore_model": "minilm", "evaluation.encoder_baseline.name": "minilm",
}  # fmt: skip
"""Key that names a model -> the value that needs no hub."""


class UnreachableError(ModelError):
    """The hub does not answer, and the model is not in its cache here."""


@lru_cache(maxsize=64)
def locate(name: str, revision: str | None, key: str = "model.name") -> str:
    """The name of a model where the hub has it, or the folder of its copy in the cache where the hub does not answer.

    A folder is returned as it is.

    Raises:
        ModelError: the name is a file, or the hub has no such model or revision, or does not give it to this account.
        UnreachableError: the hub does not answer, and there is no copy.
    """
    if Path(name).is_dir():
        return name
    if Path(name).is_file():
        raise ModelError(
            f"{key} {name!r} is a file; name the folder that holds config.json, model.safetensors and a tokenizer "
            "(GGUF is not read: convert it to safetensors)"
        )
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, snapshot_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json", revision=revision), timeout=PATIENCE_SECONDS)
        return name
    except (RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError, HFValidationError) as error:
        raise ModelError(
            f"{key} {name!r}{_at(revision)} is no folder here, and the Hugging Face hub has no such model, or "
            f"not for this account ({type(error).__name__}); correct the name, or log in with `hf auth login`"
        ) from None
    except Exception as error:  # of the network: offline mode, names, proxies, certificates, timeouts, 5xx
        try:
            return snapshot_download(name, revision=revision, local_files_only=True)
        except Exception:
            raise UnreachableError(not_fetched(name, revision, error, key)) from None


def not_fetched(name: str, revision: str | None, error: Exception, key: str = "model.name") -> str:
    """What to do about a model that could not be fetched."""
    option = f" --revision {revision}" if revision else ""
    return (
        f"{key} {name!r}{_at(revision)} is no folder here and could not be fetched from the Hugging Face hub "
        f"({type(error).__name__}), so whether it exists is not known: see that the name is spelt as on the "
        f"hub. Without a way to it: on a machine that has one, run `hf download {name}{option} "
        f"--local-dir models/{Path(name).name}`, copy the folder here and set {key} to its path; "
        f"or set {key} to `{WITHOUT_HUB[key]}`"
    )


def _at(revision: str | None) -> str:
    return f" at revision {revision!r}" if revision else ""
