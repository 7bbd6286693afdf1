"""How far one distribution is from another, and a profile of lengths to hold later data against.

Everything taken and given is plain floats and lists, to be written as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import rel_entr  # type: ignore[import-untyped]

MIN_SHARE = 1e-4  # an empty bucket counts as this share: one that fills up then weighs much, and not infinitely


class LengthProfile(TypedDict):
    """Shares of lengths up to each edge, above the one before; the last share is that above the last edge."""

    edges: list[float]
    shares: list[float]


def population_stability_index(expected_shares: Sequence[float], found_shares: Sequence[float]) -> float:
    """Sum over buckets of (found - expected) * ln(found / expected): 0 for equal shares, above 0.2 a marked change.

    Counts will do for shares. Shares below `MIN_SHARE` are raised to it.

    Raises:
        ValueError: the two are not of the same buckets, or are no shares.
    """
    expected, found = (np.maximum(shares, MIN_SHARE) for shares in _shares(expected_shares, found_shares))
    expected, found = expected / expected.sum(), found / found.sum()
    return float(np.sum(rel_entr(found, expected) + rel_entr(expected, found)))


def jensen_shannon_divergence(p: Sequence[float], q: Sequence[float]) -> float:
    """Divergence of two distributions in bits: 0 for equal ones, 1 for ones that share no bucket. Counts will do.

    Raises:
        ValueError: the two are not of the same buckets, or are no shares.
    """
    first, second = _shares(p, q)
    middle = (first + second) / 2
    nats = np.sum(rel_entr(first, middle) + rel_entr(second, middle)) / 2
    return float(np.clip(nats / np.log(2), 0.0, 1.0))


def length_profile(
    lengths: Sequence[int] | NDArray[Any] | pa.Array | pa.ChunkedArray, edges: Sequence[float] | None = None
) -> LengthProfile:
    """Shares of lengths between edges: the deciles of these lengths, or the edges of an earlier profile.

    Deciles that fall together, as where many lengths are equal, are one edge.

    Raises:
        ValueError: there are no lengths.
    """
    values = np.asarray(lengths, dtype=np.float64)
    if values.size == 0:
        raise ValueError("a profile needs at least one length, found none")
    if edges is None:
        edges = np.unique(np.quantile(values, np.arange(0.1, 0.95, 0.1))).tolist()
    buckets = np.searchsorted(np.asarray(edges, dtype=np.float64), values, side="left")
    counts = np.bincount(buckets, minlength=len(edges) + 1)
    return {"edges": [float(edge) for edge in edges], "shares": (counts / values.size).tolist()}


def _shares(*counts: Sequence[float]) -> list[NDArray[np.float64]]:
    """Each as shares of its sum."""
    arrays = [np.asarray(values, dtype=np.float64) for values in counts]
    if len({array.shape for array in arrays}) > 1:
        raise ValueError(f"shares of the same buckets are needed, found {[array.size for array in arrays]} buckets")
    if any(array.size == 0 or not np.isfinite(array).all() or array.min() < 0 or array.sum() == 0 for array in arrays):
        raise ValueError("shares must be finite, not negative, and not all zero")
    return [array / array.sum() for array in arrays]
