"""Section `evaluation`: how a model is measured, a judge of its rationales among it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from r2d.config.endpoint import EndpointConfig
from r2d.config.files import TextFileConfig, suffix_of
from r2d.config.section import Name, Section
from r2d.text import match_label, normalise_label

Confidence = Annotated[float, Field(ge=0.5, le=0.999)]
Cost = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0.0, lt=1.0)]
Risk = Literal["under_triage", "error"]
TooFew = Literal["hand_over", "common"]
OutOfScope = Literal["hand_over", "remark"]
EvaluatedEngine = Literal["torch", "ctranslate2", "ctranslate2_int8"]
LABEL = "label"
"""`evaluation.selective.per` for a threshold of each predicted label."""
RATER_FILES = (".csv", ".xlsx", ".jsonl", ".parquet")
SeenRowsPolicy = Literal["refuse", "drop", "allow"]


Numbers = TypeVar("Numbers", bound=Sequence[float])


def rising(values: Numbers, info: ValidationInfo) -> Numbers:
    """The values, each of which is above the one before."""
    if any(lower >= upper for lower, upper in pairwise(values)):
        raise ValueError(f"{info.field_name} must rise; found {list(values)}")
    return values


def _at_most(num_errors: int, num_rows: int, share: float) -> float:
    """Probability of that many errors or fewer among the rows, if each is one with probability `share`."""
    terms = (math.comb(num_rows, k) * share**k * (1 - share) ** (num_rows - k) for k in range(num_errors + 1))
    return sum(terms)


class IntervalsConfig(Section):
    """How uncertain the figures are: a bootstrap over groups (patients, callers), bias-corrected and accelerated."""

    confidence: Confidence = 0.95
    """Of two-sided intervals."""
    num_resamples: Annotated[int, Field(ge=1_000)] = 10_000
    """Samples of the bootstrap."""
    seed: int = 42
    """The same seed, rows and groups give the same intervals."""


class SafetyConfig(Section):
    """What an error costs, and how many of the worst ones are listed; read where labels are ordered."""

    costs: dict[Name, dict[Name, Cost]] | None = None
    """Gold label -> predicted label -> cost of that error, in any unit; every pair of different labels is named, a
    right decision costs 0. There is no default: what an error costs is for clinicians to say."""
    num_worst_cases: Annotated[int, Field(ge=0)] = 20
    """Under-triaged rows that are listed by id; and rows of the most urgent label that were missed, with their notes
    where `quote_notes` allows it."""

    def cost_matrix(self, labels: Sequence[str]) -> tuple[tuple[float, ...], ...] | None:
        """`costs` as one row for each gold label, in the order of `labels`; None where none are declared.

        Raises:
            ValueError: names each pair that is missing, each label that is not declared, and each cost of a right
                decision that is not 0.
        """
        if self.costs is None:
            return None
        declared = {
            (normalise_label(gold), normalise_label(predicted)): cost
            for gold, row in self.costs.items()
            for predicted, cost in row.items()
        }
        names = dict.fromkeys([*self.costs, *(predicted for row in self.costs.values() for predicted in row)])
        faults = [f"{name!r} is not declared" for name in names if match_label(name, labels) is None]
        costs = {(a, b): declared.get((normalise_label(a), normalise_label(b))) for a in labels for b in labels}
        for (gold, predicted), cost in costs.items():
            if gold == predicted and cost:
                faults.append(f"{gold!r} for {predicted!r} is right and must cost 0, found {cost:g}")
            if gold != predicted and cost is None:
                faults.append(f"{predicted!r} for {gold!r} is missing")
        if faults:
            raise ValueError(f"costs: {'; '.join(faults)}; allowed labels: {', '.join(labels)}")
        return tuple(tuple(costs[gold, predicted] or 0.0 for predicted in labels) for gold in labels)


class CalibrationConfig(Section):
    """Whether a label probability of 0.9 is right nine times in ten."""

    num_bins: Annotated[int, Field(ge=2, le=100)] = 10
    """Of the reliability tables and of the calibration error."""


class SelectiveConfig(Section):
    """From which confidence on the model's label is shown; below it the note goes to a person without one."""

    risk: Risk | None = None
    """What must stay rare among the labels that are shown. By default `under_triage` where the labels are ordered,
    `error` where they are not."""
    max_risk: Rate = 0.05
    """Highest share of the labels shown."""
    bound_confidence: Confidence | None = 0.95
    """`max_risk` is held by the upper confidence bound of the calibration rows, at this confidence; null: by the bare
    share, which a small split can meet by luck."""
    per: Name | None = None
    """`label`, or an attribute of the rows: each predicted label, or each value, has a threshold of its own. The bounds
    hold for all of them at once (Bonferroni). Whoever asks the model must then say the value of the attribute. By
    default one threshold is for all."""
    too_few: TooFew = "hand_over"
    """Where a label or value has too few rows for a threshold of its own, and where a call has no value that has one:
    `hand_over` to a person, or take the `common` threshold, whose bound is of all labels shown together."""

    def for_parts(self, num_parts: int) -> SelectiveConfig:
        """The same for each of that many labels or values, so that all bounds hold at once."""
        if self.bound_confidence is None:
            return self
        return self.model_copy(update={"bound_confidence": 1 - (1 - self.bound_confidence) / num_parts})

    def least_rows(self, num_errors: int = 0) -> int:
        """How many labels, each of another patient or caller, must be shown for a bound of at most `max_risk` where
        `num_errors` of them are errors (Clopper-Pearson); `bound_confidence` is not None."""
        doubt = 1 - (self.bound_confidence or 0.0)
        too_few, enough = num_errors, num_errors + 1
        while _at_most(num_errors, enough, self.max_risk) > doubt:
            too_few, enough = enough, 2 * enough
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            if _at_most(num_errors, middle, self.max_risk) > doubt:
                too_few = middle
            else:
                enough = middle
        return enough


class OperatingPointsConfig(Section):
    """What the labels and probabilities are good for at each cut `at least as urgent as`; read where labels are
    ordered."""

    label_shares: dict[Name, Rate] | None = None
    """Label -> its share of the calls where the model will be used, which sum to 1: predictive values, net benefit and
    workload are for this mix. By default that of the test rows."""
    threshold_probabilities: Annotated[tuple[Rate, ...], Field(min_length=1), AfterValidator(rising)] = (
        0.02, 0.05, 0.1, 0.2, 0.3, 0.5,
    )  # fmt: skip
    """Of net benefit, rising: who acts from a probability of 0.1 on takes nine needless actions for one that was
    needed."""

    def shares(self, labels: Sequence[str]) -> tuple[float, ...] | None:
        """`label_shares` in the order of `labels`; None where none are declared.

        Raises:
            ValueError: a label is missing or not declared, or the shares do not sum to 1.
        """
        if self.label_shares is None:
            return None
        declared = {normalise_label(name): share for name, share in self.label_shares.items()}
        unknown = [repr(name) for name in self.label_shares if match_label(name, labels) is None]
        missing = [repr(label) for label in labels if normalise_label(label) not in declared]
        faults = [f"not declared: {', '.join(unknown)}"] * bool(unknown)
        faults += [f"missing: {', '.join(missing)}"] * bool(missing)
        if not math.isclose(total := sum(declared.values()), 1.0, abs_tol=1e-6):
            faults.append(f"they sum to {total:g} and not to 1")
        if faults:
            raise ValueError(f"label_shares: {'; '.join(faults)}; allowed labels: {', '.join(labels)}")
        return tuple(declared[normalise_label(label)] for label in labels)


class LabelSetsConfig(Section):
    """Sets of neighbouring labels, such as `same day or sooner`, that hold the reference with a stated coverage."""

    coverage: Confidence = 0.9
    """Share of the notes of each label whose set holds it, on average over calibration rows. Each label needs
    1 / (1 - coverage) - 1 patients or callers among these: 9 for 0.9."""


class SlicesConfig(Section):
    """Figures of parts of the rows: by attribute, label, rationale source and length of the note."""

    attributes: tuple[Name, ...] | None = None
    """Names among `data.columns.attributes`; all by default."""
    intersections: tuple[Annotated[tuple[Name, ...], Field(min_length=2)], ...] = ()
    """Attributes whose values are taken together too, e.g. `[[sex, age_band]]`: a model may serve women and the old
    well, and old women badly."""
    pooled: tuple[Name, ...] = ("site", "period")
    """Attributes, if the rows have them, over whose values accuracy and under-triage are pooled: do they differ by more
    than chance?"""
    min_rows: Annotated[int, Field(ge=1)] = 30
    """A slice with fewer rows is shown and marked as small."""
    max_values: Annotated[int, Field(ge=2)] = 30
    """An attribute with more values than that is left out, with the reason."""
    length_edges: Annotated[tuple[Annotated[int, Field(ge=1)], ...], AfterValidator(rising)] = ()
    """Words at which a new length band begins, rising, e.g. `[50, 100]`; empty: quartiles of the rows."""


class ClaimsConfig(Section):
    """How claims of rationales are held against their notes; by default for English notes of triage."""

    findings_file: Name | None = None
    """YAML of findings, each a list of its forms; by default the shipped `r2d/rationales/findings.yaml`."""
    negation_file: Name | None = None
    """YAML of phrases that deny a finding or leave it open; by default the shipped `r2d/rationales/negation.yaml`."""

    def files(self) -> list[tuple[str, str]]:
        """Config key and path of both, where they are declared."""
        declared = {"findings_file": self.findings_file, "negation_file": self.negation_file}
        return [(f"evaluation.claims.{key}", path) for key, path in declared.items() if path is not None]


class StressConfig(Section):
    """Notes are edited, and the label held against what each edit may do to it."""

    file: Name
    """YAML of edits; `configs/stress/triage.yaml` is for the invented calls and shows the format."""
    max_rows: Annotated[int, Field(ge=1)] | None = 1_000
    """Test rows that are edited (the first by hash of the id); null: all. It costs a decision for each note that an
    edit applies to, and up to three for each row, in which sentences are taken out."""

    def files(self) -> list[tuple[str, str]]:
        """Config key and path."""
        return [("evaluation.stress.file", self.file)]


class SecondJudgeConfig(EndpointConfig):
    """A second judge: notes and rationales are sent there too."""

    max_output_tokens: Annotated[int, Field(ge=1)] = 1_024
    """As of the judge."""


class RatersConfig(TextFileConfig):
    """Labels that several people gave to the test rows: how far they agree, and how far each is from the others beside
    the model."""

    file: Name
    """CSV, Excel file with one sheet, JSON Lines or Parquet, with an id column. Of rows that are not measured nothing
    is taken."""
    id: Name = "id"
    """Column with the id of the row."""
    rater: Name = "rater"
    """Column with the name of the rater, one line for each rater and row."""
    label: Name = "label"
    """Column with the rater's label."""
    columns: dict[Name, Name] | None = None
    """Rater -> column, where a line has the labels of all raters; in place of `rater` and `label`."""

    @model_validator(mode="after")
    def _two_raters(self) -> RatersConfig:
        if suffix_of(Path(self.file)) not in RATER_FILES:
            raise ValueError(f"file {Path(self.file).name!r} ends with none of {', '.join(RATER_FILES)}")
        if self.columns is not None and len(self.columns) < 2:
            raise ValueError("columns names fewer than two raters, who could agree")
        given = [key for key in ("label", "rater") if getattr(self, key) != type(self).model_fields[key].default]
        if self.columns is not None and given:
            raise ValueError(f"columns and {given[0]} both say where the labels are; remove one of them")
        return self


class JudgeConfig(EndpointConfig):
    """The judge: any OpenAI-compatible endpoint. Without this section no note leaves, and nothing is judged."""

    rubric: Name
    """YAML file of criteria, such as `configs/rubrics/rationale.yaml`."""
    votes: Annotated[int, Field(ge=1, le=20)] = 3
    """How often each rationale is judged, each time with the criteria in another order."""
    max_rows: Annotated[int, Field(ge=1)] | None = None
    """Judge only that many rows (the first by hash of the id); all by default."""
    human_scores: Name | None = None
    """CSV of `id,criterion,score,rater`: what people gave to the same rationales; the agreement is reported."""
    second: SecondJudgeConfig | None = None
    """Another endpoint that judges the same rationales by the same rubric, as often; how far the two agree is reported.
    Both share the file of answers, so that its budgets count the requests of both."""
    response_format: Literal["json_object"] | None = "json_object"
    """Asks the endpoint to write nothing but JSON; not sent where null: some servers refuse it."""
    reasoning_tags: tuple[Name, ...] = ("think", "thinking")
    """Tags whose content is removed from an answer before scores are looked for."""
    max_output_tokens: Annotated[int, Field(ge=1)] = 1_024
    """A sentence and a score for each criterion, and room for a model that reasons first."""

    def files(self) -> list[tuple[str, str]]:
        """Config key and path of the rubric and of what people gave."""
        declared = {"rubric": self.rubric, "human_scores": self.human_scores}
        return [(f"evaluation.judge.{key}", path) for key, path in declared.items() if path is not None]

    def second_judge(self) -> JudgeConfig | None:
        """The second judge, who is asked as the first one is; None where there is none."""
        if self.second is None:
            return None
        endpoint = {name: getattr(self.second, name) for name in SecondJudgeConfig.model_fields}
        return self.model_copy(update=endpoint | {"second": None, "human_scores": None})


class EncoderBaselineConfig(Section):
    """A pretrained encoder that is fine-tuned on the labels of the training rows: what a classifier alone reaches."""

    name: Name
    """`minilm` (shipped, works offline), a hub name such as `answerdotai/ModernBERT-base`, or a folder: anything that
    transformers classifies texts with, its weights as safetensors."""
    revision: Name | None = None
    """Commit of a hub name."""
    max_tokens: Annotated[int, Field(ge=8)] = 512
    """Of a note (with an option where `labels.per_row`); a longer note is cut."""
    num_epochs: Annotated[int, Field(ge=1)] = 5
    """Passes over the training rows; the weights of the best one on the validation rows are kept."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Training rows of an optimiser step."""
    learning_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = 5e-5
    """The highest; it rises over the first tenth of the steps and then falls to 0."""
    seed: int = 42
    """Of the order of the rows, the new output layer and dropout."""


class EvaluationConfig(Section):
    """How the chosen model is measured on the test split."""

    batch_size: Annotated[int, Field(ge=1)] = 32
    """Notes decided at a time; a larger one needs more memory."""
    engine: EvaluatedEngine = "torch"
    """What decides and explains in the evaluation: the model as it was trained, or its export for CTranslate2 in fp32
    or int8. Threshold, metrics and gate are then of the export; `r2d export` makes it of the registered version."""

    bertscore_model: Name = "minilm"
    """`minilm` (shipped, works offline), a hub name such as `roberta-large` (the paper's), or a folder."""
    bertscore_revision: Name | None = None
    """Commit of a hub name; a branch is accepted, but figures of another day may then be of other weights."""
    bertscore_num_layers: Annotated[int, Field(ge=1)] | None = None
    """Layer whose states are compared; by default bert-score's choice for a known model, 6 for `minilm`."""
    max_rows: Annotated[int, Field(ge=1)] | None = None
    """Evaluate only that many test rows (the first by hash of the id); all by default."""
    compare_with_sft: bool = False
    """Train method `sft` too, the labels alone, with the model, rows and steps of Stage 2, and measure it on the same
    test rows. Read by the training pipeline alone."""
    seen_rows: SeenRowsPolicy = "refuse"
    """Test rows whose text or group the model had seen in training. `refuse`: an error, before training where it starts
    from a model of ours that had seen them. `drop`: they are not measured. `allow`: they are measured, and it is said.
    Those that only the champion had seen are left out too, unless allowed; where this would leave less than half, the
    champion is not compared, unless `drop` asks for it."""
    intervals: IntervalsConfig = IntervalsConfig()
    safety: SafetyConfig = SafetyConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    selective: SelectiveConfig = SelectiveConfig()
    operating_points: OperatingPointsConfig = OperatingPointsConfig()
    label_sets: LabelSetsConfig = LabelSetsConfig()
    slices: SlicesConfig = SlicesConfig()
    flip_test_rows: Annotated[int, Field(ge=1)] | None = 100
    """Rows (the first by hash of the id) for which the model also explains another label; null: all of them."""
    out_of_scope: OutOfScope = "hand_over"
    """A call whose length or words are unlike those of the training: `hand_over` to a person, or `remark` only."""
    claims: ClaimsConfig = ClaimsConfig()
    stress: StressConfig | None = None
    """Stress tests, such as `{file: configs/stress/triage.yaml}`; none without it, for they cost decisions."""
    raters: RatersConfig | None = None
    """Labels of several raters, such as `{file: raters.csv}`; without it nothing of them is measured."""
    quote_notes: bool = True
    """Whether the report quotes notes and rationales; then it is kept like them. If false, it names rows by id."""
    encoder_baseline: EncoderBaselineConfig | None = None
    """A fine-tuned encoder beside the other baselines, in report, gate and comparison; by default none is trained."""
    judge: JudgeConfig | None = None
    """A language model that scores the rationales; without it nothing is judged and no note leaves."""

    def files(self) -> list[tuple[str, str]]:
        """Config key and path of every file that an evaluation reads."""
        files = [*self.claims.files(), *(() if self.stress is None else self.stress.files())]
        files += [] if self.raters is None else [("evaluation.raters.file", self.raters.file)]
        return files if self.judge is None else [*files, *self.judge.files()]
