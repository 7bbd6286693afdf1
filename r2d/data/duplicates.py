"""Which notes are the same, or all but the same, over hundreds of thousands of rows.

A cluster is named by the number of its first row, so that `clusters != np.arange(len(clusters))` are the copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from rensa import RMinHash, RMinHashLSH  # type: ignore[import-untyped]
from scipy.sparse import coo_array, csr_array  # type: ignore[import-untyped]
from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

Rows = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Texts: TypeAlias = pa.Array | pa.ChunkedArray

NUM_SLOTS = 128
"""Of a MinHash signature: at most; a whole number of bands is used."""
MIN_RECALL = 0.995
"""Probability with which a pair exactly at the wanted similarity must meet in a band of the LSH."""
WINDOW = 4
"""Rows of one bucket are compared with its first row and this many before them: all pairs of a bucket of `WINDOW + 2`,
and a linear, never a quadratic, number in the bucket of a template that thousands of rows share."""
SLICE_ROWS = 20_000
"""Rows, or pairs, at a time: bounds the memory."""
SEED = 42

_NOTHING = np.uint64(0)
"""Stands for the words that a text of one or two does not have."""
_OTHER_SPACE = r"\t-\r\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
_UNTIDY = rf"^ | $|  |[{_OTHER_SPACE}]"
_PUNCTUATION = ".,;:!?()[]{}<>\"'`*_-–—‘’“”…/|"


def exact_duplicates(texts: Texts) -> Rows:
    """Cluster of each row; case, repeated and outer white space do not count.

    Args:
        texts: strings; a null counts as empty.

    Returns:
        For each row the number of the first row with the same text, its own where there is none before it.
    """
    tidy = pa.chunked_array(list(_tidy_slices(texts)), pa.string())
    if len(tidy) == 0:
        return np.zeros(0, np.int64)
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in tidy.dictionary_encode().chunks])
    first_rows = np.unique(codes, return_index=True)[1]
    return first_rows[codes].astype(np.int64)


def near_duplicates(texts: Texts, similarity: float, exact: Rows | None = None) -> Rows:
    """Cluster of each row: rows linked, directly or through others, by a Jaccard similarity above `similarity`.

    Similarity is that of the sets of word triples; a text of one or two words is one item, equal only to itself. The
    MinHash LSH of `rensa` proposes pairs, the exact similarity decides: no pair is joined wrongly. A pair at
    `similarity` (from 0.05 on) is proposed with probability `MIN_RECALL` or above, a more similar one more surely; in
    a bucket of more than `WINDOW + 2` rows not every pair is looked at. The same texts always give the same clusters.

    Args:
        texts: strings; a null counts as empty.
        similarity: above 0 and below 1.
        exact: what `exact_duplicates` said of the same texts, where it is known already.

    Returns:
        For each row the number of the first row of its cluster; exact duplicates always share one.
    """
    exact = exact_duplicates(texts) if exact is None else exact
    first_rows, members = np.unique(exact, return_inverse=True)
    clusters = np.arange(len(first_rows))
    if len(first_rows) > 1:
        hashes, starts = _word_triples(texts.take(pa.array(first_rows)))
        bands = _bands(similarity)
        suspects = _suspects(hashes, starts, *bands)
        hashes, starts = _take(hashes, starts, suspects)
        clusters[suspects] = suspects[_join(_band_keys(hashes, starts, *bands), _as_sets(hashes, starts), similarity)]
    return first_rows[clusters][members].astype(np.int64)


def _tidy_slices(texts: Texts) -> Iterator[pa.Array]:
    """The texts in lower case with single spaces, slice by slice; only rows that need it are taken apart."""
    for start in range(0, len(texts), SLICE_ROWS):
        rows = texts.slice(start, SLICE_ROWS)
        rows = pa.concat_arrays(rows.chunks) if isinstance(rows, pa.ChunkedArray) else rows
        lowered = pc.utf8_lower(pc.fill_null(rows.cast(pa.string()), ""))
        untidy = pc.match_substring_regex(lowered, _UNTIDY)
        words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(lowered.filter(untidy)))
        yield pc.replace_with_mask(lowered, untidy, pc.binary_join(words, " "))


def _word_triples(texts: Texts) -> tuple[Hashes, Rows]:
    """64-bit hashes of the word triples of all texts, one text after the other, and where each text begins."""
    parts, counts = [], []
    for rows in _tidy_slices(texts):
        split = pc.split_pattern(rows, " ")
        encoded = split.flatten().dictionary_encode()
        vocabulary = pc.utf8_trim(encoded.dictionary, _PUNCTUATION).to_numpy(zero_copy_only=False)
        words = pd.util.hash_array(vocabulary, categorize=False)[encoded.indices.to_numpy()]
        ends = np.cumsum(pc.list_value_length(split).to_numpy())
        starts = np.append(0, ends[:-1])
        second, third = np.append(words[1:], _NOTHING), np.append(words[2:], [_NOTHING, _NOTHING])[: len(words)]
        second[ends - 1] = third[ends - 1] = _NOTHING
        third[np.maximum(ends - 2, starts)] = _NOTHING
        whole = np.ones(len(words), bool)
        for last in (ends - 1, ends - 2):
            whole[last[last > starts]] = False
        parts.append(_mix(_mix(words, second), third)[whole])
        counts.append(np.maximum(ends - starts - 2, 1))
    return np.concatenate(parts), np.append(0, np.cumsum(np.concatenate(counts)))


def _mix(left: Hashes, right: Hashes) -> Hashes:
    """One hash of two, whose order counts (the finaliser of SplitMix64)."""
    mixed = left * np.uint64(0x9E3779B97F4A7C15) + right
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _bands(similarity: float) -> tuple[int, int]:
    """Number of bands and slots in each: the most slots with which `MIN_RECALL` is still met."""
    for num_slots in range(NUM_SLOTS // 2, 1, -1):
        num_bands = NUM_SLOTS // num_slots
        if 1 - (1 - similarity**num_slots) ** num_bands >= MIN_RECALL:
            return num_bands, num_slots
    return NUM_SLOTS, 1


def _suspects(hashes: Hashes, starts: Rows, num_bands: int, num_slots: int) -> Rows:
    """Rows whose signature shares a band with that of another row."""
    num_perm = num_bands * num_slots
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, starts.astype(np.uint64), num_perm, SEED)
    index = RMinHashLSH(threshold=0.5, num_perm=num_perm, num_bands=num_bands)
    return np.flatnonzero(index.query_duplicate_flags_matrix_one_shot(matrix))


def _take(hashes: Hashes, starts: Rows, rows: Rows) -> tuple[Hashes, Rows]:
    """The triples of some rows, in the form that `_word_triples` gives."""
    lengths = starts[rows + 1] - starts[rows]
    new_starts = np.append(0, np.cumsum(lengths))
    positions = np.arange(new_starts[-1]) + np.repeat(starts[rows] - new_starts[:-1], lengths)
    return hashes[positions], new_starts


def _band_keys(hashes: Hashes, starts: Rows, num_bands: int, num_slots: int) -> Hashes:
    """One hash for each band (rows of the result) of each row (columns): equal where the band's slots are equal."""
    keys = np.zeros((num_bands, len(starts) - 1), np.uint64)
    for first in range(0, len(starts) - 1, SLICE_ROWS):
        bounds = starts[first : first + SLICE_ROWS + 1]
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            hashes[bounds[0] : bounds[-1]], (bounds - bounds[0]).astype(np.uint64), num_bands * num_slots, SEED
        )
        slots = np.array(matrix.to_rows(), np.uint64)
        part = keys[:, first : first + SLICE_ROWS]
        for slot in range(num_slots):
            part[:] = _mix(part, slots[:, slot::num_slots].T)
    return keys


def _join(keys: Hashes, sets: csr_array, similarity: float) -> Rows:
    """First row of the cluster of each row, joined band by band where the exact similarity is above `similarity`."""
    clusters = np.arange(sets.shape[0])
    sizes = np.diff(sets.indptr)
    for band in keys:
        order = np.argsort(band, kind="stable")
        bucket_starts = np.flatnonzero(np.append(True, band[order][1:] != band[order][:-1]))
        place = np.arange(len(order)) - np.repeat(bucket_starts, np.diff(np.append(bucket_starts, len(order))))
        for back in (None, *range(1, WINDOW + 1)):
            later = np.flatnonzero(place > (back or 0))
            earlier = later - (place[later] if back is None else back)
            left, right = order[earlier], order[later]
            smaller, larger = np.minimum(sizes[left], sizes[right]), np.maximum(sizes[left], sizes[right])
            open_ = (clusters[left] != clusters[right]) & (smaller > similarity * larger)
            left, right = left[open_], right[open_]
            similar = _jaccard(sets, sizes, left, right) > similarity
            if similar.any():
                clusters = _merge(clusters, left[similar], right[similar])
    return clusters


def _as_sets(hashes: Hashes, starts: Rows) -> csr_array:
    """The set of triples of each row, as a row of a sparse matrix with a column for each possible 63-bit hash."""
    columns = (hashes >> np.uint64(1)).astype(np.int64)
    sets = csr_array((np.ones(len(columns), bool), columns, starts), shape=(len(starts) - 1, 2**63 - 1))
    sets.sum_duplicates()
    return sets


def _jaccard(sets: csr_array, sizes: Rows, left: Rows, right: Rows) -> NDArray[np.float64]:
    """Exact similarity of the sets of each pair of rows."""
    shared = np.zeros(len(left), np.int64)
    for start in range(0, len(left), SLICE_ROWS):
        part = slice(start, start + SLICE_ROWS)
        shared[part] = np.diff(sets[left[part]].multiply(sets[right[part]]).indptr)
    return shared / (sizes[left] + sizes[right] - shared)


def _merge(clusters: Rows, left: Rows, right: Rows) -> Rows:
    """The clusters after each row of `left` is put together with that of `right`."""
    links = coo_array((np.ones(len(left), bool), (clusters[left], clusters[right])), shape=(len(clusters),) * 2)
    components = connected_components(links, directed=False)[1][clusters]
    _, first_rows, members = np.unique(components, return_index=True, return_inverse=True)
    return first_rows[members]
