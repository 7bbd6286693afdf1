"""Everything that decides the bits of a run: a checkpoint may be resumed only where all of it is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, StageConfig
from r2d.data.examples import content_hash

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

RESUMABLE_KEYS = (
    "save_every_steps",  # where checkpoints fall
    "patience",  # when training ends
    "gradient_accumulation_steps",  # how a step is computed; the sums are the same up to rounding
    "auto_batch",  # likewise
    "activation_checkpointing",  # likewise
    "max_loss_growth",  # when training is given up
)
"""Keys of a stage that may have changed since a checkpoint: up to it, the run would have gone the same way."""
PACKAGES = ("torch", "transformers", "reason2decide")
HASH_CHARACTERS = 16


@dataclass(frozen=True)
class Difference:
    """A key whose value is not what it was."""

    key: str
    theirs: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.theirs!r} in the checkpoint, {self.ours!r} now"


def run_fingerprint(
    *,
    stage: str,
    training: StageConfig,
    model: ModelConfig,
    labels: LabelsConfig,
    method: MethodConfig | None,
    train: pa.Table,
    validation: pa.Table,
    network: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
) -> dict[str, Any]:
    """Configuration, hashes of what is read, and versions, as JSON; the weights are those that training starts from."""
    return {
        "stage": stage,
        "training": training.model_dump(mode="json"),
        "model": model.model_dump(mode="json"),
        "labels": labels.model_dump(mode="json"),
        "method": None if method is None else method.model_dump(mode="json"),
        "data": {"train": content_hash(train), "validation": content_hash(validation)},
        "start": {"weights": weights_hash(network), "tokenizer": tokenizer_hash(tokenizer)},
        "versions": {package: version(package) for package in PACKAGES},
    }


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[Difference]:
    """Every key whose value differs, or that only one of the two has, with its dotted name."""
    left, right = dict(_flat(theirs)), dict(_flat(ours))
    keys = [*left, *(key for key in right if key not in left)]
    found = (Difference(key, left.get(key, "absent"), right.get(key, "absent")) for key in keys)
    return [one for one in found if one.theirs != one.ours]


def is_resumable(key: str) -> bool:
    """Whether a run may be resumed although this key of the fingerprint has changed."""
    section, _, name = key.partition(".")
    return section == "training" and name in RESUMABLE_KEYS


def stage_identity(config: StageConfig) -> dict[str, Any]:
    """The values of a stage that a checkpoint must share: two runs that differ in no other key are one work."""
    return config.model_dump(mode="json", exclude=set(RESUMABLE_KEYS))


def weights_hash(network: nn.Module) -> str:
    """Over names, shapes and values of all parameters and buffers."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:HASH_CHARACTERS]


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Over the vocabulary and the special tokens."""
    described = [sorted(tokenizer.get_vocab().items()), sorted(map(str, tokenizer.special_tokens_map.items()))]
    return hashlib.sha256(repr(described).encode()).hexdigest()[:HASH_CHARACTERS]


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
