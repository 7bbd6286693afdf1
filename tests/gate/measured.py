"""Metrics of invented predictions, computed by the functions that measure real ones."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import EvaluationConfig, IntervalsConfig, SlicesConfig
from r2d.data.examples import Example, to_table
from r2d.evaluation.calibration import FittedCalibration
from r2d.evaluation.evaluate import evaluate_labels
from r2d.evaluation.label_metrics import label_metrics
from r2d.evaluation.metrics import ChampionMetrics, Metrics
from r2d.evaluation.predictions import Predictions
from r2d.evaluation.run import EvaluationRun
from r2d.evaluation.sections.estimates import IntervalEstimate
from r2d.evaluation.sections.labels import Comparator, OtherDecoding
from r2d.evaluation.sections.raters import RatersResult, RatersTogether, RaterVersusOthers
from r2d.evaluation.sections.rationales import (
    AlignmentMetrics,
    ClaimCounts,
    ClaimMetrics,
    OutsideReaderMetrics,
    OverlapMetrics,
    Populations,
    RationaleMetrics,
)
from r2d.evaluation.sections.rows import SeenRows
from r2d.evaluation.sections.slices import Heterogeneity, PooledFigure
from r2d.evaluation.sections.stress import StressResult
from r2d.modeling.overlap import Overlap

LABELS = LabelsConfig(names=("emergency now", "same day", "self care"), ordered=True)
QUICK = EvaluationConfig(intervals=IntervalsConfig(num_resamples=1_000), slices=SlicesConfig(min_rows=20))
NUM_ROWS = 240
UNSEEN = Overlap(
    num_rows=NUM_ROWS, num_seen=0, num_same_row=0, num_same_text=0, num_same_group=0, num_with_group=NUM_ROWS,
    finds_near_copies=True,
)  # fmt: skip
NO_CLAIMS = ClaimCounts(supported=0, contradicted=0, unclear=0, absent=0)
CLAIMS = ClaimMetrics(
    num_rationales=NUM_ROWS, num_with_claims=200, num_contradicted=12, num_stating_other_label=24,
    asserted=NO_CLAIMS, denied=NO_CLAIMS, contradicted_findings={}, findings_read={"fever": 150, "cough": 60},
    intervals={
        "contradicted_rationale_rate": IntervalEstimate(0.05, 0.03, 0.09, "bca"),
        "other_label_rate": IntervalEstimate(0.1, 0.07, 0.14, "bca"),
    },
)  # fmt: skip


def examples() -> pa.Table:
    """Test rows of two sites, two rows of a caller."""
    return to_table(
        Example(
            id=f"row-{number}", text=" ".join(["word"] * (5 + number % 40)), label=LABELS.names[number * 7 % 3],
            rationale="because", rationale_source="llm", group=f"caller {number // 2}", split="test",
            attributes={"site": "north" if number % 4 else "south"},
        )
        for number in range(NUM_ROWS)
    )  # fmt: skip


def decisions(share_right: float, *, seed: int = 0, wrong_in: Mapping[str, float] | None = None) -> list[str]:
    """A predicted label for each row, right in about that share of them; wrong ones are one level away, mostly too
    urgent.

    Args:
        wrong_in: site -> share right there instead.
    """
    generator, labels = random.Random(seed), []
    for row in examples().to_pylist():
        share = (wrong_in or {}).get(dict(row["attributes"])["site"], share_right)
        place = LABELS.names.index(row["label"])
        near = [level for level in (place - 1, place - 1, place + 1) if 0 <= level < 3]
        labels.append(row["label"] if generator.random() < share else LABELS.names[generator.choice(near)])
    return labels


def metrics_of(predicted: Sequence[str], champion: Sequence[str] | None = None, **more: Any) -> dict[str, Any]:
    """The JSON of `measured`."""
    return measured(tuple(predicted), None if champion is None else tuple(champion), **more).to_json()


UNDER_TRIAGE = PooledFigure(
    pooled=IntervalEstimate(0.1, 0.08, 0.12, "random effects"),
    next_part=IntervalEstimate(0.1, 0.03, 0.28, "random effects"),
    tau_squared=0.1, i_squared=0.6, q=7.5, p_value=0.06, lowest=0.05, highest=0.2,
)  # fmt: skip
SITES = Heterogeneity(by="site", parts=("a", "b", "c", "d"), not_pooled={}, figures={"under_triage_rate": UNDER_TRIAGE})
WARDS = Heterogeneity(by="ward", parts=("a",), not_pooled={"b": "1 row"}, figures={})
PEOPLE = RatersResult(
    file="raters.csv", num_raters=3, num_rated=200, num_other_rows=0,
    together=RatersTogether(fewest=2, most=3, figures={}), pairs=(), notes={},
    ceiling=(
        RaterVersusOthers(
            rater=None, num_labels=500, by_rater={}, by_model={},
            difference={
                "accuracy": IntervalEstimate(-0.02, -0.06, 0.02, "bca"),
                "under_triage_rate": IntervalEstimate(0.01, -0.01, 0.03, "bca"),
            },
        ),
    ),
)  # fmt: skip


@cache
def measured(
    predicted: tuple[str, ...],
    champion: tuple[str, ...] | None = None,
    *,
    reference: str = "triage/1",
    consistency: float = 0.85,
    linear_right: float = 0.5,
) -> Metrics:
    """As `r2d.evaluation.evaluate` returns them, but for what needs a model's text: those metrics are given."""
    run = EvaluationRun(examples(), LABELS, QUICK)
    predictions = _predictions(run.test, predicted)
    others = {
        Comparator.MAJORITY_CLASS: predictions.with_labels(["same day"] * NUM_ROWS),
        Comparator.LINEAR_MODEL: predictions.with_labels(decisions(linear_right, seed=5)),
    }
    baselines = {name: label_metrics(other) for name, other in others.items()}
    alignment = AlignmentMetrics(num_rows=NUM_ROWS, consistency=consistency, sufficiency=0.6, gold_robustness=0.7)
    overlap = OverlapMetrics(num_rows=NUM_ROWS, bleu=25.0, chrf=50.0, rouge_l=0.4, bertscore_f1=0.8)
    of_champion = None
    if champion is not None:
        others[Comparator.CHAMPION] = predictions.with_labels(champion)
        of_champion = ChampionMetrics(
            reference=reference,
            label=label_metrics(others[Comparator.CHAMPION]),
            under_triage_rate=0.1,
            over_triage_rate=0.2,
            rationale=replace(overlap, bertscore_f1=0.7),
            alignment=replace(alignment, consistency=0.8),
            claims=CLAIMS,
            claims_difference={
                "contradicted_rationale_rate": IntervalEstimate(0.01, -0.02, 0.04, "bca"),
                "other_label_rate": IntervalEstimate(0.0, -0.03, 0.03, "bca"),
            },
            outside_reader_difference={"consistency": IntervalEstimate(-0.01, -0.04, 0.02, "bca")},
        )
    metrics = Metrics(
        num_rows=NUM_ROWS,
        decoding="constrained",
        method="r2d",
        num_parameters=514_048,
        seen_rows=SeenRows(
            policy="refuse",
            num_dropped=0,
            model=UNSEEN,
            champion_reference=None if champion is None else reference,
            champion=None if champion is None else UNSEEN,
        ),
        label=label_metrics(predictions),
        other_decoding=OtherDecoding(decoding="free", label=label_metrics(predictions)),
        baselines=baselines,
        champion=of_champion,
        rationale=RationaleMetrics(
            num_rows=NUM_ROWS,
            num_without_reference=0,
            num_empty_candidates=0,
            sacrebleu_signature="",
            chrf_signature="",
            bertscore=None,
            populations=Populations(all=overlap, correct_only=overlap, zero_if_wrong=overlap),
            intervals={"all": {"bertscore_f1": IntervalEstimate(0.8, 0.78, 0.82, "bca")}},
        ),
        claims={"model": CLAIMS, "reference": CLAIMS},
        stress=StressResult(
            file="edits.yaml",
            num_rows=NUM_ROWS,
            num_decisions=2 * NUM_ROWS,
            edits=(),
            sentences=None,
            broken_by_group={"red flags": IntervalEstimate(0.04, 0.02, 0.07, "bca")},
        ),
        outside_reader=OutsideReaderMetrics(
            num_training_rationales=1_000,
            num_rows=NUM_ROWS,
            num_with_gold_rationale=NUM_ROWS,
            num_leaking=100,
            intervals={
                "consistency": IntervalEstimate(0.8, 0.75, 0.85, "bca"),
                "ceiling": IntervalEstimate(0.9, 0.86, 0.93, "bca"),
                "simulatability": IntervalEstimate(0.04, 0.01, 0.07, "bca"),
            },
        ),
        alignment=alignment,
        judge={"status": "not judged", "reason": "no endpoint"},
    )
    validation = _predictions(run.test, decisions(0.7, seed=9))
    fitted = FittedCalibration.fit(validation, ordered=True, config=QUICK.selective)
    metrics = evaluate_labels(run, metrics, predictions, others, fitted)
    assert metrics.slices is not None
    return replace(metrics, slices=replace(metrics.slices, heterogeneity=(SITES, WARDS)), raters=PEOPLE)


def _predictions(table: pa.Table, predicted: Sequence[str]) -> Predictions:
    generator = random.Random(1)
    shares = []
    for label in predicted:
        sure = generator.uniform(0.5, 0.95)
        shares.append([sure if name == label else (1 - sure) / 2 for name in LABELS.names])
    return Predictions(
        ids=table["id"].to_pylist(),
        gold_labels=table["label"].to_pylist(),
        predicted_labels=predicted,
        labels=LABELS.names,
        probabilities=np.array(shares),
        group_names=table["group"].to_pylist(),
    )
