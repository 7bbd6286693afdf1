"""A model that was made from scratch here, ready to decide without transformers, whose import takes 4 s of CPU.

Its modules hold the weights and the position biases under the names of the library's T5, and compute the same bits
(`tests/modeling/test_quick.py`); `r2d.modeling.backends.packed` runs both. `r2d.modeling.load` loads every other model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import Embedding, Linear, Module, ModuleList, Parameter

from r2d.modeling.load import loading

MADE_HERE = {"model_type": "t5", "dense_act_fn": "relu", "is_gated_act": False, "tie_word_embeddings": True}
"""What `config.json` says of every model from scratch."""
TOKENIZER_CLASS = "TokenizersBackend"
"""What `tokenizer_config.json` says of its tokenizer, which is all in `tokenizer.json`."""


class QuickModel(NamedTuple):
    model: T5
    tokenizer: QuickTokenizer


def load_quick(folder: Path) -> QuickModel | None:
    """Model and tokenizer of a folder; None for one that only transformers can load.

    Raises:
        ModelError: as `r2d.modeling.load.load_pretrained`.
    """
    with loading(str(folder), None):
        config, tokens = (
            json.loads((folder / name).read_text(encoding="utf-8")) for name in ("config.json", "tokenizer_config.json")
        )
        is_other = any(config.get(key) != value for key, value in MADE_HERE.items())
        if is_other or tokens.get("tokenizer_class") != TOKENIZER_CLASS:
            return None
        weights = load_file(folder / "model.safetensors")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = T5(SimpleNamespace(**config))
    if weights.keys() != model.state_dict().keys() - {"lm_head.weight"}:
        return None
    model.load_state_dict({name: weight.float() for name, weight in weights.items()}, strict=False, assign=True)
    model.lm_head.weight = model.shared.weight
    return QuickModel(model.eval(), QuickTokenizer(tokenizer, config["eos_token_id"]))


class QuickTokenizer:
    """What prompts, labels and decoding ask of a tokenizer."""

    def __init__(self, tokenizer: Tokenizer, eos_token_id: int) -> None:
        self._tokenizer, self.eos_token_id = tokenizer, eos_token_id

    def __call__(
        self,
        text: str | list[str],
        *,
        add_special_tokens: bool = True,
        truncation: bool = False,
        max_length: int | None = None,
    ) -> SimpleNamespace:
        """`input_ids` of a text or of several."""
        if truncation and max_length is not None:
            self._tokenizer.enable_truncation(max_length)
        else:
            self._tokenizer.no_truncation()
        texts = [text] if isinstance(text, str) else text
        encoded = self._tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)
        ids = [encoding.ids for encoding in encoded]
        return SimpleNamespace(input_ids=ids[0] if isinstance(text, str) else ids)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def batch_decode(self, ids: Sequence[Sequence[int]], *, skip_special_tokens: bool = False) -> list[str]:
        return [self.decode(row, skip_special_tokens=skip_special_tokens) for row in ids]


# --- the modules, named as the weights are ---


class T5(Module):
    def __init__(self, config: Any) -> None:
        """`config`: the values of `config.json`."""
        super().__init__()
        self.config, self.model_dim = config, config.d_model
        self.shared = Embedding(config.vocab_size, config.d_model)
        self.encoder = _Stack(config, config.num_layers, is_decoder=False)
        self.decoder = _Stack(config, config.num_decoder_layers, is_decoder=True)
        self.lm_head = Linear(config.d_model, config.vocab_size, bias=False)

    @property
    def device(self) -> torch.device:
        return self.shared.weight.device

    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def get_input_embeddings(self) -> Embedding:
        return self.shared

    def get_encoder(self) -> _Stack:
        return self.encoder

    def get_decoder(self) -> _Stack:
        return self.decoder


class _Stack(Module):
    def __init__(self, config: Any, num_layers: int, *, is_decoder: bool) -> None:
        super().__init__()
        self.block = ModuleList(_Block(config, is_decoder, is_first=number == 0) for number in range(num_layers))
        self.final_layer_norm = _Norm(config)


class _Block(Module):
    gradient_checkpointing = False

    def __init__(self, config: Any, is_decoder: bool, *, is_first: bool) -> None:
        super().__init__()
        own = _Layer(config, SelfAttention=_Attention(config, is_decoder=is_decoder, has_bias=is_first))
        cross = [_Layer(config, EncDecAttention=_Attention(config, is_decoder=True, has_bias=False))]
        self.layer = ModuleList([own, *(cross if is_decoder else []), _FeedForward(config)])


class _Layer(Module):
    def __init__(self, config: Any, **inner: Module) -> None:
        super().__init__()
        for name, module in inner.items():
            self.add_module(name, module)
        self.layer_norm = _Norm(config)


class _FeedForward(Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.DenseReluDense, self.layer_norm = _Dense(config), _Norm(config)

    def forward(self, states: Tensor) -> Tensor:
        return states + self.DenseReluDense(self.layer_norm(states))


class _Dense(Module):
    act = staticmethod(torch.relu)

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.wi = Linear(config.d_model, config.d_ff, bias=False)
        self.wo = Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        return self.wo(self.act(self.wi(states)))


class _Norm(Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.weight, self.variance_epsilon = Parameter(torch.empty(config.d_model)), config.layer_norm_epsilon

    def forward(self, states: Tensor) -> Tensor:
        variance = states.pow(2).mean(-1, keepdim=True)
        return self.weight * (states * torch.rsqrt(variance + self.variance_epsilon))


class _Attention(Module):
    def __init__(self, config: Any, *, is_decoder: bool, has_bias: bool) -> None:
        super().__init__()
        self.n_heads, self.key_value_proj_dim, self.is_decoder = config.num_heads, config.d_kv, is_decoder
        self.max_distance, inner = config.relative_attention_max_distance, config.num_heads * config.d_kv
        self.q, self.k, self.v = (Linear(config.d_model, inner, bias=False) for _ in range(3))
        self.o = Linear(inner, config.d_model, bias=False)
        if has_bias:
            self.relative_attention_bias = Embedding(config.relative_attention_num_buckets, config.num_heads)

    def compute_bias(self, num_queries: int, num_keys: int) -> Tensor:
        """Bias of relative positions, [1, heads, queries, keys]: a bucket for each small distance, then wider ones."""
        distance = torch.arange(num_keys)[None, :] - torch.arange(num_queries)[:, None]
        num_buckets = self.relative_attention_bias.num_embeddings
        first = torch.zeros_like(distance)
        if self.is_decoder:
            distance = -distance.clamp(max=0)
        else:
            num_buckets //= 2
            first, distance = (distance > 0).long() * num_buckets, distance.abs()
        num_small = num_buckets // 2
        scale = math.log(self.max_distance / num_small)
        large = (torch.log(distance.float() / num_small) / scale * (num_buckets - num_small)).long() + num_small
        bucket = torch.where(distance < num_small, distance, large.clamp(max=num_buckets - 1))
        return self.relative_attention_bias(first + bucket).permute(2, 0, 1)[None]
