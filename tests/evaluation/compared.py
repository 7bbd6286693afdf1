"""Models of a comparison made by hand: decisions in, metrics and predictions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.comparison.models import MeasuredModel
from r2d.evaluation.label_metrics import label_metrics
from r2d.evaluation.metrics import AlignmentMetrics
from r2d.evaluation.predictions import PREDICTIONS_SCHEMA
from tests.evaluation.predicted import predictions_of

LABELS = LabelsConfig(names=("now", "soon", "later"), ordered=True)
QUICK = IntervalsConfig(num_resamples=1_000)


def predictions(
    gold: Sequence[str],
    said: Sequence[str | None],
    *,
    groups: Sequence[str | None] | None = None,
    scores: Sequence[float | None] | None = None,
    references: str = "because",
) -> pa.Table:
    """Rows `row-000`, `row-001` and so on; a decision that is None is no declared label."""
    num = len(gold)
    columns = {
        "id": [f"row-{place:03d}" for place in range(num)],
        "split": ["test"] * num,
        "group": groups or [None] * num,
        "label": gold,
        "predicted_label": [one or "" for one in said],
        "valid": [one is not None for one in said],
        "label_probabilities": [[]] * num,
        "handed_over": [None] * num,
        "rationale": [references] * num,
        "predicted_rationale": [""] * num,
        "flags": [[]] * num,
        **dict.fromkeys(("paper_bleu", "rouge_l", "bertscore_f1"), scores or [None] * num),
    }
    return pa.table(columns, schema=PREDICTIONS_SCHEMA)


def measured(
    variant: str,
    seed: int | None,
    gold: Sequence[str],
    said: Sequence[str | None],
    *,
    scores: Sequence[float | None] | None = None,
    aligned: float | None = None,
    references: str = "llm",
    seconds: tuple[float | None, float | None] = (None, None),
    **rows: Any,
) -> MeasuredModel:
    """`method, source` or `method`; with `scores` (of each row) it writes rationales."""
    method, _, source = variant.partition(", ")
    places = [LABELS.names.index(one) if one else len(LABELS.names) for one in said]
    levels = np.array(places) - [LABELS.names.index(one) for one in gold]
    there = [score for score in scores or () if score is not None]
    figures = (
        {"bertscore_f1": float(np.mean(there)), "paper_bleu": float(np.mean(there)), "bleu": 12.34} if there else {}
    )
    metrics: dict[str, Any] = {
        "num_rows": len(gold),
        "decoding": "constrained",
        "label": asdict(label_metrics(predictions_of(gold, said, labels=LABELS.names))),
        "safety": {"under_triage": {"rate": float((levels > 0).mean())}},
        "alignment": asdict(AlignmentMetrics(consistency=aligned, sufficiency=aligned, gold_robustness=aligned)),
        "rationale": {"bertscore": {"model": "small-bert"}, "populations": {"all": figures}} if there else None,
        "baselines": {"majority class": {"macro_f1": 0.125, "accuracy": 0.2}},
    }
    table = predictions(gold, said, scores=scores, references=f"{references} says", **rows)
    return MeasuredModel(variant, method, source or None, seed, references, metrics, table, *seconds)


def cells(markdown: str, heading: str, *first: str) -> dict[str, str]:
    """Column -> cell of the row that begins with the words `first`, in the table below a heading."""
    (section,) = [part for part in markdown.split("\n## ") if part.removeprefix("## ").startswith(heading)]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    (row,) = [line for line in lines if tuple(line[: len(first)]) == first]
    return dict(zip(lines[0], row, strict=True))
