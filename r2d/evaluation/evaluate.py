"""Evaluation of a model folder on the test split, beside the baselines and the champion, in one pass."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from r2d.config.data import DataConfig, LabelsConfig
from r2d.config.evaluation import EvaluatedEngine, EvaluationConfig
from r2d.config.privacy import PrivacyConfig
from r2d.data.examples import split_of
from r2d.errors import ConfigError
from r2d.evaluation.alignment import LabelReader, PredictLabels, alignment_metrics, flip_test, masked_alignment
from r2d.evaluation.baselines import evaluate_baselines
from r2d.evaluation.calibration import FittedCalibration, calibration_metrics, calibration_of, scale
from r2d.evaluation.calibration_slope import calibration_slopes
from r2d.evaluation.cohort import cohort_of
from r2d.evaluation.encoder_baseline import encoder_baseline
from r2d.evaluation.heterogeneity import heterogeneity
from r2d.evaluation.judge.judge import Judgement, judge_rationales, not_judged
from r2d.evaluation.judge.questions import judged_rows
from r2d.evaluation.judge.rubric import load_rubric
from r2d.evaluation.label_metrics import (
    LabelStatistics,
    difference_to_chances,
    label_intervals,
    label_metrics,
    ranking_metrics,
    safety_metrics,
)
from r2d.evaluation.label_sets import label_sets
from r2d.evaluation.looks import CountLook, hash_of_test_set
from r2d.evaluation.metrics import ChampionMetrics, Metrics
from r2d.evaluation.operating_points import operating_points
from r2d.evaluation.outside_reader import outside_reader
from r2d.evaluation.predictions import Predictions, predictions_table
from r2d.evaluation.raters import RaterLabels, raters_metrics
from r2d.evaluation.rationale_claims import claim_differences, claim_metrics, claims_of
from r2d.evaluation.rationale_metrics import (
    TABLE_SCORES,
    overlap_metrics,
    rationale_intervals,
    rationale_metrics,
    rationale_scores,
)
from r2d.evaluation.rationale_quality_metrics import rationale_quality
from r2d.evaluation.report import choose_rows, render_report
from r2d.evaluation.run import EvaluationRun, evaluated_rows
from r2d.evaluation.sections.calibration import CalibrationResult
from r2d.evaluation.sections.estimates import CHOOSING_SPLITS
from r2d.evaluation.sections.labels import Comparator, OtherDecoding
from r2d.evaluation.sections.rationales import FlipTest
from r2d.evaluation.slices import divide_rows, slice_differences, slice_metrics
from r2d.evaluation.stress import StressTests, stress_metrics
from r2d.evaluation.threshold import evaluate_threshold
from r2d.evaluation.unseen import unseen_rows
from r2d.modeling.backends.exported import export_model, is_exported
from r2d.modeling.model_folder import Calibration, read_calibration, read_model_facts
from r2d.modeling.predictor import Predictor
from r2d.reports.progress import Progress
from r2d.synthetic.calls import rule_labels

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Champion:
    """The current champion, as a folder: what a new model is compared with."""

    reference: str
    """`name/version`"""
    folder: Path


@dataclass(frozen=True)
class Evaluation:
    """What is known of a model after the test split was touched once."""

    metrics: Metrics
    """Every metric, and the facts of the run; `docs/evaluation.md` explains them."""
    predictions: pa.Table
    """Table of `PREDICTIONS_SCHEMA`."""
    report: str
    """One self-contained HTML page."""
    judgement: Judgement
    seconds: Mapping[str, float]
    """Wall time of each of `run.PARTS`, and of `total`. Not among `metrics`: those are the same each time, and are
    stored under their hash."""

    def overview(self) -> dict[str, float]:
        """The metrics to show where there is room for a few: name -> value."""
        label, alignment, safety = self.metrics.label, self.metrics.alignment, self.metrics.safety
        claims, reader = self.metrics.claims, self.metrics.outside_reader
        few = {
            "accuracy": label.accuracy,
            "macro_f1": label.macro_f1,
            "invalid_label_rate": label.invalid_label_rate,
            "consistency": alignment.consistency,
            "sufficiency": alignment.sufficiency,
            "gold_robustness": alignment.gold_robustness,
            "under_triage_rate": None if safety is None else safety.under_triage.rate,
            "over_triage_rate": None if safety is None else safety.over_triage.rate,
            "contradicted_rationale_rate": None
            if claims is None
            else claims["model"].intervals["contradicted_rationale_rate"].value,
            "consistency_by_outside_reader": None if reader is None else reader.intervals["consistency"].value,
        }
        return {name: value for name, value in few.items() if value is not None}


def evaluate(
    examples: pa.Table,
    model_folder: Path,
    *,
    config: EvaluationConfig,
    data: DataConfig,
    champion: Champion | None = None,
    label_only: Path | None = None,
    privacy: PrivacyConfig = PrivacyConfig(),
    work_dir: Path | None = None,
    count_look: CountLook | None = None,
    external: str | None = None,
    judge_remarks: Sequence[str] = (),
) -> Evaluation:
    """Decide and explain every test row, and measure both; the headline is the model's own label decoding.

    Args:
        examples: with a test split; baselines are learnt from the training rows, if there are any.
        champion: measured on the same test rows: those that neither had seen in training.
        label_only: folder of a model of method `sft`, measured on the same test rows.
        privacy: what may be sent to a judge; work_dir: where its answers are kept.
        count_look: writes down that the test set was looked at, before it is.
        external: where the rows come from, of an external validation.
        judge_remarks: why the scores of the judge may flatter (`RunConfig.judge_remarks`).

    Raises:
        ConfigError: a judge is configured without a `work_dir`, or its rubric or the file of stress tests is faulty.
        DataError: the test split is empty, the model had seen rows of it (`evaluation.seen_rows`), a stress test
            applies to none, or no row has labels of two raters.
        GenerationError: the judge cannot be asked, or its budget is spent.
        ModelError: the folder holds no model that can decide, or the BERTScore model cannot be had.
    """
    given = None if champion is None else (champion.reference, champion.folder)
    unseen = unseen_rows(examples, model_folder, given, config, privacy)
    run = EvaluationRun(examples, data.labels, config, unseen.kept)
    timer, test = run.timer, run.test
    stress = None if config.stress is None else StressTests.of(config.stress, test, run.checker, data.labels)
    rated = None
    if config.raters is not None:
        rated = RaterLabels.read(config.raters, test["id"].to_pylist(), data.labels)
    not_compared = unseen.why_not_compared
    if champion is not None and not_compared is None:
        not_compared = _why_other_labels(champion, data.labels)
    if count_look is not None:
        compared_with = None if champion is None or not_compared else champion.reference
        test_set = hash_of_test_set(evaluated_rows(examples, config.max_rows))
        run = replace(run, test_set=count_look(test_set, compared_with))
    predictor = _predictor(model_folder, config.engine)
    with timer("generation"), Progress("evaluation: decisions and rationales", len(test)) as progress:
        decisions = predictor.decide(
            run.texts, run.options, batch_size=config.batch_size, other_decoding=True,
            on_progress=progress.after(0),
        )  # fmt: skip
        predictions = Predictions.of_decisions(test, decisions, data.labels)
    with timer("champion"):
        of_champion, by_champion = None, None
        if champion is not None and not_compared:
            logger.warning("champion %s is not compared: %s", champion.reference, not_compared)
            of_champion = ChampionMetrics(reference=champion.reference, not_compared=not_compared)
        elif champion is not None:
            of_champion, by_champion = evaluate_champion(champion, run)
    with timer("baselines"):
        baselines = evaluate_baselines(split_of(examples, "train"), test, predictions)
        beside = _labels_beside(run, data, label_only)
        encoder = None
        if config.encoder_baseline is not None and len(split_of(examples, "train")):
            beside[Comparator.ENCODER], encoder = encoder_baseline(examples, test, data.labels, config.encoder_baseline)
    others = baselines.predictions | {name: predictions.with_labels(labels) for name, labels in beside.items()}
    if by_champion is not None:
        others[Comparator.CHAMPION] = by_champion
    decoding = predictor.config.label_decoding
    metrics = Metrics(
        num_rows=len(test),
        decoding=decoding,
        method=predictor.method.name,
        num_parameters=predictor.num_parameters,
        engine=None if config.engine == "torch" else config.engine,
        external=external,
        seen_rows=unseen.counts,
        label=label_metrics(predictions),
        other_decoding=OtherDecoding(
            decoding="free" if decoding == "constrained" else "constrained",
            label=label_metrics(predictions.with_labels([decision.other_label for decision in decisions])),
        ),
        baselines=baselines.metrics | {name: label_metrics(others[name]) for name in beside},
        encoder_baseline=encoder,
        differences={
            name: difference_to_chances(predictions, chances, config.intervals)
            for name, chances in baselines.chances.items()
        },
        champion=of_champion,
    )
    with timer("label_metrics"):
        fitted = _fit_calibration(run, predictor, read_calibration(model_folder))
        metrics = evaluate_labels(run, metrics, predictions, others, fitted)
    with timer("rationale_metrics"):
        metrics, flags, scores = evaluate_rationales(run, metrics, predictor, predictions, by_champion)
        if Comparator.LINEAR_MODEL in others and predictor.method.explains:
            train, from_notes = split_of(examples, "train"), others[Comparator.LINEAR_MODEL]
            explained = by_champion is not None and any(map(str.strip, by_champion.rationales))
            read = outside_reader(
                train, predictions, run.texts, from_notes, config.intervals, by_champion if explained else None
            )
            if read is not None:
                metrics = replace(metrics, outside_reader=read.model)
            if read is not None and read.champion is not None and metrics.champion is not None:
                compared = replace(
                    metrics.champion, outside_reader=read.champion, outside_reader_difference=read.difference
                )
                metrics = replace(metrics, champion=compared)
    if rated is not None:
        with timer("label_metrics"):
            of_raters = raters_metrics(rated, predictions, LabelStatistics.of(data.labels), config.intervals)
        metrics = replace(metrics, raters=of_raters)
    if stress is not None:
        with timer("stress"):
            decide = partial(predictor.decide, batch_size=config.batch_size)
            stressed = stress_metrics(
                stress, decide, _label_decoder(predictor, config.batch_size), predictions, run.texts, run.checker,
                config.intervals, explains=predictor.method.explains,
            )  # fmt: skip
        metrics = replace(metrics, stress=stressed)
    calibration = calibration_of(metrics)
    table = predictions_table(predictions, test, calibration=calibration, flags=flags, scores=scores)
    with timer("judge"):
        judgement = _judge(predictions, run, privacy, work_dir)
    remarks = {"remarks": list(judge_remarks)} if config.judge else {}
    metrics = replace(metrics, judge={**judgement.metrics, **remarks})
    with timer("report"):
        metrics = replace(metrics, cohort=cohort_of(run))
        rows = choose_rows(
            test, predictions, table, run.checker, calibration=calibration, ordered=data.labels.is_ordered,
            max_missed=config.safety.num_worst_cases,
        )  # fmt: skip
        start, scratch = predictor.config.name, predictor.config.scratch
        start = f"{start} (vocabulary: {scratch.vocabulary})" if start == "scratch" else start
        report = render_report(run, metrics, rows, data, start)
    return Evaluation(metrics, table, report, judgement, timer.seconds())


def _predictor(model_folder: Path, engine: EvaluatedEngine) -> Predictor:
    """The model, run by an engine; of an exported folder its own, whatever is asked for."""
    if engine == "torch" or is_exported(model_folder):
        return Predictor(model_folder, calibrated=False)
    with TemporaryDirectory() as scratch:  # the engine holds what it has read
        folder = Path(scratch) / "exported"
        export_model(model_folder, folder, quantization="int8" if engine == "ctranslate2_int8" else "none")
        return Predictor(folder, calibrated=False)


def _labels_beside(run: EvaluationRun, data: DataConfig, label_only: Path | None) -> dict[Comparator, Sequence[str]]:
    """Labels of the test rows by the model of the labels alone, and of invented calls by the rule behind them."""
    labels: dict[Comparator, Sequence[str]] = {}
    if label_only is not None:
        decoder = _label_decoder(Predictor(label_only, calibrated=False), run.config.batch_size)
        labels[Comparator.LABEL_ONLY] = decoder(run.texts, run.options)
    if data.format == "synthetic_triage":
        by_rule = rule_labels(data.synthetic)
        labels[Comparator.CEILING] = [by_rule[row_id] for row_id in run.test["id"].to_pylist()]
    return labels


def _why_other_labels(champion: Champion, labels: LabelsConfig) -> str | None:
    """Why a champion that decides between other labels is not compared; None for one of the same labels."""
    its_labels = read_model_facts(champion.folder).labels
    if (its_labels.per_row, set(its_labels.names)) == (labels.per_row, set(labels.names)):
        return None
    return f"it decides between other labels ({', '.join(its_labels.names) or 'options of the rows'})"


def evaluate_champion(champion: Champion, run: EvaluationRun) -> tuple[ChampionMetrics, Predictions]:
    """Let the champion predict and explain the test rows, and measure it as the model is measured.

    Raises:
        ModelError: its folder holds no model that can decide.
    """
    predictor, labels, batch_size = Predictor(champion.folder), run.labels, run.config.batch_size
    logger.info("evaluation: champion %s decides the same %d rows", champion.reference, len(run.test))
    decisions = predictor.decide(run.texts, run.options, batch_size=batch_size)
    predictions = Predictions.of_decisions(run.test, decisions, labels)
    metrics = ChampionMetrics(
        reference=champion.reference,
        label=label_metrics(predictions),
        under_triage_rate=float((predictions.levels > 0).mean()) if labels.ordered else None,
        over_triage_rate=float((predictions.levels < 0).mean()) if labels.ordered else None,
    )
    if predictor.method.explains:
        scores = rationale_scores(predictions.gold_rationales, predictions.rationales, run.config)
        alignment = alignment_metrics(LabelReader(_label_decoder(predictor, batch_size)), predictions)
        metrics = replace(metrics, rationale=overlap_metrics(scores), alignment=alignment)
    return metrics, predictions


def _label_decoder(predictor: Predictor, batch_size: int) -> PredictLabels:
    """Texts and their options -> labels, in the decoding of the headline."""
    return partial(predictor.decode_labels, decoding=predictor.config.label_decoding, batch_size=batch_size)


def _fit_calibration(run: EvaluationRun, predictor: Predictor, stored: Calibration | None) -> FittedCalibration | None:
    """Temperature and threshold from the calibration rows, else from the validation rows, else those of an earlier
    evaluation. None for rows with options of their own."""
    if run.labels.per_row:
        return None
    tables = {split: split_of(run.examples, split) for split in CHOOSING_SPLITS}
    split = next((split for split, rows in tables.items() if len(rows)), None)
    if split is None:
        return None if stored is None else FittedCalibration.from_model(stored)
    rows = tables[split]
    logger.info("evaluation: %d %s rows choose temperature and threshold", len(rows), split)
    with run.timer("validation_labels"):
        decisions = predictor.decide(rows["text"].to_pylist(), batch_size=run.config.batch_size, explain=False)
    predictions = Predictions.of_decisions(rows, decisions, run.labels)
    config = run.config
    return FittedCalibration.fit(
        predictions, ordered=run.labels.is_ordered, config=config.selective, split=split, sets=config.label_sets
    )


def evaluate_labels(
    run: EvaluationRun,
    metrics: Metrics,
    predictions: Predictions,
    others: Mapping[Comparator, Predictions],
    fitted: FittedCalibration | None,
) -> Metrics:
    """Add intervals, differences, ranking, safety, calibration, threshold and slices to the metrics; where rows have
    options of their own, the intervals and differences alone.

    Args:
        predictions: of the test rows, probabilities not scaled.
        others: the same rows as the baselines and the champion predicted them.
    """
    labels, config = run.labels, run.config
    if labels.per_row:
        statistics = LabelStatistics.of(labels)
        differences = {
            name: label_intervals(predictions, statistics, config.intervals, minus=other)
            for name, other in others.items()
        }
        return replace(
            metrics,
            intervals=label_intervals(predictions, statistics, config.intervals),
            differences={**metrics.differences, **differences},
        )
    scaled, calibration, selective, sets = predictions, None, None, None
    slices, left_out = divide_rows(predictions, run.test, config.slices)
    if fitted is not None:
        scaled, num_bins = scale(predictions, fitted.temperature), config.calibration.num_bins
        calibration = CalibrationResult(
            temperature=fitted.temperature,
            before=calibration_metrics(predictions.probabilities, predictions.gold, num_bins, predictions.groups),
            after=calibration_metrics(scaled.probabilities, predictions.gold, num_bins, predictions.groups),
            slopes=calibration_slopes(
                scaled, slices, ordered=labels.is_ordered, confidence=config.intervals.confidence
            ),
        )
        selective = evaluate_threshold(scaled, fitted.threshold, config.intervals)
        if fitted.label_thresholds is not None:
            sets = label_sets(scaled, fitted.label_thresholds, ordered=labels.is_ordered, interval=config.intervals)
    matrix = config.safety.cost_matrix(labels.names)
    costs = None if matrix is None else np.array(matrix)
    statistics = LabelStatistics.of(labels, costs)
    of_slices = slice_metrics(scaled, slices, statistics, config.slices, config.intervals, left_out=left_out)
    apart = heterogeneity(
        scaled, slices, config.slices.pooled, ordered=labels.is_ordered, confidence=config.intervals.confidence
    )
    champion, num_worst_cases = others.get(Comparator.CHAMPION), config.safety.num_worst_cases
    return replace(
        metrics,
        intervals=label_intervals(scaled, statistics, config.intervals),
        differences={
            name: label_intervals(scaled, statistics, config.intervals, minus=other) for name, other in others.items()
        },
        ranking=ranking_metrics(scaled, ordered=labels.is_ordered),
        safety=safety_metrics(scaled, costs=costs, num_worst_cases=num_worst_cases) if labels.ordered else None,
        calibration=calibration,
        selective=selective,
        operating_points=operating_points(scaled, statistics, config.operating_points, config.intervals)
        if labels.ordered
        else None,
        label_sets=sets,
        slices=replace(of_slices, heterogeneity=apart),
        champion_slices=None
        if champion is None
        else slice_differences(scaled, champion, slices, statistics, config.slices, config.intervals),
    )


def evaluate_rationales(
    run: EvaluationRun,
    metrics: Metrics,
    predictor: Predictor,
    predictions: Predictions,
    by_champion: Predictions | None,
) -> tuple[Metrics, list[list[str]], dict[str, list[float | None]]]:
    """Add what is measured of rationales: likeness to the references, quality, alignment with the label, flip test;
    and the claims of the champion's, if it writes any.

    Args:
        predictions: of the test rows; by_champion: the same rows as the champion decided and explained them.

    Returns:
        the metrics, the faults of each rationale, and each of `TABLE_SCORES` -> of each row. For a method that writes
        no rationale, the metrics as they are, no faults and no scores.
    """
    config, method = run.config, predictor.method
    if not method.explains:
        return metrics, [[]] * len(predictions), {name: [None] * len(predictions) for name in TABLE_SCORES}

    # Wording and meaning, beside the references
    scores = rationale_scores(
        predictions.gold_rationales, predictions.rationales, config, bertscore_timer=run.timer("bertscore")
    )
    intervals = rationale_intervals(scores, predictions.correct, predictions.groups, config.intervals)
    rationale = replace(rationale_metrics(scores, predictions.correct), intervals=intervals)

    # By themselves and beside the notes
    def count_tokens(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in predictor.tokenizer(list(texts)).input_ids]

    checker = run.checker
    references = replace(predictions, predicted_labels=predictions.gold_labels, rationales=predictions.gold_rationales)
    claims, claims_of_references = (claims_of(rows, run.texts, checker) for rows in (predictions, references))
    quality, flags = rationale_quality(
        predictions, run.texts, count_tokens=count_tokens, max_tokens=predictor.config.max_rationale_tokens - 1,
        claims=claims, findings=checker.findings,
    )  # fmt: skip
    if metrics.champion is not None and by_champion is not None and any(map(str.strip, by_champion.rationales)):
        theirs = claims_of(by_champion, run.texts, checker)
        champion = replace(
            metrics.champion,
            claims=claim_metrics(by_champion, theirs, config.intervals),
            claims_difference=claim_differences(predictions, claims, by_champion, theirs, config.intervals),
        )
        metrics = replace(metrics, champion=champion)
    quality_of_references, _ = rationale_quality(
        references, run.texts, count_tokens=count_tokens, claims=claims_of_references, findings=checker.findings
    )

    # Beside the label, by asking the model again
    read_label = LabelReader(run.timer("labels_of_rationales")(_label_decoder(predictor, config.batch_size)))
    explain = run.timer("flipped_rationales")(partial(predictor.explain, batch_size=config.batch_size))
    metrics = replace(
        metrics,
        rationale=rationale,
        written_quality={"model": quality, "reference": quality_of_references},
        claims={
            "model": claim_metrics(predictions, claims, config.intervals),
            "reference": claim_metrics(references, claims_of_references, config.intervals),
        },
        alignment=alignment_metrics(read_label, predictions),
        masked_alignment=masked_alignment(read_label, predictions),
        flip_test=flip_test(explain, read_label, predictions, run.texts, max_rows=config.flip_test_rows)
        if method.explains_the_label
        else FlipTest(),
    )
    return metrics, flags, {name: scores.column(name) for name in TABLE_SCORES}


def _judge(predictions: Predictions, run: EvaluationRun, privacy: PrivacyConfig, work_dir: Path | None) -> Judgement:
    """Scores by the judge, where one is configured."""
    config = run.config
    if config.judge is None:
        return not_judged()
    if work_dir is None:
        raise ConfigError("evaluation.judge: its answers need a folder to be kept in; give one as work_dir")
    rubric = load_rubric(Path(config.judge.rubric))
    rows = judged_rows(predictions, run.texts)
    return judge_rationales(rows, rubric, config.judge, work_dir, privacy=privacy, interval=config.intervals)
