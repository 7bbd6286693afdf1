"""The one schema of a run: what a YAML under `configs/` may say, its defaults and its limits.

Defaults are the published hyper-parameters (arXiv 2512.20074). Everything is checked on the client,
before anything heavy is imported; `r2d check` does just that. It imports nothing heavy.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from r2d.data.labels import normalise_label
from r2d.errors import ConfigError

# ZenML reads a run configuration with these keys; ours is the pipeline parameter `config`.
ZENML_RUN_KEYS = (
    "run_name", "enable_cache", "enable_artifact_metadata", "enable_artifact_visualization", "enable_step_logs",
    "schedule", "build", "steps", "settings", "environment", "secrets", "tags", "extra", "model", "parameters", "retry",
    "failure_hook_source", "success_hook_source", "substitutions", "cache_policy", "execution_mode",
)  # fmt: skip

Name = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """Base of every section: frozen, and an unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())


class LabelsConfig(Section):
    """The closed set of labels. A label that is not in it counts as wrong and is reported."""

    names: Annotated[tuple[Name, ...], Field(min_length=2)]
    """Every label, as written in the data. In order of acuity, most urgent first, when `ordered`."""
    ordered: bool = False
    """Whether the order of `names` means something (acuity)."""

    @model_validator(mode="after")
    def _distinct(self) -> LabelsConfig:
        seen: dict[str, str] = {}
        for name in self.names:
            key = normalise_label(name)
            if key in seen:
                raise ValueError(f"labels {seen[key]!r} and {name!r} are the same but for case or spaces; keep one")
            seen[key] = name
        return self


class ColumnsConfig(Section):
    """Which column of the file holds what. A column that is not named here is not read."""

    id: Name = "id"
    text: Name = "text"
    label: Name = "label"
    group: Name | None = None
    """Patient or caller: rows of one group never stand in different splits."""
    split: Name | None = None
    """Column with `train`, `validation` or `test`; without it the split is made by `data.split`."""
    rationales: dict[Name, Name] = {}
    """Rationale source -> column, e.g. `{llm: rationale_llm, nurse: rationale_nurse}`."""
    attributes: dict[Name, Name] = {}
    """Attribute for slices -> column, e.g. `{age_band: age_band}`."""


class SplitConfig(Section):
    """How rows without a given split are divided: by hash of the group id (else the id), stratified by label."""

    validation_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    test_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Ignored when `test_ids` names the test rows."""
    test_ids: str | None = None
    """JSON file whose list (or whose object's keys) are the ids of the test split."""
    seed: int = 42

    @model_validator(mode="after")
    def _room_for_training(self) -> SplitConfig:
        if self.validation_fraction + self.test_fraction >= 1.0:
            raise ValueError(
                f"validation_fraction {self.validation_fraction} + test_fraction {self.test_fraction} leave no row to "
                "train on; their sum must be below 1"
            )
        return self


class SyntheticTriageConfig(Section):
    """The shipped generator of nurse-line calls: invented text, no real patients."""

    num_calls: Annotated[int, Field(ge=60)] = 6000
    seed: int = 42
    label_noise: Annotated[float, Field(ge=0.0, le=0.2)] = 0.03
    """Share of calls whose label is moved to a neighbouring level, as hurried humans do; their rationales stay."""


class DataConfig(Section):
    """Where the examples come from and how they are read."""

    format: Literal["csv", "jsonl", "parquet", "huggingface", "pubmedqa", "synthetic_triage"]
    labels: LabelsConfig
    path: str | None = None
    """A file (csv, jsonl, parquet, pubmedqa), a folder (parquet, huggingface) or a hub name (huggingface).
    Shell placeholders for environment variables, with or without a default, are filled in."""
    columns: ColumnsConfig = ColumnsConfig()
    split: SplitConfig = SplitConfig()
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Of a CSV."""
    encoding: Name = "utf-8"
    """Of a CSV or JSONL."""
    revision: str | None = None
    """Commit of a hub data set; needed for one, so that a run can be repeated."""
    hub_config: str | None = None
    """Configuration (subset) of a hub data set."""
    synthetic: SyntheticTriageConfig = SyntheticTriageConfig()
    """Read only when `format` is `synthetic_triage`."""

    @model_validator(mode="after")
    def _path_where_needed(self) -> DataConfig:
        if self.format != "synthetic_triage" and not self.path:
            raise ValueError(f"format {self.format!r} needs `path`; only 'synthetic_triage' makes its own data")
        if self.format == "synthetic_triage" and self.path:
            raise ValueError("format 'synthetic_triage' makes its own data; remove `path`")
        return self


class RationalesConfig(Section):
    """Which rationales are trained on."""

    stage1_source: Name
    """Rationale source of Stage 1 (the paper: LLM-generated only)."""
    stage2_source: Name | None = None
    """Rationale source of Stage 2 and of evaluation; by default that of Stage 1."""


class ScratchConfig(Section):
    """Sizes of a T5 made from nothing, its tokenizer trained on the training split alone."""

    vocab_size: Annotated[int, Field(ge=64)] = 4000
    d_model: Annotated[int, Field(ge=8)] = 128
    d_kv: Annotated[int, Field(ge=4)] = 32
    d_ff: Annotated[int, Field(ge=8)] = 512
    num_layers: Annotated[int, Field(ge=1)] = 2
    """Of the encoder, and as many of the decoder."""
    num_heads: Annotated[int, Field(ge=1)] = 4
    dropout_rate: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1


class PromptsConfig(Section):
    """Prompt templates: data, not code. `{text}` and `{label}` are filled in."""

    stage1: str = "explain: {text}"
    label: str = "predict: {text}"
    rationale: str = "given label: {label}, explain: {text}"

    @model_validator(mode="after")
    def _placeholders(self) -> PromptsConfig:
        wanted = {"stage1": {"text"}, "label": {"text"}, "rationale": {"label", "text"}}
        for key, names in wanted.items():
            template = getattr(self, key)
            if set(re.findall(r"\{(\w*)\}", template)) != names or not template.endswith("{text}"):
                raise ValueError(
                    f"{key} must contain {' and '.join(f'{{{n}}}' for n in sorted(names))}, end with {{text}} and "
                    f"contain no other braces; found {template!r}"
                )
        return self


class ModelConfig(Section):
    """The encoder-decoder that does both tasks."""

    name: Name = "google-t5/t5-large"
    """A T5-family checkpoint by hub name or local folder, or `scratch`."""
    revision: str | None = None
    """Commit of a hub checkpoint; a branch name is accepted but the run can then not be repeated exactly."""
    scratch: ScratchConfig = ScratchConfig()
    """Read only when `name` is `scratch`."""
    prompts: PromptsConfig = PromptsConfig()
    max_input_tokens: Annotated[int, Field(ge=8)] = 1024
    """Of every encoder text, gold or sampled label alike; the note is cut, never the prompt."""
    max_rationale_tokens: Annotated[int, Field(ge=2)] = 256
    max_label_tokens: Annotated[int, Field(ge=1)] = 50
    """Longest label that free decoding may write; longer declared labels are refused before training."""
    label_decoding: Literal["constrained", "free"] = "constrained"
    """`constrained`: the most probable label of the declared set. `free`: greedy text, as published; it may be no
    label at all. Evaluation reports both; this one is used in training, in the headline and in the registered model."""


class StageConfig(Section):
    """What both stages share."""

    max_steps: Annotated[int, Field(ge=1)]
    """T: optimiser steps."""
    eval_every_steps: Annotated[int, Field(ge=1)]
    patience: Annotated[int, Field(ge=1)]
    """Evaluations without a better figure before training stops."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 5e-5
    """Peak of AdamW's rate, which then falls linearly to 0 at `max_steps`."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Examples for each optimiser step."""
    gradient_accumulation_steps: Annotated[int, Field(ge=1)] = 1
    """Micro-batches that `batch_size` is divided into."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Of the learning rate (the published code has none). Not the warm-up of alpha and pi."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    """T5 gives NaN in fp16, so fp16 is not offered."""
    save_every_steps: Annotated[int, Field(ge=1)] = 500
    """Checkpoints from which a killed run resumes."""
    seed: int = 42

    @model_validator(mode="after")
    def _whole_batches(self) -> StageConfig:
        if self.batch_size % self.gradient_accumulation_steps:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of gradient_accumulation_steps "
                f"{self.gradient_accumulation_steps}"
            )
        if self.eval_every_steps > self.max_steps:
            raise ValueError(
                f"eval_every_steps {self.eval_every_steps} is above max_steps {self.max_steps}: "
                "nothing could be selected"
            )
        return self


class Stage1Config(StageConfig):
    """Stage 1, rationale foundation: selected and stopped by validation loss."""

    max_steps: Annotated[int, Field(ge=1)] = 50_000
    eval_every_steps: Annotated[int, Field(ge=1)] = 1_000
    patience: Annotated[int, Field(ge=1)] = 3


class Stage2Config(StageConfig):
    """Stage 2, joint training with task-level scheduled sampling: selected by validation macro-F1."""

    max_steps: Annotated[int, Field(ge=1)] = 30_000
    eval_every_steps: Annotated[int, Field(ge=1)] = 500
    patience: Annotated[int, Field(ge=1)] = 5
    precision: Literal["fp32", "bf16"] = "bf16"
    alpha: Fraction = 0.7
    """Weight of the label loss after the warm-up."""
    warmup_fraction: Fraction = 0.05
    """T_w / T: alpha rises from 0, and the gold label alone is used, until then."""
    sampling_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.6
    """pi(t) would reach 1 after this share of T behind the warm-up."""
    max_predicted_label_fraction: Fraction = 0.9
    """Cap of pi(t)."""
    validation_rationales: Annotated[int, Field(ge=0)] = 200
    """Validation rows whose rationale is also generated and scored; the loss is taken over all of them."""

    @model_validator(mode="after")
    def _armed_phase(self) -> Stage2Config:
        armed = (self.warmup_fraction + self.sampling_fraction) * self.max_steps
        last_evaluation = self.max_steps - self.max_steps % self.eval_every_steps
        if last_evaluation < armed:
            raise ValueError(
                f"no evaluation falls into the phase where selection is armed (from step {armed:.0f} to "
                f"{self.max_steps}): lower eval_every_steps, warmup_fraction or sampling_fraction"
            )
        return self


class EvaluationConfig(Section):
    """How the chosen model is measured on the test split."""

    batch_size: Annotated[int, Field(ge=1)] = 32
    bertscore_model: Name = "minilm"
    """`minilm` (shipped, works offline), a hub name such as `roberta-large` (the paper's), or a folder."""
    bertscore_num_layers: Annotated[int, Field(ge=1)] | None = None
    """Layer whose states are compared; by default bert-score's choice for a known model, 6 for `minilm`."""
    max_rows: Annotated[int, Field(ge=1)] | None = None
    """Evaluate only that many test rows (the first by hash of the id); all by default."""


class GateConfig(Section):
    """What a model must beat on macro-F1 to be given the alias `champion`."""

    beat_majority_class: bool = True
    beat_linear_baseline: bool = True


class RegistrationConfig(Section):
    """Under which name the model is registered, and when it may be used."""

    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "reason2decide"
    gate: GateConfig = GateConfig()


class RunConfig(Section):
    """A complete run."""

    data: DataConfig
    rationales: RationalesConfig
    model: ModelConfig = ModelConfig()
    stage1: Stage1Config = Stage1Config()
    stage2: Stage2Config = Stage2Config()
    evaluation: EvaluationConfig = EvaluationConfig()
    registration: RegistrationConfig = RegistrationConfig()

    @model_validator(mode="after")
    def _known_rationale_sources(self) -> RunConfig:
        if self.data.format in ("csv", "jsonl", "parquet", "huggingface"):
            known = sorted(self.data.columns.rationales)
            for key in ("stage1_source", "stage2_source"):
                source = getattr(self.rationales, key)
                if source is not None and source not in known:
                    raise ValueError(
                        f"rationales.{key} {source!r} is not among data.columns.rationales {known}; "
                        "declare its column there or choose another source"
                    )
        return self


def parse_config(values: Any, *, where: str = "config") -> RunConfig:
    """Check the values of one run and return them as the schema.

    Args:
        values: the mapping under `parameters.config` of a YAML.
        where: how to call its origin in a message.

    Raises:
        ConfigError: lists every fault with its key, what was found, what is allowed and the fix.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected a mapping of sections {_field_names(RunConfig)}, found {_shown(values)}")
    try:
        return RunConfig.model_validate(_expand_environment(values))
    except ValidationError as error:
        faults = [_fault(item) for item in error.errors()]
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError("\n".join([f"{where}: {count}", *faults])) from None


def load_config(path: Path) -> RunConfig:
    """Read a run configuration, the file that `zenml pipeline run reason2decide --config` takes, and check all of it.

    Raises:
        ConfigError: the file cannot be read or is faulty.
    """
    return parse_config(read_parameters(path), where=str(path))


def read_parameters(path: Path) -> Any:
    """The unchecked mapping under `parameters.config` of a run configuration.

    Raises:
        ConfigError: the file is missing, is no YAML, or has a key at the top that ZenML would not know.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is no YAML in UTF-8: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping with `parameters: config: ...`, found {_shown(content)}")
    unknown = [key for key in content if key not in ZENML_RUN_KEYS]
    if unknown:
        lines = [f"  {key}: unknown key at the top{_nearest(str(key), ZENML_RUN_KEYS)}" for key in unknown]
        raise ConfigError("\n".join([f"{path}: the sections of a run stand under `parameters: config:`", *lines]))
    parameters = content.get("parameters")
    if not isinstance(parameters, dict) or list(parameters) != ["config"]:
        raise ConfigError(
            f"{path}: `parameters` must hold the one key `config` with the sections {_field_names(RunConfig)}, "
            f"found {_shown(sorted(map(str, parameters)) if isinstance(parameters, dict) else parameters)}"
        )
    return parameters["config"]


def _expand_environment(values: Any) -> Any:
    """Replace `${NAME}` and `${NAME:-default}` in every text of a nested value."""
    if isinstance(values, dict):
        return {key: _expand_environment(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_expand_environment(value) for value in values]
    if isinstance(values, str):
        return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", _environment_value, values)
    return values


def _environment_value(match: re.Match[str]) -> str:
    name, default = match.group(1), match.group(2)
    value = os.environ.get(name) or default
    if value is None:
        raise ConfigError(f"config: ${{{name}}} is not set in the environment; set it or write ${{{name}:-default}}")
    return value


def _fault(item: Any) -> str:
    """One line for one Pydantic error: key, found, allowed, nearest name, fix."""
    location = [part for part in item["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    key = ".".join(str(part) for part in location) or "(the whole)"
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        names = _field_names(_section_at(location[:-1]))
        return f"  {key}: unknown key{_nearest(str(location[-1]), names)}; allowed: {', '.join(names)}"
    if kind == "missing":
        return f"  {key}: missing; add it"
    if kind == "value_error":
        return f"  {key}: {context['error']}"
    if kind == "literal_error":
        allowed = context["expected"].replace(" or ", ", ")
        nearest = _nearest(str(item["input"]), re.findall(r"'([^']*)'", allowed))
        return f"  {key}: found {_shown(item['input'])}{nearest}; allowed: {allowed}"
    hint = ""
    if isinstance(item["input"], bool) and kind.startswith("string"):
        hint = '; YAML reads an unquoted yes, no, on or off as true or false: put it in quotes ("yes")'
    return f"  {key}: found {_shown(item['input'])}; {_lower_first(item['msg'])}{hint}"


def _section_at(location: list[Any]) -> type[BaseModel]:
    section: type[BaseModel] = RunConfig
    for part in location:
        field = section.model_fields.get(str(part))
        candidates = [] if field is None else [field.annotation, *get_args(field.annotation)]
        nested = [c for c in candidates if get_origin(c) is None and isinstance(c, type) and issubclass(c, BaseModel)]
        if nested:
            section = nested[0]
    return section


def _field_names(section: type[BaseModel]) -> list[str]:
    return list(section.model_fields)


def _nearest(name: str, allowed: Any) -> str:
    close = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
