"""Whether rationale and decision belong together: the alignment figures of Reason2Decide-C.

`P1 = predict(x)`, `r = explain(x, P1)`, `P2 = predict(r)` and `Pg = predict(r*)`, by the same model through its own
label prompt: the rationale stands where the note would stand.

| figure | definition |
|---|---|
| consistency | acc(P1, P2) |
| sufficiency | acc(y*, P2) |
| gold robustness | acc(y*, Pg), over the rows that have a gold rationale |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from r2d.text import match_label

FIGURES = ("consistency", "sufficiency", "gold_robustness")

PredictLabels = Callable[[Sequence[str], Sequence[Sequence[str]]], Sequence[str]]
"""Texts and the labels that each can have -> decoded labels, in their order; with free decoding one may be no label."""

TextWithOptions = tuple[str, tuple[str, ...]]


def alignment_metrics(
    predict_labels: PredictLabels,
    *,
    gold_labels: Sequence[str],
    predicted_labels: Sequence[str],
    rationales: Sequence[str],
    gold_rationales: Sequence[str],
    options: Sequence[Sequence[str]],
) -> dict[str, Any]:
    """Decide once more from the rationales alone, and compare.

    A label outside the row's set agrees with nothing, not even with itself. So does an empty rationale: what the
    model makes of no text at all says nothing of a rationale (our departure; the papers do not treat it).

    Args:
        predict_labels: the model's own `predict: {text}`, in the decoding of the headline.
        predicted_labels: P1, `rationales`: r; `gold_rationales`: r*, empty where a row has none.
        options: the labels that each row can have: the declared set, or the row's own.

    Returns:
        num_rows, num_empty_rationales, num_with_gold_rationale, and each of `FIGURES`, a fraction; None without rows.
    """
    sets = [tuple(some) for some in options]
    decided = _decided(predict_labels, list(zip([*rationales, *gold_rationales], sets * 2, strict=True)))
    first = [match_label(label, some) for label, some in zip(predicted_labels, sets, strict=True)]
    gold = [match_label(label, some) for label, some in zip(gold_labels, sets, strict=True)]
    from_own = [decided[row] for row in zip(rationales, sets, strict=True)]
    from_gold = [
        (y, decided[text, some]) for y, text, some in zip(gold, gold_rationales, sets, strict=True) if text.strip()
    ]
    return {
        "num_rows": len(first),
        "num_empty_rationales": sum(not text.strip() for text in rationales),
        "num_with_gold_rationale": len(from_gold),
        "consistency": _agreement(list(zip(first, from_own, strict=True))),
        "sufficiency": _agreement(list(zip(gold, from_own, strict=True))),
        "gold_robustness": _agreement(from_gold),
    }


def no_alignment() -> dict[str, Any]:
    """The same for a method that writes no rationale: nothing was measured, which is not 0."""
    counts = dict.fromkeys(("num_rows", "num_empty_rationales", "num_with_gold_rationale"), 0)
    return {**counts, **dict.fromkeys(FIGURES)}


def remembered(predict_labels: PredictLabels) -> PredictLabels:
    """The same, but no text is decided twice between the same labels: masked rationales are mostly as they were."""
    known: dict[TextWithOptions, str] = {}

    def ask(texts: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
        rows = [(text, tuple(some)) for text, some in zip(texts, options, strict=True)]
        new = [row for row in dict.fromkeys(rows) if row not in known]
        if new:
            known.update(zip(new, predict_labels([text for text, _ in new], [some for _, some in new]), strict=True))
        return [known[row] for row in rows]

    return ask


def _decided(predict_labels: PredictLabels, rows: Sequence[TextWithOptions]) -> dict[TextWithOptions, str | None]:
    """(Text, options) -> the option that the text leads to, or None. Each distinct pair is decided once, by length."""
    distinct = sorted({row for row in rows if row[0].strip()}, key=lambda row: (-len(row[0]), row))
    labels = predict_labels([text for text, _ in distinct], [some for _, some in distinct])
    matched = (match_label(label, some) for label, (_, some) in zip(labels, distinct, strict=True))
    return dict.fromkeys(rows) | dict(zip(distinct, matched, strict=True))


def _agreement(pairs: Sequence[tuple[str | None, str | None]]) -> float | None:
    if not pairs:
        return None
    return sum(one is not None and one == other for one, other in pairs) / len(pairs)
