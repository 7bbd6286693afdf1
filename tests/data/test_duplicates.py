"""Same and all but the same notes: nothing is joined wrongly, near ones are found, and a template is no catastrophe."""

from __future__ import annotations

from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r2d.data.duplicates import exact_duplicates, near_duplicates

WORDS = [f"word{number}" for number in range(3000)]


def note(random: Random, num_words: int = 100) -> str:
    return " ".join(random.choices(WORDS, k=num_words))


def edited(text: str, random: Random, num_edits: int) -> str:
    words = text.split()
    for _ in range(num_edits):
        words[random.randrange(len(words))] = random.choice(WORDS)
    return " ".join(words)


def jaccard(first: str, second: str) -> float:
    """The plain definition, to hold the fast one against."""
    triples = [set(zip(words, words[1:], words[2:], strict=False)) for words in (first.split(), second.split())]
    return len(triples[0] & triples[1]) / len(triples[0] | triples[1])


def test_a_cluster_is_named_by_its_first_row_and_case_and_white_space_make_no_new_text() -> None:
    copies = ["chest  pain x1h", " Chest pain X1H\n", "CHEST\tPAIN\u00a0x1h ", "chest pain\r\nx1h"]
    texts = pa.array(["chest pains x1h", "chest pain x1h", *copies, None, "a", "a ", ""])
    assert exact_duplicates(texts).tolist() == near_duplicates(texts, 0.5).tolist() == [0, *[1] * 5, 6, 7, 7, 6]


@given(st.lists(st.text(alphabet="aAbB \t\n\u2003é", max_size=6), max_size=20))
def test_equal_clusters_are_equal_texts(texts: list[str]) -> None:
    clusters = exact_duplicates(pa.array(texts, pa.string()))
    plain = [" ".join(text.lower().split()) for text in texts]
    assert clusters.tolist() == [plain.index(text) for text in plain]
    assert clusters.dtype == np.int64


def test_the_chunks_of_a_column_do_not_count() -> None:
    texts = ["one two three four", "five six seven", "One two three four", "five six seven."] * 3
    chunked = pa.chunked_array([texts[:3], [], texts[3:7], texts[7:]], pa.string())
    assert exact_duplicates(chunked).tolist() == exact_duplicates(pa.array(texts)).tolist()
    near = near_duplicates(pa.array(texts), 0.9).tolist()
    assert near_duplicates(chunked, 0.9).tolist() == near
    assert near_duplicates(chunked, 0.9, exact_duplicates(chunked)).tolist() == near, "exact ones that are known"
    assert exact_duplicates(pa.chunked_array([], pa.string())).tolist() == []
    assert near_duplicates(pa.array([], pa.string()), 0.9).tolist() == []


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.9, 0.95])
def test_near_duplicates_are_found_and_no_others(similarity: float) -> None:
    random = Random(7)
    originals = [note(random) for _ in range(400)]
    copies = [edited(text, random, num_edits) for num_edits in (1, 2, 4, 8) for text in originals]
    clusters = near_duplicates(pa.array(originals + copies), similarity)
    found = wanted = 0
    for row, copy in enumerate(copies, len(originals)):
        original = row % len(originals)
        joined = clusters[row] == clusters[original]
        if jaccard(originals[original], copy) > similarity:
            wanted += 1
            found += joined
    families: dict[int, set[int]] = {}
    for row, cluster in enumerate(clusters.tolist()):
        families.setdefault(cluster, set()).add(row % len(originals))
    assert found >= 0.99 * wanted > 0
    assert all(len(family) == 1 for family in families.values())


@given(
    st.lists(st.lists(st.sampled_from("abcd"), max_size=6).map(" ".join), min_size=2, max_size=7),
    st.sampled_from([0.3, 0.6, 0.9]),
)
@settings(max_examples=200)
def test_each_joined_row_is_similar_to_another_of_its_cluster(texts: list[str], similarity: float) -> None:
    clusters = near_duplicates(pa.array(texts, pa.string()), similarity)
    for row, cluster in enumerate(clusters.tolist()):
        mates = [texts[mate] for mate in np.flatnonzero(clusters == cluster) if mate != row]
        assert not mates or any(
            mate == texts[row]
            or (min(len(mate.split()), len(texts[row].split())) > 2 and jaccard(mate, texts[row]) > similarity)
            for mate in mates
        )


def test_short_texts_are_near_only_to_equal_ones_and_punctuation_does_not_count() -> None:
    texts = ["pain", "Pain.", "chest pain", "pain chest", "chest pain!", "chest pain now", ""]
    assert near_duplicates(pa.array(texts), 0.1).tolist() == [0, 0, 2, 3, 2, 5, 6]
    texts = ["Reports cough, fever; denies pain.", "reports cough fever denies (pain)"]
    assert near_duplicates(pa.array(texts), 0.9).tolist() == [0, 0]


def test_similarity_is_passed_on_through_others() -> None:
    random = Random(3)
    chain = [note(random)]
    while jaccard(chain[0], chain[-1]) > 0.6:
        chain.append(edited(chain[-1], random, 1))
    assert set(near_duplicates(pa.array(chain), 0.9).tolist()) == {0}


def test_thousands_of_rows_from_five_templates_fall_into_five_clusters() -> None:
    random = Random(11)
    templates = [note(random) for _ in range(5)]
    rows = [edited(templates[number % 5], random, 1) for number in range(20_000)]
    clusters = near_duplicates(pa.array(rows), 0.85)
    assert all(
        len({number % 5 for number in np.flatnonzero(clusters == cluster)}) == 1
        for cluster in set(clusters[:50].tolist())
    )
    assert np.sort(np.bincount(clusters))[-5:].sum() >= 0.99 * len(rows)


def test_the_same_texts_give_the_same_clusters_again() -> None:
    random = Random(13)
    rows = [edited("a b c d e f g h i j k l", random, 1) for _ in range(300)]
    first = near_duplicates(pa.array(rows), 0.5)
    assert (first == near_duplicates(pa.array(rows), 0.5)).all()
    assert (first <= np.arange(len(rows))).all()
    assert (first[first] == first).all()
