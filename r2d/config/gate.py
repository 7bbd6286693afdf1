"""Section `registration`: the name of the model, and the gate, whose rules are data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, TypeAlias

from pydantic import Field, model_validator

from r2d.config.data import LabelsConfig
from r2d.config.section import Name, Section
from r2d.config.training import MethodConfig
from r2d.text import match_label

HISTORY_SUFFIX = ".alias-history"
"""Under this name the registry keeps which version was the champion, and why."""


class GateMetric(NamedTuple):
    """A metric that a rule may name."""

    name: str
    higher_is_better: bool
    section: Literal["label", "ordered", "class", "alignment", "rationale", "calibration"]
    """Where it stands in the metrics. `ordered`: of labels in order of urgency; `class`: of one label."""
    has_interval: bool
    full: float = 1.0
    """The whole, in the unit of the metric: 100 where it is counted in hundredths."""


GATE_METRICS = {
    "macro_f1": GateMetric("macro-F1", True, "label", True),
    "accuracy": GateMetric("accuracy", True, "label", True),
    "weighted_f1": GateMetric("weighted F1", True, "label", True),
    "invalid_label_rate": GateMetric("invalid-label rate", False, "label", True),
    "under_triage_rate": GateMetric("under-triage rate", False, "ordered", True),
    "severe_under_triage_rate": GateMetric("severe under-triage rate", False, "ordered", True),
    "over_triage_rate": GateMetric("over-triage rate", False, "ordered", True),
    "recall": GateMetric("recall", True, "class", True),
    "precision": GateMetric("precision", True, "class", True),
    "consistency": GateMetric("consistency", True, "alignment", False),
    "sufficiency": GateMetric("sufficiency", True, "alignment", False),
    "gold_robustness": GateMetric("gold robustness", True, "alignment", False),
    "bertscore_f1": GateMetric("BERTScore F1", True, "rationale", True),
    "rouge_l": GateMetric("ROUGE-L", True, "rationale", True),
    "bleu": GateMetric("sacreBLEU", True, "rationale", False, full=100.0),
    "chrf": GateMetric("chrF", True, "rationale", False, full=100.0),
    "ece_equal_mass": GateMetric("calibration error", False, "calibration", False),
    "brier": GateMetric("Brier score", False, "calibration", False),
}
"""Name in a rule, which is the name of an attribute in `r2d.evaluation.metrics` -> what it is."""
if TYPE_CHECKING:
    MetricName: TypeAlias = str
else:
    MetricName = Literal[*GATE_METRICS]
Bound: TypeAlias = Literal["interval", "value"]


class BetterThanBaseline(Section):
    """The model is better than a baseline learnt from the same rows: by macro-F1, by accuracy where
    `labels.per_row`."""

    rule: Literal["better_than_baseline"]
    baseline: Literal["simple", "learnt"]
    """`simple`: the most frequent label (an option at random where `labels.per_row`). `learnt`: TF-IDF + logistic
    regression (the option most often right in training)."""
    by: Bound = "value"
    """`interval`: even the lower bound of the paired difference is above 0."""


class _OfMetric(Section):
    """What rules about one figure share."""

    figure: MetricName
    label: Name | None = None
    """Of which label `recall` or `precision` is asked."""
    by: Bound | None = None
    """`interval`: the worse bound of its interval is held against the rule; `value`: the bare figure. By default the
    interval, where the run has one for the figure."""

    @model_validator(mode="after")
    def _metric_has_what_is_asked(self) -> _OfMetric:
        metric = GATE_METRICS[self.figure]
        if (metric.section == "class") != (self.label is not None):
            wanted = "needs `label`" if metric.section == "class" else "is of all rows; remove `label`"
            raise ValueError(f"figure {self.figure!r} {wanted}")
        if self.by == "interval" and not metric.has_interval:
            raise ValueError(f"figure {self.figure!r} has no interval; leave `by` out or write by: value")
        return self


class WithinLimit(_OfMetric):
    """A figure keeps a fixed limit."""

    rule: Literal["within_limit"]
    at_least: float | None = None
    at_most: float | None = None
    """One of the two, in the unit of the figure: 0.02 is 2 %; sacreBLEU and chrF go to 100."""

    @model_validator(mode="after")
    def _one_limit(self) -> WithinLimit:
        metric = GATE_METRICS[self.figure]
        wanted, other = ("at_least", "at_most") if metric.higher_is_better else ("at_most", "at_least")
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            better = "more" if metric.higher_is_better else "less"
            raise ValueError(f"{better} of {self.figure!r} is better: give {wanted}, and no {other}")
        limit = getattr(self, wanted)
        if not 0.0 <= limit <= (2.0 if self.figure == "brier" else metric.full):
            raise ValueError(f"{wanted} of {self.figure!r} lies between 0 and {metric.full:g}; found {limit:g}")
        return self

    @property
    def limit(self) -> float:
        return float(self.at_least if self.at_least is not None else self.at_most or 0.0)


class NotWorseThanChampion(_OfMetric):
    """A figure is not worse than the champion's on the same rows, but for a margin. By interval: the worse bound of
    the paired difference keeps the margin."""

    rule: Literal["not_worse_than_champion"]
    margin: Annotated[float, Field(ge=0.0)] = 0.0
    """In the unit of the figure: 0.01 is one point."""

    @model_validator(mode="after")
    def _champion_has_it(self) -> NotWorseThanChampion:
        metric = GATE_METRICS[self.figure]
        if metric.section == "calibration":
            raise ValueError(f"figure {self.figure!r} is not measured for the champion; use rule within_limit")
        if metric.section == "rationale" and self.by == "interval":
            raise ValueError(f"figure {self.figure!r} has no paired interval; leave `by` out or write by: value")
        return self


class NoSliceWorseThanChampion(Section):
    """In no slice of enough rows is a figure worse than the champion's there, but for a margin; by value."""

    rule: Literal["no_slice_worse_than_champion"]
    figure: Literal["accuracy", "macro_f1", "under_triage_rate"] = "accuracy"
    margin: Annotated[float, Field(ge=0.0, le=1.0)] = 0.03
    min_rows: Annotated[int, Field(ge=1)] = 50


class HumanApproval(Section):
    """A person says yes, by name and with a reason: `r2d approve`; possible once every other rule is met."""

    rule: Literal["human_approval"]


AnyRule: TypeAlias = BetterThanBaseline | WithinLimit | NotWorseThanChampion | NoSliceWorseThanChampion | HumanApproval


class GateConfig(Section):
    """What a model must do to be given the alias `champion`; every rule must be met."""

    rules: tuple[Annotated[AnyRule, Field(discriminator="rule")], ...] = (
        BetterThanBaseline(rule="better_than_baseline", baseline="simple"),
        BetterThanBaseline(rule="better_than_baseline", baseline="learnt"),
    )
    """By default: better than both baselines. An empty list lets every model pass."""

    def faults(self, labels: LabelsConfig, method: MethodConfig) -> list[str]:
        """What the rules ask for and a run on these labels, by this method, does not measure."""
        faults = []
        for place, rule in enumerate(self.rules):
            figure: str | None = getattr(rule, "figure", None)
            section = None if figure is None else GATE_METRICS[figure].section
            of_rationales = section in ("alignment", "rationale")
            of_classes = figure is not None and not of_rationales and figure not in ("accuracy", "invalid_label_rate")
            resampled = isinstance(rule, NoSliceWorseThanChampion) or getattr(rule, "by", None) == "interval"
            label: str | None = getattr(rule, "label", None)
            checks = {
                f"figure {figure!r} is of declared labels, and data.labels.per_row has none": (
                    labels.per_row and of_classes
                ),
                "there are no slices and no intervals of decisions where data.labels.per_row; use a rule by: value": (
                    labels.per_row and resampled and not of_rationales
                ),
                f"figure {figure!r} needs data.labels.ordered: true, the most urgent label first": (
                    section == "ordered" and not labels.ordered and not labels.per_row
                ),
                f"label {label!r} is not declared; allowed: {', '.join(labels.names)}": (
                    section == "class" and not labels.per_row and match_label(label, labels.names) is None
                ),
                f"figure {figure!r} is of rationales, and method {method.name!r} writes none": (
                    of_rationales and not method.explains
                ),
            }
            faults += [f"registration.gate.rules.{place}: {fault}" for fault, is_there in checks.items() if is_there]
        return faults


class RegistrationConfig(Section):
    """Under which name the model is registered, and when it may be used."""

    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "reason2decide"
    gate: GateConfig = GateConfig()

    @model_validator(mode="after")
    def _name_is_free(self) -> RegistrationConfig:
        if self.model_name.endswith(HISTORY_SUFFIX):
            raise ValueError(f"model_name must not end in {HISTORY_SUFFIX!r}: the history of a model has such a name")
        return self
