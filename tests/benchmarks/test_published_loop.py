"""The published loop against the same losses written once more by hand, and against our engine."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import T5ForConditionalGeneration

from benchmarks.brief_training import SIZES
from benchmarks.engine import GOLD_STEP, Engine, alpha_at
from benchmarks.invented_rows import Row, benchmark_tokenizer, make_rows
from benchmarks.pairs import Table, run_pairs, with_range
from benchmarks.published_loop import PublishedLoop

SMALLEST = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return make_rows(6, text_words=12)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> T5ForConditionalGeneration:
    from benchmarks.brief_training import new_model

    monkeypatch.setitem(SIZES, "tiny", SMALLEST)
    return new_model("tiny", dropout_rate=0.0)


def mean_loss(model: T5ForConditionalGeneration, pairs: list[tuple[str, str]]) -> torch.Tensor:
    """Mean over all target tokens, each row computed alone: no padding anywhere."""
    tokenizer, losses = benchmark_tokenizer(), []
    for prompt, target in pairs:
        ids, wanted = (torch.tensor([tokenizer(text).input_ids]) for text in (prompt, target))
        shifted = torch.cat([torch.zeros(1, 1, dtype=torch.long), wanted[:, :-1]], dim=1)
        logits = model(input_ids=ids, decoder_input_ids=shifted).logits
        losses.append(cross_entropy(logits[0], wanted[0], reduction="none"))
    return torch.cat(losses).mean()


def test_the_losses_are_those_of_rows_computed_one_by_one(model: T5ForConditionalGeneration, rows: list[Row]) -> None:
    loop = PublishedLoop(model, benchmark_tokenizer())
    explained = mean_loss(model, [(f"explain: {row.text}", row.rationale) for row in rows])
    torch.testing.assert_close(loop.stage1_loss(rows), explained)
    label = mean_loss(model, [(f"predict: {row.text}", row.label) for row in rows])
    own = loop.decode(rows)
    drawn = [True, False] * 3
    in_prompt = [mine if draw else row.label for mine, row, draw in zip(own, rows, drawn, strict=True)]
    rationale = mean_loss(
        model,
        [(f"given label: {y}, explain: {row.text}", row.rationale) for y, row in zip(in_prompt, rows, strict=True)],
    )
    torch.testing.assert_close(loop.stage2_loss(rows, alpha=0.7, drawn=drawn), 0.7 * label + 0.3 * rationale)


def test_a_decode_leaves_the_model_in_train_mode_as_published(
    model: T5ForConditionalGeneration, rows: list[Row]
) -> None:
    PublishedLoop(model, benchmark_tokenizer()).decode(rows)
    assert model.training


def test_our_engine_has_the_losses_of_the_published_loop(model: T5ForConditionalGeneration, rows: list[Row]) -> None:
    tokenizer = benchmark_tokenizer()
    published = PublishedLoop(copy.deepcopy(model), tokenizer)
    ours = Engine(model, tokenizer, rows, batch_size=len(rows))
    assert ours.stage2_step(rows, GOLD_STEP) == pytest.approx(
        published.stage2_step(rows, alpha=alpha_at(GOLD_STEP)), rel=1e-5
    )
    assert ours.stage1_step(rows) == pytest.approx(published.stage1_step(rows), rel=1e-3)


def test_pairs_run_in_turn_after_a_warm_up() -> None:
    order: list[str] = []
    pairs = run_pairs(lambda: order.append("a"), lambda: order.append("b"), 2)
    assert order == ["a", "b"] * 3
    assert (len(pairs.a), len(pairs.b), len(pairs.gemm)) == (2, 2, 3)


def test_a_table_is_markdown_with_median_and_range() -> None:
    table = Table("Title", ("x", "y"), [("1", with_range([3.0, 1.0, 2.0]))], "Note.")
    assert table.markdown() == "## Title\n\n| x | y |\n| --- | --- |\n| 1 | 2.00 (1.00-3.00) |\n\nNote.\n"
