"""The one schema of a run: what a YAML under `configs/` may say, its defaults and its limits.

Defaults are the published hyper-parameters (arXiv 2512.20074). Everything is checked on the client,
before anything heavy is imported; `r2d check` does just that. It imports nothing heavy.
"""

from r2d.config.data import ColumnsConfig, DataConfig, LabelsConfig, SplitConfig, SyntheticTriageConfig
from r2d.config.evaluation import EvaluationConfig
from r2d.config.gate import GateConfig, RegistrationConfig
from r2d.config.method import CycleConfig, MethodConfig
from r2d.config.model import LoraConfig, ModelConfig, PromptsConfig, ScratchConfig
from r2d.config.rationales import (
    AnySource,
    ArgillaSource,
    BatchSource,
    ColumnSource,
    CsvSource,
    EndpointSource,
    LabelStudioSource,
    ParseConfig,
    QualityConfig,
    RationalesConfig,
    SourceConfig,
    SyntheticBatchSource,
    TextSource,
)
from r2d.config.reading import load_config, parse_config, read_parameters
from r2d.config.run import RunConfig
from r2d.config.training import Stage1Config, Stage2Config, StageConfig
from r2d.config.validation import PrivacyConfig, ValidationConfig

__all__ = [
    "AnySource", "ArgillaSource", "BatchSource", "ColumnSource", "ColumnsConfig", "CsvSource", "CycleConfig",
    "DataConfig", "EndpointSource", "EvaluationConfig", "GateConfig", "LabelStudioSource", "LabelsConfig",
    "LoraConfig",
    "MethodConfig", "ModelConfig", "ParseConfig", "PrivacyConfig", "PromptsConfig", "QualityConfig",
    "RationalesConfig", "RegistrationConfig", "RunConfig", "ScratchConfig", "SourceConfig", "SplitConfig",
    "Stage1Config", "Stage2Config", "StageConfig", "SyntheticBatchSource", "SyntheticTriageConfig", "TextSource",
    "ValidationConfig", "load_config", "parse_config", "read_parameters",
]  # fmt: skip
