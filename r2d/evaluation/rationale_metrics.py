"""How near the written rationales are to the reference ones, in words (BLEU, chrF, ROUGE-L) and meaning (BERTScore)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from r2d.config.evaluation import EvaluationConfig, IntervalsConfig
from r2d.evaluation.bertscore import BertScores, bert_scores
from r2d.evaluation.clock import Clock
from r2d.evaluation.decided_rows import BoolArray, FloatArray, IntArray
from r2d.evaluation.statistics import intervals
from r2d.evaluation.text_overlap import ROW_FIGURES as OVERLAP_FIGURES
from r2d.evaluation.text_overlap import corpus_bleu, corpus_chrf, overlap_rows

POPULATIONS = ("all", "correct_only", "zero_if_wrong")
CORPUS_FIGURES = ("bleu", "chrf")
"""Of all rows at once, 0 to 100."""
ROW_FIGURES = (*OVERLAP_FIGURES, "bertscore_precision", "bertscore_recall", "bertscore_f1")
"""Of each row; a population has their mean. 0 to 1, but for `sentence_chrf`, 0 to 100."""
FIGURES = (*CORPUS_FIGURES, *ROW_FIGURES)


@dataclass(frozen=True, slots=True)
class RationaleScores:
    """What N rationales score each; made once, and averaged over any part of the rows."""

    references: tuple[str, ...]
    candidates: tuple[str, ...]
    measured: BoolArray
    """[N]: whether there is a reference."""
    values: FloatArray
    """[N, `ROW_FIGURES`]; 0 for an empty candidate, NaN without a reference."""
    bertscore: BertScores | None
    """None where there was nothing to score."""

    def column(self, figure: str) -> list[float | None]:
        """One of `ROW_FIGURES` for each row, None without a reference; for a table of the rows."""
        found = self.values[:, ROW_FIGURES.index(figure)]
        return [None if np.isnan(value) else float(value) for value in found]


def rationale_scores(
    references: Sequence[str], candidates: Sequence[str], config: EvaluationConfig, clock: Clock | None = None
) -> RationaleScores:
    """Score each rationale against the reference one.

    Args:
        clock: counts the time of BERTScore apart.

    Raises:
        ModelError: the BERTScore model cannot be had.
        ValueError: the sequences differ in length.
    """
    if len(references) != len(candidates):
        raise ValueError(
            f"{len(references)} references and {len(candidates)} candidates: give one of each for each row"
        )
    measured = np.array([bool(reference.strip()) for reference in references], dtype=np.bool_)
    values = np.full((len(references), len(ROW_FIGURES)), np.nan)
    rows = np.flatnonzero(measured).tolist()
    overlap = overlap_rows([references[row] for row in rows], [candidates[row] for row in rows])
    values[rows] = np.hstack([overlap, np.zeros((len(rows), 3))])
    said = [row for row in rows if candidates[row].strip()]
    bertscore = None
    if said:
        with nullcontext() if clock is None else clock("bertscore"):
            bertscore = bert_scores([references[row] for row in said], [candidates[row] for row in said], config)
        values[said, len(OVERLAP_FIGURES) :] = bertscore.values
    return RationaleScores(tuple(references), tuple(candidates), measured, values, bertscore)


def rationale_metrics(
    references: Sequence[str],
    candidates: Sequence[str],
    correct: Sequence[bool],
    config: EvaluationConfig,
    *,
    scores: RationaleScores | None = None,
) -> dict[str, Any]:
    """Measure rationales against the reference ones, row by row.

    Three populations: `all` rows; `correct_only`, the rows whose decision is right; and `zero_if_wrong`, all rows,
    where a rationale for a wrong decision counts 0. Corpus figures have no value of a row, so there the candidate of a
    wrong decision is replaced by the empty text. A population without rows has None for every figure.

    `bleu` (the headline) and `chrf` are sacreBLEU's corpus BLEU and chrF2, 0 to 100; what the figures of a row are,
    `text_overlap` says. BERTScore is not rescaled: unrelated texts do not score 0. An empty candidate scores 0 and is
    counted; a row without a reference is left out and counted.

    Args:
        scores: what `rationale_scores` made of the same rows, where it is there already.

    Returns:
        num_rows, num_without_reference, num_empty_candidates, sacrebleu_signature, chrf_signature,
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
    found = scores or rationale_scores(references, candidates, config)
    if found.references != tuple(references) or found.candidates != tuple(candidates):
        raise ValueError("scores were made of other rows; give those that rationale_scores made of these")
    right = np.asarray(correct, dtype=np.bool_)
    everything = np.ones(len(right), dtype=np.bool_)
    rows = np.flatnonzero(found.measured).tolist()
    kept = [references[row] for row in rows]
    return {
        "num_rows": len(rows),
        "num_without_reference": len(references) - len(rows),
        "num_empty_candidates": sum(not candidates[row].strip() for row in rows),
        "sacrebleu_signature": corpus_bleu(kept[:1], kept[:1])[1],
        "chrf_signature": corpus_chrf(kept[:1], kept[:1])[1],
        "bertscore": None if found.bertscore is None else found.bertscore.facts(),
        "populations": {
            "all": _figures(found, everything, everything),
            "correct_only": _figures(found, right, everything),
            "zero_if_wrong": _figures(found, everything, right),
        },
    }


def rationale_intervals(
    scores: RationaleScores, correct: Sequence[bool], groups: IntArray, config: IntervalsConfig
) -> dict[str, dict[str, dict[str, Any]]]:
    """Each of `ROW_FIGURES` in each population with its interval; all on the same draws of groups.

    The corpus figures are no mean over rows and have none.

    Args:
        groups: [rows]: the patient or caller of each row, numbered.

    Returns:
        population -> figure -> value, low, high, method, as `statistics.intervals`; empty where nothing was measured.
    """
    rows = np.flatnonzero(scores.measured)
    if not len(rows):
        return {population: {} for population in POPULATIONS}
    right = np.asarray(correct, dtype=np.float64)[rows, None]
    values, ones = scores.values[rows], np.ones((len(rows), 1))
    parts = [values, ones, values * right, right, values * right, ones]  # sum and count of each population
    _, group = np.unique(groups[rows], return_inverse=True)
    columns = np.hstack(parts)
    sums = np.zeros((int(group.max()) + 1, columns.shape[1]))
    np.add.at(sums, group, columns)

    def means(some: FloatArray) -> Mapping[str, FloatArray]:
        width = len(ROW_FIGURES) + 1
        found: dict[str, FloatArray] = {}
        for place, population in enumerate(POPULATIONS):
            part = some[..., place * width : (place + 1) * width]
            with np.errstate(invalid="ignore"):
                averages = part[..., :-1] / part[..., -1:]
            found |= {f"{population}.{name}": averages[..., at] for at, name in enumerate(ROW_FIGURES)}
        return found

    measured = intervals(sums, means, config)
    return {population: {name: measured[f"{population}.{name}"] for name in ROW_FIGURES} for population in POPULATIONS}


def _figures(scores: RationaleScores, among: BoolArray, counted: BoolArray) -> dict[str, float | int | None]:
    """Figures of the measured rows `among`, with 0 for those that are not `counted`."""
    rows = np.flatnonzero(scores.measured & among)
    if not len(rows):
        return {"num_rows": 0, **dict.fromkeys(FIGURES)}
    references = [scores.references[row] for row in rows]
    candidates = [scores.candidates[row] if counted[row] else "" for row in rows]
    bleu, chrf = corpus_bleu(references, candidates)[0], corpus_chrf(references, candidates)[0]
    means = (scores.values[rows] * counted[rows, None]).mean(axis=0).tolist()
    return {"num_rows": len(rows), "bleu": bleu, "chrf": chrf, **dict(zip(ROW_FIGURES, means, strict=True))}
