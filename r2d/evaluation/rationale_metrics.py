"""How near the written rationales are to the reference ones, in words (BLEU) and in meaning (BERTScore)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from r2d.config import EvaluationConfig
from r2d.evaluation.bertscore import BertScores, bert_scores

POPULATIONS = ("all", "correct_only", "zero_if_wrong")
FIGURES = ("bleu", "paper_bleu", "bertscore_precision", "bertscore_recall", "bertscore_f1")


@dataclass(frozen=True, slots=True)
class _Row:
    reference: str
    candidate: str
    correct: bool
    per_row: tuple[float, float, float, float]
    """Sentence BLEU, then BERTScore precision, recall and F1: the figures that are a mean over rows."""


def rationale_metrics(
    references: Sequence[str], candidates: Sequence[str], correct: Sequence[bool], config: EvaluationConfig
) -> dict[str, Any]:
    """Measure rationales against the reference ones, row by row.

    Three populations: `all` rows; `correct_only`, the rows whose decision is right; and `zero_if_wrong`, all rows,
    where a rationale for a wrong decision counts 0. Corpus BLEU has no value of a row, so there the candidate of a
    wrong decision is replaced by the empty text. A population without rows has None for every figure.

    `bleu` (the headline) is sacreBLEU's corpus BLEU, 0 to 100. `paper_bleu` is what the published code calls BLEU, 0
    to 1: the mean of NLTK's sentence BLEU, smoothing method 4, over lower-cased words divided at spaces. BERTScore is
    not rescaled: unrelated texts do not score 0. An empty candidate scores 0 and is counted; a row without a
    reference is left out and counted.

    Returns:
        num_rows, num_without_reference, num_empty_candidates, sacrebleu_signature,
        bertscore: model, num_layers, max_tokens, truncated_share (of all texts), None when nothing was scored,
        populations: population -> num_rows and each of `FIGURES`.

    Raises:
        ModelError: the BERTScore model cannot be had.
        ValueError: the three sequences differ in length.
    """
    if not len(references) == len(candidates) == len(correct):
        raise ValueError(
            f"{len(references)} references, {len(candidates)} candidates and {len(correct)} decisions: "
            "give one of each for each row"
        )
    kept = [row for row in zip(references, candidates, correct, strict=True) if row[0].strip()]
    # Each distinct pair is scored once: templates and short rationales repeat.
    pairs = list(dict.fromkeys((reference, candidate) for reference, candidate, _ in kept if candidate.strip()))
    scores = bert_scores([pair[0] for pair in pairs], [pair[1] for pair in pairs], config) if pairs else None
    per_pair = _per_pair(pairs, scores)
    rows = [_Row(ref, cand, bool(right), per_pair.get((ref, cand), (0.0,) * 4)) for ref, cand, right in kept]
    corpus_bleu, signature = _sacrebleu([row.reference for row in rows], [row.candidate for row in rows])
    zeroed = [row if row.correct else _Row(row.reference, "", False, (0.0,) * 4) for row in rows]
    right_rows = [row for row in rows if row.correct]
    return {
        "num_rows": len(rows),
        "num_without_reference": len(references) - len(rows),
        "num_empty_candidates": sum(not row.candidate.strip() for row in rows),
        "sacrebleu_signature": signature,
        "bertscore": None
        if scores is None
        else {
            "model": scores.model,
            "num_layers": scores.num_layers,
            "max_tokens": scores.max_tokens,
            "truncated_share": scores.truncated_share,
        },
        "populations": {
            "all": _figures(rows, corpus_bleu),
            "correct_only": _figures(right_rows),
            "zero_if_wrong": _figures(zeroed),
        },
    }


def _per_pair(
    pairs: Sequence[tuple[str, str]], scores: BertScores | None
) -> dict[tuple[str, str], tuple[float, float, float, float]]:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    smoothing = SmoothingFunction().method4
    found = {}
    for (reference, candidate), values in zip(pairs, [] if scores is None else scores.values, strict=True):
        words, said = reference.lower().split(), candidate.lower().split()
        bleu = float(sentence_bleu([words], said, smoothing_function=smoothing))
        precision, recall, f1 = (float(value) for value in values)
        found[reference, candidate] = (bleu, precision, recall, f1)
    return found


def _figures(rows: Sequence[_Row], corpus_bleu: float | None = None) -> dict[str, float | int | None]:
    if not rows:
        return {"num_rows": 0, **dict.fromkeys(FIGURES)}
    if corpus_bleu is None:
        corpus_bleu, _ = _sacrebleu([row.reference for row in rows], [row.candidate for row in rows])
    means = [sum(column) / len(rows) for column in zip(*(row.per_row for row in rows), strict=True)]
    return {"num_rows": len(rows), **dict(zip(FIGURES, [corpus_bleu, *means], strict=True))}


def _sacrebleu(references: Sequence[str], candidates: Sequence[str]) -> tuple[float | None, str | None]:
    """Corpus BLEU and the signature that says how it was computed; None without rows."""
    if not references:
        return None, None
    from sacrebleu.metrics import BLEU

    metric = BLEU()
    score = float(metric.corpus_score(list(candidates), [list(references)]).score)
    return score, str(metric.get_signature())
