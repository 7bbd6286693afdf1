"""The sections of `metrics` about rationales: likeness, quality, alignment with the decision, and the flip test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from r2d.config.evaluation import EvaluationConfig
from r2d.evaluation.alignment import alignment_metrics, no_alignment, remembered
from r2d.evaluation.clock import Clock
from r2d.evaluation.decided_rows import IntArray
from r2d.evaluation.label_flip import flip_test, no_flip_test
from r2d.evaluation.masking import masked_alignment, no_masked_alignment
from r2d.evaluation.rationale_metrics import rationale_intervals, rationale_metrics, rationale_scores
from r2d.evaluation.written_quality import written_quality
from r2d.modeling.predictor import Decision, Predictor


@dataclass(frozen=True)
class RationaleSections:
    """What `metrics` holds, and what is known of each row."""

    metrics: dict[str, Any]
    """rationale, written_quality, alignment, masked_alignment, flip_test."""
    flags: list[list[str]]
    """Names of the faults of each rationale, as `written_quality` calls them."""
    scores: dict[str, list[float | None]]
    """Figure of a row (`paper_bleu`, `rouge_l`, `bertscore_f1`) -> of each row."""


SCORES_OF_ROWS = ("paper_bleu", "rouge_l", "bertscore_f1")


def no_rationale_sections(num_rows: int) -> RationaleSections:
    """For a method that writes none: nothing was measured, which is not 0."""
    return RationaleSections(
        {
            "rationale": None,
            "written_quality": None,
            "alignment": no_alignment(),
            "masked_alignment": no_masked_alignment(),
            "flip_test": no_flip_test(),
        },
        [[] for _ in range(num_rows)],
        {name: [None] * num_rows for name in SCORES_OF_ROWS},
    )


def rationale_sections(
    predictor: Predictor,
    test: pa.Table,
    decisions: Sequence[Decision],
    options: Sequence[Sequence[str]],
    config: EvaluationConfig,
    groups: IntArray,
    clock: Clock,
) -> RationaleSections:
    """Measure what was written, in words and by asking the model again.

    Args:
        options: the labels that each row can have; groups: [rows], the patient or caller, numbered.
        clock: counts the time of BERTScore and of the model apart.
    """
    ids, texts, gold = (test[name].to_pylist() for name in ("id", "text", "label"))
    references, written = test["rationale"].to_pylist(), [decision.rationale for decision in decisions]
    labels = [decision.label for decision in decisions]
    correct = [label == decided for label, decided in zip(gold, labels, strict=True)]
    scores = rationale_scores(references, written, config, clock)
    likeness = rationale_metrics(references, written, correct, config, scores=scores)
    quality = partial(written_quality, ids=ids, texts=texts, options=options, count_tokens=partial(_lengths, predictor))
    of_model, flags = quality(
        rationales=written, predicted_labels=labels, max_tokens=predictor.config.max_rationale_tokens
    )
    of_references, _ = quality(rationales=references, predicted_labels=gold)
    decide = partial(predictor.decode_labels, decoding=predictor.config.label_decoding, batch_size=config.batch_size)
    predict = remembered(clock.timed("labels_of_rationales", decide))
    explain = clock.timed("flipped_rationales", partial(predictor.explain, batch_size=config.batch_size))
    aligned: dict[str, Any] = {
        "gold_labels": gold,
        "predicted_labels": labels,
        "rationales": written,
        "gold_rationales": references,
        "options": options,
    }
    return RationaleSections(
        {
            "rationale": likeness | {"intervals": rationale_intervals(scores, correct, groups, config.intervals)},
            "written_quality": {"model": of_model, "reference": of_references},
            "alignment": alignment_metrics(predict, **aligned),
            "masked_alignment": masked_alignment(predict, **aligned),
            "flip_test": flip_test(
                explain,
                predict,
                ids=ids,
                texts=texts,
                predicted_labels=labels,
                label_probabilities=[decision.label_probabilities for decision in decisions],
                rationales=written,
                options=options,
                max_rows=config.flip_test_rows,
            )
            if predictor.method.explains_the_label
            else no_flip_test(),
        },
        flags,
        {name: scores.column(name) for name in SCORES_OF_ROWS},
    )


def _lengths(predictor: Predictor, texts: Sequence[str]) -> list[int]:
    """Tokens of each text, end-of-sequence included."""
    return [len(ids) for ids in predictor.tokenizer(list(texts)).input_ids]
