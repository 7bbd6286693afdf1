"""Section `registration`: the name of the model, and the gate, whose rules are data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, TypeAlias

import yaml
from pydantic import Field, model_validator

from r2d.config.data import NO_ORDER, LabelsConfig
from r2d.config.evaluation import Rate
from r2d.config.section import Name, Section
from r2d.config.training import MethodConfig
from r2d.registered import RESERVED_SUFFIXES
from r2d.text import match_label


class GateMetric(NamedTuple):
    """A metric that a rule may name."""

    name: str
    higher_is_better: bool
    section: Literal[
        "label", "ordered", "class", "alignment", "rationale", "calibration", "claims", "reader", "cut", "set", "worst",
        "stress", "parts", "raters",
    ]  # fmt: skip
    """Where it stands in the metrics. `ordered`: of labels in order of urgency; `class`: of one label; `cut`: of the
    question whether a note is at least as urgent as one label; `set`: of the label sets of the notes of one label;
    `worst`: of the slice that may be served worst; `stress`: of one group of edits of notes; `parts`: of the values of
    one attribute that are pooled, such as sites; `raters`: of the model minus people, both against the other people."""
    has_interval: bool
    full: float = 1.0
    """The whole, in the unit of the metric: 100 where it is counted in hundredths."""

    @property
    def least(self) -> float:
        """The lowest value that a limit may have."""
        return -self.full if self.section == "raters" else 0.0


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
    "net_benefit_gain": GateMetric("net benefit above treating all or none", True, "cut", True),
    "set_coverage": GateMetric("coverage of label sets", True, "set", True),
    "worst_slice_under_triage_rate": GateMetric("under-triage rate of the worst slice", False, "worst", True),
    "broken_share": GateMetric("stress tests broken", False, "stress", True),
    "i_squared": GateMetric("share of the differences that is not chance (I²)", False, "parts", False),
    "next_part_under_triage_rate": GateMetric("under-triage rate of the next", False, "parts", True),
    "accuracy_minus_raters": GateMetric("accuracy minus that of a rater", True, "raters", True),
    "under_triage_minus_raters": GateMetric("under-triage rate minus that of a rater", False, "raters", True),
    "consistency": GateMetric("consistency", True, "alignment", False),
    "sufficiency": GateMetric("sufficiency", True, "alignment", False),
    "gold_robustness": GateMetric("gold robustness", True, "alignment", False),
    "contradicted_rationale_rate": GateMetric("rationales that their note contradicts", False, "claims", True),
    "other_label_rate": GateMetric("rationales that state another label", False, "claims", True),
    "consistency_by_outside_reader": GateMetric("consistency by an outside reader", True, "reader", True),
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
MACRO_F1_MARGIN = 0.02
UNDER_TRIAGE_MARGIN = 0.02
MOST_URGENT_RECALL_MARGIN = 0.05
"""Margins of the default rules; `docs/retraining.md` says why these."""


class Defaults(Section):
    """The default rules for the labels of the run; further rules may stand beside it."""

    rule: Literal["defaults"]


class BetterThanBaseline(Section):
    """The model is better than a baseline learnt from the same rows: by macro-F1, by accuracy where
    `labels.per_row`."""

    rule: Literal["better_than_baseline"]
    baseline: Literal["simple", "learnt", "encoder"]
    """`simple`: the most frequent label (an option at random where `labels.per_row`). `learnt`: TF-IDF + logistic
    regression (the option most often right in training). `encoder`: that of `evaluation.encoder_baseline`."""
    by: Bound = "interval"
    """`interval`: even the lower bound of the paired difference is above 0. `value`: the bare metrics, of which chance
    alone decides where both are alike."""


class _OfMetric(Section):
    """What rules about one figure share."""

    figure: MetricName
    """The metric that the rule asks about: [the names](evaluation.md)."""
    label: Name | None = None
    """Of which label `recall`, `precision` or `set_coverage` is asked; or `net_benefit_gain`, of the notes at least as
    urgent."""
    threshold_probability: Rate | None = None
    """At which `net_benefit_gain` is asked, one of `evaluation.operating_points.threshold_probabilities`."""
    edits: Name | None = None
    """Group of edits in the file of `evaluation.stress`, of which `broken_share` is asked."""
    attribute: Name | None = None
    """Attribute among `evaluation.slices.pooled`, of whose values `i_squared` (of under-triage, or of accuracy where
    labels have no order) or `next_part_under_triage_rate` is asked."""
    by: Bound | None = None
    """`interval`: the worse bound of its interval is held against the rule; `value`: the bare figure. By default the
    interval, where the run has one for the figure."""

    @model_validator(mode="after")
    def _metric_has_what_is_asked(self) -> _OfMetric:
        metric = GATE_METRICS[self.figure]
        of_label = metric.section in ("class", "cut", "set")
        if of_label != (self.label is not None):
            wanted = "needs `label`" if of_label else "is of all rows; remove `label`"
            raise ValueError(f"figure {self.figure!r} {wanted}")
        if (metric.section == "cut") != (self.threshold_probability is not None):
            wanted = "needs" if metric.section == "cut" else "has no"
            raise ValueError(f"figure {self.figure!r} {wanted} `threshold_probability`")
        if (metric.section == "stress") != (self.edits is not None):
            raise ValueError(f"figure {self.figure!r} {'needs' if metric.section == 'stress' else 'has no'} `edits`")
        if (metric.section == "parts") != (self.attribute is not None):
            wanted = "needs" if metric.section == "parts" else "has no"
            raise ValueError(f"figure {self.figure!r} {wanted} `attribute`")
        if self.by == "value" and metric.section == "worst":
            raise ValueError(f"figure {self.figure!r} is a bound over all slices; leave `by` out")
        if self.by == "interval" and not metric.has_interval:
            raise ValueError(f"figure {self.figure!r} has no interval; leave `by` out or write by: value")
        return self


class WithinLimit(_OfMetric):
    """A figure keeps a fixed limit."""

    rule: Literal["within_limit"]
    at_least: float | None = None
    """Lowest allowed value, of a metric of which more is better."""
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
        if not metric.least <= limit <= (2.0 if self.figure == "brier" else metric.full):
            raise ValueError(
                f"{wanted} of {self.figure!r} lies between {metric.least:g} and {metric.full:g}; found {limit:g}"
            )
        return self

    @property
    def limit(self) -> float:
        return float(self.at_least if self.at_least is not None else self.at_most or 0.0)

    @property
    def part(self) -> str | None:
        """The label, group of edits or attribute that it is about."""
        return self.label or self.edits or self.attribute


class NotWorseThanChampion(_OfMetric):
    """A figure is not worse than the champion's on the same rows, but for a margin. By interval: the worse bound of
    the paired difference keeps the margin, so that without a margin the model must be shown to be better."""

    rule: Literal["not_worse_than_champion"]
    margin: Annotated[float, Field(ge=0.0)] = 0.0
    """In the unit of the figure: 0.01 is one point."""

    @model_validator(mode="after")
    def _champion_has_it(self) -> NotWorseThanChampion:
        metric = GATE_METRICS[self.figure]
        if metric.section in ("calibration", "cut", "set", "worst", "stress", "parts", "raters"):
            raise ValueError(f"figure {self.figure!r} is not measured for the champion; use rule within_limit")
        if metric.section == "rationale" and self.by == "interval":
            raise ValueError(f"figure {self.figure!r} has no paired interval; leave `by` out or write by: value")
        return self


class NoSliceWorseThanChampion(Section):
    """In no slice of enough rows is a figure worse than the champion's there by more than a margin."""

    rule: Literal["no_slice_worse_than_champion"]
    figure: Literal["accuracy", "macro_f1", "under_triage_rate"] = "accuracy"
    """The metric that is compared in each slice."""
    margin: Annotated[float, Field(ge=0.0, le=1.0)] = 0.03
    """How much worse a slice may be, in the unit of the figure."""
    min_rows: Annotated[int, Field(ge=1)] = 50
    """Slices with fewer rows are not compared."""
    by: Bound = "interval"
    """`interval`: no slice is shown to be worse; the intervals are widened to the number of slices (Bonferroni).
    `value`: none is worse on these rows, which fails most models that are as good as the champion."""


class HumanApproval(Section):
    """A person says yes, by name and with a reason: `r2d approve`; possible once every other rule is met."""

    rule: Literal["human_approval"]


Rule: TypeAlias = BetterThanBaseline | WithinLimit | NotWorseThanChampion | NoSliceWorseThanChampion | HumanApproval


class RulesOfRun(NamedTuple):
    """The rules of a gate, `defaults` spelt out."""

    rules: tuple[Rule, ...]
    left_out: tuple[str, ...] = ()
    """A sentence for each default rule that these labels do not have."""
    advice: tuple[str, ...] = ()
    """What a reader of the rules may take for granted, and they do not do: a sentence and a line to paste."""
    remarks: tuple[str, ...] = ()
    """What they do not do on purpose, as sentences."""


class GateConfig(Section):
    """What a model must do to be given the alias `champion`; every rule must be met."""

    rules: tuple[Annotated[Defaults | Rule, Field(discriminator="rule")], ...] = (Defaults(rule="defaults"),)
    """By default: shown to be above the learnt baseline; shown not to be worse than the champion in macro-F1 (accuracy
    where `labels.per_row`) and, where labels are ordered, in under-triage and in the recall of the most urgent label.
    An empty list lets every model pass."""

    @property
    def edits(self) -> frozenset[str]:
        """Groups of edits of notes that rules ask of."""
        return frozenset(rule.edits for rule in self.rules if isinstance(rule, WithinLimit) and rule.edits)

    def for_labels(self, labels: LabelsConfig) -> RulesOfRun:
        """The rules for a run on these labels, in their order."""
        rules: list[Rule] = []
        left_out: tuple[str, ...] = ()
        for rule in self.rules:
            if isinstance(rule, Defaults):
                defaults = default_rules(labels)
                rules, left_out = [*rules, *defaults.rules], defaults.left_out
            else:
                rules.append(rule)
        remarks = (NO_ORDER,) if labels.ordered is False and not labels.per_row else ()
        return RulesOfRun(tuple(rules), left_out, tuple(self._advice(rules, labels)), remarks)

    def _advice(self, rules: Sequence[Rule], labels: LabelsConfig) -> list[str]:
        """`RulesOfRun.advice`; the line to paste has the declared rules too."""
        advice = []
        limited = {rule.figure for rule in rules if isinstance(rule, WithinLimit)}
        of_under_triage = {figure for figure in GATE_METRICS if "under_triage" in figure}
        if labels.ordered is None and not labels.per_row:
            advice.append(
                "it is not said whether the labels have an order: under-triage is not measured, and no rule of the "
                "gate and no threshold looks at it. If they are levels of urgency, set data.labels.ordered: true, with "
                "data.labels.names from the most urgent to the least; if not, set it to false"
            )
        if rules and labels.ordered and not limited & of_under_triage:
            others = "no rule of the gate looks at it, and a model may have any"
            compared = [rule for rule in rules if isinstance(rule, NotWorseThanChampion | NoSliceWorseThanChampion)]
            if any(rule.figure in of_under_triage for rule in compared):
                others = "the gate compares it with the champion's, and the first model may have any"
            limit = WithinLimit(rule="within_limit", figure="under_triage_rate", at_most=0.05)
            dumped = [rule.model_dump(mode="json", exclude_defaults=True) for rule in (*self.rules, limit)]
            declared = [{"rule": rule["rule"]} | rule for rule in dumped]
            line = yaml.safe_dump({"rules": declared}, default_flow_style=True, sort_keys=False, width=math.inf)
            advice.append(
                f"no limit on under-triage is declared: {others}. What is tolerable is for clinicians to say; with "
                f"their number in place of 0.05, add to registration.gate: {line.strip()[1:-1]}"
            )
        advice += [
            f"{rule.rule} of {rule.figure} has margin 0, so by interval a model must be shown to be better than the "
            "champion (superiority), and one that is as good passes in 2.5 %; give a margin, such as margin: 0.02"
            for rule in rules
            if isinstance(rule, NotWorseThanChampion)
            and rule.margin == 0.0
            and rule.by != "value"
            and GATE_METRICS[rule.figure].section in ("label", "ordered", "class", "claims", "reader")
        ]
        return advice

    def faults(self, labels: LabelsConfig, method: MethodConfig) -> list[str]:
        """What the rules ask for and a run on these labels, by this method, does not measure."""
        faults = []
        for place, rule in enumerate(self.rules):
            figure: str | None = getattr(rule, "figure", None)
            section = None if figure is None else GATE_METRICS[figure].section
            of_rationales = section in ("alignment", "rationale", "claims", "reader")
            of_classes = figure is not None and not of_rationales and figure not in ("accuracy", "invalid_label_rate")
            of_classes &= section != "stress"
            is_ordered = section in ("ordered", "cut", "worst")
            is_ordered |= figure in ("next_part_under_triage_rate", "under_triage_minus_raters")
            of_classes |= section == "reader"  # it reads declared labels
            label: str | None = getattr(rule, "label", None)
            checks = {
                f"figure {figure!r} is of declared labels, and data.labels.per_row has none": (
                    labels.per_row and of_classes
                ),
                "there are no slices where data.labels.per_row; remove the rule": (
                    labels.per_row and isinstance(rule, NoSliceWorseThanChampion)
                ),
                f"figure {figure!r} needs data.labels.ordered: true, the most urgent label first": (
                    is_ordered and not labels.ordered and not labels.per_row
                ),
                f"label {label!r} is not declared; allowed: {', '.join(labels.names)}": (
                    section in ("class", "cut", "set")
                    and not labels.per_row
                    and match_label(label, labels.names) is None
                ),
                f"every note is at least as urgent as {label!r}; ask {figure!r} of a more urgent label": (
                    section == "cut" and labels.ordered and match_label(label, labels.names[-1:]) is not None
                ),
                f"figure {figure!r} is of rationales, and method {method.name!r} writes none": (
                    of_rationales and not method.explains
                ),
            }
            faults += [f"registration.gate.rules.{place}: {fault}" for fault, is_there in checks.items() if is_there]
        return faults


def default_rules(labels: LabelsConfig) -> RulesOfRun:
    """The rules that `defaults` stands for."""
    worse: Literal["not_worse_than_champion"] = "not_worse_than_champion"
    rules: tuple[Rule, ...] = (
        BetterThanBaseline(rule="better_than_baseline", baseline="learnt", by="interval"),
        NotWorseThanChampion(
            rule=worse, figure="accuracy" if labels.per_row else "macro_f1", margin=MACRO_F1_MARGIN, by="interval"
        ),
    )
    if not labels.ordered:
        reason = "each row has options of its own" if labels.per_row else "the labels have no order of urgency"
        return RulesOfRun(rules, (f"under-triage and the recall of the most urgent label are not compared: {reason}",))
    urgent = labels.names[0]
    return RulesOfRun(
        (
            *rules,
            NotWorseThanChampion(rule=worse, figure="under_triage_rate", margin=UNDER_TRIAGE_MARGIN, by="interval"),
            NotWorseThanChampion(
                rule=worse, figure="recall", label=urgent, margin=MOST_URGENT_RECALL_MARGIN, by="interval"
            ),
        )
    )


class SigningConfig(Section):
    """By which keys registered models, decisions of the gate and approvals are signed and checked: docs/operations.md.

    Paths of PEM files, never the keys. Where the environment has `R2D_PRIVATE_KEY` or `R2D_PUBLIC_KEYS`, that counts.
    """

    private_key: Name | None = None
    """Signs what is registered; readable by its owner alone."""
    public_keys: tuple[Name, ...] = ()
    """The champion, a registered start model and an approval must be signed by one of these; none: nothing is checked.
    Commands and served models read `R2D_PUBLIC_KEYS`."""


class RegistrationConfig(Section):
    """Under which name the model is registered, and when it may be used."""

    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "reason2decide"
    """Name in the registry, as in `r2d predict --model NAME@champion`."""
    gate: GateConfig = GateConfig()
    signing: SigningConfig = SigningConfig()

    @model_validator(mode="after")
    def _name_is_free(self) -> RegistrationConfig:
        kept_there = ("the history of a model", "the ledger of a test set", "the record of erasures")
        for suffix, kept in zip(RESERVED_SUFFIXES, kept_there, strict=True):
            if self.model_name.endswith(suffix):
                raise ValueError(f"model_name must not end in {suffix!r}: {kept} has such a name")
        return self
