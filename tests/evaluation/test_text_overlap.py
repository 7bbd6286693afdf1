import pytest
from rouge_score.rouge_scorer import RougeScorer

from r2d.evaluation.text_overlap import ROW_FIGURES, corpus_bleu, corpus_chrf, overlap_rows


def figure(name, reference, candidate):
    return overlap_rows([reference], [candidate])[0, ROW_FIGURES.index(name)]


def test_rouge_l_is_the_longest_common_subsequence_of_words():
    # Common in this order: the, cat, the, mat (4); precision 4/5, recall 4/6.
    found = figure("rouge_l", "The cat sat on the mat.", "the cat, the old mat")
    assert found == pytest.approx(2 * (4 / 5) * (4 / 6) / (4 / 5 + 4 / 6))


def test_rouge_l_counts_letters_that_are_not_ascii():
    assert RougeScorer(["rougeL"]).score("одышка", "одышка")["rougeL"].fmeasure == 0.0  # the library's default
    assert figure("rouge_l", "Сильная одышка", "сильная боль") == pytest.approx(1 / 2)
    assert figure("rouge_l", "douleur à la tête", "douleur à la gorge") == pytest.approx(3 / 4)


def test_sentence_chrf_is_the_f2_of_character_runs():
    # "ab" for "abc": runs of 1: precision 2/2, recall 2/3; of 2: 1/1, 1/2; of 3: the candidate has none.
    # F2 = 5 P R / (4 P + R) of the averages over the two lengths that both have.
    precision, recall = 1.0, (2 / 3 + 1 / 2) / 2
    assert figure("sentence_chrf", "abc", "ab") == pytest.approx(
        100 * 5 * precision * recall / (4 * precision + recall)
    )


def test_an_empty_candidate_scores_nothing_and_each_distinct_pair_is_the_same():
    rows = overlap_rows(["a b", "a b", "a b"], ["a b", " ", "a b"])
    assert rows[1].tolist() == [0.0, 0.0, 0.0]
    assert rows[0].tolist() == rows[2].tolist()
    assert overlap_rows([], []).shape == (0, 3)


def test_no_rows_have_no_corpus_figure():
    assert corpus_bleu([], []) == corpus_chrf([], []) == (None, None)
