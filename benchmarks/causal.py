"""A step of Stage 2 by a causal model, gold labels, against a plain padded loop of the library, on the same batches.

    python -m benchmarks.causal                # Llama, 128 wide, 2 layers, batch 8
    python -m benchmarks.causal --batches 8 32 --pairs 9 --write

The plain loop takes label and rationale task one after the other, pads each to its longest row, and lets the library
compute the loss, which takes the logits of every token. The rows are `benchmarks.invented_rows`, in natural order.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.invented_rows import PROMPTS, Row, benchmark_tokenizer, make_rows
from benchmarks.pairs import Table, facts, run_pairs, with_range, write_results
from r2d.modeling.backends.backend import Task
from r2d.modeling.backends.causal import CausalBackend

SIZES = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
MAX_LOSS_DIFFERENCE = 1e-4


def new_model() -> LlamaForCausalLM:
    """A Llama with random weights; its targets begin behind end-of-sequence."""
    tokenizer = benchmark_tokenizer()
    torch.manual_seed(0)
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    config = LlamaConfig(
        **SIZES, vocab_size=len(tokenizer), num_key_value_heads=2, max_position_embeddings=4096, bos_token_id=None,
        eos_token_id=end, pad_token_id=pad, decoder_start_token_id=end,
    )  # fmt: skip
    return LlamaForCausalLM(config).train()


def tasks_of(rows: list[Row]) -> list[Task[Any]]:
    """Label and rationale task of a batch, half the loss each."""
    tokenizer = benchmark_tokenizer()
    texts = [
        ([PROMPTS.label.format(text=row.text) for row in rows], [row.label for row in rows]),
        (
            [PROMPTS.rationale.format(label=row.label, text=row.text) for row in rows],
            [row.rationale for row in rows],
        ),
    ]
    tasks: list[Task[Any]] = []
    for prompts, targets in texts:
        ids = tokenizer(targets).input_ids
        tasks.append(Task([prompt[:-1] for prompt in tokenizer(prompts).input_ids], ids, sum(map(len, ids)), 0.5))
    return tasks


def plain_step(model: LlamaForCausalLM, tasks: list[Task[Any]]) -> float:
    """Loss and gradients by the library's padded pass, task by task."""
    model.zero_grad()
    total = torch.zeros(())
    for task in tasks:
        pairs = list(zip(task.prompts, task.targets, strict=True))
        start = model.config.decoder_start_token_id
        rows = [torch.tensor([*prompt, start, *target]) for prompt, target in pairs]
        labels = [torch.tensor([*[-100] * (len(prompt) + 1), *target]) for prompt, target in pairs]
        mask = pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], batch_first=True)
        inputs = {"input_ids": pad_sequence(rows, batch_first=True), "attention_mask": mask}
        padded = pad_sequence(labels, batch_first=True, padding_value=-100)
        total = total + task.weight * model(**inputs, labels=padded, use_cache=False).loss
    total.backward()
    return total.item()


def our_step(backend: CausalBackend, tasks: list[Task[Any]]) -> float:
    """Loss and gradients by `CausalBackend`."""
    backend.model.zero_grad()
    total = backend.losses(tasks).total
    total.backward()
    return total.item()


def main() -> None:
    """Read the command line, measure, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[8])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="keep the table in benchmarks/results")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model, lines = new_model(), []
    for size in given.batches:
        tasks = tasks_of(make_rows(size, seed=1))
        for packed in (True, False):
            backend = CausalBackend(model, packed=packed)
            assert abs(plain_step(model, tasks) - our_step(backend, tasks)) < MAX_LOSS_DIFFERENCE
            pairs = run_pairs(lambda: plain_step(model, tasks), lambda: our_step(backend, tasks), given.pairs)  # noqa: B023
            layout = "packed" if packed else "one row a line"
            seconds = [with_range([run.cpu for run in runs], 3) for runs in (pairs.a, pairs.b)]
            lines.append([str(size), layout, *seconds, with_range(pairs.ratios()), with_range(pairs.gemm, 0)])
    columns = ["batch", "our layout", "plain loop, CPU s", "ours, CPU s", "ratio", "GEMM, GFLOP/s"]
    tables = [Table("Stage 2, gold labels", columns, lines), facts(["benchmarks.causal", *sys.argv[1:]])]
    text = "# A causal model's step against a plain padded loop\n\n" + "\n".join(table.markdown() for table in tables)
    print(text)
    if given.write:
        write_results("causal_tiny", text)


if __name__ == "__main__":
    main()
