"""Invented evaluations for the tests of the report: notes, decisions and rationales of three systems, measured by the
project's own metrics. Nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import pyarrow as pa

from r2d.config.data import DataConfig, LabelsConfig
from r2d.config.evaluation import EvaluationConfig, IntervalsConfig, SafetyConfig, SelectiveConfig
from r2d.data.examples import Example, to_table, with_columns
from r2d.data.reading import Reading
from r2d.evaluation.alignment import LabelReader, alignment_metrics, flip_test, masked_alignment
from r2d.evaluation.baselines import evaluate_baselines
from r2d.evaluation.calibration import FittedCalibration, calibration_of
from r2d.evaluation.cohort import cohort_of
from r2d.evaluation.evaluate import evaluate_labels
from r2d.evaluation.judge.agreement import HumanScore, human_agreement, score_controls
from r2d.evaluation.judge.judge import not_judged
from r2d.evaluation.judge.questions import judged_rows
from r2d.evaluation.judge.rubric import load_rubric
from r2d.evaluation.judge.scores import Vote, criterion_metrics, parse_rate, row_scores
from r2d.evaluation.label_metrics import LabelStatistics, difference_to_chances, label_metrics
from r2d.evaluation.metrics import ChampionMetrics, Metrics
from r2d.evaluation.outside_reader import outside_reader
from r2d.evaluation.predictions import Predictions, predictions_table
from r2d.evaluation.raters import NO_LABEL, RaterLabels, raters_metrics
from r2d.evaluation.rationale_claims import claim_differences, claim_metrics, claims_of
from r2d.evaluation.rationale_metrics import rationale_intervals, rationale_metrics, rationale_scores
from r2d.evaluation.rationale_quality_metrics import rationale_quality
from r2d.evaluation.report import QuotedRows, choose_rows, render_report
from r2d.evaluation.run import EvaluationRun
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.labels import Comparator, OtherDecoding, TriageErrors
from r2d.evaluation.sections.raters import RatersResult
from r2d.evaluation.sections.rationales import FlipTest
from r2d.evaluation.sections.rows import SeenRows
from r2d.evaluation.sections.stress import SentenceDeletion, StressEdit, StressResult
from r2d.llm.answers import Tokens
from r2d.modeling.overlap import Overlap
from r2d.rationales.claims import ClaimChecker
from tests.evaluation.judge.judged import SHIPPED

LABELS = ("emergency now", "same day", "within three days", "self care")
FINDINGS = ("chest pain with shortness of breath", "a fever of 39.4", "an ankle sprain", "a sore throat")
ADVICE = (
    "can be a threat to life, so that the caller needs an ambulance",
    "should be examined before the evening",
    "can wait for an appointment and gets worse slowly",
    "passes by itself with fluids and rest",
)
COSTS = {
    gold: {label: float((4 * (j - i)) if j > i else (i - j)) for j, label in enumerate(LABELS) if label != gold}
    for i, gold in enumerate(LABELS)
}
CHECKER = ClaimChecker.of()
CONFIG = EvaluationConfig(intervals=IntervalsConfig(num_resamples=1_000), safety=SafetyConfig(costs=COSTS))
STRESS = StressResult(
    file="configs/stress/triage.yaml", num_rows=240, num_decisions=930,
    edits=(
        StressEdit(
            name="a denied finding is reported", group="findings", expects="not less urgent", num_rows=120,
            num_broken=6, num_changed=40, num_about_finding=120, num_named=90,
            intervals={
                "broken_share": IntervalEstimate(0.05, 0.02, 0.1, "bca"), "changed_share": IntervalEstimate(0.333),
                "named_share": IntervalEstimate(0.75, 0.67, 0.82, "bca"),
                "named_if_changed_share": IntervalEstimate(0.9, 0.78, 0.97, "bca"),
            },
        ),
        StressEdit(
            name="a relative plays it down", group="what others say", expects="not less urgent", num_rows=240,
            num_broken=0, num_changed=12, num_about_finding=0, num_named=0,
            intervals={
                "broken_share": IntervalEstimate(0.0, 0.0, 0.015, "exact"), "changed_share": IntervalEstimate(0.05),
                "named_share": IntervalEstimate(None), "named_if_changed_share": IntervalEstimate(None),
            },
        ),
    ),
    broken_by_group={
        "findings": IntervalEstimate(0.05, 0.02, 0.1, "bca"),
        "what others say": IntervalEstimate(0.0, 0.0, 0.015, "exact"),
    },
    sentences=SentenceDeletion(
        num_rows=190, num_left_out=50,
        intervals={
            "comprehensiveness": IntervalEstimate(0.41, 0.36, 0.46, "bca"),
            "sufficiency": IntervalEstimate(0.03, 0.01, 0.05, "bca"),
            "other_sentences": IntervalEstimate(0.08, 0.05, 0.11, "bca"),
        },
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What a report is made from."""

    run: EvaluationRun
    metrics: Metrics
    rows: QuotedRows
    data: DataConfig
    start_model: str = "google/flan-t5-base"

    def html(self) -> str:
        metrics = replace(self.metrics, cohort=cohort_of(self.run))
        return render_report(self.run, metrics, self.rows, self.data, self.start_model)


Written = tuple[dict[str, Any], list[list[str]]]


@cache
def invent_notes(num_rows: int, split: str) -> pa.Table:
    """Notes of two or three calls a person."""
    draw = np.random.default_rng(5 if split == "test" else 6)
    gold = draw.choice(4, num_rows, p=(0.14, 0.3, 0.31, 0.25))
    examples = []
    for row, label in enumerate(gold):
        days, age = int(draw.integers(2, 5)), int(draw.integers(18, 90))
        filler = " Caller rings for the second time and lives alone." * int(draw.integers(0, 3))
        rationale = f"{FINDINGS[label]} for {days} days {ADVICE[label]}.".capitalize()
        examples.append(
            Example(
                id=f"call-{row:04d}",
                text=f"{age} y, {days} days of {FINDINGS[label]}. Denies allergies.{filler}",
                label=LABELS[label],
                rationale="" if row % 20 == 7 else rationale,
                rationale_source="" if row % 20 == 7 else ("clinician" if row % 3 else "language model"),
                group=f"p{draw.integers(num_rows // 2)}",
                split=split,
                attributes={
                    "sex": str(draw.choice(["female", "male"])),
                    "age band": "under 40" if age < 40 else "40 to 64" if age < 65 else "65 and over",
                    "site": str(draw.choice(["north", "south", "harbour clinic"], p=(0.5, 0.42, 0.08))),
                },
            )
        )
    return to_table(examples)


@cache
def invent_predictions(seed: int, num_rows: int = 240, *, accuracy: float, split: str = "test") -> Predictions:
    """Decisions of which about `accuracy` are right, too sure of themselves, with a rationale for each."""
    notes, draw = invent_notes(num_rows, split), np.random.default_rng(seed)
    gold = np.array([LABELS.index(label) for label in notes["label"].to_pylist()])
    scores = draw.normal(0.0, 1.0, (num_rows, 4)) - 0.35 * abs(np.arange(4)[None, :] - gold[:, None])
    scores[np.arange(num_rows), gold] += 3.2 * accuracy - 0.9
    bold = np.exp(2.4 * scores)
    shares, predicted = bold / bold.sum(axis=1, keepdims=True), bold.argmax(axis=1)
    rationales = []
    for row, (note, label) in enumerate(zip(notes["text"].to_pylist(), predicted, strict=True)):
        finding, days = FINDINGS[gold[row]], int(note.split()[2])
        faulty = {
            3: "",
            4: f"{finding} {ADVICE[label]}.",
            5: f"{finding} for {days + 20} days {ADVICE[label]}.",
            8: f"{finding} and vomiting {ADVICE[label]}.",
            9: f"no {finding} {ADVICE[label]}.",
            10: f"{finding} and allergies {ADVICE[label]}.",
            11: f"{finding} needs {LABELS[(label + 1) % 4]} and not {LABELS[label]}.",
        }
        rationales.append(faulty.get(row % 24, f"{finding} for {days} days {ADVICE[label]}.").capitalize())
    return Predictions(
        ids=notes["id"].to_pylist(),
        gold_labels=notes["label"].to_pylist(),
        predicted_labels=["ask a nurse" if row % 60 == 13 else LABELS[label] for row, label in enumerate(predicted)],
        labels=LABELS,
        group_names=notes["group"].to_pylist(),
        probabilities=shares,
        label_probabilities=[dict(zip(LABELS, row, strict=True)) for row in shares.tolist()],
        gold_rationales=notes["rationale"].to_pylist(),
        rationales=rationales,
    )


def predict_labels(texts: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
    """The label whose advice, or else whose finding, a text holds: a model that reads words."""
    labels = []
    for text, names in zip(texts, options, strict=True):
        advised = [place for place, advice in enumerate(ADVICE) if advice in text and place < len(names)]
        found = [place for place, finding in enumerate(FINDINGS) if finding in text.lower() and place < len(names)]
        labels.append(names[(advised or found or [0])[0]])
    return labels


def explain(texts: Sequence[str], labels: Sequence[str]) -> list[str]:
    """A rationale for each label, right or wrong."""
    findings = (next((finding for finding in FINDINGS if finding in text), "this") for text in texts)
    advice = (ADVICE[LABELS.index(label)] if label in LABELS else "is so" for label in labels)
    return [f"{finding} {words}.".capitalize() for finding, words in zip(findings, advice, strict=True)]


def num_tokens(texts: Sequence[str]) -> list[int]:
    return [len(text) // 4 + 1 for text in texts]


def measure_rationales(predictions: Predictions, texts: Sequence[str]) -> Written:
    """The metrics of a method that writes rationales, by their names in `Metrics`, and the faults of each row."""
    scores = rationale_scores(predictions.gold_rationales, predictions.rationales, CONFIG)
    intervals = rationale_intervals(scores, predictions.correct, predictions.groups, CONFIG.intervals)
    references = replace(predictions, predicted_labels=predictions.gold_labels, rationales=predictions.gold_rationales)
    claims, of_references = (claims_of(rows, texts, CHECKER) for rows in (predictions, references))
    quality, flags = rationale_quality(predictions, texts, count_tokens=num_tokens, max_tokens=60, claims=claims)
    read_label = LabelReader(predict_labels)
    sections = {
        "rationale": replace(rationale_metrics(scores, predictions.correct), intervals=intervals),
        "written_quality": {
            "model": quality,
            "reference": rationale_quality(references, texts, count_tokens=num_tokens, claims=of_references)[0],
        },
        "claims": {
            "model": claim_metrics(predictions, claims, CONFIG.intervals),
            "reference": claim_metrics(references, of_references, CONFIG.intervals),
        },
        "alignment": alignment_metrics(read_label, predictions),
        "masked_alignment": masked_alignment(read_label, predictions),
        "flip_test": flip_test(explain, read_label, predictions, texts, max_rows=100),
    }
    return sections, flags


@cache
def rationales_of(seed: int, accuracy: float) -> Written:
    """`measure_rationales` of `invent_predictions`."""
    texts = invent_notes(240, "test")["text"].to_pylist()
    return measure_rationales(invent_predictions(seed, accuracy=accuracy), texts)


def judged(notes: pa.Table, predictions: Predictions) -> dict[str, Any]:
    """The metrics of a judge that now and then wrote no score, beside a person who never scored safety."""
    rubric, draw = load_rubric(SHIPPED), np.random.default_rng(3)
    rows = [row for row in judged_rows(predictions, notes["text"].to_pylist()) if row.rationale][:38]
    votes, people = [], []
    for row in rows:
        stated: dict[tuple[str, int], Any] = {}
        for criterion in rubric.criteria:
            level = int(draw.integers(2, 6))
            for vote in range(3):
                score = int(np.clip(level + draw.integers(-1, 2), 1, 5))
                stated[criterion.id, vote] = "no_number" if draw.random() < 0.03 else score
            if criterion.id != "safety":
                score = int(np.clip(level + draw.integers(-1, 2), 1, 5))
                people.append(HumanScore(row.id, criterion.id, score, "A", None))
        for vote in range(3):
            order = (*rubric.criteria[vote:], *rubric.criteria[:vote])
            votes.append(Vote(row.id, {each.id: stated[each.id, vote] for each in order}, Tokens(900, 60)))
    scored = row_scores(rows, {}, rubric, votes)
    people += [
        replace(score, rater="B", score=min(score.score + place % 2, 5)) for place, score in enumerate(people[:40])
    ]
    second = [HumanScore(item.row.id, item.criterion.id, 6 - n, "other") for item in scored[:60] for n in item.numbers]
    num = len(votes)
    return {
        "status": "judged", "reason": None, "model": "toy-judge", "votes": 3,
        "remarks": ["the judge 'toy-judge' is of the family of the second judge, 'other-judge'"],
        "rubric": {"name": rubric.name, "hash": rubric.hash},
        "num_rows": len(predictions), "num_chosen": len(rows), "not_sent": {"empty_rationale": 2},
        "requests": {
            "num": num, "num_answered": num - 2, "num_refused": 1, "num_without_answer": 1,
            "prompt_tokens": 1_234_567, "output_tokens": 65_432, "cost": 1.25,
        },
        "parse": parse_rate(scored),
        "criteria": criterion_metrics(scored, rubric, CONFIG.intervals),
        "controls": score_controls(scored, rubric, CONFIG.intervals),
        "human_agreement": human_agreement(people, scored, rubric, CONFIG.intervals),
        "second_judge": {
            "model": "other-judge", "requests": {"num": num, "num_answered": num - 2},
            "agreement": human_agreement(second, scored, rubric, CONFIG.intervals, others="the second judge"),
        },
    }  # fmt: skip


def published(
    predictions: Predictions, test: pa.Table, flags: list[list[str]] | None = None, **values: Any
) -> pa.Table:
    """The table of `PREDICTIONS_SCHEMA`, without scores of rationales."""
    scores = dict.fromkeys(("paper_bleu", "rouge_l", "bertscore_f1"), [None] * len(test))
    return predictions_table(predictions, test, flags=flags or [[]] * len(test), scores=scores, **values)


def raters_of(predictions: Predictions, *, ordered: bool) -> RatersResult:
    """Three people, who label two notes of three and mostly agree; the first two never the same note."""
    draw, num_rows = np.random.default_rng(4), len(predictions)
    labels = np.stack([np.clip(predictions.gold + draw.choice((-1, 0, 0, 0, 1), num_rows), 0, 3) for _ in range(3)], 1)
    labels[::2, 0], labels[1::2, 1] = NO_LABEL, NO_LABEL
    labels[draw.random(num_rows) < 0.3] = NO_LABEL
    rated = RaterLabels("raters.csv", ("nurse a", "nurse b", "physician"), labels, 12)
    return raters_metrics(rated, predictions, LabelStatistics(4, ordered), CONFIG.intervals)


def seen_rows(*, champion: bool) -> SeenRows:
    """250 test rows, of which the champion had seen ten."""
    none = Overlap(
        num_rows=250,
        num_seen=0,
        num_same_row=0,
        num_same_text=0,
        num_same_group=0,
        num_with_group=250,
        finds_near_copies=True,
    )
    if not champion:
        return SeenRows(policy="refuse", num_dropped=0, model=none)
    ten = replace(none, num_seen=10, num_same_row=6, num_same_text=7, num_same_group=10)
    return SeenRows(
        policy="refuse", num_dropped=10, model=none, champion_reference="reason2decide/3", champion=ten
    )  # fmt: skip


@cache
def declared_case(
    *, ordered: bool = True, champion: bool = True, explains: bool = True, validation: bool = True
) -> Case:
    """Labels declared for all rows; with a champion that is a little worse. Without rationales each label has a
    threshold of its own."""
    source = {"format": "csv", "path": "calls.csv"} if explains else {"format": "synthetic_triage"}
    data = DataConfig.model_validate({**source, "labels": {"names": LABELS, "ordered": ordered}})
    config = CONFIG if ordered else CONFIG.model_copy(update={"safety": SafetyConfig()})
    if not explains:
        config = config.model_copy(update={"selective": SelectiveConfig(max_risk=0.06, per="label", too_few="common")})
    examples = pa.concat_tables([invent_notes(400, "validation"), invent_notes(240, "test")])
    reading = Reading(
        num_read=667, left_out={"of forgotten groups": 15}, num_quarantined=12,
        quarantined={"no_text": 9, "unknown_label": 4},
    )  # fmt: skip
    run = EvaluationRun(reading.attached_to(examples), data.labels, config)
    predictions, before = invent_predictions(1, accuracy=0.8), invent_predictions(2, accuracy=0.66)
    others = {
        Comparator.MAJORITY_CLASS: predictions.with_labels(["within three days"] * len(predictions)),
        Comparator.LINEAR_MODEL: predictions.with_labels(invent_predictions(3, accuracy=0.45).predicted_labels),
    }
    baselines = {name: label_metrics(other) for name, other in others.items()}
    free = predictions.with_labels(invent_predictions(7, accuracy=0.76).predicted_labels)
    written, flags = rationales_of(1, 0.8) if explains else ({}, [[]] * len(predictions))
    if explains:
        train, from_notes = invent_notes(400, "validation"), others[Comparator.LINEAR_MODEL]
        read = outside_reader(train, predictions, run.texts, from_notes, config.intervals, before if champion else None)
        written = {**written, "outside_reader": read.model}
    of_champion = None
    if champion:
        others[Comparator.CHAMPION] = before
        by_champion = rationales_of(2, 0.66)[0] if explains else None
        of_champion = ChampionMetrics(
            reference="reason2decide/3",
            label=label_metrics(before),
            under_triage_rate=float((before.levels > 0).mean()),
            over_triage_rate=float((before.levels < 0).mean()),
            rationale=by_champion["rationale"].populations.all if by_champion else None,
            alignment=by_champion["alignment"] if by_champion else None,
        )
    if of_champion and explains:
        claims, theirs = (claims_of(rows, run.texts, CHECKER) for rows in (predictions, before))
        of_champion = replace(
            of_champion,
            claims=by_champion["claims"]["model"],
            claims_difference=claim_differences(predictions, claims, before, theirs, CONFIG.intervals),
            outside_reader=read.champion,
            outside_reader_difference=read.difference,
        )
    metrics = Metrics(
        num_rows=len(predictions),
        decoding="constrained",
        method="r2d" if explains else "sft",
        num_parameters=247_577_856,
        seen_rows=seen_rows(champion=champion),
        label=label_metrics(predictions),
        other_decoding=OtherDecoding(decoding="free", label=label_metrics(free)),
        baselines=baselines,
        champion=of_champion,
        **written,
        stress=STRESS if explains and champion else None,
        raters=raters_of(predictions, ordered=ordered) if explains else None,
        judge=judged(run.test, predictions) if explains and champion else not_judged().metrics,
    )
    fitted = None
    if validation:
        on_validation = invent_predictions(4, 400, accuracy=0.8, split="validation")
        fitted = FittedCalibration.fit(on_validation, ordered=ordered, config=config.selective)
    metrics = evaluate_labels(run, metrics, predictions, others, fitted)
    shown = predictions if explains else replace(predictions, rationales=[""] * len(predictions))
    table = published(shown, run.test, flags, calibration=calibration_of(metrics))
    calibration = calibration_of(metrics)
    rows = choose_rows(run.test, predictions, table, CHECKER, calibration=calibration, ordered=ordered, max_missed=20)
    return Case(run, metrics, rows, data)


@cache
def per_row_case() -> Case:
    """Each row with options of its own, of which the first is always right in training."""
    examples = invent_notes(240, "test").slice(0, 40)
    gold = examples["label"].to_pylist()
    options = [[label, f"not {label} <b>", "wait"] for label in gold]
    examples = with_columns(examples, options=options)
    invented = invent_predictions(1, accuracy=0.8)
    predictions = Predictions(
        ids=invented.ids[:40],
        gold_labels=gold,
        predicted_labels=[label if row % 4 else "wait" for row, label in enumerate(gold)],
        row_options=options,
        group_names=invented.group_names[:40],
        label_probabilities=[dict.fromkeys(names, 1 / 3) for names in options],
        gold_rationales=invented.gold_rationales[:40],
        rationales=invented.rationales[:40],
    )
    written, flags = measure_rationales(predictions, examples["text"].to_pylist())
    baselines = evaluate_baselines(examples, examples, predictions)
    metrics = Metrics(
        num_rows=40,
        decoding="constrained",
        method="r2d_c",
        num_parameters=77_000_000,
        label=label_metrics(predictions),
        other_decoding=OtherDecoding(decoding="free", label=label_metrics(predictions.with_labels(["wait"] * 40))),
        baselines=baselines.metrics,
        differences={
            name: difference_to_chances(predictions, chances, CONFIG.intervals)
            for name, chances in baselines.chances.items()
        },
        **written,
        judge=not_judged().metrics,
    )
    columns = {"options": "options"}
    data = DataConfig(format="jsonl", path="questions.jsonl", labels=LabelsConfig(per_row=True), columns=columns)
    run = EvaluationRun(examples, data.labels, CONFIG)
    table = published(predictions, examples, flags)
    rows = choose_rows(examples, predictions, table, CHECKER, ordered=False, max_missed=20)
    return Case(run, evaluate_labels(run, metrics, predictions, {}, None), rows, data)


@cache
def rare_case() -> Case:
    """What a page rarely says: no error seen, no threshold, no comparison, an undefined metric, a judge that failed."""
    case = declared_case()
    metrics = case.metrics
    nothing = TriageErrors(num_rows=0, rate=0.0, by_levels={})
    names = ("mcc", "quadratic_weighted_kappa", "auroc macro")
    no_threshold = "no threshold reaches it: the lowest upper bound among 20 coverages is 0.1200, max_risk is 0.05"
    linear = metrics.differences[Comparator.LINEAR_MODEL]
    ward = {"attributes.ward": "31 values, evaluation.slices.max_values is 30"}
    temperature = replace(metrics.calibration.temperature, value=0.7, at_limit=True)
    metrics = replace(
        metrics,
        seen_rows=SeenRows(policy="refuse", num_dropped=0, model=None),
        safety=replace(metrics.safety, under_triage=nothing, worst_cases=(), num_invalid=0, mean_cost=None),
        intervals=replace(metrics.intervals, under_triage_rate=IntervalEstimate(0.0, 0.0, 0.088, "exact")),
        ranking=replace(
            metrics.ranking, mcc=None, quadratic_weighted_kappa=None, auroc=replace(metrics.ranking.auroc, macro=None),
            undefined=dict.fromkeys(names, "all gold rows have one label"),
        ),
        calibration=replace(metrics.calibration, temperature=temperature),
        selective=replace(metrics.selective, threshold=None, reason=no_threshold, test=None),
        champion=ChampionMetrics(reference="r2d/7", not_compared="it decides between other labels (a, b)"),
        champion_slices=None,
        differences={
            Comparator.MAJORITY_CLASS: replace(linear, under_triage_rate=IntervalEstimate(0.1, 0.05, 0.2, "bca")),
            Comparator.LINEAR_MODEL: replace(linear, under_triage_rate=IntervalEstimate(0.1, -0.1, 0.2, "bca")),
        },
        slices=replace(metrics.slices, left_out=ward),
        flip_test=FlipTest(num_without_other_label=240),
        judge=not_judged("the endpoint is down").metrics,
    )  # fmt: skip
    return replace(case, rows=QuotedRows(), metrics=metrics)


CASES = {
    "whole": declared_case,
    "per_row": per_row_case,
    "sft": partial(declared_case, explains=False, champion=False),
    "unordered": partial(declared_case, ordered=False, champion=False, validation=False),
    "rare": rare_case,
}
"""Name -> a page that must be good to look at."""
