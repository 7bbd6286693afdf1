"""Measures of drift: zero for what did not change, symmetric, bounded, and plain enough for JSON."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from r2d.data.drift import jensen_shannon_divergence, length_profile, population_stability_index

counts = st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(any)


@given(counts, st.integers(1, 9))
def test_what_did_not_change_has_no_drift(found: list[int], times: int) -> None:
    assert population_stability_index(found, [times * count for count in found]) == pytest.approx(0, abs=1e-12)
    assert jensen_shannon_divergence(found, [times * count for count in found]) == pytest.approx(0, abs=1e-12)


@given(counts, counts)
def test_both_measures_are_symmetric_and_finite(first: list[int], second: list[int]) -> None:
    psi, divergence = population_stability_index(first, second), jensen_shannon_divergence(first, second)
    assert psi == pytest.approx(population_stability_index(second, first))
    assert divergence == pytest.approx(jensen_shannon_divergence(second, first))
    assert 0 <= psi < float("inf")
    assert 0 <= divergence <= 1
    assert divergence == pytest.approx(jensenshannon(first, second, base=2) ** 2, abs=1e-6)


def test_known_values() -> None:
    assert jensen_shannon_divergence([1, 0], [0, 1]) == 1
    assert population_stability_index([0.5, 0.5], [0.6, 0.4]) == pytest.approx(0.1 * np.log(1.2) - 0.1 * np.log(0.8))
    assert population_stability_index([0.5, 0.5, 0], [0.4, 0.4, 0.2]) > 1


@pytest.mark.parametrize(
    ("first", "second"),
    [([1, 2], [1, 2, 3]), ([], []), ([0, 0], [1, 1]), ([1, -1], [1, 1]), ([1, float("nan")], [1, 1])],
)
def test_what_cannot_be_compared_is_refused(first: list[float], second: list[float]) -> None:
    for measure in (population_stability_index, jensen_shannon_divergence):
        with pytest.raises(ValueError, match="shares"):
            measure(first, second)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=300))
def test_a_profile_counts_each_length_once_and_survives_json(lengths: list[int]) -> None:
    profile = json.loads(json.dumps(length_profile(pa.array(lengths))))
    assert sum(profile["shares"]) == pytest.approx(1)
    assert len(profile["shares"]) == len(profile["edges"]) + 1 <= 10
    assert profile["edges"] == sorted(set(profile["edges"]))
    assert length_profile(lengths, profile["edges"]) == profile


def test_deciles_of_many_lengths_hold_a_tenth_each() -> None:
    assert length_profile(np.arange(1000))["shares"] == pytest.approx([0.1] * 10)


def test_longer_texts_show_as_drift_against_an_earlier_profile() -> None:
    lengths = np.random.default_rng(0).normal(600, 100, 5000).astype(int)
    earlier = length_profile(lengths)
    same, longer = (length_profile(later, earlier["edges"])["shares"] for later in (lengths[::2], lengths + 100))
    assert population_stability_index(earlier["shares"], same) < 0.02
    assert population_stability_index(earlier["shares"], longer) > 0.2


def test_no_lengths_have_no_profile() -> None:
    with pytest.raises(ValueError, match="at least one length"):
        length_profile([])
