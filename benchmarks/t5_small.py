"""A trained model in the shape of T5-small: the same answers, at the cost of 60 million parameters.

What the wider and deeper model has more of is zero: features, heads, units and layers that add nothing. So its labels
and rationales, and with them the number of tokens that are decoded, are those of the trained model.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers import T5Config, T5ForConditionalGeneration

from r2d.modeling.load import load_pretrained
from r2d.modeling.manifest import write_manifest

SHAPE = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_decoder_layers": 6, "num_heads": 8}
VOCABULARY = 32_128


def widen(folder: Path, into: Path) -> None:
    """Write the model folder anew in the shape of T5-small.

    Args:
        folder: of a T5 that is no wider than T5-small, with as many features a head as heads times `d_kv` give.
    """
    small, _ = load_pretrained(str(folder))
    before = small.config
    share = before.d_model / SHAPE["d_model"]  # of the features that are not zero: the mean square is taken over all
    rest = {"vocab_size": VOCABULARY, "layer_norm_epsilon": share * before.layer_norm_epsilon}
    config = T5Config.from_dict(before.to_dict() | SHAPE | rest)
    wide = T5ForConditionalGeneration(config)
    with torch.no_grad():
        for name, parameter in wide.named_parameters():
            parameter.fill_(1.0 if parameter.dim() == 1 else 0.0)
            if name not in (trained := dict(small.named_parameters())):
                continue
            source, target = trained[name], parameter
            if name.endswith(
                (".q.weight", ".k.weight", ".v.weight", ".o.weight")
            ):  # heads before the features of a head
                inner = 1 if name.endswith(".o.weight") else 0
                source = source.unflatten(inner, (before.num_heads, before.d_kv))
                target = target.unflatten(inner, (config.num_heads, config.d_kv))
            target[tuple(slice(size) for size in source.shape)] = source
            if parameter.dim() == 1:
                parameter.mul_(share**0.5)
            if name == "decoder.final_layer_norm.weight":  # T5 divides what it writes by the root of its width
                parameter.mul_(share**-0.5)
        embedding = wide.get_input_embeddings().weight
        embedding[before.vocab_size :] = embedding[before.pad_token_id]  # a token that nothing was taught to write
    shutil.copytree(folder, into)
    wide.save_pretrained(into)
    write_manifest(into)
