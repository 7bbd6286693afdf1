"""The current champion on the same test rows: what a new model is held against."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import EvaluationConfig
from r2d.evaluation.alignment import alignment_metrics
from r2d.evaluation.label_metrics import label_metrics, option_metrics
from r2d.evaluation.label_sections import rows_of_decisions
from r2d.evaluation.rationale_metrics import rationale_metrics
from r2d.modeling.predictor import Decision, Predictor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Champion:
    """A registered version as a folder."""

    reference: str
    """`name/version`"""
    folder: Path


@dataclass(frozen=True)
class ChampionDecisions:
    """What the champion said of the test rows, or why it could not be asked."""

    champion: Champion
    predictor: Predictor | None
    decisions: list[Decision] | None
    not_compared: str | None


def decide_as_champion(
    champion: Champion, test: pa.Table, options: Sequence[Sequence[str]], labels: LabelsConfig, config: EvaluationConfig
) -> ChampionDecisions:
    """Let the champion decide and explain the test rows.

    A champion that decides between other labels cannot be held against these rows: the reason is returned, and the
    gate decides what that means.

    Raises:
        ModelError: its folder holds no model that can decide.
    """
    predictor = Predictor(champion.folder)
    known = predictor.labels.declared
    if (known is None) != labels.per_row or (known is not None and set(known.names) != set(labels.names)):
        its_own = "options of the rows" if known is None else ", ".join(known.names)
        reason = f"it decides between other labels ({its_own})"
        logger.warning("champion %s is not compared: %s", champion.reference, reason)
        return ChampionDecisions(champion, None, None, reason)
    logger.info("evaluation: champion %s decides the same %d rows", champion.reference, len(test))
    decisions = predictor.decide(test["text"].to_pylist(), options, batch_size=config.batch_size)
    return ChampionDecisions(champion, predictor, decisions, None)


def champion_facts(
    decided: ChampionDecisions,
    test: pa.Table,
    options: Sequence[Sequence[str]],
    labels: LabelsConfig,
    config: EvaluationConfig,
) -> dict[str, Any]:
    """The champion's figures.

    Returns:
        reference, not_compared (why not, else None), label: `label_metrics`, under_triage_rate and over_triage_rate
        (None where labels are not ordered), rationale: figures of `rationale_metrics` over all rows, alignment; the
        last two None for a method that writes none. All None where it was not compared.
    """
    facts: dict[str, Any] = {"reference": decided.champion.reference, "not_compared": decided.not_compared}
    figures: dict[str, Any] = dict.fromkeys(
        ("label", "under_triage_rate", "over_triage_rate", "rationale", "alignment")
    )
    predictor, decisions = decided.predictor, decided.decisions
    if predictor is None or decisions is None:
        return facts | figures
    gold, said = test["label"].to_pylist(), [decision.label for decision in decisions]
    figures["label"] = (
        option_metrics(gold, said, options) if labels.per_row else label_metrics(gold, said, labels.names)
    )
    if labels.ordered:
        levels = rows_of_decisions(test, decisions, labels).levels
        figures |= {"under_triage_rate": float((levels > 0).mean()), "over_triage_rate": float((levels < 0).mean())}
    if predictor.method.explains:
        figures |= _of_rationales(predictor, test, decisions, options, config)
    return facts | figures


def _of_rationales(
    predictor: Predictor,
    test: pa.Table,
    decisions: Sequence[Decision],
    options: Sequence[Sequence[str]],
    config: EvaluationConfig,
) -> dict[str, Any]:
    gold, references = test["label"].to_pylist(), test["rationale"].to_pylist()
    said, written = [one.label for one in decisions], [one.rationale for one in decisions]
    correct = [one == other for one, other in zip(gold, said, strict=True)]

    def predict(texts: Sequence[str], of_rows: Sequence[Sequence[str]]) -> list[str]:
        return predictor.decode_labels(
            texts, of_rows, decoding=predictor.config.label_decoding, batch_size=config.batch_size
        )

    return {
        "rationale": rationale_metrics(references, written, correct, config)["populations"]["all"],
        "alignment": alignment_metrics(
            predict,
            gold_labels=gold,
            predicted_labels=said,
            rationales=written,
            gold_rationales=references,
            options=options,
        ),
    }
