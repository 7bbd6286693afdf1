"""Metrics of invented decisions, made by the functions that measure real ones."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pyarrow as pa

from r2d.config.data import LabelsConfig
from r2d.config.evaluation import EvaluationConfig, IntervalsConfig, SlicesConfig
from r2d.data.examples import Example, to_table
from r2d.evaluation.baselines import LINEAR_BASELINE, MAJORITY_CLASS
from r2d.evaluation.decided_rows import DecidedRows, decided_rows
from r2d.evaluation.label_flip import no_flip_test
from r2d.evaluation.label_metrics import label_metrics
from r2d.evaluation.label_sections import label_sections
from r2d.evaluation.masking import no_masked_alignment

LABELS = LabelsConfig(names=("emergency now", "same day", "self care"), ordered=True)
QUICK = EvaluationConfig(intervals=IntervalsConfig(num_resamples=1_000), slices=SlicesConfig(min_rows=20))
NUM_ROWS = 240


def examples() -> pa.Table:
    """Test rows of two sites, two rows of a caller."""
    gold = [LABELS.names[(number * 7) % 3] for number in range(NUM_ROWS)]
    return to_table(
        Example(
            id=f"row-{number}", text=" ".join(["word"] * (5 + number % 40)), label=gold[number],
            rationale="because", rationale_source="llm", group=f"caller {number // 2}", split="test",
            attributes={"site": "north" if number % 4 else "south"},
        )
        for number in range(NUM_ROWS)
    )  # fmt: skip


def decisions(share_right: float, *, seed: int = 0, wrong_in: Mapping[str, float] | None = None) -> list[str]:
    """A label for each row, right in about that share of them; wrong ones are one level away, mostly too urgent.

    Args:
        wrong_in: site -> share right there instead.
    """
    generator = random.Random(seed)
    rows = examples().to_pylist()
    said = []
    for row in rows:
        share = (wrong_in or {}).get(dict(row["attributes"])["site"], share_right)
        place = LABELS.names.index(row["label"])
        near = [other for other in (place - 1, place - 1, place + 1) if 0 <= other < 3]
        said.append(row["label"] if generator.random() < share else LABELS.names[generator.choice(near)])
    return said


def metrics_of(
    said: Sequence[str],
    champion: Sequence[str] | None = None,
    *,
    reference: str = "triage/1",
    consistency: float = 0.85,
    linear_right: float = 0.5,
) -> dict[str, Any]:
    """As `r2d.evaluation.evaluate` returns them, but for what needs a model's text: those figures are given."""
    compared = None if champion is None else tuple(champion)
    return copy.deepcopy(_metrics_of(tuple(said), compared, reference, consistency, linear_right))


@cache
def _metrics_of(
    said: tuple[str, ...], champion: tuple[str, ...] | None, reference: str, consistency: float, linear_right: float
) -> dict[str, Any]:
    table = examples()
    gold = table["label"].to_pylist()
    others: dict[str, list[str]] = {
        MAJORITY_CLASS: ["same day"] * NUM_ROWS,
        LINEAR_BASELINE: decisions(linear_right, seed=5),
    }
    compared = others if champion is None else {**others, "champion": list(champion)}
    rows, validation = _rows(table, said), _rows(table, decisions(0.7, seed=9))
    sections = label_sections(rows, validation, others=compared, examples=table, labels=LABELS, config=QUICK)
    texts = {"bleu": 25.0, "chrf": 50.0, "paper_bleu": 0.2, "rouge_l": 0.4, "bertscore_f1": 0.8}
    alignment = {
        "num_rows": NUM_ROWS, "num_empty_rationales": 0, "num_with_gold_rationale": NUM_ROWS,
        "consistency": consistency, "sufficiency": 0.6, "gold_robustness": 0.7,
    }  # fmt: skip
    return {
        "num_rows": NUM_ROWS,
        "decoding": "constrained",
        "method": "r2d",
        "num_parameters": 514_048,
        "label": label_metrics(gold, said, LABELS.names),
        "other_decoding": {"decoding": "free", "label": label_metrics(gold, said, LABELS.names)},
        "baselines": {name: label_metrics(gold, labels, LABELS.names) for name, labels in others.items()},
        "champion": None
        if champion is None
        else {
            "reference": reference, "not_compared": None, "label": label_metrics(gold, champion, LABELS.names),
            "under_triage_rate": 0.1, "over_triage_rate": 0.2, "rationale": texts | {"bertscore_f1": 0.7},
            "alignment": alignment | {"consistency": 0.8},
        },
        **sections.metrics,
        "rationale": {
            "num_rows": NUM_ROWS, "num_without_reference": 0, "num_empty_candidates": 0,
            "populations": {"all": texts}, "bertscore": None, "sacrebleu_signature": "",
            "intervals": {"all": {"bertscore_f1": {"value": 0.8, "low": 0.78, "high": 0.82, "method": "bca"}}},
        },
        "written_quality": None,
        "alignment": alignment,
        "masked_alignment": no_masked_alignment(),
        "flip_test": no_flip_test(),
        "judge": {"status": "not judged", "reason": "no endpoint"},
    }  # fmt: skip


def _rows(table: pa.Table, said: Sequence[str]) -> DecidedRows:
    generator = random.Random(1)
    shares = []
    for label in said:
        sure = generator.uniform(0.5, 0.95)
        shares.append([sure if name == label else (1 - sure) / 2 for name in LABELS.names])
    return decided_rows(
        ids=table["id"].to_pylist(), gold=table["label"].to_pylist(), predicted=list(said), probabilities=shares,
        labels=LABELS.names, groups=table["group"].to_pylist(),
    )  # fmt: skip
