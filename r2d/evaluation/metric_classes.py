"""Our figures as metrics of the package `evaluate`, so that they can be combined with others; nothing is fetched.

    labels = LabelMetric(["Emergency", "Clinic", "Home"])
    labels.compute(predictions=["Clinic"], references=["Clinic"])
    evaluate.combine([OverlapMetric(), BertScoreMetric(EvaluationConfig())]).compute(predictions=..., references=...)

The texts stay in memory: by default the package writes them to a folder in the user's home.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import evaluate
from datasets import Features, Value

from r2d.config.evaluation import EvaluationConfig
from r2d.evaluation.bertscore import bert_scores
from r2d.evaluation.label_metrics import label_metrics
from r2d.evaluation.text_overlap import ROW_FIGURES, corpus_bleu, corpus_chrf, overlap_rows


class _TextMetric(evaluate.Metric):
    """A metric of one predicted and one reference text for each row."""

    def __init__(self) -> None:
        super().__init__(keep_in_memory=True)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=str(self.__doc__),
            citation="",
            inputs_description="predictions, references: one text for each row.",
            features=Features({"predictions": Value("string"), "references": Value("string")}),
        )


class LabelMetric(_TextMetric):
    """`label_metrics`: accuracy, macro_f1, weighted_f1, invalid_label_rate, per_class, confusion_matrix.

    A prediction that is None or no declared label is wrong; a reference must be declared.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        super().__init__()

    def _compute(self, predictions: Sequence[str | None], references: Sequence[str]) -> dict[str, Any]:
        return label_metrics(references, predictions, self.labels)


class OverlapMetric(_TextMetric):
    """`bleu`, `chrf` of all rows and the mean of `paper_bleu`, `rouge_l`, `sentence_chrf`, of rows with a reference."""

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float | None]:
        candidates, kept = _with_reference(predictions, references)
        if not kept:
            return dict.fromkeys(("bleu", "chrf", *ROW_FIGURES))
        means = overlap_rows(kept, candidates).mean(axis=0).tolist()
        corpus = {"bleu": corpus_bleu(kept, candidates)[0], "chrf": corpus_chrf(kept, candidates)[0]}
        return corpus | dict(zip(ROW_FIGURES, means, strict=True))


class BertScoreMetric(_TextMetric):
    """`bertscore_precision`, `_recall`, `_f1`: the mean over rows with a reference; 0 for an empty prediction."""

    def __init__(self, config: EvaluationConfig) -> None:
        self.config = config
        super().__init__()

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float | None]:
        names = ("bertscore_precision", "bertscore_recall", "bertscore_f1")
        candidates, kept = _with_reference(predictions, references)
        said = [(gold, text) for gold, text in zip(kept, candidates, strict=True) if text.strip()]
        if not said:
            return dict.fromkeys(names, 0.0 if kept else None)
        values = bert_scores([gold for gold, _ in said], [text for _, text in said], self.config).values
        return dict(zip(names, (values.sum(axis=0, dtype="float64") / len(kept)).tolist(), strict=True))


def _with_reference(predictions: Sequence[str], references: Sequence[str]) -> tuple[list[str], list[str]]:
    rows = [(text, gold) for text, gold in zip(predictions, references, strict=True) if gold.strip()]
    return [text for text, _ in rows], [gold for _, gold in rows]
