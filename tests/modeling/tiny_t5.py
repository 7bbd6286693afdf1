"""T5s of a few thousand parameters, and rows of random tokens for them."""

from __future__ import annotations

import random
from typing import Any

import torch
from transformers import T5Config, T5ForConditionalGeneration

PAD, END, VOCABULARY = 0, 1, 40

SHAPES: dict[str, dict[str, Any]] = {
    "relu, tied": {"feed_forward_proj": "relu", "tie_word_embeddings": True, "num_layers": 1},
    "relu, untied": {"feed_forward_proj": "relu", "tie_word_embeddings": False, "num_layers": 2, "num_heads": 3},
    "gated, tied": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": True, "num_layers": 2, "d_kv": 4},
    "gated, untied": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "num_layers": 3, "d_kv": 12},
}
"""As T5, T5 without its tie, and T5 v1.1 with and without; heads x d_kv is not d_model where a number is given."""


def tiny_t5(shape: str = "relu, tied", *, dropout: float = 0.0, seed: int = 0, **sizes: Any) -> Any:
    """In train mode, with norms and biases that are not what they start as."""
    torch.manual_seed(seed)
    default = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_heads": 2, "vocab_size": VOCABULARY}
    config = T5Config(
        **(default | SHAPES[shape] | sizes), dropout_rate=dropout, decoder_start_token_id=PAD, pad_token_id=PAD,
        eos_token_id=END,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.train()


def random_rows(num_rows: int, longest: int, seed: int, shortest: int = 1) -> list[list[int]]:
    """Token ids, each row with end-of-sequence."""
    generator = random.Random(seed)
    lengths = [generator.randint(shortest, longest) - 1 for _ in range(num_rows)]
    return [[*(generator.randrange(2, VOCABULARY) for _ in range(length)), END] for length in lengths]
