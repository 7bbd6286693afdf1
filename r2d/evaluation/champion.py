"""The current champion on the same test rows: what a new model is compared with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from r2d.evaluation.alignment import alignment_metrics
from r2d.evaluation.label_metrics import label_metrics
from r2d.evaluation.metrics import ChampionMetrics
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.rationale_metrics import overlap_metrics, rationale_scores
from r2d.evaluation.run import EvaluationRun
from r2d.modeling.predictor import Predictor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Champion:
    """A registered version as a folder."""

    reference: str
    """`name/version`"""
    folder: Path


def evaluate_champion(champion: Champion, run: EvaluationRun) -> tuple[ChampionMetrics, Predictions | None]:
    """Let the champion predict and explain the test rows, and measure it as the model is measured.

    A champion that decides between other labels is not compared: the metrics say why, there are no predictions, and the
    gate decides what that means.

    Raises:
        ModelError: its folder holds no model that can decide.
    """
    predictor, labels, config = Predictor(champion.folder), run.labels, run.config
    declared = predictor.labels.declared
    if (declared is None) != labels.per_row or (declared is not None and set(declared.names) != set(labels.names)):
        its_labels = "options of the rows" if declared is None else ", ".join(declared.names)
        reason = f"it decides between other labels ({its_labels})"
        logger.warning("champion %s is not compared: %s", champion.reference, reason)
        return ChampionMetrics(reference=champion.reference, not_compared=reason), None
    logger.info("evaluation: champion %s decides the same %d rows", champion.reference, len(run.test))
    decisions = predictor.decide(run.texts, run.options, batch_size=config.batch_size)
    predictions = Predictions.of_decisions(run.test, decisions, labels)
    overlap, alignment = None, None
    if predictor.method.explains:
        overlap = overlap_metrics(rationale_scores(predictions.gold_rationales, predictions.rationales, config))
        decode = partial(
            predictor.decode_labels, decoding=predictor.config.label_decoding, batch_size=config.batch_size
        )
        alignment = alignment_metrics(decode, predictions)
    metrics = ChampionMetrics(
        reference=champion.reference,
        label=label_metrics(predictions),
        under_triage_rate=float((predictions.levels > 0).mean()) if labels.ordered else None,
        over_triage_rate=float((predictions.levels < 0).mean()) if labels.ordered else None,
        rationale=overlap,
        alignment=alignment,
    )
    return metrics, predictions
