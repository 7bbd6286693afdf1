"""The models of a comparison and the metrics that its tables show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import pyarrow as pa

from r2d.evaluation.metrics import Metrics

ROW_SCORES = ("bertscore_f1", "paper_bleu")
"""Scores of a row's rationale; a model has their mean over the rows with a reference."""


@dataclass(frozen=True)
class VariantFacts:
    """How the tables call a model."""

    variant: str
    """The name that the models of all seeds share."""
    method: str
    source: str | None
    """Of the grid; None where the variant is trained with the sources of the base run."""
    seed: int | None
    """None where nothing was trained."""
    references: str
    """The sources of the rationales that its own are measured against."""


class AskedModel(TypedDict):
    """A language model that was asked and not trained, as JSON."""

    source: str
    num_examples: int
    """Solved training rows in each prompt."""
    authors: Sequence[str]
    num_without_label: int
    """Rows for which no record states an allowed label."""
    without_label: Mapping[str, int]
    """Reason -> those rows, the most frequent first."""
    num_own_references: int
    """References that are its own."""


@dataclass(frozen=True)
class MeasuredModel:
    """One model of a comparison: a variant trained with one seed, or a language model that was asked."""

    facts: VariantFacts
    metrics: Metrics
    predictions: pa.Table
    """Table of `PREDICTIONS_SCHEMA`."""
    zero_shot: AskedModel | None = None
    """None where it was trained."""
    training_seconds: float | None = None
    """Stage 1 and Stage 2 with their validations; None where it was not recorded."""
    evaluation_seconds: float | None = None

    @property
    def under_triage_rate(self) -> float | None:
        """None where labels are not ordered."""
        safety = self.metrics.safety
        return None if safety is None else safety.under_triage.rate

    @property
    def name(self) -> str:
        """The variant with its seed, for a message."""
        seed = "" if self.facts.seed is None else f" (seed {self.facts.seed})"
        return f"{self.facts.variant!r}{seed}"

    def rationale_score(self, name: str) -> float | None:
        """A metric of `OverlapMetrics` over all rows; None for a model that writes no rationale."""
        rationale = self.metrics.rationale
        return None if rationale is None else getattr(rationale.populations.all, name)


@dataclass(frozen=True, slots=True)
class Column:
    """A metric in the tables of a comparison."""

    key: str
    name: str
    digits: int
    read: Callable[[MeasuredModel], float | None]
    """None where a model has no such metric; never 0 instead."""
    of_rationales: bool = False
    """Whether it depends on the reference rationales."""
    is_cost: bool = False
    """Whether it says what a model cost, not how good it is."""


COLUMNS = (
    Column("macro_f1", "macro-F1", 3, lambda model: model.metrics.label.macro_f1),
    Column("accuracy", "accuracy", 3, lambda model: model.metrics.label.accuracy),
    Column("under_triage_rate", "under-triage", 3, lambda model: model.under_triage_rate),
    Column("consistency", "consistency", 3, lambda model: model.metrics.alignment.consistency),
    Column("sufficiency", "sufficiency", 3, lambda model: model.metrics.alignment.sufficiency),
    Column("gold_robustness", "gold robustness", 3, lambda model: model.metrics.alignment.gold_robustness, True),
    Column("bertscore_f1", "BERTScore F1", 3, lambda model: model.rationale_score("bertscore_f1"), True),
    Column("bleu", "sacreBLEU", 1, lambda model: model.rationale_score("bleu"), True),
    Column("paper_bleu", "paper BLEU", 3, lambda model: model.rationale_score("paper_bleu"), True),
    Column("training_seconds", "training, s", 0, lambda model: model.training_seconds, is_cost=True),
    Column("evaluation_seconds", "evaluation, s", 0, lambda model: model.evaluation_seconds, is_cost=True),
)


def comparison_runs(models: Sequence[MeasuredModel]) -> pa.Table:
    """A row for each model: variant, method, source, references, seed, and each of `COLUMNS`, null where undefined."""
    names = ("variant", "method", "source", "references")
    rows = [
        {name: getattr(model.facts, name) for name in (*names, "seed")}
        | {column.key: column.read(model) for column in COLUMNS}
        for model in models
    ]
    fields = [pa.field(name, pa.string(), nullable=name == "source") for name in names]
    fields += [pa.field("seed", pa.int64()), *(pa.field(column.key, pa.float64()) for column in COLUMNS)]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))
