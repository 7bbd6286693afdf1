"""The metrics of an evaluation as a tree of frozen dataclasses; `metrics.json` (`metrics.schema.json`) is their JSON.

Fields are named as the keys of the JSON. `None` and 0 rows mean that something was not measured, never that it is 0.
Rates and shares are fractions of 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from statistics import NormalDist
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from r2d.config.evaluation import SeenRowsPolicy
from r2d.errors import DataError
from r2d.modeling.overlap import Overlap
from r2d.text import flatten

Decoding = Literal["constrained", "free", "as stated"]
"""How labels were decoded; `as stated` by a language model that was asked and not trained."""
HeadlineName = Literal["macro_f1", "accuracy"]
HEADLINES: Mapping[HeadlineName, str] = {"macro_f1": "macro-F1", "accuracy": "accuracy"}
"""Metric that models are compared by -> its caption."""
RARE_LABEL_ROWS = 30
"""A label with fewer gold rows is named beside macro-F1."""
WHY_NO_CLASSES = "each row has options of its own, so there are no classes for a macro-F1 to average over"
Expectation = Literal["same label", "not less urgent", "not more urgent", "more urgent"]
"""What an edit of a note may do to the label."""
Binning = Literal["equal_width", "equal_mass"]
ChoosingSplit = Literal["calibration", "validation"]
CHOOSING_SPLITS: tuple[ChoosingSplit, ...] = ("calibration", "validation")
"""Splits that can choose temperature and threshold: the first that has rows does."""
IF_PRESENT = Field(exclude_if=lambda value: value is None)
"""Marks a key that is absent from the JSON, not null, where it does not apply."""


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


@dataclass(frozen=True)
class IntervalEstimate:
    """A metric, or a difference of two, with its two-sided confidence interval."""

    value: float | None
    """None where it is undefined, as the recall of a label without a gold row is."""
    low: float | None = None
    high: float | None = None
    method: Literal["bca", "exact", "score", "seeds", "sandwich", "random effects"] | None = None
    """Bootstrap (BCa); Clopper-Pearson where nothing varies; Tango's score interval, or the bootstrap where that is
    wider, where two models differ in few groups. None where there is no interval."""

    def text(self, *, signed: bool = False) -> str:
        """`0.520 (0.500 to 0.540)`, or the value alone where there is no interval."""
        sign = "+" if signed else ""
        if self.low is None or self.high is None:
            return f"{self.value:{sign}.3f}"
        return f"{self.value:{sign}.3f} ({self.low:{sign}.3f} to {self.high:{sign}.3f})"

    def standard_error(self, confidence: float) -> float | None:
        """From the width of the interval, as of a normal distribution; None where there is no interval.

        Args:
            confidence: of the interval.
        """
        if self.low is None or self.high is None or self.low == self.high:
            return None
        return (self.high - self.low) / (2 * NormalDist().inv_cdf((1 + confidence) / 2))

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and 0 lies outside of it."""
        return self.low is not None and self.high is not None and not self.low <= 0.0 <= self.high


Intervals = Mapping[str, IntervalEstimate]
"""Name of a metric -> its estimate, all from one draw of groups."""
IntervalIfPresent = Annotated[IntervalEstimate | None, IF_PRESENT]


# --- labels ---


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
    worst_cases: tuple[WorstCase, ...]
    """Most levels first, then most confident."""


# --- probabilities ---


@dataclass(frozen=True, kw_only=True)
class TemperatureFit:
    """The temperature that probabilities are scaled by, and the rows on which it was fitted, those of the threshold."""

    value: float
    num_rows: int
    nll_before: float
    nll_after: float
    at_limit: bool
    """Whether it lies at a limit of the search: those rows are all right, or say nothing."""


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Rows whose confidence lies above `lower` and at most at `upper`, with the means of confidence and accuracy."""

    lower: Annotated[float, Field(alias="from")]
    upper: Annotated[float, Field(alias="to")]
    num_rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class CalibrationPoint:
    """Share of right labels at a confidence."""

    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class CalibrationSlope:
    """Logistic regression of an event on the logit of its probability: 1 and 0 where it is calibrated."""

    of: str
    """`all rows`, a slice (`site = north`), or a cut of the order (`at least as urgent as LABEL`)."""
    num_rows: int
    num_events: int
    slope: IntervalEstimate
    """Below 1: too extreme."""
    intercept: IntervalEstimate
    """At slope 1; above 0: too low."""
    not_estimated: str | None
    """Why both are undefined."""


@dataclass(frozen=True, kw_only=True)
class CalibrationMetrics:
    """Label probabilities against what came true; accuracy and confidence are of the most probable label."""

    num_rows: int
    num_bins: int
    accuracy: float
    mean_confidence: float
    ece_equal_width: float
    ece_equal_mass: float
    brier: float
    """0 is perfect, 2 the worst."""
    nll: float
    reliability: Mapping[Binning, tuple[ReliabilityBin, ...]]
    """The bins that have rows."""
    ece_if_calibrated: Mapping[Binning, IntervalEstimate] = field(default_factory=dict)
    """The error that a calibrated model would show with these rows: its mean and 95 % band. An error within the band is
    no sign of miscalibration."""
    curve: tuple[CalibrationPoint, ...] = ()
    """A smooth curve through the rows; empty where too few are right or wrong."""

    @property
    def beyond_chance(self) -> bool:
        """Whether the error in bins of equal mass lies above the band of a calibrated model."""
        band = self.ece_if_calibrated.get("equal_mass")
        return band is not None and band.high is not None and self.ece_equal_mass > band.high

    @property
    def chance_sentence(self) -> str:
        """What the error means beside that of a calibrated model; empty where there is no band."""
        if not self.ece_if_calibrated:
            return ""
        if self.beyond_chance:
            return (
                "That is more than a calibrated model would show with these rows: its probabilities are not to be "
                "taken at their word."
            )
        return (
            "A calibrated model would show as much with these rows by chance, so that this is no sign that the "
            "probabilities are wrong."
        )


@dataclass(frozen=True, kw_only=True)
class CalibrationResult:
    """Calibration of the test rows before and after temperature scaling."""

    temperature: TemperatureFit
    before: CalibrationMetrics
    after: CalibrationMetrics
    slopes: tuple[CalibrationSlope, ...] = ()
    """After scaling."""


@dataclass(frozen=True, kw_only=True)
class ThresholdOnValidation:
    """A threshold on the rows that chose it; coverage 0 and no risk where there is none."""

    split: ChoosingSplit = "validation"
    """`validation` where there are no calibration rows: they chose the weights too, and look better than new rows."""
    num_rows: int
    num_groups: int | None = None
    """None in a model folder of an older version."""
    coverage: float = 0.0
    risk: float | None = None
    upper_bound: float | None = None
    """Of the risk, one-sided, with groups as what was sampled; None where `bound_confidence` is null."""
    rows_share_groups: bool


@dataclass(frozen=True, kw_only=True)
class ThresholdChoice:
    """The confidence from which on labels are shown."""

    risk: Literal["under_triage", "error"]
    """What must stay rare among the labels shown."""
    max_risk: float
    bound_confidence: float | None
    threshold: float | None
    """None where no threshold keeps the risk low enough: then every note goes to a person."""
    reason: str | None
    """Why there is none."""
    validation: ThresholdOnValidation


@dataclass(frozen=True, kw_only=True)
class ThresholdOnTest:
    """A threshold on the test rows, which had no say in it."""

    num_rows: int
    coverage: IntervalEstimate
    risk: IntervalEstimate
    held: bool | None
    """True where the whole interval of the risk is at most `max_risk`, False where it is above; None where it holds
    `max_risk`, so that these rows do not tell, and where no label is shown."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Coverage and risk where labels of at least this confidence are shown."""

    threshold: float
    coverage: float
    risk: float


@dataclass(frozen=True, kw_only=True)
class RiskCoverageCurve:
    """Risk at every coverage; `risk` is that of all rows, `points` are in order of coverage."""

    num_rows: int
    risk: float
    aurc: float
    """Area under the curve; 0 is best. In the perfect order the same errors have the lowest confidence."""
    aurc_of_perfect_order: float
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, kw_only=True)
class SelectiveMetrics(ThresholdChoice):
    """Selective prediction on the test rows; `test` is None without threshold."""

    test: ThresholdOnTest | None
    curve: RiskCoverageCurve


# --- operating points ---


@dataclass(frozen=True, kw_only=True)
class DecisionPoint:
    """Net benefit at one threshold probability: true positives minus false ones, these weighted by its odds, a call."""

    threshold_probability: float
    treat_all: float
    """Net benefit of taking every note for one at least as urgent; that of taking none is 0."""
    as_decided: Intervals
    """net_benefit of the predicted labels, and net_benefit_gain over the better of treating all and none."""
    by_probability: Intervals
    """The same where a note counts from this probability on; sensitivity, specificity, ppv and flagged besides."""


@dataclass(frozen=True, kw_only=True)
class UrgencyCut:
    """The question whether a note is at least as urgent as `label`."""

    label: str
    num_positive: int
    """Test rows that are."""
    prevalence: float
    """Their share, or the declared one."""
    as_decided: Intervals
    """Of the predicted labels: sensitivity, specificity, ppv, npv; and as shares of all notes: flagged (predicted at
    least as urgent), found, false_alarms, missed."""
    points: tuple[DecisionPoint, ...]

    def point(self, threshold_probability: float) -> DecisionPoint | None:
        near = [row for row in self.points if abs(row.threshold_probability - threshold_probability) < 1e-9]
        return near[0] if near else None


@dataclass(frozen=True, kw_only=True)
class CostDecision:
    """The labels of least expected cost, beside the predicted ones."""

    figures: Intervals
    """mean_cost, under_triage_rate, over_triage_rate, accuracy, macro_f1."""
    differences: Intervals
    """The same minus those of the predicted labels, paired."""


@dataclass(frozen=True, kw_only=True)
class OperatingPoints:
    """What ordered labels and their probabilities are good for."""

    shares_declared: bool
    """Whether the shares of the labels are those of `evaluation.operating_points.label_shares`."""
    cuts: tuple[UrgencyCut, ...]
    """All but the least urgent label, which every note is at least as urgent as."""
    by_costs: CostDecision | None
    """None without `evaluation.safety.costs`."""


@dataclass(frozen=True, kw_only=True)
class LabelSetsResult:
    """Sets of labels (`r2d.evaluation.label_sets`) of the test rows, chosen on rows of `split`."""

    target: float
    """Coverage that the reference of each label was to have."""
    split: ChoosingSplit
    num_rows: int
    num_groups: int
    lowest_probability: Mapping[str, float]
    """Label -> probability from which on it belongs to a set; 0 where too few groups had it: then to every set."""
    coverage: IntervalEstimate
    """Share of the rows whose set holds the reference; likewise of the rows of each label."""
    coverage_of_label: Intervals
    mean_size: IntervalEstimate
    """Labels in a set."""
    single_share: IntervalEstimate
    """Share of the sets of one label."""
    most_frequent: tuple[NamedCount, ...]

    @property
    def without_threshold(self) -> list[str]:
        return [label for label, lowest in self.lowest_probability.items() if not lowest]


# --- rows ---


@dataclass(frozen=True, kw_only=True)
class NamedCount:
    """Rows of one name: a reason, a label, a value."""

    name: str
    num_rows: int


@dataclass(frozen=True, kw_only=True)
class RowFlow:
    """The way of the rows from the file to the figures."""

    num_read: int
    """0 where it is not known: the rows came as a table."""
    left_out: tuple[NamedCount, ...]
    """Before any check, by reason."""
    num_added: int
    """By reviewers."""
    num_quarantined: int
    quarantined: tuple[NamedCount, ...]
    """By the check that set them aside; a row can have several."""
    num_used: int
    """In all splits."""
    not_measured: tuple[NamedCount, ...]
    """Test rows, by reason."""
    num_measured: int


@dataclass(frozen=True, kw_only=True)
class AttributeCounts:
    """The rows of each value of an attribute."""

    name: str
    values: tuple[NamedCount, ...]


@dataclass(frozen=True, kw_only=True)
class CohortSplit:
    """What one split holds."""

    split: str
    num_rows: int
    num_groups: int
    """A row without a group is one of its own."""
    num_without_group: int
    num_without_rationale: int
    words_low: float
    """Quartiles and median of the words of a note."""
    words_median: float
    words_high: float
    labels: tuple[NamedCount, ...]
    attributes: tuple[AttributeCounts, ...]


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """The rows of a run (`r2d.evaluation.cohort`)."""

    flow: RowFlow
    splits: tuple[CohortSplit, ...]


# --- slices ---


@dataclass(frozen=True, kw_only=True)
class SlicePart:
    """The rows with one value of `by`: `label`, `length`, `rationale_source` or `attributes.{name}`."""

    by: str
    value: str
    num_rows: int
    small: bool
    """Fewer rows than `min_rows`."""
    rare_labels: Mapping[str, int] = field(default_factory=dict)
    """Label with fewer gold rows in it than `RARE_LABEL_ROWS` -> those rows."""

    @property
    def hangs_on(self) -> str:
        """What its macro-F1 hangs on, such as `hangs on 3 rows of self care`; empty where no label is rare."""
        if not self.rare_labels:
            return ""
        name, rows = min(self.rare_labels.items(), key=lambda row: row[1])
        return f"hangs on {rows} {'row' if rows == 1 else 'rows'} of {name}"


@dataclass(frozen=True, kw_only=True)
class SliceMetrics(SlicePart):
    """Its metrics beside those of all rows."""

    num_groups: int
    figures: Intervals
    """accuracy, macro_f1 and, of ordered labels, under_triage_rate and over_triage_rate."""
    gaps: Intervals
    """The same minus the whole; without interval where the slice's own has none by bootstrap."""
    q_values: Annotated[Mapping[str, float], Field(exclude_if=lambda value: not value)] = field(default_factory=dict)
    """Of the gaps that `MultipleLooks` counts: the share of false findings among all gaps that stand out as much or
    more (Benjamini and Hochberg 1995)."""


@dataclass(frozen=True, kw_only=True)
class MultipleLooks:
    """Gaps that have an interval, those whose interval excludes 0, and how many would by chance; not of labels."""

    num_gaps: int
    num_without_zero: int
    expected_by_chance: float


@dataclass(frozen=True, kw_only=True)
class WorstSlice:
    """The slice whose rate may be the highest, by bounds that hold for all slices at once."""

    figure: Literal["under_triage_rate", "error_rate"]
    by: str
    value: str
    num_rows: int
    num_groups: int
    rate: float
    bound: float
    """Upper bound of the rate in every slice that was compared, one-sided, at the confidence of the intervals."""
    num_slices: int
    """Compared: those of `min_rows` rows or more, but for labels."""


@dataclass(frozen=True, kw_only=True)
class PooledFigure:
    """One rate over the values of an attribute, such as sites (`r2d.evaluation.heterogeneity`)."""

    pooled: IntervalEstimate
    next_part: IntervalEstimate
    """Where the rate of a value that is not among them may lie; without ends where two are pooled."""
    tau_squared: float
    """Variance between them, of the logit of the rate."""
    i_squared: float
    """Share of the variation between them that is not chance."""
    q: float
    p_value: float
    """Of Cochran's Q: they all have one rate."""
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Heterogeneity:
    """Whether the rates of the values of an attribute differ by more than chance."""

    by: str
    parts: tuple[str, ...]
    """Values that are pooled."""
    not_pooled: Mapping[str, str]
    """The others -> why."""
    figures: Mapping[str, PooledFigure]
    """accuracy and, of ordered labels, under_triage_rate; empty where fewer than two values can be pooled."""


@dataclass(frozen=True, kw_only=True)
class SlicesResult:
    """All slices beside the whole."""

    confidence: float
    min_rows: int
    whole: Intervals
    slices: tuple[SliceMetrics, ...]
    multiple_looks: MultipleLooks
    left_out: Mapping[str, str]
    """Attribute that rows are not divided by -> why."""
    worst: Annotated[WorstSlice | None, IF_PRESENT] = None
    """None where no slice has enough rows."""
    heterogeneity: Annotated[tuple[Heterogeneity, ...], Field(exclude_if=lambda value: not value)] = ()
    """Of the attributes of `evaluation.slices.pooled` that the rows have."""


@dataclass(frozen=True, kw_only=True)
class SliceDifference(SlicePart):
    """This model minus the champion in it."""

    difference: Intervals


# --- rationales ---


@dataclass(frozen=True, kw_only=True)
class OverlapMetrics:
    """Rationales against the reference ones, over the rows of a population; None without rows."""

    num_rows: int
    bleu: float | None = None
    """sacreBLEU's corpus BLEU and chrF2 (`chrf`), 0 to 100; the rest are means over rows."""
    chrf: float | None = None
    paper_bleu: float | None = None
    rouge_l: float | None = None
    sentence_chrf: float | None = None
    bertscore_precision: float | None = None
    bertscore_recall: float | None = None
    bertscore_f1: float | None = None


@dataclass(frozen=True, kw_only=True)
class Populations:
    """`all` rows; those with a correct label; all rows, where a rationale for a wrong label counts 0."""

    all: OverlapMetrics
    correct_only: OverlapMetrics
    zero_if_wrong: OverlapMetrics


@dataclass(frozen=True, kw_only=True)
class BertScoreModel:
    """How BERTScore was computed."""

    model: str
    num_layers: int
    max_tokens: int
    """What the model reads of a text; `truncated_share` of the texts were longer."""
    truncated_share: float


@dataclass(frozen=True, kw_only=True)
class RationaleMetrics:
    """Rationales against the reference ones. Rows without reference are left out, empty rationales score 0."""

    num_rows: int
    num_without_reference: int
    num_empty_candidates: int
    sacrebleu_signature: str | None
    chrf_signature: str | None
    bertscore: BertScoreModel | None
    """None where there was nothing to score."""
    populations: Populations
    intervals: Annotated[Mapping[str, Intervals], Field(exclude_if=lambda value: not value)] = field(
        default_factory=dict
    )
    """Population -> the metrics that are means over rows, with intervals."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Of the number of words or tokens."""

    mean: float
    median: float
    min: int
    max: int


@dataclass(frozen=True, kw_only=True)
class CopiedWords:
    """How much of a rationale stands in its note: share of its word triples, longest run of words."""

    mean_share: float | None
    mean_longest_run: float | None
    longest_run: int | None


@dataclass(frozen=True, kw_only=True)
class FaultCount:
    """Rationales with one fault, and the ids of the first few."""

    rows: int
    of: int
    share: float | None
    ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RationaleQuality:
    """Rationales by themselves and beside their notes, without a reference."""

    num_rows: int
    num_written: int
    """Not empty; all but the fault `empty` is of these."""
    lengths: Mapping[Literal["words", "tokens"], Spread | None]
    distinct_1: float | None
    """Distinct words, and word pairs (`distinct_2`), per one written (Li et al. 2016); fall with the number of rows."""
    distinct_2: float | None
    copied: CopiedWords
    faults: Mapping[str, FaultCount]


@dataclass(frozen=True, kw_only=True)
class ClaimCounts:
    """Claims about findings by what the note says of them."""

    supported: int
    contradicted: int
    unclear: int
    absent: int


@dataclass(frozen=True, kw_only=True)
class ClaimMetrics:
    """What rationales claim about findings, held against their notes (`r2d.rationales.claims`)."""

    num_rationales: int
    """Not empty; `num_with_claims` of them assert or deny a finding."""
    num_with_claims: int
    num_contradicted: int
    """Rationales with a claim that the note contradicts."""
    num_stating_other_label: int
    """Rationales that state a label of the set other than the one shown."""
    asserted: ClaimCounts
    """Claims that a finding is there, and (`denied`) that it is not."""
    denied: ClaimCounts
    contradicted_findings: Mapping[str, int]
    """The findings most often contradicted -> claims."""
    intervals: Intervals
    """contradicted_rationale_rate and other_label_rate, of rationales; supported_share, contradicted_share,
    unclear_share and absent_share, of claims."""


@dataclass(frozen=True, kw_only=True)
class OutsideReaderMetrics:
    """What a linear reader of the training rationales makes of the model's; `r2d.evaluation.outside_reader`."""

    num_training_rationales: int
    num_rows: int
    num_with_gold_rationale: int
    num_leaking: int
    """Rows whose masked rationale alone gives the model's label away to the reader."""
    intervals: Intervals
    """consistency (reads the model's label), sufficiency (reads the gold label) and ceiling (reads the gold label in
    the reference rationales), each also with labels masked (`_masked`); note_alone, note_and_rationale (foresees the
    model's label) and their difference, simulatability, also adjusted for leakage."""


@dataclass(frozen=True, kw_only=True)
class AlignmentMetrics:
    """Whether the model itself comes from a rationale alone to the label; `r2d.evaluation.alignment` defines the three
    shares."""

    num_rows: int = 0
    num_empty_rationales: int = 0
    num_with_gold_rationale: int = 0
    consistency: float | None = None
    sufficiency: float | None = None
    gold_robustness: float | None = None


@dataclass(frozen=True, kw_only=True)
class MaskedAlignment(AlignmentMetrics):
    """The same with every label masked in the rationales."""

    num_masked: int = 0
    """Rows whose rationale names a label, and (`num_nothing_left`) consists of nothing else."""
    num_nothing_left: int = 0


@dataclass(frozen=True, kw_only=True)
class FlipTest:
    """Rationales for another label than the predicted one; `r2d.evaluation.alignment` defines the shares."""

    num_rows: int = 0
    num_without_other_label: int = 0
    identical: float | None = None
    identical_ids: tuple[str, ...] = ()
    """The first few."""
    mean_chrf: float | None = None
    """Likeness of the two rationales, 0 to 100."""
    argues_for_own: float | None = None
    argues_for_other: float | None = None
    stays_with_own: float | None = None


# --- stress tests ---


@dataclass(frozen=True, kw_only=True)
class StressEdit:
    """One edit of notes (`r2d.evaluation.stress`), over the test rows that it applies to."""

    name: str
    group: str
    expects: Expectation
    num_rows: int
    num_broken: int
    """Rows whose label moved as the expectation forbids; `num_changed`: at all."""
    num_changed: int
    num_about_finding: int
    """Rows in which a finding was edited and a rationale written; `num_named` of them claim the edited finding."""
    num_named: int
    intervals: Intervals
    """broken_share and changed_share of `num_rows`; named_share of `num_about_finding`, and named_if_changed_share of
    those whose label changed."""


@dataclass(frozen=True, kw_only=True)
class SentenceDeletion:
    """The probability of the model's label without sentences of the note: `r2d.evaluation.stress.sentence_deletion`."""

    num_rows: int
    num_left_out: int
    """Rows whose rationale is about no sentence, or about all."""
    intervals: Intervals
    """Means of comprehensiveness, sufficiency and other_sentences."""


@dataclass(frozen=True, kw_only=True)
class StressResult:
    """What edits of notes do to the model's labels."""

    file: str
    num_rows: int
    """Test rows that were looked at."""
    num_decisions: int
    """That it cost."""
    edits: tuple[StressEdit, ...]
    broken_by_group: Intervals
    """Group of edits -> share broken, over all of its edited notes."""
    sentences: SentenceDeletion | None
    """None for a method that writes no rationales."""


# --- several raters ---


@dataclass(frozen=True, kw_only=True)
class RatersTogether:
    """Agreement of all raters over the rows that two or more labelled."""

    fewest: int
    """Raters of a row."""
    most: int
    figures: Intervals
    """alpha_nominal; alpha_ordinal of ordered labels; fleiss_kappa where each row has equally many raters."""


@dataclass(frozen=True, kw_only=True)
class RaterPair:
    """Two raters over the rows that both labelled."""

    first: str
    second: str
    num_rows: int
    figures: Intervals
    """same (share of equal labels), kappa and, of ordered labels, weighted_kappa (quadratic); empty without rows."""


@dataclass(frozen=True, kw_only=True)
class AgreedNotes:
    """The model against the reference on notes on which the raters agree, or do not."""

    num_rows: int
    figures: Intervals
    """accuracy and, of ordered labels, under_triage_rate and over_triage_rate."""


@dataclass(frozen=True, kw_only=True)
class RaterVersusOthers:
    """A rater, and the model, against the label that most of the other raters gave; ties are left out."""

    rater: str | None
    """None: all raters, each against the others."""
    num_labels: int
    by_rater: Intervals
    """accuracy and, of ordered labels, under_triage_rate and over_triage_rate; `difference`: model minus rater."""
    by_model: Intervals
    difference: Intervals


@dataclass(frozen=True, kw_only=True)
class RatersResult:
    """Labels of several raters (`r2d.evaluation.raters`)."""

    file: str
    num_raters: int
    num_rated: int
    """Test rows with labels of two raters or more."""
    num_other_rows: int
    """Rows of the file that are not measured."""
    together: RatersTogether
    pairs: tuple[RaterPair, ...]
    notes: Mapping[str, AgreedNotes]
    """`agreed` and `disputed`, those that there are."""
    ceiling: tuple[RaterVersusOthers, ...]
    """Each rater, and all of them last."""


# --- the whole ---


@dataclass(frozen=True, kw_only=True)
class SeenRows:
    """What is known of whether the test rows had been seen in training, and what was done about it."""

    policy: SeenRowsPolicy
    num_dropped: int
    """Test rows that were not measured, because the model or the champion had seen them."""
    model: Overlap | None
    """Over all test rows, before any was dropped; None: unknown, because the model keeps no record of its rows."""
    champion_reference: str | None = None
    champion: Overlap | None = None
    """None where there is no champion, or where it keeps no record."""

    def sentences(self) -> list[str]:
        """What a reader must know of it: of the model, of the champion, and of rows that were left out."""
        whose = [("the model", self.model)]
        if self.champion_reference is not None:
            whose.append((f"champion {self.champion_reference}", self.champion))
        sentences = [
            overlap.sentence(who)
            if overlap is not None
            else f"whether {who} had seen test rows in training is unknown: it keeps no record of its rows"
            for who, overlap in whose
        ]
        if self.num_dropped:
            sentences.append(f"{self.num_dropped:,} test rows that had been seen were left out of all figures")
        return sentences


@dataclass(frozen=True, kw_only=True)
class ChampionMetrics:
    """The champion, `name/version`, on the same test rows; all None where it was not compared."""

    reference: str
    not_compared: str | None = None
    """Why not."""
    label: LabelMetrics | None = None
    under_triage_rate: float | None = None
    over_triage_rate: float | None = None
    rationale: OverlapMetrics | None = None
    """Over all rows."""
    alignment: AlignmentMetrics | None = None
    claims: ClaimMetrics | None = None
    claims_difference: Intervals = field(default_factory=dict)
    """This model minus the champion, paired: contradicted_rationale_rate and other_label_rate."""
    outside_reader: OutsideReaderMetrics | None = None
    """None where the model or the champion writes no rationales, and in the metrics of earlier versions."""
    outside_reader_difference: Intervals = field(default_factory=dict)
    """This model minus the champion, paired; all but the ceilings, which are the same."""


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


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Everything that an evaluation measures on the test rows. A section that was not measured is None or empty."""

    num_rows: int
    decoding: Decoding
    method: str
    num_parameters: int = 0
    engine: Annotated[str | None, IF_PRESENT] = None
    """`evaluation.engine`, where an export was measured in place of the model as it was trained."""
    seen_rows: SeenRows | None = None
    """None where nothing was trained, and in the metrics of earlier versions."""
    label: LabelMetrics
    other_decoding: OtherDecoding | None = None
    baselines: Mapping[Comparator, LabelMetrics] = field(default_factory=dict)
    """Empty without training rows to learn from."""
    encoder_baseline: Annotated[EncoderBaseline | None, IF_PRESENT] = None
    champion: ChampionMetrics | None = None
    """None where there is none."""
    intervals: LabelIntervals | None = None
    differences: Mapping[Comparator, LabelIntervals] = field(default_factory=dict)
    """This model minus each baseline and the champion, paired."""
    ranking: RankingMetrics | None = None
    safety: SafetyMetrics | None = None
    calibration: CalibrationResult | None = None
    selective: SelectiveMetrics | None = None
    operating_points: Annotated[OperatingPoints | None, IF_PRESENT] = None
    """Of ordered labels."""
    label_sets: Annotated[LabelSetsResult | None, IF_PRESENT] = None
    """None where no rows could choose the thresholds."""
    external: Annotated[str | None, IF_PRESENT] = None
    """Where the data come from, of an external validation (`r2d evaluate --external`)."""
    cohort: Annotated[Cohort | None, IF_PRESENT] = None
    """None in the metrics of earlier versions."""
    slices: SlicesResult | None = None
    champion_slices: tuple[SliceDifference, ...] | None = None
    rationale: RationaleMetrics | None = None
    written_quality: Mapping[Literal["model", "reference"], RationaleQuality] | None = None
    claims: Mapping[Literal["model", "reference"], ClaimMetrics] | None = None
    outside_reader: OutsideReaderMetrics | None = None
    """None without training rationales to learn from, and where rows have options of their own."""
    alignment: AlignmentMetrics = AlignmentMetrics()
    masked_alignment: MaskedAlignment = MaskedAlignment()
    flip_test: FlipTest = FlipTest()
    stress: Annotated[StressResult | None, IF_PRESENT] = None
    """None without `evaluation.stress`."""
    raters: Annotated[RatersResult | None, IF_PRESENT] = None
    """None without `evaluation.raters`."""
    judge: Mapping[str, Any] = field(default_factory=dict)
    """`r2d.evaluation.judge`: status and reason, and the scores where rationales were judged."""

    def seen_sentences(self) -> list[str]:
        """Whether the test rows had been seen in training, as sentences without full stops."""
        if self.seen_rows is None:
            return ["whether the model had seen test rows in training is unknown: it was not looked up"]
        return self.seen_rows.sentences()

    def rare_label_sentences(self) -> list[str]:
        """The labels that make macro-F1 hang on few rows, as sentences without full stops."""
        return [
            f"{name} has {rows} test {'row' if rows == 1 else 'rows'} only, and an F1 of "
            f"{IntervalEstimate(self.label.per_class[name].f1).text() if estimate is None else estimate.text()}, so "
            "that macro-F1 hangs on few rows"
            for name, rows in self.label.rare_labels.items()
            for estimate in [None if self.intervals is None else self.intervals.per_class[name].get("f1")]
        ]

    def to_json(self) -> dict[str, Any]:
        """The content of `metrics.json`: JSON values, keys as in `metrics.schema.json`."""
        values: dict[str, Any] = _adapter().dump_python(self, mode="json", by_alias=True, warnings="error")
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Metrics:
        """Read the content of a `metrics.json`. A section that an older version did not measure is empty; keys that
        this version does not know are left out.

        Raises:
            DataError: the values are not those of a `metrics.json`.
        """
        try:
            return _adapter().validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise DataError(f"metrics.json cannot be read: {place}: {first['msg']}") from None

    def numbers(self) -> dict[str, float]:
        """Every number by its path, such as `label/per_class/self care/recall`; those in lists are left out."""
        values = flatten(self.to_json(), "/").items()
        return {
            path: float(value)
            for path, value in values
            if isinstance(value, int | float) and not isinstance(value, bool)
        }


@cache
def _adapter() -> TypeAdapter[Metrics]:
    return TypeAdapter(Metrics)
