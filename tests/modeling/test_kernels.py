"""Attention, cross-entropy and dropout that were written by hand, held against finite differences and the plain way."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from torch import Tensor
from torch.nn.functional import cross_entropy

from r2d.modeling.backends import kernels
from r2d.modeling.backends.kernels import (
    Span,
    drop_mask,
    dropout,
    group_spans,
    packed_attention,
    row_ranges,
    vocabulary_cross_entropy,
)

HEADS, SIZE = 2, 3
CPU = torch.device("cpu")
not_slow = settings(max_examples=15, deadline=None, derandomize=True)


def doubles(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def self_spans(of_rows: list[int]) -> list[Span]:
    return [Span(row, row) for row in row_ranges(of_rows)]


def causal(bias: Tensor) -> Tensor:
    return bias.masked_fill(torch.ones(bias.shape[-2:], dtype=torch.bool).triu(1), float("-inf"))


def plain_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, spans: list[Span]) -> Tensor:
    """One span and one head at a time."""
    output = torch.zeros_like(query)
    for span in spans:
        for head in range(HEADS):
            columns = slice(head * SIZE, (head + 1) * SIZE)
            scores = query[slice(*span.query), columns] @ key[slice(*span.key), columns].t()
            if bias is not None:
                scores = scores + bias[head, : scores.shape[0], : scores.shape[1]]
            output[slice(*span.query), columns] = scores.softmax(dim=-1) @ value[slice(*span.key), columns]
    return output


@not_slow
@given(st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), min_size=1, max_size=5), st.booleans())
def test_attention_over_rows_end_to_end_is_that_of_each_row(lengths: list[tuple[int, int]], to_itself: bool) -> None:
    queries, keys = zip(*lengths, strict=True)
    keys = queries if to_itself else keys
    spans = [Span(query, key) for query, key in zip(row_ranges(queries), row_ranges(keys), strict=True)]
    query = doubles(sum(queries), HEADS * SIZE, seed=0)
    key, value = (doubles(sum(keys), HEADS * SIZE, seed=seed) for seed in (1, 2))
    bias = causal(doubles(HEADS, 7, 7, seed=3)) if to_itself else None
    ours = packed_attention(query, key, value, bias, group_spans(spans, HEADS, CPU), num_heads=HEADS, drop=0.0)
    torch.testing.assert_close(ours, plain_attention(query, key, value, bias, spans))


@pytest.mark.parametrize("drop", [0.0, 0.4])
@pytest.mark.parametrize("of_rows", [[1], [3, 1, 4], [5, 5], [2, 7, 6, 1]])
def test_the_gradient_of_self_attention_is_that_of_finite_differences(of_rows: list[int], drop: float) -> None:
    groups = group_spans(self_spans(of_rows), HEADS, CPU)
    inputs = [doubles(sum(of_rows), HEADS * SIZE, seed=seed).requires_grad_() for seed in range(3)]
    longest = max(of_rows)
    bias = doubles(HEADS, longest, longest, seed=3).requires_grad_()

    def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        torch.manual_seed(5)
        return packed_attention(query, key, value, causal(bias), groups, num_heads=HEADS, drop=drop)

    assert torch.autograd.gradcheck(attend, (*inputs, bias))


@pytest.mark.parametrize("drop", [0.0, 0.4])
def test_the_gradient_of_attention_over_some_of_the_other_rows_is_that_of_finite_differences(drop: float) -> None:
    keys = row_ranges([4, 2, 6])
    spans = [Span((0, 3), keys[0]), Span((3, 4), keys[2])]
    query = doubles(4, HEADS * SIZE, seed=0).requires_grad_()
    key, value = (doubles(12, HEADS * SIZE, seed=seed).requires_grad_() for seed in (1, 2))

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        torch.manual_seed(5)
        groups = group_spans(spans, HEADS, CPU)
        return packed_attention(query, key, value, None, groups, num_heads=HEADS, drop=drop)

    assert torch.autograd.gradcheck(attend, (query, key, value))


def test_rows_of_very_unequal_length_are_each_attended_to_once() -> None:
    of_rows = [1, 90, 3, 3, 200, 17, 18, 1, 64]
    spans = self_spans(of_rows)
    query, key, value = (doubles(sum(of_rows), HEADS * SIZE, seed=seed) for seed in range(3))
    groups = group_spans(spans, HEADS, CPU)
    assert 1 < len(groups) < len(of_rows)
    ours = packed_attention(query, key, value, None, groups, num_heads=HEADS, drop=0.0)
    torch.testing.assert_close(ours, plain_attention(query, key, value, None, spans))


@pytest.mark.parametrize("at_a_time", [256, 3, 1])
def test_the_cross_entropy_of_the_vocabulary_and_its_gradient(at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "VOCABULARY_TOKENS_AT_A_TIME", at_a_time)
    states, vocabulary = doubles(8, 4, seed=0).requires_grad_(), doubles(6, 4, seed=1).requires_grad_()
    targets, weights = torch.tensor([0, 5, 2, 2, 1, 3, 5, 4]), doubles(8, seed=2).abs()
    total, losses = vocabulary_cross_entropy(states, vocabulary, targets, weights)
    expected = cross_entropy(states @ vocabulary.t(), targets, reduction="none")
    torch.testing.assert_close(losses, expected)
    assert not losses.requires_grad
    torch.testing.assert_close(total, (expected * weights).sum())
    wanted = torch.autograd.grad((expected * weights).sum(), (states, vocabulary))
    for ours, theirs in zip(torch.autograd.grad(3 * total, (states, vocabulary)), wanted, strict=True):
        torch.testing.assert_close(ours, 3 * theirs, rtol=0.0, atol=1e-12)

    # Frozen weights, or states without a gradient, as adapters have them.
    alone = vocabulary_cross_entropy(states, vocabulary.detach(), targets, weights)[0]
    torch.testing.assert_close(torch.autograd.grad(alone, states)[0], wanted[0])
    alone = vocabulary_cross_entropy(states.detach(), vocabulary, targets, weights)[0]
    torch.testing.assert_close(torch.autograd.grad(alone, vocabulary)[0], wanted[1])


def test_a_second_way_back_through_the_cross_entropy_is_refused_and_not_wrong() -> None:
    states, vocabulary = doubles(3, 4, seed=0).requires_grad_(), doubles(6, 4, seed=1)
    total, _ = vocabulary_cross_entropy(states, vocabulary, torch.tensor([0, 5, 2]), doubles(3, seed=2))
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


@pytest.mark.parametrize("drop", [0.001, 0.1, 0.5, 0.9])
def test_the_share_of_dropped_elements_is_the_wanted_one(drop: float) -> None:
    torch.manual_seed(0)
    # No multiple of four: a number of 64 bits serves four elements.
    shapes = [torch.Size((1001,)), torch.Size((37, 101, 11)), torch.Size((1, 2))]
    masks = [drop_mask(shape, drop, CPU) for shape in shapes]
    assert [mask.shape for mask in masks] == shapes
    flat = torch.cat([mask.flatten() for mask in masks])
    assert binomtest(int(flat.sum()), len(flat), drop).pvalue > 0.001
    for place in range(4):
        quarter = masks[1].flatten()[place::4]
        assert binomtest(int(quarter.sum()), len(quarter), drop).pvalue > 0.0001


def test_what_is_dropped_at_one_place_says_nothing_of_the_next() -> None:
    torch.manual_seed(1)
    mask = drop_mask(torch.Size((40_000,)), 0.5, CPU)
    for distance in (1, 2, 3, 4):
        both = int((mask[:-distance] & mask[distance:]).sum())
        assert binomtest(both, len(mask) - distance, 0.25).pvalue > 0.0001


def test_the_mask_follows_torch_s_own_generator() -> None:
    masks = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        masks.append(drop_mask(torch.Size((500,)), 0.3, CPU))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_what_is_kept_is_scaled_and_has_the_gradient_of_the_scale() -> None:
    torch.manual_seed(0)
    states = torch.randn(200, 30, requires_grad=True)
    dropped = dropout(states, 0.25)
    kept = dropped != 0
    assert 0.7 < kept.float().mean().item() < 0.8
    torch.testing.assert_close(dropped[kept], states[kept] / 0.75)
    dropped.sum().backward()
    torch.testing.assert_close(states.grad, kept.float() / 0.75)
    assert dropout(states, 0.0) is states


def test_attention_with_dropout_is_the_one_without_on_average() -> None:
    """Within five standard errors of the mean of 3,000 draws, at each of the 42 places."""
    of_rows, drop = [3, 4], 0.3
    groups = group_spans(self_spans(of_rows), HEADS, CPU)
    query, key, value = (doubles(7, HEADS * SIZE, seed=seed) for seed in range(3))
    torch.manual_seed(0)
    draws = torch.stack(
        [packed_attention(query, key, value, None, groups, num_heads=HEADS, drop=drop) for _ in range(3_000)]
    )
    expected = packed_attention(query, key, value, None, groups, num_heads=HEADS, drop=0.0)
    errors = (draws.mean(dim=0) - expected).abs() / (draws.std(dim=0) / len(draws) ** 0.5)
    assert errors.max().item() < 5.0
