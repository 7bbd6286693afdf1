"""A complete run."""

from __future__ import annotations

import math

from pydantic import model_validator

from r2d.config.comparison import ComparisonConfig
from r2d.config.data import DataConfig
from r2d.config.endpoint import model_family
from r2d.config.evaluation import LABEL, EvaluationConfig, SelectiveConfig, SlicesConfig
from r2d.config.gate import GATE_METRICS, RegistrationConfig, WithinLimit
from r2d.config.jobs import RetrainingConfig
from r2d.config.model import ModelConfig
from r2d.config.rationales import EndpointSource, RationalesConfig, names_of
from r2d.config.search import SearchConfig
from r2d.config.section import Section
from r2d.config.training import MethodConfig, Stage1Config, Stage2Config
from r2d.config.validation import ValidationConfig
from r2d.errors import ConfigError

BROUGHT_SOURCES = {"synthetic_triage": ("nurse", "nurse_post_processed"), "pubmedqa": ("human",)}
"""Rationale sources of the formats that know their own columns."""
BROUGHT_ATTRIBUTES = {"synthetic_triage": ("age_band", "family", "sex", "site", "period"), "pubmedqa": ()}
"""Attributes of the same."""


class RunConfig(Section):
    """A complete run."""

    data: DataConfig
    rationales: RationalesConfig = RationalesConfig()
    validation: ValidationConfig = ValidationConfig()
    method: MethodConfig = MethodConfig()
    model: ModelConfig = ModelConfig()
    stage1: Stage1Config = Stage1Config()
    stage2: Stage2Config = Stage2Config()
    evaluation: EvaluationConfig = EvaluationConfig()
    registration: RegistrationConfig = RegistrationConfig()
    retraining: RetrainingConfig = RetrainingConfig()
    comparison: ComparisonConfig | None = None
    """Only for `pipelines.comparison`, which trains every model of this grid and registers none."""
    search: SearchConfig | None = None
    """Only for `r2d search`, which trains a model a trial and registers none."""

    @model_validator(mode="after")
    def _method_fits(self) -> RunConfig:
        stage2, compared = self.stage2, () if self.comparison is None else self.comparison.methods
        has_schedule = any(MethodConfig(name=method).has_schedule for method in (self.method.name, *compared))
        last_evaluation = stage2.max_steps - stage2.max_steps % stage2.eval_every_steps
        if has_schedule and last_evaluation < stage2.armed_from_step:
            raise ValueError(
                "stage2: no evaluation falls into the phase where selection is armed (from step "
                f"{stage2.armed_from_step} to {stage2.max_steps}): lower eval_every_steps, warmup_fraction or "
                "sampling_fraction"
            )
        return self

    @model_validator(mode="after")
    def _stages_compute_as_their_weights_are_kept(self) -> RunConfig:
        if self.model.lora is not None and self.model.lora.base == "bf16":
            has_stage1 = any(method.has_stage1 for method in self.methods())
            stages = ("stage1", "stage2") if has_stage1 else ("stage2",)
            wrong = [f"{name}.precision" for name in stages if getattr(self, name).precision != "bf16"]
            if wrong:
                raise ValueError(f"model.lora.base is 'bf16', and {' and '.join(wrong)} 'fp32'; set bf16 there")
        return self

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of what rows can be divided by."""
        columns = self.data.columns
        declared = (*columns.attributes, *(["period"] if columns.time else []))
        return BROUGHT_ATTRIBUTES.get(self.data.format, declared)

    @model_validator(mode="after")
    def _evaluation_and_gate_fit_labels(self) -> RunConfig:
        labels, evaluation = self.data.labels, self.evaluation
        if labels.per_row and evaluation.safety.costs is not None:
            raise ValueError("evaluation.safety.costs are of declared labels, and labels.per_row has none; remove it")
        if labels.per_row and evaluation.raters is not None:
            raise ValueError("evaluation.raters are of declared labels, and labels.per_row has none; remove it")
        known, slices = self.attributes, evaluation.slices
        named = [("selective.per", evaluation.selective.per, (LABEL, *known))]
        named += [("slices.attributes", name, known) for name in slices.attributes or ()]
        named += [("slices.intersections", name, known) for names in slices.intersections for name in names]
        named += [("slices.pooled", name, known) for name in slices.pooled if slices.pooled != SlicesConfig().pooled]
        for key, name, allowed in named:
            if name is not None and name not in allowed:
                raise ValueError(
                    f"evaluation.{key} {name!r} is no attribute of the rows; allowed: {', '.join(allowed) or 'none'}; "
                    "declare it under data.columns.attributes"
                )
        if not labels.ordered and evaluation.selective.risk == "under_triage":
            raise ValueError(
                "evaluation.selective.risk 'under_triage' needs data.labels.ordered: true; declare the order, most "
                "urgent first, or use 'error'"
            )
        try:
            evaluation.safety.cost_matrix(labels.names)
        except ValueError as error:
            raise ValueError(f"evaluation.safety.{error}") from None
        try:
            evaluation.operating_points.shares(labels.names)
        except ValueError as error:
            raise ValueError(f"evaluation.operating_points.{error}") from None
        faults = self.registration.gate.faults(labels, self.method)
        measured = evaluation.operating_points.threshold_probabilities
        faults += [
            f"registration.gate.rules.{place}: threshold_probability {asked:g} is none of "
            f"evaluation.operating_points.threshold_probabilities {list(measured)}; add it there"
            for place, rule in enumerate(self.registration.gate.rules)
            if (asked := getattr(rule, "threshold_probability", None)) is not None and asked not in measured
        ]
        pooled = [name for name in slices.pooled if name in known]
        faults += [
            f"registration.gate.rules.{place}: attribute {asked!r} is none of those that the rows have and "
            f"evaluation.slices.pooled names, {pooled}; declare it under data.columns.attributes, and add it there"
            for place, rule in enumerate(self.registration.gate.rules)
            if (asked := getattr(rule, "attribute", None)) is not None and asked not in pooled
        ]
        if evaluation.raters is None:
            faults += [
                f"registration.gate.rules.{place}: figure {rule.figure!r} is asked for, and no file has labels of "
                "several people; set evaluation.raters, such as {file: raters.csv}"
                for place, rule in enumerate(self.registration.gate.rules)
                if isinstance(rule, WithinLimit) and GATE_METRICS[rule.figure].section == "raters"
            ]
        if evaluation.stress is None:
            faults += [
                f"registration.gate.rules.{place}: figure 'broken_share' is asked for, and no note is edited; set "
                "evaluation.stress, such as {file: configs/stress/triage.yaml}"
                for place, rule in enumerate(self.registration.gate.rules)
                if getattr(rule, "edits", None) is not None
            ]
        baselines = {getattr(rule, "baseline", None) for rule in self.registration.gate.rules}
        if self.search is not None:
            faults += self.search.faults(self, ordered=labels.is_ordered)
        if "encoder" in baselines and evaluation.encoder_baseline is None:
            faults.append(
                "registration.gate.rules: baseline 'encoder' is asked for, and none is trained; set "
                "evaluation.encoder_baseline, such as {name: minilm}"
            )
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def methods(self) -> list[MethodConfig]:
        """The method, and those that a comparison trains beside it."""
        compared = () if self.comparison is None else self.comparison.methods
        return [self.method, *(self.method.model_copy(update={"name": name}) for name in compared)]

    def judge_remarks(self) -> list[str]:
        """Why the scores of the judge may flatter: it is of the family of a model that writes rationales for this run,
        or of the second judge. Authors in files are not known before they are read."""
        judge = self.evaluation.judge
        if judge is None:
            return []
        models = {
            f"source {name!r}": source.model
            for name, source in self.rationales.sources.items()
            if isinstance(source, EndpointSource)
        }
        if judge.second is not None:
            models["the second judge"] = judge.second.model
        return [
            f"the judge {judge.model!r} is of the family of {who}, {model!r}: models tend to prefer texts of their own "
            "family; ask a judge of another one"
            for who, model in models.items()
            if model_family(model) == model_family(judge.model)
        ]

    def threshold_needs(self) -> str | None:
        """How many rows a threshold needs and where they come from; None where no bound is asked for, and where rows
        have options of their own."""
        selective, split = self.evaluation.selective, self.data.split
        if self.data.labels.per_row or selective.bound_confidence is None:
            return None
        parts = {None: "", LABEL: ", of each predicted label"}.get(
            selective.per,
            f", of each {selective.per}, and more the more values it has, as the bounds hold for all at once",
        )
        selective = self.threshold_parts()
        none, one, two = map(selective.least_rows, range(3))
        risk = selective.risk or ("under_triage" if self.data.labels.ordered else "error")
        share, rows = split.calibration_fraction, "data.split.calibration_fraction"
        if self.data.columns.split is not None:
            source = (
                "rows with split 'calibration' choose it; without any, the validation rows, which chose the weights too"
            )
        elif not share:
            source = f"it is chosen on the validation rows, as the weights were; set {rows} to keep rows for it"
        elif self.data.format == "synthetic_triage":
            expected = round(share * self.data.synthetic.num_calls)
            source = f"{expected:,} calibration rows are expected{', too few' if expected < none else ''}"
        else:
            source = f"{rows} {share:g} sets as many apart from {math.ceil(none / share):,} rows on"
        return (
            f"the threshold from which a decision is shown ({risk} at most {selective.max_risk:g}, with confidence "
            f"{selective.bound_confidence:g}) needs {none:,} shown rows without an error, {one:,} with one or {two:,} "
            f"with two, each of another group{parts}; {source}"
        )

    def threshold_parts(self) -> SelectiveConfig:
        """What is asked of the threshold, or of that of each label, whose bounds hold at once."""
        selective = self.evaluation.selective
        return selective.for_parts(len(self.data.labels.names)) if selective.per == LABEL else selective

    def keys_without_effect(self) -> dict[str, str]:
        """Dotted key -> why it changes nothing, for each key that is set although no method, reader or label kind of
        this run reads it."""
        return {
            key: why
            for condition, why, keys in _conditions(self)
            if not condition
            for key in keys
            if _is_set(self, key)
        }

    def require_comparison(self) -> ComparisonConfig:
        """The grid of the comparison.

        Raises:
            ConfigError: there is none.
        """
        if self.comparison is None:
            raise ConfigError(
                "comparison: missing; declare what is compared beside the other sections, for example "
                "`comparison: {methods: [r2d, sft], seeds: [42, 43, 44]}`"
            )
        return self.comparison

    def require_search(self) -> SearchConfig:
        """The space of the search.

        Raises:
            ConfigError: there is none.
        """
        if self.search is None:
            raise ConfigError(
                "search: missing; declare what is searched beside the other sections, for example `search: {space: "
                "{stage2.learning_rate: {low: 0.0001, high: 0.01, log: true}}, max_under_triage: 0.1}`"
            )
        return self.search

    @model_validator(mode="after")
    def _rationales_to_learn_from(self) -> RunConfig:
        has_sources = self.comparison is not None and self.comparison.sources
        explaining = [method.name for method in self.methods() if method.explains]
        if explaining and self.rationales.stage1_source is None and not has_sources:
            raise ValueError(
                f"rationales.stage1_source: missing; {explaining[0]!r} learns from rationales: name a source of "
                "data.columns.rationales or rationales.sources, or set method.name 'sft', which learns labels alone"
            )
        return self

    @model_validator(mode="after")
    def _known_rationale_sources(self) -> RunConfig:
        brought = set(BROUGHT_SOURCES.get(self.data.format, self.data.columns.rationales))
        declared = self.rationales.sources
        for name, source in declared.items():
            if source.format == "column" and name not in brought:
                raise ValueError(
                    f"rationales.sources.{name} is a column, but the data bring only {sorted(brought)}; "
                    "declare its column there"
                )
            if source.format == "synthetic_triage_batch" and self.data.format != "synthetic_triage":
                raise ValueError(
                    f"rationales.sources.{name}: 'synthetic_triage_batch' explains the calls of data.format "
                    f"'synthetic_triage' alone; found {self.data.format!r}"
                )
            if source.format != "column" and name in brought:
                raise ValueError(
                    f"{name!r} is a column in data.columns.rationales and a {source.format} source in "
                    "rationales.sources; give one of them another name"
                )
        known = sorted({*brought, *declared})
        selected = {
            "rationales.stage1_source": names_of(self.rationales.stage1_source),
            "rationales.stage2_source": names_of(self.rationales.stage2_source),
            "comparison.sources": () if self.comparison is None else self.comparison.sources,
        }
        for key, names in selected.items():
            for name in names:
                if name not in known:
                    raise ValueError(
                        f"{key} {name!r} is not among data.columns.rationales and rationales.sources "
                        f"{known}; declare it in one of them or choose another source"
                    )
        return self


def _conditions(run: RunConfig) -> list[tuple[bool, str, tuple[str, ...]]]:
    """(whether the keys have an effect, why not where they have none, keys)."""
    data, labels = run.data, run.data.labels
    method, source = f"method.name is {run.method.name!r}", f"data.format is {data.format!r}"

    def of_methods(property_name: str) -> bool:
        return any(getattr(other, property_name) for other in run.methods())

    return [
        (of_methods("has_stage1"), f"{method}, which has no Stage 1", ("stage1",)),
        (of_methods("explains"), f"{method}, which writes no rationale", (
            "stage2.alpha", "stage2.validation_rationales", "evaluation.bertscore_model",
            "evaluation.bertscore_revision", "evaluation.bertscore_num_layers", "evaluation.judge",
        )),
        (run.evaluation.bertscore_model != "minilm", "evaluation.bertscore_model is 'minilm'", (
            "evaluation.bertscore_revision",
        )),
        (run.evaluation.encoder_baseline is None or run.evaluation.encoder_baseline.name != "minilm",
         "evaluation.encoder_baseline.name is 'minilm'", ("evaluation.encoder_baseline.revision",)),
        (of_methods("has_schedule"), f"{method}, which has no schedule", (
            "stage2.warmup_fraction", "stage2.sampling_fraction",
        )),
        (of_methods("samples_labels"), f"{method}, which never shows the model its own label", (
            "stage2.max_predicted_label_fraction",
        )),
        (of_methods("explains_the_label"), f"{method}, whose rationale prompt holds no label", (
            "evaluation.flip_test_rows",
        )),
        ("r2d_c" in [other.name for other in run.methods()], f"{method}, and only 'r2d_c' has a cycle", (
            "method.cycle",
        )),
        (data.format == "csv", source, ("data.delimiter", "data.quoting", "data.skip_lines", "data.comment")),
        (data.format in ("csv", "jsonl"), source, ("data.encoding",)),
        (data.format == "huggingface", source, ("data.revision", "data.hub_config")),
        (data.format == "synthetic_triage", source, ("data.synthetic",)),
        (data.format not in BROUGHT_SOURCES, f"{source}, whose columns are known", ("data.columns",)),
        (data.columns.split is None, "data.columns.split says the split of each row", (
            "data.split.validation_fraction", "data.split.test_fraction", "data.split.calibration_fraction",
            "data.split.seed", "data.split.test_ids",
        )),
        (data.columns.time is not None, "data.columns.time is not declared", ("data.time_format",)),
        (data.columns.time is not None or data.format == "synthetic_triage", "data.columns.time is not declared", (
            "data.period",
        )),
        (data.split.test_from in (None, "latest"), "data.split.test_from says where the test rows begin", (
            "data.split.test_fraction",
        )),
        (data.split.test_ids is None, "data.split.test_ids names the test rows", ("data.split.test_fraction",)),
        (data.test is None, "data.test.path names the test rows", ("data.split.test_fraction",)),
        (not data.synthetic.num_test_calls, "data.synthetic.num_test_calls are the test rows", (
            "data.split.test_fraction",
        )),
        (run.model.name == "scratch", "model.name is not 'scratch'", ("model.scratch",)),
        (run.model.name != "scratch", "model.name is 'scratch'", ("model.revision",)),
        (labels.is_ordered, "data.labels.ordered is not true", (
            "evaluation.safety", "evaluation.operating_points",
        )),
        (run.evaluation.selective.per is not None, "evaluation.selective.per is not set", (
            "evaluation.selective.too_few",
        )),
        (not labels.per_row, "data.labels.per_row is true", (
            "evaluation.calibration", "evaluation.selective", "evaluation.label_sets", "evaluation.slices",
        )),
    ]  # fmt: skip


def _is_set(run: RunConfig, key: str) -> bool:
    """Whether a key was given, and not left at its default."""
    section: Section = run
    *sections, name = key.split(".")
    for part in sections:
        if part not in section.model_fields_set:
            return False
        section = getattr(section, part)
    return name in section.model_fields_set
