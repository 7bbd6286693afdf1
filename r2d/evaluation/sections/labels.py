"""Predicted labels against gold labels: section `label` and those about ranking, safety and other models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal

from r2d.evaluation.sections.estimates import IF_PRESENT, NOT_IN_JSON, IntervalEstimate, IntervalIfPresent, Intervals

Decoding = Literal["constrained", "free", "as stated"]
"""How labels were decoded; `as stated` by a language model that was asked and not trained."""
HeadlineName = Literal["macro_f1", "accuracy"]
HEADLINES: Mapping[HeadlineName, str] = {"macro_f1": "macro-F1", "accuracy": "accuracy"}
"""Metric that models are compared by -> its caption."""
RARE_LABEL_ROWS = 30
"""A label with fewer gold rows is named beside macro-F1."""
WHY_NO_CLASSES = "each row has options of its own, so there are no classes for a macro-F1 to average over"


class Comparator(StrEnum):
    """What a model is compared with on the same test rows. The value is its name in a text, and its key in
    `metrics.json`: it never changes."""

    CHAMPION = "champion"
    MAJORITY_CLASS = "majority class"
    LINEAR_MODEL = "TF-IDF + logistic regression"
    ENCODER = "fine-tuned encoder"
    LABEL_ONLY = "sft, the labels alone"
    CEILING = "the rule behind the invented calls"
    RANDOM_OPTION = "an option at random"
    FREQUENT_OPTION = "the option most often right in training"


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """One label: gold rows (`support`), predicted rows, and ratios, 0 without a row in their denominator."""

    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


@dataclass(frozen=True, kw_only=True)
class LabelMetrics:
    """Predicted labels against gold labels. Without classes (options per row) the F1 are None and the tables empty."""

    num_rows: int
    accuracy: float
    macro_f1: float | None
    """Mean F1 of the labels that occur in gold; `weighted_f1` is weighted by their rows."""
    weighted_f1: float | None
    invalid_label_rate: float
    """Share of predictions that are no allowed label; they are wrong."""
    per_class: Mapping[str, ClassMetrics] = field(default_factory=dict)
    confusion_matrix: tuple[tuple[int, ...], ...] = ()
    """[gold labels, labels and then invalid], in the declared order."""

    @property
    def rare_labels(self) -> dict[str, int]:
        """Label with fewer gold rows than `RARE_LABEL_ROWS` -> those rows: its F1, and so macro-F1, hangs on few."""
        return {name: row.support for name, row in self.per_class.items() if 0 < row.support < RARE_LABEL_ROWS}

    @property
    def headline(self) -> HeadlineName:
        """The metric that models are compared by: `macro_f1`, and `accuracy` where there are no classes."""
        return "accuracy" if self.macro_f1 is None else "macro_f1"

    @property
    def headline_value(self) -> float:
        return self.accuracy if self.macro_f1 is None else self.macro_f1


@dataclass(frozen=True, kw_only=True)
class OtherDecoding:
    """The labels of the decoding that is not the model's own."""

    decoding: Decoding
    label: LabelMetrics


@dataclass(frozen=True, kw_only=True)
class McNemarTest:
    """McNemar's exact test, two-sided: do two models err equally often on the same rows?"""

    only_first_right: int
    only_second_right: int
    p_value: float
    """Takes rows as independent; too small where `rows_share_groups`: read the interval of the difference then."""
    rows_share_groups: bool


@dataclass(frozen=True, kw_only=True)
class LabelIntervals:
    """Label metrics with intervals from one draw of groups; or their differences to another model on the same rows."""

    confidence: float
    num_resamples: int
    num_groups: int
    accuracy: IntervalEstimate
    macro_f1: IntervalEstimate
    weighted_f1: IntervalEstimate
    invalid_label_rate: IntervalEstimate
    under_triage_rate: IntervalIfPresent = None
    """The rates of triage where labels are ordered, `mean_cost` where costs are declared."""
    over_triage_rate: IntervalIfPresent = None
    severe_under_triage_rate: IntervalIfPresent = None
    mean_cost: IntervalIfPresent = None
    per_class: Mapping[str, Intervals] = field(default_factory=dict)
    """Label -> `recall`, `precision` and `f1`."""
    mcnemar: Annotated[McNemarTest | None, IF_PRESENT] = None
    """Of differences only."""


@dataclass(frozen=True, kw_only=True)
class Auroc:
    """One label against the rest, by its probability; `macro` is the mean of those that are defined."""

    macro: float | None
    per_class: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class RankingMetrics:
    """Matthews correlation, quadratic weighted kappa (of ordered labels) and AUROC; None where undefined."""

    mcc: float | None
    quadratic_weighted_kappa: float | None
    auroc: Auroc
    undefined: Mapping[str, str]
    """Name of each metric that is None -> why."""


@dataclass(frozen=True, kw_only=True)
class TriageErrors:
    """Rows predicted less urgent than gold (under-triage), or more urgent (over-triage)."""

    num_rows: int
    rate: float
    by_levels: Annotated[Mapping[int, int] | None, IF_PRESENT] = None
    """Levels between prediction and gold -> rows."""
    min_levels: Annotated[int | None, IF_PRESENT] = None
    """Of severe errors: they are at least that many levels apart."""


@dataclass(frozen=True, kw_only=True)
class TriageRates:
    """Error rates of the rows with one gold label; None without rows."""

    num_rows: int
    under_triage_rate: float | None
    over_triage_rate: float | None


@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """One under-triaged row; `predicted_label` is None where it is no declared label."""

    id: str
    gold_label: str
    predicted_label: str | None
    levels: int
    confidence: float


@dataclass(frozen=True, kw_only=True)
class SafetyMetrics:
    """Errors by direction and distance, where labels are levels of urgency."""

    num_rows: int
    num_invalid: int
    """Predictions that are no declared label; they count as under-triage."""
    under_triage: TriageErrors
    over_triage: TriageErrors
    severe_under_triage: TriageErrors
    by_gold_label: Mapping[str, TriageRates]
    mean_cost: float | None
    """None without declared costs."""
    worst_cases: Annotated[tuple[WorstCase, ...], NOT_IN_JSON] = ()
    """Most levels first, then most confident."""


@dataclass(frozen=True, kw_only=True)
class EncoderBaseline:
    """What `Comparator.ENCODER` was, and how it was chosen."""

    model: str
    revision: str | None
    num_parameters: int
    num_epochs: int
    best_epoch: int
    """From 1."""
    validation: float
    """Its headline metric on the validation rows after that epoch."""
