"""How far the judge agrees with people who scored the same rationales by the same rubric."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from r2d.config.evaluation import IntervalsConfig
from r2d.errors import DataError
from r2d.evaluation.decided_rows import FloatArray
from r2d.evaluation.judge.figures import RowScores, groups_of
from r2d.evaluation.judge.rubric import Criterion, Rubric
from r2d.evaluation.statistics import intervals

COLUMNS = ("id", "criterion", "score", "rater")
MIN_GROUPS = 10
"""Fewer patients or callers than that make no interval: the draws would be of the same few again and again."""
MOST_FAULTS = 20


@dataclass(frozen=True, slots=True)
class HumanScore:
    """One score by one person."""

    id: str
    criterion: str
    score: int
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
            found = list(reader.fieldnames or ())
            lines = [(reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: these human scores cannot be read as CSV in UTF-8 ({type(error).__name__})") from None
    if missing := [name for name in COLUMNS if name not in found]:
        raise DataError(f"{path}: column {', '.join(missing)} is missing; found {', '.join(found) or 'none'}")
    by_id = {criterion.id: criterion for criterion in rubric.criteria}
    faults: list[str] = []
    scores: list[HumanScore] = []
    for number, line in lines:
        if fault := _fault(line, by_id):
            faults.append(f"  line {number}: {fault}")
        else:
            key = (line["id"].strip(), line["criterion"].strip())
            scores.append(HumanScore(*key, int(line["score"]), line["rater"].strip(), line.get("rationale")))
    twice = [key for key, n in Counter((one.id, one.criterion, one.rater) for one in scores).items() if n > 1]
    faults += [f"  id {id_!r}: rater {rater!r} scored {name} more than once" for id_, name, rater in twice]
    if faults:
        more = [f"  and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
        raise DataError("\n".join([f"{path}: {len(faults)} faulty human scores", *faults[:MOST_FAULTS], *more]))
    return scores


def human_agreement(
    human: Sequence[HumanScore], scored: Sequence[RowScores], rubric: Rubric, config: IntervalsConfig
) -> dict[str, Any]:
    """The judge's median over votes beside the people's median over raters, row by row; rows without both are left out.

    Returns:
        num_scores, num_raters, num_unknown_ids (scored by people, not among the rows), num_other_rationale (scores of
        a rationale that the model no longer gives; None where the file does not say what was scored),
        criteria: id, num_pairs, num_only_judge, num_only_human, and for each of quadratic_weighted_kappa, spearman,
        mean_difference (judge minus people): value, low, high, method (None where undefined); undefined: name -> why.
    """
    rationales = {one.row.id: one.row.rationale.strip() for one in scored}
    known = [one for one in human if one.id in rationales]
    same = [one for one in known if one.rationale is None or one.rationale.strip() == rationales[one.id]]
    says = any(one.rationale is not None for one in human)
    return {
        "num_scores": len(human),
        "num_raters": len({one.rater for one in human}),
        "num_unknown_ids": len({one.id for one in human if one.id not in rationales}),
        "num_other_rationale": len(known) - len(same) if says else None,
        "criteria": [_of_criterion(criterion, same, scored, config) for criterion in rubric.criteria],
    }


def agreement_figures(
    judge: Sequence[float], people: Sequence[float], groups: Sequence[int] | np.ndarray, config: IntervalsConfig
) -> dict[str, dict[str, Any]]:
    """Quadratic weighted kappa (Cohen 1968), Spearman's correlation and the mean difference of paired scores.

    All three are functions of the table that counts how often each pair of scores occurs, so that the bootstrap over
    groups computes them anew, ranks included, from the sums of each draw.

    Args:
        groups: [pairs], from 0 and without gaps.
    """
    rows, columns = np.unique(judge), np.unique(people)
    cells = np.searchsorted(rows, judge) * len(columns) + np.searchsorted(columns, people)
    sums = np.zeros((int(np.max(groups)) + 1, len(rows) * len(columns)))
    np.add.at(sums, (np.asarray(groups), cells), 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = intervals(sums, lambda some: _figures(some, rows, columns), config)
    if len(sums) < MIN_GROUPS:
        found = {name: figure | {"low": None, "high": None, "method": None} for name, figure in found.items()}
    return found


def _figures(sums: FloatArray, rows: FloatArray, columns: FloatArray) -> Mapping[str, FloatArray]:
    """From [..., rows x columns] counts to each figure [...]; NaN where there is nothing to compare."""
    counts = sums.reshape(*sums.shape[:-1], len(rows), len(columns))
    total = counts.sum((-1, -2))
    of_rows, of_columns = counts.sum(-1), counts.sum(-2)
    distance = rows[:, None] - columns[None, :]
    observed = (counts * distance**2).sum((-1, -2)) / total
    expected = np.einsum("...i,...j,ij->...", of_rows, of_columns, distance**2) / total**2
    ranks, other = _mid_ranks(of_rows, total), _mid_ranks(of_columns, total)
    spread = np.sqrt((of_rows * ranks**2).sum(-1) * (of_columns * other**2).sum(-1))
    together = np.einsum("...ij,...i,...j->...", counts, ranks, other)
    return {
        "quadratic_weighted_kappa": np.where(expected > 0, 1 - observed / expected, np.nan),
        "spearman": np.where(spread > 1e-9, together / spread, np.nan),
        "mean_difference": (counts * distance).sum((-1, -2)) / total,
    }


def _mid_ranks(counts: FloatArray, total: FloatArray) -> FloatArray:
    """The rank that equal scores share, less the mean rank."""
    ranks: FloatArray = counts.cumsum(-1) - (counts - 1) / 2 - (total[..., None] + 1) / 2
    return ranks


def _of_criterion(
    criterion: Criterion, human: Sequence[HumanScore], scored: Sequence[RowScores], config: IntervalsConfig
) -> dict[str, Any]:
    by_row: dict[str, list[int]] = defaultdict(list)
    for one in human:
        if one.criterion == criterion.id:
            by_row[one.id].append(one.score)
    judged = [one for one in scored if one.criterion.id == criterion.id and one.numbers]
    pairs = [
        (one, float(one.median or 0.0), float(median(by_row[one.row.id]))) for one in judged if one.row.id in by_row
    ]
    counts = {
        "id": criterion.id,
        "num_pairs": len(pairs),
        "num_only_judge": len(judged) - len(pairs),
        "num_only_human": len(by_row) - len(pairs),
    }
    if not pairs:
        nothing = dict.fromkeys(("quadratic_weighted_kappa", "spearman", "mean_difference"))
        return counts | nothing | {"undefined": dict.fromkeys(nothing, "no rationale has both scores")}
    groups = groups_of([one.row for one, _, _ in pairs])
    judge, people = [pair[1] for pair in pairs], [pair[2] for pair in pairs]
    found = agreement_figures(judge, people, groups, config)
    constant = [who for who, values in (("the judge", judge), ("the people", people)) if len(set(values)) == 1]
    why = f"{' and '.join(constant)} gave one score to all"
    undefined = {name: why for name, figure in found.items() if figure["value"] is None}
    return (
        counts
        | {name: None if name in undefined else figure for name, figure in found.items()}
        | {"undefined": undefined}
    )


def _fault(line: Mapping[str, str | None], criteria: Mapping[str, Criterion]) -> str | None:
    values = {name: (line[name] or "").strip() for name in COLUMNS}
    if empty := [name for name in COLUMNS if not values[name]]:
        return f"{', '.join(empty)} is empty"
    criterion = criteria.get(values["criterion"])
    if criterion is None:
        return f"criterion {_name(values['criterion'])} is not in the rubric; allowed: {', '.join(criteria)}"
    anchors = [str(score) for score in criterion.anchors]
    if values["score"] not in anchors:
        return f"score {_name(values['score'])} is no anchor of {criterion.id}; allowed: {', '.join(anchors)}"
    return None


def _name(value: str) -> str:
    """A short word as it stands; anything else may be a rationale in the wrong column, and is not shown."""
    return repr(value) if len(value) <= 30 and " " not in value else f"(a text of {len(value)} characters)"
