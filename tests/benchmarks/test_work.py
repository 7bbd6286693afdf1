"""The count of operations against what torch counts, and the invented rows against the figures they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5Config, T5ForConditionalGeneration

from benchmarks.brief_training import SIZES
from benchmarks.invented_rows import benchmark_tokenizer, label_names, make_rows, row_tokens, words
from benchmarks.work import T5Sizes, stage1_work, stage2_work

T5_SMALL = T5Sizes(**SIZES["small"])


def test_the_count_is_that_of_torch_forward_and_backward() -> None:
    config = T5Config(
        vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=3, decoder_start_token_id=0,
        attn_implementation="eager",
    )  # fmt: skip
    model, sizes, source, target = T5ForConditionalGeneration(config), T5Sizes.of(config), 11, 5
    ids = torch.ones(3, source, dtype=torch.long)
    with FlopCounterMode(display=False) as forward:
        loss = model(input_ids=ids, labels=torch.ones(3, target, dtype=torch.long)).loss
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    assert forward.get_total_flops() == 3 * (sizes.encode(source) + sizes.decode(source, target))
    assert forward.get_total_flops() + backward.get_total_flops() == 3 * sizes.training(source, target)


@pytest.mark.parametrize(("batch_size", "natural", "bucketed"), [(8, 1.92, 1.21), (32, 2.47, 1.35), (64, 2.79, 1.44)])
def test_the_rows_are_padded_as_the_real_ones(batch_size: int, natural: float, bucketed: float) -> None:
    tokens = row_tokens(make_rows(50 * batch_size))

    def padding(order: np.ndarray) -> float:
        batches = [tokens.of(batch) for batch in order.reshape(-1, batch_size)]
        return sum(stage2_work(T5_SMALL, batch.padded()) for batch in batches) / stage2_work(T5_SMALL, tokens)

    assert padding(np.arange(len(tokens))) == pytest.approx(natural, rel=0.08)
    assert padding(np.argsort(tokens.all_tokens)) == pytest.approx(bucketed, rel=0.08)


def test_a_row_costs_what_a_real_one_costs() -> None:
    rows = make_rows(400)
    tokens = row_tokens(rows)
    assert stage1_work(T5_SMALL, tokens) / len(rows) / 1e9 == pytest.approx(32.3, rel=0.03)
    assert stage2_work(T5_SMALL, tokens) / len(rows) / 1e9 == pytest.approx(54.6, rel=0.03)


def test_rows_and_labels_are_the_same_every_time_and_each_word_is_one_token() -> None:
    assert make_rows(40) == make_rows(40) != make_rows(40, seed=1)
    assert label_names(200)[:20] == label_names(20)
    known = words()
    every = known.fillers + known.cues + known.sequence
    assert {len(ids) for ids in benchmark_tokenizer()(every, add_special_tokens=False).input_ids} == {1}
