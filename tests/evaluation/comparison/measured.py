"""Models of a comparison made by hand: predicted labels in, metrics and predictions out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import IntervalsConfig
from r2d.evaluation.comparison.models import MeasuredModel, VariantFacts
from r2d.evaluation.label_metrics import label_metrics, safety_metrics
from r2d.evaluation.metrics import Metrics
from r2d.evaluation.predictions import PREDICTIONS_SCHEMA, Predictions
from r2d.evaluation.sections.labels import Comparator, LabelMetrics
from r2d.evaluation.sections.rationales import (
    AlignmentMetrics,
    BertScoreModel,
    OverlapMetrics,
    Populations,
    RationaleMetrics,
)

LABELS = LabelsConfig(names=("now", "soon", "later"), ordered=True)
QUICK = IntervalsConfig(num_resamples=1_000)


def measured(
    variant: str,
    seed: int | None,
    gold: Sequence[str],
    predicted: Sequence[str | None],
    *,
    scores: Sequence[float | None] = (),
    aligned: float | None = None,
    references: str = "llm",
    groups: Sequence[str] | None = None,
    seconds: tuple[float | None, float | None] = (None, None),
) -> MeasuredModel:
    """A model of rows `row-000`, `row-001` and so on.

    Args:
        variant: `method, source` or `method`.
        predicted: None is no declared label.
        scores: of each row's rationale; without them the model writes none.
        aligned: every metric of alignment.
    """
    method, _, source = variant.partition(", ")
    num = len(gold)
    ids = [f"row-{place:03d}" for place in range(num)]
    predictions = Predictions(ids=ids, gold_labels=gold, predicted_labels=predicted, labels=LABELS.names)
    known = [score for score in scores if score is not None]
    rationale = None
    if known:
        overlap = OverlapMetrics(
            num_rows=num, bertscore_f1=float(np.mean(known)), paper_bleu=float(np.mean(known)), bleu=12.34
        )
        rationale = RationaleMetrics(
            num_rows=num, num_without_reference=0, num_empty_candidates=0, sacrebleu_signature=None,
            chrf_signature=None,
            bertscore=BertScoreModel(model="small-bert", num_layers=6, max_tokens=9, truncated_share=0.0),
            populations=Populations(all=overlap, correct_only=overlap, zero_if_wrong=overlap),
        )  # fmt: skip
    metrics = Metrics(
        num_rows=num,
        decoding="constrained",
        method=method,
        label=label_metrics(predictions),
        safety=safety_metrics(predictions, num_worst_cases=0),
        alignment=AlignmentMetrics(consistency=aligned, sufficiency=aligned, gold_robustness=aligned),
        rationale=rationale,
        baselines={Comparator.MAJORITY_CLASS: LabelMetrics(
            num_rows=num, macro_f1=0.125, accuracy=0.2, weighted_f1=0.1, invalid_label_rate=0.0
        )},
    )  # fmt: skip
    columns = {
        "id": ids,
        "split": ["test"] * num,
        "group": groups or [None] * num,
        "label": gold,
        "predicted_label": [label or "" for label in predicted],
        "valid": [label is not None for label in predicted],
        "label_probabilities": [[]] * num,
        "handed_over": [None] * num,
        "rationale": [f"{references} says"] * num,
        "predicted_rationale": [""] * num,
        "flags": [[]] * num,
        **dict.fromkeys(("paper_bleu", "rouge_l", "bertscore_f1"), scores or [None] * num),
    }
    facts = VariantFacts(variant, method, source or None, seed, references)
    table = pa.table(columns, schema=PREDICTIONS_SCHEMA)
    return MeasuredModel(facts, metrics, table, None, *seconds)
