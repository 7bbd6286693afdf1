"""Evaluation of a model folder on the test split, beside the baselines and the champion, in one pass."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from r2d.config.data import DataConfig, LabelsConfig
from r2d.config.evaluation import EvaluationConfig
from r2d.config.validation import PrivacyConfig
from r2d.data.examples import split_of
from r2d.errors import ConfigError, DataError
from r2d.evaluation.baselines import baseline_labels, option_baselines
from r2d.evaluation.clock import Clock
from r2d.evaluation.label_metrics import label_metrics, option_metrics
from r2d.evaluation.predictions import by_id_hash, predictions_table
from r2d.evaluation.report import render_report
from r2d.evaluation.report_facts import report_facts
from r2d.reports.progress import Progress

if TYPE_CHECKING:
    from r2d.evaluation.champion import Champion, ChampionDecisions
    from r2d.evaluation.decided_rows import IntArray
    from r2d.evaluation.judge.judge import Judgement
    from r2d.evaluation.label_sections import LabelSections
    from r2d.modeling.calibration_file import Calibration
    from r2d.modeling.predictor import Decision, Predictor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What is known of a model after the test split was touched once."""

    metrics: dict[str, Any]
    """Every figure, and the facts of the run; `docs/evaluation.md` explains them."""
    predictions: pa.Table
    """Table of `PREDICTIONS_SCHEMA`."""
    report: str
    """One self-contained HTML page."""
    calibration: Calibration | None
    """Temperature and threshold, to be kept with the model."""
    judgement: Judgement
    seconds: dict[str, float]
    """Wall time of each of `clock.PARTS`, and of `total`. Not among `metrics`: those are the same each time, and are
    stored under their hash."""

    def overview(self) -> dict[str, float]:
        """The figures that stand where there is room for a few."""
        label, alignment, safety = (self.metrics[name] for name in ("label", "alignment", "safety"))
        figures = {name: label[name] for name in ("accuracy", "macro_f1", "invalid_label_rate")}
        figures |= {name: alignment[name] for name in ("consistency", "sufficiency", "gold_robustness")}
        if safety is not None:
            figures |= {f"{name}_rate": safety[name]["rate"] for name in ("under_triage", "over_triage")}
        return {name: figure for name, figure in figures.items() if figure is not None}

    def figures(self) -> dict[str, float]:
        """Every figure of `metrics` that is a number, by its path, such as `label/per_class/self care/recall`; lists
        (the confusion matrix, curves, slices) are left out."""
        return dict(_numbers(self.metrics, ""))


def evaluate(
    examples: pa.Table,
    model_folder: Path,
    *,
    config: EvaluationConfig,
    data: DataConfig,
    champion: Champion | None = None,
    privacy: PrivacyConfig = PrivacyConfig(),
    work_dir: Path | None = None,
) -> Evaluation:
    """Decide and explain every test row, and measure both.

    The headline is the model's own label decoding; the other one is measured too and never mixed with it. Temperature
    and threshold come from the validation rows; where there are none, from the model folder, if it holds them.

    Args:
        examples: with a test split; baselines are learnt from the training rows, if there are any.
        champion: measured on the same test rows.
        privacy: what may be sent to a judge; work_dir: where its answers are kept.

    Raises:
        ConfigError: a judge is configured without a `work_dir`, or its rubric is faulty.
        DataError: the test split is empty.
        GenerationError: the judge cannot be asked, or its budget is spent.
        ModelError: the folder holds no model that can decide, or the BERTScore model cannot be had.
    """
    from r2d.evaluation.champion import champion_facts, decide_as_champion
    from r2d.evaluation.decided_rows import group_numbers
    from r2d.evaluation.rationale_sections import no_rationale_sections, rationale_sections
    from r2d.modeling.calibration_file import read_calibration
    from r2d.modeling.predictor import Predictor

    clock = Clock()
    test = evaluated_rows(examples, config.max_rows)
    predictor = Predictor(model_folder, calibrated=False)
    options = _options(test, data.labels)
    gold = test["label"].to_pylist()
    with clock("generation"), Progress("evaluation: decisions and rationales", len(test)) as progress:
        decisions = predictor.decide(
            test["text"].to_pylist(), options, batch_size=config.batch_size, other_decoding=True,
            on_progress=progress.after(0),
        )  # fmt: skip
    with clock("champion"):
        decided_before = None if champion is None else decide_as_champion(champion, test, options, data.labels, config)
    with clock("baselines"):
        baselines, said_by_baselines = _baselines(split_of(examples, "train"), test, gold, options, data.labels)
    groups = group_numbers(test["id"].to_pylist(), test["group"].to_pylist())
    with clock("label_figures"):
        sections = _label_sections(
            examples, test, decisions, predictor, said_by_baselines, decided_before, data.labels, config,
            read_calibration(model_folder), groups, clock,
        )  # fmt: skip
    with clock("rationale_figures"):
        written = (
            rationale_sections(predictor, test, decisions, options, config, groups, clock)
            if predictor.method.explains
            else no_rationale_sections(len(test))
        )
    with clock("champion"):
        facts_of_champion = (
            None if decided_before is None else champion_facts(decided_before, test, options, data.labels, config)
        )
    own = predictor.config.label_decoding
    metrics = {
        "num_rows": len(test),
        "decoding": own,
        "method": predictor.method.name,
        "num_parameters": predictor.model.num_parameters(),
        "label": _label_metrics(gold, [decision.label for decision in decisions], options, data.labels),
        "other_decoding": {
            "decoding": "free" if own == "constrained" else "constrained",
            "label": _label_metrics(gold, [decision.other_label for decision in decisions], options, data.labels),
        },
        "baselines": baselines,
        "champion": facts_of_champion,
        **sections.metrics,
        **written.metrics,
    }
    predictions = predictions_table(test, decisions, sections.calibration, written.flags, written.scores)
    with clock("judge"):
        judgement = _judged(predictions, test, config, privacy, work_dir)
    metrics["judge"] = judgement.to_json()
    with clock("report"):
        report = render_report(report_facts(examples, test, predictions, metrics, predictor, data))
    return Evaluation(metrics, predictions, report, sections.calibration, judgement, clock.seconds())


def _numbers(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(inner, f"{path}/{name}" if path else str(name))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, float(value)


def _options(test: pa.Table, labels: LabelsConfig) -> list[Sequence[str]]:
    """The labels that each row can have."""
    return test["options"].to_pylist() if labels.per_row else [labels.names] * len(test)


def _label_metrics(
    gold: Sequence[str], predicted: Sequence[str | None], options: Sequence[Sequence[str]], labels: LabelsConfig
) -> dict[str, Any]:
    return option_metrics(gold, predicted, options) if labels.per_row else label_metrics(gold, predicted, labels.names)


def evaluated_rows(examples: pa.Table, max_rows: int | None) -> pa.Table:
    """The test rows, or at most that many of them, in their order.

    Raises:
        DataError: there are none.
    """
    test = split_of(examples, "test")
    if not len(test):
        raise DataError("the test split is empty: set data.split.test_fraction, test_ids or a split column")
    if max_rows is None or max_rows >= len(test):
        return test
    return test.take(sorted(by_id_hash(test["id"].to_pylist())[:max_rows]))


def _baselines(
    train: pa.Table, test: pa.Table, gold: Sequence[str], options: Sequence[Sequence[str]], labels: LabelsConfig
) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
    """Name -> its label metrics, and name -> its label for each test row, where it says one; nothing without training
    rows to learn from."""
    if not len(train):
        return {}, {}
    learnt_from = train["label"].to_pylist()
    if labels.per_row:
        return option_baselines(learnt_from, gold, options), {}
    said = baseline_labels(train["text"].to_pylist(), learnt_from, test["text"].to_pylist())
    return {name: label_metrics(gold, decided, labels.names) for name, decided in said.items()}, said


def _label_sections(
    examples: pa.Table,
    test: pa.Table,
    decisions: Sequence[Decision],
    predictor: Predictor,
    baselines: Mapping[str, Sequence[str]],
    champion: ChampionDecisions | None,
    labels: LabelsConfig,
    config: EvaluationConfig,
    stored: Calibration | None,
    groups: IntArray,
    clock: Clock,
) -> LabelSections:
    import numpy as np

    from r2d.evaluation.label_sections import (
        CHAMPION,
        NO_SECTIONS,
        LabelSections,
        label_sections,
        option_intervals,
        rows_of_decisions,
    )

    if labels.per_row:
        right = np.array([one.label == gold for one, gold in zip(decisions, test["label"].to_pylist(), strict=True)])
        invalid = np.array([not one.valid for one in decisions])
        found = option_intervals(right, invalid, groups, config.intervals)
        return LabelSections(NO_SECTIONS | {"intervals": found}, None)
    validation = split_of(examples, "validation")
    rows = None
    if len(validation):
        logger.info("evaluation: %d validation rows choose temperature and threshold", len(validation))
        with clock("validation_labels"):
            decided = predictor.decide(validation["text"].to_pylist(), batch_size=config.batch_size, explain=False)
        rows = rows_of_decisions(validation, decided, labels)
    others: dict[str, Sequence[str | None]] = dict(baselines)
    if champion is not None and champion.decisions is not None:
        others[CHAMPION] = [decision.label for decision in champion.decisions]
    return label_sections(
        rows_of_decisions(test, decisions, labels),
        rows,
        others=others,
        examples=test,
        labels=labels,
        config=config,
        stored=stored,
    )


def _judged(
    predictions: pa.Table, test: pa.Table, config: EvaluationConfig, privacy: PrivacyConfig, work_dir: Path | None
) -> Judgement:
    """Scores by the judge, where one is configured. Answers that were given are kept, so a second call asks only for
    what is missing."""
    from r2d.evaluation.judge.judge import judge_rationales, not_judged
    from r2d.evaluation.judge.questions import judged_rows
    from r2d.evaluation.judge.rubric import load_rubric

    if config.judge is None:
        return not_judged()
    if work_dir is None:
        raise ConfigError("evaluation.judge: its answers need a folder to be kept in; give one as work_dir")
    return judge_rationales(
        judged_rows(predictions, test),
        load_rubric(Path(config.judge.rubric)),
        config.judge,
        work_dir,
        privacy=privacy,
        interval=config.intervals,
    )
