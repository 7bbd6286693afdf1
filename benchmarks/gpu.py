"""Stage 2 on a GPU: the library's padded pass against packed rows, in one run, on the same batches and draws.

    python -m benchmarks.gpu                                   # T5-small, -base and -large, and a causal model of 0.4 B
    python -m benchmarks.gpu --models t5-small llama-0.1b --steps 50 --write

Of each: useful tokens (without padding) a second, the share of the card's own rate of bf16 products, peak memory, and
how far its losses over the steps are from those of the library's SDPA. All begin with the same random weights and have
no dropout, so that only rounding parts them. The rate is measured in the run, on a product of two large matrices.

Where no GPU is, it ends and says so. `--cpu` runs the same code on tiny models, which measures nothing.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, T5Config, T5ForConditionalGeneration

from benchmarks.causal import tasks_of
from benchmarks.invented_rows import benchmark_tokenizer, make_rows
from benchmarks.pairs import Table, facts, say, write_results
from benchmarks.work import PASSES_OF_TRAINING, T5Sizes
from r2d.modeling.backends.backend import PaddedBackend, Seq2SeqBackend, Task
from r2d.modeling.backends.causal import CausalBackend
from r2d.modeling.backends.packed import make_backend

T5_SIZES = {
    "t5-small": {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
    "t5-base": {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
    "t5-large": {"d_model": 1024, "d_kv": 64, "d_ff": 4096, "num_layers": 24, "num_heads": 16},
    "t5-tiny": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 2, "vocab_size": 8192},
}
LLAMA_SIZES = {
    "llama-0.1b": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
                   "num_key_value_heads": 3, "vocab_size": 49_152},
    "llama-0.4b": {"hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 15,
                   "num_key_value_heads": 5, "vocab_size": 49_152},
    "llama-1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
                 "num_key_value_heads": 8, "vocab_size": 49_152},
    "llama-tiny": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
                   "num_key_value_heads": 1, "vocab_size": 8192},
}  # fmt: skip
"""The first two as SmolLM2-135M and -360M, the third as Llama 3.2 1B but for its vocabulary."""
LEARNING_RATE = 1e-4
WARM_UP_STEPS = 5
PROBE_SIZE = 8192
PROBES = 20


@dataclass(frozen=True)
class Way:
    """One way of computing a step."""

    name: str
    make: Callable[[Any], Seq2SeqBackend[Any]]
    attention: str = "sdpa"


def _compiled_padded(model: Any) -> PaddedBackend:
    model.forward = torch.compile(model.forward, dynamic=True)
    model.get_encoder().forward = torch.compile(model.get_encoder().forward, dynamic=True)
    return PaddedBackend(model)


T5_WAYS = [
    Way("library, SDPA", PaddedBackend),
    Way("library, eager", PaddedBackend, "eager"),
    Way("library, SDPA, compiled", _compiled_padded),
    Way("ours, packed", lambda model: make_backend(model, precision="bf16", layout="packed")),
    Way("ours, packed, compiled", lambda model: make_backend(model, precision="bf16", layout="compiled")),
]
CAUSAL_WAYS = [
    Way("library, SDPA, one row a line", lambda model: CausalBackend(model, packed=False)),
    Way("library, eager, one row a line", lambda model: CausalBackend(model, packed=False), "eager"),
    Way("ours, packed lines", CausalBackend),
]
"""The first of each is what the losses are held against."""


@dataclass
class Run:
    """What one way did."""

    seconds: float
    num_tokens: int
    operations: float
    peak_gib: float
    losses: list[float]


def new_model(name: str, attention: str) -> PreTrainedModel:
    """With random weights, the same whenever it is made."""
    end, pad = benchmark_tokenizer().eos_token_id, benchmark_tokenizer().pad_token_id
    torch.manual_seed(0)
    if name in T5_SIZES:
        sizes = {"vocab_size": 32_128} | T5_SIZES[name]
        return T5ForConditionalGeneration(
            T5Config(**sizes, dropout_rate=0.0, eos_token_id=end, pad_token_id=pad, decoder_start_token_id=pad,
                     attn_implementation=attention)
        )  # fmt: skip
    return LlamaForCausalLM(
        LlamaConfig(**LLAMA_SIZES[name], tie_word_embeddings=True, max_position_embeddings=4096, bos_token_id=None,
                    eos_token_id=end, pad_token_id=pad, decoder_start_token_id=end, attn_implementation=attention)
    )  # fmt: skip


def run(name: str, way: Way, batches: Sequence[list[Task[Any]]], device: torch.device) -> Run:
    """A training step for each batch; the first few are not timed."""
    model = new_model(name, way.attention).to(device).train()
    backend, optimizer = way.make(model), torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    _settle(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    losses, timed, started = [], batches[WARM_UP_STEPS:] or batches[-1:], 0.0
    for step, tasks in enumerate(batches):
        if step == len(batches) - len(timed):
            _settle(device)
            started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16):
            total = backend.losses(tasks).total
        total.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total.detach())
    _settle(device)
    seconds = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    lengths = [
        (len(prompt), len(target))
        for tasks in timed
        for task in tasks
        for prompt, target in zip(task.prompts, task.targets, strict=True)
    ]
    operations = sum(useful_operations(model, *of_row) for of_row in lengths)
    return Run(seconds, sum(map(sum, lengths)), operations, peak, torch.stack(losses).tolist())


def useful_operations(model: PreTrainedModel, prompt: int, target: int) -> float:
    """Of the matrix products of a row, forward and backward; of a causal model without those inside the attention."""
    if model.config.is_encoder_decoder:
        return float(T5Sizes.of(model.config).training(prompt, target))
    head = model.get_output_embeddings().weight.numel()
    layers = sum(parameter.numel() for parameter in model.base_model.layers.parameters())
    return 2.0 * PASSES_OF_TRAINING * (layers * (prompt + target) + head * target)


def bf16_rate(device: torch.device, size: int) -> float:
    """Operations a second of a bf16 matrix product: what the card reaches, not what its maker says."""
    left = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    left @ left
    _settle(device)
    started = time.perf_counter()
    for _ in range(PROBES):
        left @ left
    _settle(device)
    return PROBES * 2 * size**3 / (time.perf_counter() - started)


def compare(
    name: str, ways: Sequence[Way], batches: Sequence[list[Task[Any]]], device: torch.device, peak: float
) -> Table:
    """All ways of one model."""
    rows, golden = [], None
    for way in ways:
        say(f"{name}: {way.name}")
        done = run(name, way, batches, device)
        golden = golden or done.losses
        apart = max(abs(ours - theirs) for ours, theirs in zip(done.losses, golden, strict=True))
        rows.append(
            [
                way.name, f"{done.num_tokens / done.seconds:,.0f}", f"{done.operations / done.seconds / peak:.1%}",
                f"{done.peak_gib:.2f}", f"{done.losses[0]:.3f}, {done.losses[-1]:.3f}", f"{apart:.4f}",
            ]
        )  # fmt: skip
        gc.collect()
    columns = ["way", "tokens/s", "share of the bf16 rate", "peak GiB", "first and last loss", "losses apart by"]
    return Table(f"{name}, {len(batches)} steps", columns, rows)


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*T5_SIZES, *LLAMA_SIZES]
    parser.add_argument("--models", nargs="+", choices=names, default=["t5-small", "t5-base", "t5-large", "llama-0.4b"])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--without-compiled", action="store_true", help="leave out what torch must compile first")
    parser.add_argument("--cpu", action="store_true", help="without a GPU, on tiny models: measures nothing")
    parser.add_argument("--write", action="store_true", help="keep the tables in benchmarks/results")
    given = parser.parse_args(arguments)
    if not given.cpu and not torch.cuda.is_available():
        sys.exit(
            "benchmarks.gpu: torch finds no GPU here, and a CPU's figures would say nothing about one; nothing was run"
        )
    device = torch.device("cpu" if given.cpu else "cuda")
    all_rows = make_rows(given.steps * given.batch, seed=1)
    batches = [tasks_of(all_rows[start : start + given.batch]) for start in range(0, len(all_rows), given.batch)]
    peak = bf16_rate(device, 64 if given.cpu else PROBE_SIZE)
    models = ["t5-tiny", "llama-tiny"] if given.cpu else given.models
    ways = {name: T5_WAYS if name in T5_SIZES else CAUSAL_WAYS for name in models}
    if given.without_compiled:
        ways = {name: [way for way in of if "compiled" not in way.name] for name, of in ways.items()}
    tables = [compare(name, of, batches, device, peak) for name, of in ways.items()]
    where = "a CPU, which measures nothing" if given.cpu else torch.cuda.get_device_name()
    card = Table("The card", ["what", "value"], [["device", where], ["bf16 product, TFLOP/s", f"{peak / 1e12:.3g}"]])
    command = facts(["benchmarks.gpu", *(sys.argv[1:] if arguments is None else arguments)])
    text = "# A step of Stage 2 on a GPU, bf16\n\n" + "\n".join(table.markdown() for table in (*tables, card, command))
    print(text)
    if given.write and not given.cpu:
        write_results("gpu", text)


if __name__ == "__main__":
    main()
