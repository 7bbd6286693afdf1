"""The models of a comparison, and the figures that stand in its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class MeasuredModel:
    """One model of a comparison: a variant trained with one seed, or a language model that was asked."""

    variant: str
    method: str
    source: str | None
    """Of the grid; None where the variant is trained with the sources of the base run."""
    seed: int | None
    """None where nothing was trained."""
    references: str
    """The sources of the rationales that its own are measured against."""
    metrics: Mapping[str, Any]
    """Those of `r2d.evaluation.evaluate`, or of `r2d.evaluation.comparison.zero_shot`."""
    predictions: pa.Table
    """Table of `PREDICTIONS_SCHEMA`."""
    training_seconds: float | None = None
    """Stage 1 and Stage 2, validations included; None where it was not recorded."""
    evaluation_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of the comparison."""

    key: str
    name: str
    digits: int
    read: Callable[[MeasuredModel], float | None]
    """None where a model has no such figure; never 0 instead."""
    of_rationales: bool = False
    """Whether it depends on the reference rationales."""


COLUMNS = (
    Column("macro_f1", "macro-F1", 3, lambda model: model.metrics["label"]["macro_f1"]),
    Column("accuracy", "accuracy", 3, lambda model: model.metrics["label"]["accuracy"]),
    Column("under_triage_rate", "under-triage", 3, lambda model: _under_triage(model)),
    Column("consistency", "consistency", 3, lambda model: model.metrics["alignment"]["consistency"]),
    Column("sufficiency", "sufficiency", 3, lambda model: model.metrics["alignment"]["sufficiency"]),
    Column("gold_robustness", "gold robustness", 3, lambda model: model.metrics["alignment"]["gold_robustness"], True),
    Column("bertscore_f1", "BERTScore F1", 3, lambda model: _rationale_figure(model, "bertscore_f1"), True),
    Column("bleu", "sacreBLEU", 1, lambda model: _rationale_figure(model, "bleu"), True),
    Column("paper_bleu", "paper BLEU", 3, lambda model: _rationale_figure(model, "paper_bleu"), True),
    Column("training_seconds", "training, s", 0, lambda model: model.training_seconds),
    Column("evaluation_seconds", "evaluation, s", 0, lambda model: model.evaluation_seconds),
)
SECONDS = ("training_seconds", "evaluation_seconds")
"""Keys of the columns that say what a model cost, not how good it is."""


def comparison_runs(models: Sequence[MeasuredModel]) -> pa.Table:
    """One row a model: what it is and the value of each of `COLUMNS`, null where there is none."""
    names = ("variant", "method", "source", "references")
    rows = [
        {name: getattr(model, name) for name in (*names, "seed")}
        | {column.key: column.read(model) for column in COLUMNS}
        for model in models
    ]
    fields = [pa.field(name, pa.string(), nullable=name == "source") for name in names]
    fields += [pa.field("seed", pa.int64()), *(pa.field(column.key, pa.float64()) for column in COLUMNS)]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def _under_triage(model: MeasuredModel) -> float | None:
    safety = model.metrics["safety"]
    return None if safety is None else safety["under_triage"]["rate"]


def _rationale_figure(model: MeasuredModel, name: str) -> float | None:
    rationale = model.metrics["rationale"]
    return None if rationale is None else rationale["populations"]["all"][name]
