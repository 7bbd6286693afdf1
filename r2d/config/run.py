"""A complete run."""

from __future__ import annotations

from pydantic import model_validator

from r2d.config.comparison import ComparisonConfig
from r2d.config.data import DataConfig
from r2d.config.evaluation import EvaluationConfig
from r2d.config.gate import RegistrationConfig
from r2d.config.method import MethodConfig
from r2d.config.model import ModelConfig
from r2d.config.rationales import RationalesConfig, names_of
from r2d.config.retraining import RetrainingConfig
from r2d.config.section import Section
from r2d.config.training import Stage1Config, Stage2Config
from r2d.config.validation import ValidationConfig
from r2d.errors import ConfigError

BROUGHT_SOURCES = {"synthetic_triage": ("nurse", "nurse_post_processed"), "pubmedqa": ("human",)}
"""Rationale sources of the formats that know their own columns."""


class RunConfig(Section):
    """A complete run."""

    data: DataConfig
    rationales: RationalesConfig
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

    @model_validator(mode="after")
    def _method_fits(self) -> RunConfig:
        compared = () if self.comparison is None else self.comparison.methods
        named = {"method.name": (self.method.name,), "comparison.methods": compared}
        for key, methods in named.items():
            if "r2d_c" in methods and self.model.label_decoding != "constrained":
                raise ValueError(
                    f"{key} 'r2d_c' needs model.label_decoding 'constrained': its confidence is that of a declared "
                    f"label; found {self.model.label_decoding!r}"
                )
        return self

    @model_validator(mode="after")
    def _evaluation_fits_labels(self) -> RunConfig:
        labels, evaluation = self.data.labels, self.evaluation
        if labels.per_row and evaluation.safety.costs is not None:
            raise ValueError("evaluation.safety.costs are of declared labels, and labels.per_row has none; remove it")
        if not labels.ordered and evaluation.selective.risk == "under_triage":
            raise ValueError(
                "evaluation.selective.risk 'under_triage' needs data.labels.ordered: true; declare the order, most "
                "urgent first, or use 'error'"
            )
        try:
            evaluation.safety.cost_matrix(labels.names)
        except ValueError as error:
            raise ValueError(f"evaluation.safety.{error}") from None
        return self

    @model_validator(mode="after")
    def _gate_can_see(self) -> RunConfig:
        faults = self.registration.gate.faults(self.data.labels, self.method)
        if faults:
            raise ValueError("; ".join(faults))
        return self

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
            "rationales.stage2_source": names_of(self.rationales.stage2_source or ()),
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
