"""How far the judge agrees with people, or with another judge, who scored the same rationales by the same rubric; and
what its scores follow beside what a rationale says: its length, and the order of the questions."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from r2d.config.evaluation import IntervalsConfig
from r2d.errors import DataError
from r2d.evaluation.bootstrap import bootstrap_intervals
from r2d.evaluation.judge.questions import JudgedRow
from r2d.evaluation.judge.rubric import Criterion, Rubric
from r2d.evaluation.judge.scores import RowScores, group_of_rows
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.label_scores import FloatArray, cohen_kappa

COLUMNS = ("id", "criterion", "score", "rater")
MIN_GROUPS = 10
"""Fewer patients or callers than that make no interval: the draws would be of the same few again and again."""
MAX_FAULTS = 20
METRICS = ("quadratic_weighted_kappa", "spearman", "mean_difference")
"""The last is that of the judge minus people."""


@dataclass(frozen=True, slots=True)
class HumanScore:
    """One score by one person."""

    id: str
    criterion: str
    score: float
    rater: str
    rationale: str | None = None
    """What was scored, where the file says so; a row whose rationale is another today is left out."""


def read_human_scores(path: Path, rubric: Rubric) -> list[HumanScore]:
    """Read a CSV of `id,criterion,score,rater`, perhaps with `rationale`.

    Raises:
        DataError: it cannot be read, a column is missing; or names the lines with an unknown criterion, a score that is
            no anchor, an empty id or rater, or a second score by one rater.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = list(reader.fieldnames or ())
            lines = [(reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: these human scores cannot be read as CSV in UTF-8 ({type(error).__name__})") from None
    if missing := [name for name in COLUMNS if name not in header]:
        found = [name for name in COLUMNS if name in header]
        raise DataError(
            f"{path}: column {', '.join(missing)} is missing among its {len(header)}; found are "
            f"{', '.join(found) or 'none'}"
        )
    anchors = {criterion.id: [str(score) for score in criterion.anchors] for criterion in rubric.criteria}
    faults: list[str] = []
    scores: list[HumanScore] = []
    read: list[int] = []  # line of each score
    for number, line in lines:
        values = {name: (line[name] or "").strip() for name in COLUMNS}
        criterion, score = values["criterion"], values["score"]
        allowed = anchors.get(criterion, list(anchors))
        fault = ""
        if empty := [name for name in COLUMNS if not values[name]]:
            fault = f"{', '.join(empty)} is empty"
        elif criterion not in anchors:
            fault = f"a criterion of {len(criterion)} characters is not in the rubric; allowed: {', '.join(allowed)}"
        elif score not in allowed:
            fault = f"a score of {len(score)} characters is no anchor of {criterion}; allowed: {', '.join(allowed)}"
        if fault:
            faults.append(f"  line {number}: {fault}")
        else:
            read.append(number)
            scores.append(HumanScore(values["id"], criterion, int(score), values["rater"], line.get("rationale")))
    counts = Counter((score.id, score.criterion, score.rater) for score in scores)
    for number, score in zip(read, scores, strict=True):
        if counts.pop((score.id, score.criterion, score.rater), 1) > 1:
            faults.append(f"  line {number}: this rater scored {score.criterion} of this row more than once")
    if faults:
        more = [f"  and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
        raise DataError("\n".join([f"{path}: {len(faults)} faulty human scores", *faults[:MAX_FAULTS], *more]))
    return scores


def human_agreement(
    human: Sequence[HumanScore],
    scored: Sequence[RowScores],
    rubric: Rubric,
    config: IntervalsConfig,
    *,
    others: str = "the people",
) -> dict[str, Any]:
    """Compare the judge's scores with those of people, row by row.

    Args:
        others: how to call who gave the other scores.

    Returns:
        JSON values: num_scores, num_raters, num_unknown_ids (scored by people, not among the rows), num_other_rationale
        (scores of a rationale that the model no longer gives; None where the file does not say what was scored), and
        criteria: the judge's median over votes beside the people's median over raters.
    """
    rationales = {item.row.id: item.row.rationale.strip() for item in scored}
    known = [score for score in human if score.id in rationales]
    same = [score for score in known if score.rationale is None or score.rationale.strip() == rationales[score.id]]
    states_rationale = any(score.rationale is not None for score in human)
    return {
        "num_scores": len(human),
        "num_raters": len({score.rater for score in human}),
        "num_unknown_ids": len({score.id for score in human if score.id not in rationales}),
        "num_other_rationale": len(known) - len(same) if states_rationale else None,
        "criteria": [_criterion_agreement(criterion, same, scored, config, others) for criterion in rubric.criteria],
    }


def _criterion_agreement(
    criterion: Criterion,
    human: Sequence[HumanScore],
    scored: Sequence[RowScores],
    config: IntervalsConfig,
    others: str,
) -> dict[str, Any]:
    """The rows with both scores, and those with one; each of `METRICS`, None where it is undefined, and why; and how
    far people agree among themselves."""
    by_row: dict[str, list[float]] = defaultdict(list)
    for score in (score for score in human if score.criterion == criterion.id):
        by_row[score.id].append(score.score)
    judged = [item for item in scored if item.criterion.id == criterion.id and item.numbers]
    pairs = [item for item in judged if item.row.id in by_row]
    estimates: dict[str, IntervalEstimate] = {}
    why = "no rationale has both scores"
    if pairs:
        judge = [float(item.median or 0.0) for item in pairs]
        people = [float(median(by_row[item.row.id])) for item in pairs]
        estimates = agreement_metrics(judge, people, group_of_rows([item.row for item in pairs]), config)
        constant = [who for who, values in (("the judge", judge), (others, people)) if len(set(values)) == 1]
        why = f"{' and '.join(constant)} gave one score to all"
    defined = {name: asdict(estimate) for name, estimate in estimates.items() if estimate.value is not None}
    return {
        "id": criterion.id,
        "num_pairs": len(pairs),
        "num_only_judge": len(judged) - len(pairs),
        "num_only_human": len(by_row) - len(pairs),
        **{name: defined.get(name) for name in METRICS},
        "undefined": {name: why for name in METRICS if name not in defined},
        "among_people": _among_people(by_row, {item.row.id: item.row for item in scored}, config),
    }


def _among_people(
    by_row: Mapping[str, Sequence[float]], rows: Mapping[str, JudgedRow], config: IntervalsConfig
) -> dict[str, Any]:
    """Rows that two people or more scored, and quadratic weighted kappa over every pair of raters of a row, each pair
    in both orders; None where it is undefined."""
    pairs = [(rows[row_id], *pair) for row_id, scores in by_row.items() for pair in permutations(scores, 2)]
    kappa = None
    if pairs:
        of_pairs, first, second = zip(*pairs, strict=True)
        kappa = agreement_metrics(first, second, group_of_rows(of_pairs), config)["quadratic_weighted_kappa"]
    return {
        "num_rows": sum(len(scores) > 1 for scores in by_row.values()),
        "quadratic_weighted_kappa": None if kappa is None or kappa.value is None else asdict(kappa),
    }


def score_controls(scored: Sequence[RowScores], rubric: Rubric, config: IntervalsConfig) -> list[dict[str, Any]]:
    """What the scores by each criterion follow beside what a rationale says, as JSON values.

    Returns:
        id; length: Spearman's correlation of the mean score with the number of words; asked_first: mean score where the
        criterion was asked first minus where it came later, over the num_both rationales that have both. None where
        it is undefined.
    """

    def estimate(first: Sequence[float], second: Sequence[float], rows: Sequence[JudgedRow], name: str) -> Any:
        found = agreement_metrics(first, second, group_of_rows(rows), config)[name] if first else None
        return None if found is None or found.value is None else asdict(found)

    controls = []
    for criterion in rubric.criteria:
        items = [item for item in scored if item.criterion.id == criterion.id and item.mean is not None]
        both = []
        for item in items:
            placed = [(p, score) for p, score in zip(item.places, item.scores, strict=True) if isinstance(score, int)]
            first, later = ([score for place, score in placed if (place > 0) is is_later] for is_later in (False, True))
            if first and later:
                both.append((item.row, fmean(first), fmean(later)))
        words = [float(len(item.row.rationale.split())) for item in items]
        controls.append(
            {
                "id": criterion.id,
                "length": estimate([item.mean or 0.0 for item in items], words, [i.row for i in items], "spearman"),
                "num_both": len(both),
                "asked_first": estimate(
                    [first for _, first, _ in both],
                    [later for *_, later in both],
                    [row for row, *_ in both],
                    "mean_difference",
                ),
            }
        )
    return controls


def agreement_metrics(
    judge: Sequence[float], people: Sequence[float], groups: Sequence[int] | np.ndarray, config: IntervalsConfig
) -> dict[str, IntervalEstimate]:
    """Quadratic weighted kappa (Cohen 1968), Spearman's correlation and the mean difference of paired scores. All three
    are functions of how often each pair of scores occurs, so that the bootstrap computes them from the sums of a draw.

    Args:
        judge, people: [pairs].
        groups: [pairs], from 0 and without gaps.
    """
    rows, columns = np.unique(judge), np.unique(people)
    cells = np.searchsorted(rows, judge) * len(columns) + np.searchsorted(columns, people)
    sums = np.zeros((int(np.max(groups)) + 1, len(rows) * len(columns)))
    np.add.at(sums, (np.asarray(groups), cells), 1.0)
    distance = rows[:, None] - columns[None, :]

    def metrics(flat: FloatArray) -> dict[str, FloatArray]:
        """From [..., rows x columns] counts to each metric [...]; NaN where there is nothing to compare."""
        counts = flat.reshape(*flat.shape[:-1], len(rows), len(columns))
        total, of_rows, of_columns = counts.sum((-1, -2)), counts.sum(-1), counts.sum(-2)
        row_ranks, column_ranks = _mid_ranks(of_rows, total), _mid_ranks(of_columns, total)
        spread = np.sqrt((of_rows * row_ranks**2).sum(-1) * (of_columns * column_ranks**2).sum(-1))
        covariance = np.einsum("...ij,...i,...j->...", counts, row_ranks, column_ranks)
        return {
            "quadratic_weighted_kappa": cohen_kappa(counts, distance**2),
            "spearman": np.where(spread > 1e-9, covariance / spread, np.nan),
            "mean_difference": (counts * distance).sum((-1, -2)) / total,
        }

    with np.errstate(invalid="ignore", divide="ignore"):
        estimates = bootstrap_intervals(sums, metrics, config)
    if len(sums) < MIN_GROUPS:
        estimates = {name: IntervalEstimate(estimate.value) for name, estimate in estimates.items()}
    return estimates


def _mid_ranks(counts: FloatArray, total: FloatArray) -> FloatArray:
    """The rank that equal scores share, less the mean rank."""
    ranks: FloatArray = counts.cumsum(-1) - (counts - 1) / 2 - (total[..., None] + 1) / 2
    return ranks
