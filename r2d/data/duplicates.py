"""Clusters of notes that are the same, or nearly the same, over hundreds of thousands of rows.

A cluster is named by the number of its first row, so that `clusters != np.arange(len(clusters))` are the copies.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from rensa import RMinHash, RMinHashLSH  # type: ignore[import-untyped]
from scipy.sparse import coo_array, csr_array  # type: ignore[import-untyped]
from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

from r2d.data.examples import SLICE_ROWS, Texts, tidy_texts

Rows = NDArray[np.int64]
Hashes = NDArray[np.uint64]

NUM_SLOTS = 128  # most slots of a MinHash signature; a whole number of bands is used
MIN_RECALL = 0.995  # probability with which a pair exactly at the wanted similarity must meet in a band of the LSH
WINDOW = 4
"""Rows of one bucket are compared with its first row and this many before them: all pairs of a bucket of `WINDOW + 2`,
and a linear, never a quadratic, number in the bucket of a template that thousands of rows share."""
SEED = 42

_NO_WORD = np.uint64(0)  # hash in place of the words that a text of one or two does not have
_PUNCTUATION = ".,;:!?()[]{}<>\"'`*_-–—‘’“”…/|"


def exact_duplicates(texts: Texts) -> Rows:
    """For each row the number of the first with the same text, whatever its case and white space; null is empty."""
    tidy = pa.chunked_array(list(tidy_texts(texts)), pa.string())
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
    a bucket of more than `WINDOW + 2` rows not every pair is compared. The same texts always give the same clusters.

    Args:
        texts: strings; a null counts as empty.
        similarity: above 0 and below 1.
        exact: of `exact_duplicates`, where it is known already.

    Returns:
        for each row the number of the first row of its cluster; exact duplicates always share one.
    """
    exact = exact_duplicates(texts) if exact is None else exact
    first_rows, members = np.unique(exact, return_inverse=True)
    clusters = np.arange(len(first_rows))
    if len(first_rows) > 1:
        # The most slots in a band with which `MIN_RECALL` is still met.
        num_bands, num_slots = NUM_SLOTS, 1
        for slots in range(2, NUM_SLOTS // 2 + 1):
            if 1 - (1 - similarity**slots) ** (NUM_SLOTS // slots) >= MIN_RECALL:
                num_bands, num_slots = NUM_SLOTS // slots, slots
        hashes, starts = _word_triples(texts.take(pa.array(first_rows)))
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            hashes, starts.astype(np.uint64), num_bands * num_slots, SEED
        )
        index = RMinHashLSH(threshold=0.5, num_perm=num_bands * num_slots, num_bands=num_bands)
        suspects = np.flatnonzero(index.query_duplicate_flags_matrix_one_shot(matrix))  # share a band with another row
        lengths = np.diff(starts)[suspects]
        new_starts = np.append(0, np.cumsum(lengths))
        hashes = hashes[np.arange(new_starts[-1]) + np.repeat(starts[suspects] - new_starts[:-1], lengths)]
        clusters[suspects] = suspects[_join(hashes, new_starts, num_bands, num_slots, similarity)]
    return first_rows[clusters][members].astype(np.int64)


def _word_triples(texts: Texts) -> tuple[Hashes, Rows]:
    """64-bit hashes of the word triples of all texts, one text after the other, and where each text begins."""
    parts, counts = [], []
    for rows in tidy_texts(texts):
        split = pc.split_pattern(rows, " ")
        encoded = split.flatten().dictionary_encode()
        vocabulary = pc.utf8_trim(encoded.dictionary, _PUNCTUATION).to_numpy(zero_copy_only=False)
        words = pd.util.hash_array(vocabulary, categorize=False)[encoded.indices.to_numpy()]
        ends = np.cumsum(pc.list_value_length(split).to_numpy())
        starts = np.append(0, ends[:-1])
        second, third = np.append(words[1:], _NO_WORD), np.append(words[2:], [_NO_WORD, _NO_WORD])[: len(words)]
        second[ends - 1] = third[ends - 1] = _NO_WORD
        third[np.maximum(ends - 2, starts)] = _NO_WORD
        is_whole = np.ones(len(words), bool)
        for last in (ends - 1, ends - 2):
            is_whole[last[last > starts]] = False
        parts.append(_mix(_mix(words, second), third)[is_whole])
        counts.append(np.maximum(ends - starts - 2, 1))
    return np.concatenate(parts), np.append(0, np.cumsum(np.concatenate(counts)))


def _mix(left: Hashes, right: Hashes) -> Hashes:
    """One hash of two, whose order counts (the finaliser of SplitMix64)."""
    mixed = left * np.uint64(0x9E3779B97F4A7C15) + right
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _join(hashes: Hashes, starts: Rows, num_bands: int, num_slots: int, similarity: float) -> Rows:
    """First row of the cluster of each row, joined band by band where the exact similarity is above `similarity`.

    The triples of row n are `hashes[starts[n]:starts[n + 1]]`.
    """
    # [bands, rows]: equal where the slots of the band are equal.
    bands = np.zeros((num_bands, len(starts) - 1), np.uint64)
    for first in range(0, len(starts) - 1, SLICE_ROWS):
        bounds = starts[first : first + SLICE_ROWS + 1]
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            hashes[bounds[0] : bounds[-1]], (bounds - bounds[0]).astype(np.uint64), num_bands * num_slots, SEED
        )
        slots = np.array(matrix.to_rows(), np.uint64)
        part = bands[:, first : first + SLICE_ROWS]
        for slot in range(num_slots):
            part[:] = _mix(part, slots[:, slot::num_slots].T)

    # The set of triples of each row, as a row of a sparse matrix with a column for each possible 63-bit hash.
    columns = (hashes >> np.uint64(1)).astype(np.int64)
    sets = csr_array((np.ones(len(columns), bool), columns, starts), shape=(len(starts) - 1, 2**63 - 1))
    sets.sum_duplicates()
    sizes = np.diff(sets.indptr)

    clusters = np.arange(len(sizes))
    for band in bands:
        order = np.argsort(band, kind="stable")
        bucket_starts = np.flatnonzero(np.append(True, band[order][1:] != band[order][:-1]))
        place = np.arange(len(order)) - np.repeat(bucket_starts, np.diff(np.append(bucket_starts, len(order))))
        for back in (None, *range(1, WINDOW + 1)):
            later = np.flatnonzero(place > (back or 0))
            left, right = order[later - (place[later] if back is None else back)], order[later]
            smaller, larger = np.minimum(sizes[left], sizes[right]), np.maximum(sizes[left], sizes[right])
            is_open = (clusters[left] != clusters[right]) & (smaller > similarity * larger)
            left, right = left[is_open], right[is_open]
            num_shared = np.zeros(len(left), np.int64)
            for start in range(0, len(left), SLICE_ROWS):
                pairs = slice(start, start + SLICE_ROWS)
                num_shared[pairs] = np.diff(sets[left[pairs]].multiply(sets[right[pairs]]).indptr)
            is_similar = num_shared / (sizes[left] + sizes[right] - num_shared) > similarity
            if is_similar.any():
                pair = (clusters[left[is_similar]], clusters[right[is_similar]])
                links = coo_array((np.ones(len(pair[0]), bool), pair), shape=(len(clusters),) * 2)
                components = connected_components(links, directed=False)[1][clusters]
                _, first_rows, members = np.unique(components, return_index=True, return_inverse=True)
                clusters = first_rows[members]
    return clusters
