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

from r2d.data.labels import match_label

FIGURES = ("consistency", "sufficiency", "gold_robustness")

PredictLabels = Callable[[Sequence[str]], Sequence[str]]
"""Texts -> decoded labels, in their order; with free decoding one may be no declared label."""


def alignment_metrics(
    predict_labels: PredictLabels,
    *,
    gold_labels: Sequence[str],
    predicted_labels: Sequence[str],
    rationales: Sequence[str],
    gold_rationales: Sequence[str],
    labels: Sequence[str],
) -> dict[str, Any]:
    """Decide once more from the rationales alone, and compare.

    A label outside the declared set agrees with nothing, not even with itself. So does an empty rationale: what the
    model makes of no text at all says nothing of a rationale (our departure; the papers do not treat it).

    Args:
        predict_labels: the model's own `predict: {text}`, in the decoding of the headline.
        predicted_labels: P1, `rationales`: r; `gold_rationales`: r*, empty where a row has none.

    Returns:
        num_rows, num_empty_rationales, num_with_gold_rationale, and each of `FIGURES`, a fraction; None without rows.
    """
    decided = _decided(predict_labels, [*rationales, *gold_rationales], labels)
    first = [match_label(label, labels) for label in predicted_labels]
    gold = [match_label(label, labels) for label in gold_labels]
    from_own = [decided[text] for text in rationales]
    from_gold = [(y, decided[text]) for y, text in zip(gold, gold_rationales, strict=True) if text.strip()]
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


def _decided(predict_labels: PredictLabels, texts: Sequence[str], labels: Sequence[str]) -> dict[str, str | None]:
    """Text -> the declared label that it leads to, or None. Each distinct text is decided once, by length."""
    distinct = sorted({text for text in texts if text.strip()}, key=lambda text: (-len(text), text))
    decided = dict.fromkeys(texts, None) | dict(zip(distinct, predict_labels(distinct), strict=True))
    return {text: match_label(label, labels) for text, label in decided.items()}


def _agreement(pairs: Sequence[tuple[str | None, str | None]]) -> float | None:
    if not pairs:
        return None
    return sum(one is not None and one == other for one, other in pairs) / len(pairs)
