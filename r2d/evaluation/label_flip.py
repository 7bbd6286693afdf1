"""The flip test: told that another label was right, does the model write another rationale, and does it argue for it?

`r = explain(x, y)` for the model's own decision `y`, `r' = explain(x, y')` for another label. A model that explains
its decision writes something else for `y'`, and from `r'` alone comes to `y'`. One that writes the same whatever the
label describes the note. That label and rationale hang together is necessary for a faithful rationale, not sufficient
(Wiegreffe et al. 2021, arXiv 2010.12762, who test it by noise and gradients); here it is asked by changing the label.

`y'` is the label that the model itself takes for the most probable after `y`. It is the nearest case in which the
model would have decided otherwise, it is defined without an order and for options of the row's own, and where labels
are ordered it is mostly a neighbour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r2d.evaluation.alignment import PredictLabels, alignment_metrics
from r2d.text import match_label

Explain = Callable[[Sequence[str], Sequence[str]], Sequence[str]]
"""Texts and a label for each -> rationales, in their order."""

FIGURES = ("identical", "mean_chrf", "argues_for_own", "argues_for_other", "stays_with_own")


def flip_test(
    explain: Explain,
    predict_labels: PredictLabels,
    *,
    ids: Sequence[str],
    texts: Sequence[str],
    predicted_labels: Sequence[str],
    label_probabilities: Sequence[Mapping[str, float]],
    rationales: Sequence[str],
    options: Sequence[Sequence[str]],
    max_rows: int | None = None,
) -> dict[str, Any]:
    """Let the model explain another label for the same notes, and compare.

    A row whose decision is no label of its set, or that has no other label, cannot be flipped: it is left out and
    counted. An empty rationale argues for nothing.

    Args:
        explain: the model's own `given label: {y}, explain: {x}`.
        rationales: r, written for `predicted_labels`.
        max_rows: flip that many rows, the first by hash of the id; None: all.

    Returns:
        num_rows (flipped), num_without_other_label, and `FIGURES`, None without rows:
        identical: share of rows with r = r', spaces aside; identical_ids: the first few of them;
        mean_chrf: sentence chrF2 of r' against r, 0 to 100, 100 where they are identical;
        argues_for_own: share with predict(r) = y; argues_for_other: with predict(r') = y'; stays_with_own: with
        predict(r') = y.
    """
    others = [
        other_label(label, shares, some)
        for label, shares, some in zip(predicted_labels, label_probabilities, options, strict=True)
    ]
    rows = first_by_hash(ids, [row for row, other in enumerate(others) if other is not None], max_rows)
    counts = {"num_rows": len(rows), "num_without_other_label": others.count(None)}
    if not rows:
        return counts | {"identical_ids": []} | dict.fromkeys(FIGURES)
    first, asked = [rationales[row] for row in rows], [others[row] or "" for row in rows]
    second = list(explain([texts[row] for row in rows], asked))
    own, sets = [predicted_labels[row] for row in rows], [options[row] for row in rows]
    same = [" ".join(one.split()) == " ".join(other.split()) for one, other in zip(first, second, strict=True)]
    before = _agreement(predict_labels, own, own, first, sets)
    after = _agreement(predict_labels, asked, own, second, sets)
    return counts | {
        "identical": sum(same) / len(rows),
        "identical_ids": [ids[row] for row, is_same in zip(rows, same, strict=True) if is_same][:5],
        "mean_chrf": sum(map(_likeness, first, second, same)) / len(rows),
        "argues_for_own": before["consistency"],
        "argues_for_other": after["sufficiency"],
        "stays_with_own": after["consistency"],
    }


def no_flip_test() -> dict[str, Any]:
    """The same for a method whose rationale is not written for a label: nothing was measured, which is not 0."""
    return {"num_rows": 0, "num_without_other_label": 0, "identical_ids": [], **dict.fromkeys(FIGURES)}


def other_label(label: str, probabilities: Mapping[str, float], options: Sequence[str]) -> str | None:
    """The most probable label other than the decided one, the first of equals; None where it cannot be flipped."""
    decided = match_label(label, options)
    others = [some for some in options if some != decided]
    if decided is None or not others:
        return None
    return max(others, key=lambda some: probabilities[some])


def first_by_hash(ids: Sequence[str], rows: Sequence[int], max_rows: int | None) -> list[int]:
    """At most that many of the rows, in their order; by hash of the id, so that nobody picks them."""
    if max_rows is None or max_rows >= len(rows):
        return list(rows)
    return sorted(sorted(rows, key=lambda row: hashlib.sha256(ids[row].encode()).digest())[:max_rows])


def _agreement(
    predict_labels: PredictLabels,
    wanted: Sequence[str],
    own: Sequence[str],
    rationales: Sequence[str],
    options: Sequence[Sequence[str]],
) -> dict[str, Any]:
    """`sufficiency`: how often the rationales lead to the wanted label; `consistency`: to the model's own."""
    return alignment_metrics(
        predict_labels,
        gold_labels=wanted,
        predicted_labels=own,
        rationales=rationales,
        gold_rationales=[""] * len(rationales),
        options=options,
    )


def _likeness(first: str, second: str, same: bool) -> float:
    from sacrebleu.metrics import CHRF

    return 100.0 if same else float(CHRF().sentence_score(second, [first]).score)
