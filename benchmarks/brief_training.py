"""Models of the benchmarked sizes, and a training just long enough that they end their texts by themselves.

With random weights a T5 repeats one token up to the limit, so that any decode would be timed at its longest and the
identity of two decodes would prove nothing. The invented rows can be learned from short texts, which keeps this cheap.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from transformers import T5Config, T5ForConditionalGeneration

from benchmarks.invented_rows import PROMPTS, Row, benchmark_tokenizer, make_rows
from benchmarks.pairs import say
from r2d.modeling.backends.backend import Task
from r2d.modeling.backends.packed import make_backend

SIZES = {
    "tiny": {"d_model": 128, "d_kv": 32, "d_ff": 512, "num_layers": 2, "num_heads": 4},
    "small": {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8, "vocab_size": 32_128},
}
"""`small` is T5-small, its whole vocabulary included; `tiny` has the vocabulary of the benchmark's tokenizer."""
LEARNING_RATES = {"tiny": 5e-3, "small": 1e-3}
TEXT_WORDS = 40
BATCH_SIZE = 16


def new_model(size: str, *, dropout_rate: float = 0.1, seed: int = 0) -> T5ForConditionalGeneration:
    """A T5 with random weights."""
    tokenizer = benchmark_tokenizer()
    torch.manual_seed(seed)
    sizes = {"vocab_size": len(tokenizer)} | SIZES[size]
    return T5ForConditionalGeneration(
        T5Config(
            **sizes,
            dropout_rate=dropout_rate,
            feed_forward_proj="relu",
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
    )


def train_briefly(model: T5ForConditionalGeneration, size: str, num_steps: int, *, explaining: bool) -> None:
    """Learn to decide on short texts, and to explain where that is timed too.

    A rationale's first token decides its length, so it is learnt most of all.
    """
    rows = make_rows(num_steps * BATCH_SIZE, seed=1, text_words=TEXT_WORDS)
    batches = [rows[start : start + BATCH_SIZE] for start in range(0, len(rows), BATCH_SIZE)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATES[size], weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=num_steps)
    network = make_backend(model)
    model.train()
    for step, batch in enumerate(batches):
        loss = network.losses(_tasks(batch, explaining=explaining)).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        if step % max(1, num_steps // 5) == 0 or step == num_steps - 1:
            say(f"brief training, step {step + 1} of {num_steps}: loss {loss.item():.3f}")


def _tasks(rows: list[Row], *, explaining: bool) -> list[Task[Any]]:
    tasks = [_task([PROMPTS.label.format(text=row.text) for row in rows], [row.label for row in rows])]
    if explaining:
        prompts = [PROMPTS.rationale.format(label=row.label, text=row.text) for row in rows]
        every = _task(prompts, [row.rationale for row in rows])
        tasks += [every, replace(every, targets=[target[:1] for target in every.targets], num_tokens=len(rows))]
    return tasks


def _task(prompts: list[str], targets: list[str]) -> Task[Any]:
    tokenizer = benchmark_tokenizer()
    ids: list[list[int]] = tokenizer(targets).input_ids
    return Task(tokenizer(prompts).input_ids, ids, sum(map(len, ids)))
