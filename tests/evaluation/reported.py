"""An invented evaluation for the tests of the report: notes, decisions and rationales of three systems, measured by the
project's own figures. Nothing is trained.

python -m tests.evaluation.reported FOLDER writes the pages, to be looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import EvaluationConfig, IntervalsConfig, SafetyConfig
from r2d.data.examples import Example, to_table
from r2d.evaluation.alignment import alignment_metrics, flip_test, masked_alignment
from r2d.evaluation.baselines import evaluate_baselines
from r2d.evaluation.calibration import FittedCalibration
from r2d.evaluation.evaluate import evaluate_labels
from r2d.evaluation.judge.agreement import HumanScore, human_agreement
from r2d.evaluation.judge.judge import Judgement, JudgeMetrics, RequestCounts, not_judged
from r2d.evaluation.judge.questions import JudgedRow
from r2d.evaluation.judge.rubric import load_rubric
from r2d.evaluation.judge.scores import ParseRate, Vote, criterion_metrics, row_scores, scores_table
from r2d.evaluation.label_metrics import label_metrics
from r2d.evaluation.metrics import ChampionMetrics, Comparator, Metrics, OtherDecoding
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.rationale_metrics import rationale_intervals, rationale_metrics, rationale_scores
from r2d.evaluation.rationale_quality_metrics import rationale_quality
from r2d.evaluation.report import ReportFacts, render_report
from r2d.evaluation.run import EvaluationRun
from r2d.label_scores import FloatArray
from r2d.llm.answers import Tokens
from tests.evaluation.judge.judged import SHIPPED

LABELS = ("emergency now", "same day", "within three days", "self care")
FINDINGS = ("chest pain with shortness of breath", "a fever of 39.4", "an ankle sprain", "a sore throat")
ADVICE = (
    "can be a threat to life, so that the caller needs an ambulance",
    "should be examined before the evening",
    "can wait for an appointment and gets worse slowly",
    "passes by itself with fluids and rest",
)
CONFIG = EvaluationConfig(
    intervals=IntervalsConfig(num_resamples=1_000),
    safety=SafetyConfig(
        costs={
            gold: {said: float((4 * (j - i)) if j > i else (i - j)) for j, said in enumerate(LABELS) if said != gold}
            for i, gold in enumerate(LABELS)
        }
    ),
)


@dataclass(frozen=True)
class Invented:
    """Rows of one split, and what a model said of them."""

    examples: pa.Table
    said: list[str | None]
    """None: no declared label."""
    probabilities: FloatArray
    rationales: list[str]

    @property
    def labels(self) -> list[str]:
        """What was written where a label was asked for."""
        return [label or "ask a nurse" for label in self.said]


@cache
def invented(seed: int, num_rows: int = 240, *, accuracy: float, split: str = "test") -> Invented:
    """Notes of two or three calls a person, and decisions of which about `accuracy` are right; too sure of itself."""
    notes, draw = np.random.default_rng(5 if split == "test" else 6), np.random.default_rng(seed)
    gold = notes.choice(4, num_rows, p=(0.14, 0.3, 0.31, 0.25))
    scores = draw.normal(0.0, 1.0, (num_rows, 4)) - 0.35 * abs(np.arange(4)[None, :] - gold[:, None])
    scores[np.arange(num_rows), gold] += 3.2 * accuracy - 0.9
    bold = np.exp(2.4 * scores)
    places = bold.argmax(axis=1)
    examples, rationales = [], []
    for row in range(num_rows):
        days, age = int(notes.integers(2, 5)), int(notes.integers(18, 90))
        finding = FINDINGS[gold[row]]
        filler = " Caller rings for the second time and lives alone." * int(notes.integers(0, 3))
        examples.append(
            Example(
                id=f"call-{row:04d}",
                text=f"{age} y, {days} days of {finding}. Denies allergies.{filler}",
                label=LABELS[gold[row]],
                rationale="" if row % 20 == 7 else f"{finding} for {days} days {ADVICE[gold[row]]}.".capitalize(),
                rationale_source="" if row % 20 == 7 else ("clinician" if row % 3 else "language model"),
                group=f"p{notes.integers(num_rows // 2)}",
                split=split,
                attributes={
                    "sex": str(notes.choice(["female", "male"])),
                    "age band": "under 40" if age < 40 else "40 to 64" if age < 65 else "65 and over",
                    "site": str(notes.choice(["north", "south", "harbour clinic"], p=(0.5, 0.42, 0.08))),
                },
            )
        )
        rationales.append(_rationale(row, finding, days, int(places[row])))
    said: list[str | None] = [LABELS[place] if row % 60 != 13 else None for row, place in enumerate(places)]
    return Invented(to_table(examples), said, bold / bold.sum(axis=1, keepdims=True), rationales)


def _rationale(row: int, finding: str, days: int, place: int) -> str:
    """For the label that was given, with a fault now and then."""
    faults = {
        3: "",
        4: f"{finding} {ADVICE[place]}.",
        5: f"{finding} for {days + 20} days {ADVICE[place]}.",
        8: f"{finding} and vomiting {ADVICE[place]}.",
        11: f"{finding} needs {LABELS[(place + 1) % 4]} and not {LABELS[place]}.",
    }
    return faults.get(row % 24, f"{finding} for {days} days {ADVICE[place]}.").capitalize()


def predict_labels(texts: Sequence[str], options: Sequence[Sequence[str]]) -> list[str]:
    """The label whose advice, or whose finding, a text holds: a model that reads words."""
    found = []
    for text, some in zip(texts, options, strict=True):
        held = [place for place, advice in enumerate(ADVICE) if advice in text and place < len(some)]
        named = [place for place, finding in enumerate(FINDINGS) if finding in text.lower() and place < len(some)]
        found.append(some[(held or named or [0])[0]])
    return found


def explain(texts: Sequence[str], labels: Sequence[str]) -> list[str]:
    """A rationale for each label, right or wrong."""
    finding = (next((one for one in FINDINGS if one in text), "this") for text in texts)
    advice = (ADVICE[LABELS.index(label)] if label in LABELS else "is so" for label in labels)
    return [f"{one} {some}.".capitalize() for one, some in zip(finding, advice, strict=True)]


def predictions_of(rows: Invented, options: Sequence[Sequence[str]] = ()) -> Predictions:
    """The rows as predictions; with options, where each row has its own."""
    columns = {name: rows.examples[name].to_pylist() for name in ("id", "label", "rationale", "group")}
    shares = rows.probabilities.tolist()
    return Predictions(
        ids=columns["id"],
        gold_labels=columns["label"],
        predicted_labels=rows.labels,
        labels=() if options else LABELS,
        row_options=options,
        group_names=columns["group"],
        probabilities=np.empty((0, 0)) if options else rows.probabilities,
        label_probabilities=[
            dict(zip(some, row, strict=False))
            for some, row in zip(options or [LABELS] * len(shares), shares, strict=True)
        ],
        gold_rationales=columns["rationale"],
        rationales=rows.rationales,
    )


def about_rationales(rows: Invented, predictions: Predictions) -> tuple[dict[str, Any], list[list[str]]]:
    """The sections of a method that writes rationales, and the faults of each row."""
    texts = rows.examples["text"].to_pylist()
    scores = rationale_scores(predictions.gold_rationales, predictions.rationales, CONFIG)
    intervals = rationale_intervals(scores, predictions.correct, predictions.groups, CONFIG.intervals)
    of_model, flags = rationale_quality(predictions, texts, count_tokens=_num_tokens, max_tokens=60)
    references = replace(predictions, predicted_labels=predictions.gold_labels, rationales=predictions.gold_rationales)
    sections = {
        "rationale": replace(rationale_metrics(scores, predictions.correct), intervals=intervals),
        "written_quality": {
            "model": of_model,
            "reference": rationale_quality(references, texts, count_tokens=_num_tokens)[0],
        },
        "alignment": alignment_metrics(predict_labels, predictions),
        "masked_alignment": masked_alignment(predict_labels, predictions),
        "flip_test": flip_test(explain, predict_labels, predictions, texts, max_rows=100),
    }
    return sections, flags


@cache
def about_declared(seed: int, accuracy: float) -> tuple[dict[str, Any], list[list[str]]]:
    """`about_rationales` where the labels are declared."""
    rows = invented(seed, accuracy=accuracy)
    return about_rationales(rows, predictions_of(rows))


def _num_tokens(texts: Sequence[str]) -> list[int]:
    return [len(text) // 4 + 1 for text in texts]


def judged(rows: Invented) -> dict[str, Any]:
    """What a judge said that now and then wrote no score, beside two people."""
    rubric, draw = load_rubric(SHIPPED), np.random.default_rng(3)
    columns = (rows.examples[name].to_pylist()[:40] for name in ("id", "text", "rationale", "group"))
    asked = [
        JudgedRow(id_, text, decision, rationale, reference, group)
        for id_, text, reference, group, decision, rationale in zip(
            *columns, rows.labels[:40], rows.rationales[:40], strict=True
        )
        if rationale
    ]
    votes, people = [], []
    for row in asked:
        for name in (criterion.id for criterion in rubric.criteria):
            level = int(draw.integers(2, 6))
            for _ in range(3):
                score = int(np.clip(level + draw.integers(-1, 2), 1, 5))
                missing = draw.random() < 0.03
                votes.append(Vote(row.id, {name: "no_number" if missing else score}, Tokens(900, 60)))
            if name != "safety":
                people.append(HumanScore(row.id, name, int(np.clip(level + draw.integers(-1, 2), 1, 5)), "A", None))
    scored = row_scores(asked, {}, rubric, votes)
    requests = RequestCounts(
        num=len(votes), num_answered=len(votes), num_refused=0, num_without_answer=0, num_read_whole=len(votes),
        prompt_tokens=1_234_567, output_tokens=65_432, cost=1.25,
    )  # fmt: skip
    metrics = JudgeMetrics(
        model="toy-judge", temperature=0.0, seed=1, votes=3, rubric={"name": rubric.name, "hash": rubric.hash},
        num_rows=len(rows.said), num_chosen=len(asked), not_sent={"empty_rationale": 2}, requests=requests,
        parse=ParseRate.of(scored), confidence=0.95, criteria=criterion_metrics(scored, rubric, CONFIG.intervals),
        human_agreement=human_agreement(people, scored, rubric, CONFIG.intervals),
    )  # fmt: skip
    return Judgement(scores_table(scored), metrics).to_json()


@cache
def declared_case(
    *, ordered: bool = True, champion: bool = True, explains: bool = True, validation: bool = True
) -> ReportFacts:
    """Labels declared for all rows; with a champion that is a little worse."""
    rows, before = invented(1, accuracy=0.8), invented(2, accuracy=0.66)
    chooses = invented(4, 400, accuracy=0.8, split="validation")
    gold = rows.examples["label"].to_pylist()
    labels = LabelsConfig(names=LABELS, ordered=ordered)
    config = CONFIG if ordered else CONFIG.model_copy(update={"safety": SafetyConfig()})
    predictions = predictions_of(rows)
    others = {
        Comparator.MAJORITY_CLASS: predictions.with_labels(["within three days"] * len(gold)),
        Comparator.LINEAR_MODEL: predictions.with_labels(invented(3, accuracy=0.45).said),
    }
    baselines = {name: label_metrics(other) for name, other in others.items()}
    if champion:
        others[Comparator.CHAMPION] = predictions.with_labels(before.said)
    fitted = FittedCalibration.fit(predictions_of(chooses), ordered=ordered, config=config.selective)
    written, flags = about_declared(1, 0.8) if explains else ({}, [[] for _ in gold])
    metrics = Metrics(
        num_rows=len(gold),
        decoding="constrained",
        method="r2d" if explains else "sft",
        num_parameters=247_577_856,
        label=label_metrics(predictions),
        other_decoding=OtherDecoding(
            decoding="free", label=label_metrics(predictions.with_labels(invented(7, accuracy=0.76).said))
        ),
        baselines=baselines,
        champion=_champion(before, ordered, explains) if champion else None,
        **written,
        judge=judged(rows) if explains and champion else not_judged().to_json(),
    )
    run = EvaluationRun(rows.examples, labels, config)
    metrics = evaluate_labels(run, metrics, predictions, others, fitted if validation else None)
    kept = fitted.for_model() if validation else None
    shown = rows.probabilities.max(axis=1)
    handed = [kept is not None and kept.defers(float(some)) for some in shown]
    return ReportFacts(
        title="Reason2Decide: evaluation on the test split",
        labels=LABELS,
        ordered=ordered,
        metrics=metrics.to_json(),
        model={"method": metrics.method, "start model": "google/flan-t5-base", "parameters": 247_577_856},
        data={"source": "csv: calls.csv", "rationales": "clinician, language model"},
        split_rows={"train": 1900, "validation": 400, "test": len(gold)},
        label_counts={"train": dict.fromkeys(LABELS, 475), "test": {name: gold.count(name) for name in LABELS}},
        samples=_samples(rows, flags, handed, explains),
        notes=["The champion was trained on the delivery before this one."],
    )


def _champion(rows: Invented, ordered: bool, explains: bool) -> ChampionMetrics:
    predictions = predictions_of(rows)
    written = about_declared(2, 0.66)[0] if explains else None
    return ChampionMetrics(
        reference="reason2decide/3",
        label=label_metrics(predictions),
        under_triage_rate=float((predictions.levels > 0).mean()) if ordered else None,
        over_triage_rate=float((predictions.levels < 0).mean()) if ordered else None,
        rationale=written["rationale"].populations.all if written else None,
        alignment=written["alignment"] if written else None,
    )


def _samples(
    rows: Invented, flags: Sequence[Sequence[str]], handed: Sequence[bool], explains: bool
) -> list[Mapping[str, Any]]:
    table = rows.examples.to_pylist()
    wrong = [row for row, example in enumerate(table) if rows.said[row] != example["label"]][:10]
    right = [row for row, example in enumerate(table) if rows.said[row] == example["label"]][:10]
    return [
        {
            "id": table[row]["id"], "text": table[row]["text"], "options": table[row]["options"],
            "gold_label": table[row]["label"], "predicted_label": rows.said[row],
            "label_probability": float(rows.probabilities[row].max()) if rows.said[row] else None,
            "gold_rationale": table[row]["rationale"],
            "predicted_rationale": rows.rationales[row] if explains else "",
            "flags": [*flags[row], *(["handed_over"] if handed[row] else [])],
        }
        for row in wrong + right
    ]  # fmt: skip


@cache
def per_row_case() -> ReportFacts:
    """Each row with options of its own, of which the first is always right in training."""
    all_rows = invented(1, accuracy=0.8)
    table = all_rows.examples.slice(0, 40)
    gold = table["label"].to_pylist()
    options = [[label, f"not {label} <b>", "wait"] for label in gold]
    said = [label if row % 4 else "wait" for row, label in enumerate(gold)]
    table = table.set_column(table.schema.get_field_index("options"), "options", pa.array(options))
    rows = Invented(table, list(said), np.full((40, 3), 1 / 3), all_rows.rationales[:40])
    predictions = predictions_of(rows, options)
    written, flags = about_rationales(rows, predictions)
    metrics = Metrics(
        num_rows=40,
        decoding="constrained",
        method="r2d_c",
        num_parameters=77_000_000,
        label=label_metrics(predictions),
        other_decoding=OtherDecoding(decoding="free", label=label_metrics(predictions.with_labels(["wait"] * 40))),
        baselines=evaluate_baselines(table, table, predictions)[0],
        **written,
        judge=not_judged().to_json(),
    ).to_json()
    return ReportFacts(
        title="Options of the rows",
        labels=(),
        ordered=False,
        metrics=metrics,
        split_rows={"test": 40},
        synthetic=True,
        samples=_samples(rows, flags, [False] * 40, True),
    )


CASES = {
    "whole": declared_case,
    "per_row": per_row_case,
    "sft": partial(declared_case, explains=False, champion=False),
    "unordered": partial(declared_case, ordered=False, champion=False, validation=False),
}
"""Name -> facts of a page that must be good to look at."""


if __name__ == "__main__":
    for case, facts in CASES.items():
        Path(sys.argv[1], f"{case}.html").write_text(render_report(facts()), encoding="utf-8")
