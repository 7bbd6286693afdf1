"""Attention, cross-entropy and dropout that were written by hand, held against finite differences and the plain way."""

from __future__ import annotations

from functools import partial

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


# Rows that attend to themselves, and to some of the other rows: without a bias, since no query is hidden.
OTHERS = [Span((0, 3), (0, 4)), Span((3, 4), (6, 12))]


@pytest.mark.parametrize("drop", [0.0, 0.4])
@pytest.mark.parametrize("spans", [*map(self_spans, ([1], [3, 1, 4], [5, 5], [2, 5, 4, 1])), OTHERS])
def test_the_gradient_of_attention_is_that_of_finite_differences(spans: list[Span], drop: float) -> None:
    groups = group_spans(spans, HEADS, CPU)
    num_queries, num_keys = spans[-1].query[1], spans[-1].key[1]
    inputs = [doubles(rows, HEADS * SIZE, seed=seed) for seed, rows in enumerate((num_queries, num_keys, num_keys))]
    if spans is not OTHERS:
        inputs.append(doubles(HEADS, num_queries, num_queries, seed=3))

    def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        torch.manual_seed(5)
        mask = None if bias is None else causal(bias)
        return packed_attention(query, key, value, mask, groups, num_heads=HEADS, drop=drop)

    assert torch.autograd.gradcheck(attend, [tensor.requires_grad_() for tensor in inputs])


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


def mask_of(*shape: int, drop: float, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return drop_mask(torch.Size(shape), drop, CPU)


@pytest.mark.parametrize("drop", [0.001, 0.1, 0.5, 0.9])
def test_the_share_of_dropped_elements_is_the_wanted_one_at_each_place_of_a_random_number(drop: float) -> None:
    # No multiple of four: a number of 64 bits serves four elements.
    for shape in ((1001,), (37, 101, 11), (1, 2)):
        mask = mask_of(*shape, drop=drop)
        assert mask.shape == shape
        for part in (mask.flatten(), *(mask.flatten()[place::4] for place in range(4) if len(shape) == 3)):
            assert binomtest(int(part.sum()), len(part), drop).pvalue > 0.0001


def test_dropped_places_are_independent_and_follow_torch_s_own_generator() -> None:
    mask = mask_of(40_000, drop=0.5, seed=1)
    for distance in (1, 2, 3, 4):
        both = int((mask[:-distance] & mask[distance:]).sum())
        assert binomtest(both, len(mask) - distance, 0.25).pvalue > 0.0001
    assert torch.equal(mask, mask_of(40_000, drop=0.5, seed=1))
    assert not torch.equal(mask, mask_of(40_000, drop=0.5, seed=2))


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
    attend = partial(packed_attention, query, key, value, None, groups, num_heads=HEADS)
    draws, expected = torch.stack([attend(drop=drop) for _ in range(3_000)]), attend(drop=0.0)
    errors = (draws.mean(dim=0) - expected).abs() / (draws.std(dim=0) / len(draws) ** 0.5)
    assert errors.max().item() < 5.0
