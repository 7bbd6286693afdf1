"""Low-rank adapters inside the model: losses, decoding and the Trainer's checkpoints see the model they know.

A checkpoint holds base and adapters; a stage leaves a checkpoint of the base architecture, in fp32, that needs no peft.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from r2d.config.model import LoraConfig
from r2d.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

ADAPTER = "default"


def add_adapters(model: PreTrainedModel, config: LoraConfig | None, *, seed: int) -> PreTrainedModel:
    """The model with fresh adapters in fp32, all else frozen, as `config.base` says; unchanged without a `config`. Its
    outputs are those of before, but for that rounding.

    Args:
        seed: of the adapters' random half; the other half is zero.

    Raises:
        ModelError: no linear layer has one of the names in `config.target_modules`.
    """
    if config is None:
        return model
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model
    from torch.nn import Linear
    from transformers import set_seed

    layers = sorted({name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, Linear)})
    unknown = [name for name in config.target_modules if name not in layers]
    if unknown:
        raise ModelError(
            f"model.lora.target_modules: found {unknown}; the linear layers of a {model.config.model_type} are {layers}"
        )
    set_seed(seed)
    targets = list(config.target_modules) or "all-linear"
    reads_pictures = any(name.endswith(".vision_tower") for name, _ in model.named_modules())  # T5Gemma 2, given text
    peft_config = PeftConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=targets,
        exclude_modules=r".*\.vision_tower\..*" if reads_pictures else None,
    )
    model = inject_adapter_in_model(peft_config, model, ADAPTER)
    if config.base == "bf16":
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.bfloat16()
    return model


def save_weights(model: PreTrainedModel, folder: Path) -> None:
    """Save a model as a plain checkpoint in fp32, with `W + (alpha / rank) B A` where a layer has an adapter.

    Computed aside in the memory of the CPU, so that the model keeps its bits and a GPU needs no room for it. In bf16
    most of what was learnt would be rounded away.
    """
    if not hasattr(model, "peft_config"):
        model.save_pretrained(folder)
        return
    merged: dict[str, Tensor] = {}
    in_fp32: dict[int, Tensor] = {}
    for name, value in model.state_dict().items():
        layer, _, parameter = name.rpartition(".base_layer.")
        if ".lora_" in name:
            continue
        if value.is_floating_point():
            value = in_fp32.setdefault(value.data_ptr(), value.cpu().float())  # tied weights stay one tensor
        if layer and parameter == "weight":
            value = value + model.get_submodule(layer).get_delta_weight(ADAPTER).detach().cpu()
        merged[f"{layer}.{parameter}" if layer else name] = value
    model.save_pretrained(folder, state_dict=merged)
    model.config.dtype = "float32"  # the library has written that of the base
    model.config.save_pretrained(folder)
