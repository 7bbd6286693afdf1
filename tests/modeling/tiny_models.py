"""Models of a few thousand parameters of every allowed architecture, and inputs for them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers as families
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from r2d.config.model import ModelConfig
from r2d.modeling.backends.backend import Task
from r2d.modeling.backends.packed import make_backend
from r2d.modeling.tokenizer import TokenizerTexts, train_tokenizer
from tests.conftest import TOY_LABELS, TOY_MODEL, toy_examples

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
    config = families.T5Config(
        **(default | SHAPES[shape] | sizes), dropout_rate=dropout, decoder_start_token_id=PAD, pad_token_id=PAD,
        eos_token_id=END,
    )  # fmt: skip
    model = families.T5ForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.train()


CAUSAL_SHAPES: dict[str, dict[str, Any]] = {
    "Llama": {"num_key_value_heads": 1, "tie_word_embeddings": True},
    "Qwen3": {"num_key_value_heads": 2, "tie_word_embeddings": False},
    "Gemma3Text": {
        "num_key_value_heads": 1, "sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"],
        "query_pre_attn_scalar": 8,
    },
}  # fmt: skip
"""By the name of the library's config: several queries a key, tied weights, a sliding window shorter than a prompt."""


def tiny_causal(shape: str = "Llama", *, dropout: float = 0.0, seed: int = 0, **sizes: Any) -> Any:
    """In train mode, with norms that are not what they start as. A target begins behind the token 0."""
    torch.manual_seed(seed)
    default = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    default |= {"head_dim": 8, "vocab_size": VOCABULARY, "max_position_embeddings": 256}
    config = getattr(families, f"{shape}Config")(
        **(default | CAUSAL_SHAPES[shape] | sizes), attention_dropout=dropout, pad_token_id=PAD, eos_token_id=END,
        bos_token_id=None, decoder_start_token_id=PAD,
    )  # fmt: skip
    model = getattr(families, f"{shape.removesuffix('Text')}ForCausalLM")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.train()


MODELS = (*SHAPES, *CAUSAL_SHAPES)


def tiny(shape: str, **values: Any) -> Any:
    """The T5 or the causal model of that shape."""
    return tiny_t5(shape, **values) if shape in SHAPES else tiny_causal(shape, **values)


def random_rows(num_rows: int, longest: int, seed: int, shortest: int = 1) -> list[list[int]]:
    """Token ids, each row with end-of-sequence."""
    generator = random.Random(seed)
    lengths = [generator.randint(shortest, longest) - 1 for _ in range(num_rows)]
    return [[*(generator.randrange(2, VOCABULARY) for _ in range(length)), END] for length in lengths]


def learn(model: Any, batches: Iterable[tuple[Sequence[Any], Sequence[Any]]], *, learning_rate: float) -> Any:
    """The model after a step for each batch of prompts and targets, in eval mode."""
    backend, optimizer = make_backend(model), torch.optim.AdamW(model.parameters(), lr=learning_rate)
    for prompts, targets in batches:
        optimizer.zero_grad()
        backend.losses([Task(prompts, targets, num_tokens=sum(map(len, targets)))]).total.backward()
        optimizer.step()
    return model.eval()


def padded_inputs(rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask`, both [rows, longest]; 0 pads."""
    ids, ones = ([torch.tensor(row) for row in rows], [torch.ones(len(row), dtype=torch.long) for row in rows])
    return {"input_ids": pad_sequence(ids, batch_first=True), "attention_mask": pad_sequence(ones, batch_first=True)}


def library_loss(model: Any, prompt: Sequence[int], target: Sequence[int]) -> Tensor:
    """Mean cross-entropy of a target in nats, by the library's own pass over one row, unpadded and without a cache; a
    causal model's prompt is continued by the start token."""
    if model.config.is_encoder_decoder:
        loss: Tensor = model(input_ids=torch.tensor([prompt]), labels=torch.tensor([target])).loss
        return loss
    before = [*prompt, model.config.decoder_start_token_id]
    labels = torch.tensor([[*[-100] * len(before), *target]])
    loss = model(input_ids=torch.tensor([[*before, *target]]), labels=labels, use_cache=False).loss
    return loss


ModelAndTokenizer = tuple[Any, Any]


def t5_tokenizer() -> Any:
    """`x </s>`, as in T5 and Pegasus."""
    return train_tokenizer(TokenizerTexts.of(toy_examples(), TOY_MODEL, TOY_LABELS), TOY_MODEL.scratch)


def bart_tokenizer(names: dict[str, str] | None = None) -> Any:
    """`<s> x </s>`, as in BART; with `names` those two are called otherwise, as BERT's are."""
    from tokenizers import processors

    tokenizer = t5_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    ends = [("<s>", tokenizer.bos_token_id), ("</s>", tokenizer.eos_token_id)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=ends)
    if names:
        backend = tokenizer.backend_tokenizer
        return families.PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", **names)
    return tokenizer


def t5_like(name: str, **sizes: Any) -> ModelAndTokenizer:
    tokenizer = t5_tokenizer()
    config = getattr(families, f"{name}Config")(
        vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_decoder_layers=1, num_heads=2,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, **sizes,
    )  # fmt: skip
    return getattr(families, f"{name}ForConditionalGeneration")(config), tokenizer


def bart_like(name: str, tokenizer: Any = None, **sizes: Any) -> ModelAndTokenizer:
    """With generation settings as in published checkpoints, which must not decide what is decoded."""
    tokenizer = tokenizer or bart_tokenizer()
    start = tokenizer.eos_token_id if tokenizer.bos_token_id else tokenizer.pad_token_id
    config = getattr(families, f"{name}Config")(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=64,
        scale_embedding=True, pad_token_id=0, eos_token_id=1, bos_token_id=tokenizer.bos_token_id,
        decoder_start_token_id=start, forced_eos_token_id=1, **sizes,
    )  # fmt: skip
    model = getattr(families, f"{name}ForConditionalGeneration")(config)
    model.generation_config.update(min_length=9, num_beams=4, no_repeat_ngram_size=3, forced_bos_token_id=5)
    return model, tokenizer


def t5gemma() -> ModelAndTokenizer:
    tokenizer = bart_tokenizer()
    part = {
        "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 128, "sliding_window": 16,
        "query_pre_attn_scalar": 8, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": tokenizer.bos_token_id,
    }  # fmt: skip
    config = families.T5GemmaConfig(encoder=part, decoder=part | {"cross_attention_hidden_size": 16})
    return families.T5GemmaForConditionalGeneration(config), tokenizer


def t5gemma2() -> ModelAndTokenizer:
    tokenizer = bart_tokenizer()
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 128, "sliding_window": 16,
        "query_pre_attn_scalar": 8, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": tokenizer.bos_token_id,
        "layer_types": ["sliding_attention", "full_attention"],
    }  # fmt: skip
    pictures = {
        "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 8,
        "patch_size": 4,
    }  # fmt: skip
    encoder = {"text_config": text, "vision_config": pictures, "mm_tokens_per_image": 4}
    config = families.T5Gemma2Config(encoder=encoder, decoder=text, eoi_token_index=len(tokenizer) - 1)
    return families.T5Gemma2ForConditionalGeneration(config), tokenizer


def encoder_decoder(encoder: str, decoder: str) -> ModelAndTokenizer:
    """BERT's tokenizer names no end-of-sequence but a separator."""
    tokenizer = bart_tokenizer({"cls_token": "<s>", "sep_token": "</s>"})
    sizes = {
        "vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 64, "pad_token_id": 0, "eos_token_id": 1,
        "bos_token_id": tokenizer.cls_token_id, "cls_token_id": tokenizer.cls_token_id, "sep_token_id": 1,
    }  # fmt: skip
    parts = [getattr(families, f"{name}Config")(**sizes) for name in (encoder, decoder)]
    config = families.EncoderDecoderConfig.from_encoder_decoder_configs(*parts)
    config.pad_token_id, config.eos_token_id, config.decoder_start_token_id = 0, 1, tokenizer.cls_token_id
    return families.EncoderDecoderModel(config), tokenizer


CHAT = "{{ bos_token }}pt {{ messages[0]['content'] | trim }}{% if add_generation_prompt %} is present{% endif %}"


def causal(name: str, *, chat_template: str | None = None, **sizes: Any) -> ModelAndTokenizer:
    """With the settings of a published checkpoint: a start token, its own end-of-sequence, and none for padding."""
    tokenizer = bart_tokenizer()
    tokenizer.pad_token, tokenizer.chat_template = None, chat_template
    config = getattr(families, f"{name}Config")(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=128, pad_token_id=None, eos_token_id=1,
        bos_token_id=tokenizer.bos_token_id, **sizes,
    )  # fmt: skip
    model = getattr(families, f"{name.removesuffix('Text')}ForCausalLM")(config)
    model.generation_config.update(min_length=9, temperature=0.7, top_k=3, do_sample=True)
    return model, tokenizer


ARCHITECTURES: dict[str, Callable[[], ModelAndTokenizer]] = {
    "t5": lambda: t5_like("T5"),
    "t5 (Flan, v1.1)": lambda: t5_like("T5", feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "mt5": lambda: t5_like("MT5", feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "umt5": lambda: t5_like("UMT5"),
    "longt5": lambda: t5_like("LongT5", local_radius=8),
    "longt5 (transient global)": lambda: t5_like(
        "LongT5", local_radius=8, global_block_size=4, encoder_attention_type="transient-global"
    ),
    "t5gemma": t5gemma,
    "t5gemma2": t5gemma2,
    "bart": lambda: bart_like("Bart"),
    "mvp": lambda: bart_like("Mvp"),
    "blenderbot": lambda: bart_like("Blenderbot"),
    "pegasus": lambda: bart_like("Pegasus", t5_tokenizer()),
    "pegasus_x": lambda: bart_like("PegasusX", t5_tokenizer(), block_size=8, num_global_tokens=4),
    "encoder-decoder (BERT)": lambda: encoder_decoder("Bert", "Bert"),
    "encoder-decoder (RoBERTa)": lambda: encoder_decoder("Roberta", "Roberta"),
    "encoder-decoder (ModernBERT, BERT)": lambda: encoder_decoder("ModernBert", "Bert"),
    "llama": lambda: causal("Llama"),
    "llama (chat, tied)": lambda: causal("Llama", chat_template=CHAT, tie_word_embeddings=True),
    "qwen3": lambda: causal("Qwen3", chat_template=CHAT),
    "gemma3_text": lambda: causal(
        "Gemma3Text", sliding_window=8, layer_types=["sliding_attention", "full_attention"], query_pre_attn_scalar=8
    ),
}


def save(made: ModelAndTokenizer, folder: Path) -> Path:
    for part in made:
        part.save_pretrained(folder)
    return folder


def config_of(folder: Path, **changed: Any) -> ModelConfig:
    return ModelConfig(
        **{"name": str(folder), "max_input_tokens": 40, "max_rationale_tokens": 12, "max_label_tokens": 8} | changed
    )
