"""How an encoder-decoder is run: T5 without padding on a CPU, everything else by the library's own padded pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from r2d.modeling.backends.base import Encoded, Losses, Network, Task, TokenIds
from r2d.modeling.backends.packed_t5 import PACKED_TYPES, PackedT5
from r2d.modeling.backends.padded import PaddedNetwork

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def make_network(model: PreTrainedModel, *, precision: str = "fp32") -> Network[Any]:
    """The faster way of running this model that gives the same numbers."""
    packed = model.config.model_type in PACKED_TYPES and model.device.type == "cpu" and precision == "fp32"
    return PackedT5(model) if packed else PaddedNetwork(model)


__all__ = ["Encoded", "Losses", "Network", "Task", "TokenIds", "make_network"]
