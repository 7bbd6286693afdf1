"""How much of its wording a rationale shares with the reference one: BLEU, chrF and ROUGE-L, each by its library."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from r2d.evaluation.decided_rows import FloatArray

ROW_FIGURES = ("paper_bleu", "rouge_l", "sentence_chrf")

_WORD = re.compile(r"[^\W_]+")


class _Words:
    """The words of `rouge_score`'s own tokenizer, without its loss of every letter that is not ASCII."""

    def tokenize(self, text: str) -> list[str]:
        return _WORD.findall(text.lower())


def corpus_bleu(references: Sequence[str], candidates: Sequence[str]) -> tuple[float | None, str | None]:
    """sacreBLEU's corpus BLEU, 0 to 100, and the signature that says how it was computed; None without rows."""
    from sacrebleu.metrics import BLEU

    return _corpus_score(BLEU(), references, candidates)


def corpus_chrf(references: Sequence[str], candidates: Sequence[str]) -> tuple[float | None, str | None]:
    """sacreBLEU's corpus chrF2 (character n-grams to 6, Popović 2015), 0 to 100, and its signature; None without rows.

    Inflected forms of a word count in part, where BLEU and ROUGE-L see two different words.
    """
    from sacrebleu.metrics import CHRF

    return _corpus_score(CHRF(), references, candidates)


def overlap_rows(references: Sequence[str], candidates: Sequence[str]) -> FloatArray:
    """Each row's `ROW_FIGURES`, [rows, 3]; each distinct pair is computed once, an empty candidate scores 0.

    `paper_bleu` (0 to 1) is the BLEU of the published code: NLTK's sentence BLEU, smoothing method 4, over
    lower-cased words divided at spaces. `rouge_l` (0 to 1) is the F-measure of ROUGE-L (Lin 2004): the longest common
    subsequence of words, without stemming; for ASCII texts it is `rouge_score`'s default. `sentence_chrf` (0 to 100)
    is sacreBLEU's chrF2 of the row alone.
    """
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]
    from sacrebleu.metrics import CHRF

    smoothing, rouge, chrf = SmoothingFunction().method4, RougeScorer(["rougeL"], tokenizer=_Words()), CHRF()
    found: dict[tuple[str, str], tuple[float, float, float]] = {}
    pairs = list(zip(references, candidates, strict=True))
    for reference, candidate in dict.fromkeys(pairs):
        if not candidate.strip():
            found[reference, candidate] = (0.0, 0.0, 0.0)
            continue
        words, said = reference.lower().split(), candidate.lower().split()
        found[reference, candidate] = (
            float(sentence_bleu([words], said, smoothing_function=smoothing)),
            float(rouge.score(reference, candidate)["rougeL"].fmeasure),
            float(chrf.sentence_score(candidate, [reference]).score),
        )
    return np.array([found[pair] for pair in pairs], dtype=np.float64).reshape(len(pairs), len(ROW_FIGURES))


def _corpus_score(metric: Any, references: Sequence[str], candidates: Sequence[str]) -> tuple[float | None, str | None]:
    if not references:
        return None, None
    score = float(metric.corpus_score(list(candidates), [list(references)]).score)
    return score, str(metric.get_signature())
