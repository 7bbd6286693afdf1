"""The work of a stage: what decides its weights, the fingerprint of that, and the result; also as files for ranks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, Stage1Config, Stage2Config, StageConfig
from r2d.data.examples import content_hash
from r2d.files import write_json, write_parquet

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

RESUMABLE_KEYS = (
    "save_every_steps", "patience", "max_loss_growth",
    "gradient_accumulation_steps", "auto_batch", "activation_checkpointing",
)  # fmt: skip
"""Keys of a stage that may have changed since a checkpoint: where checkpoints fall, when training ends, and how a step
is computed (the sums are the same up to rounding). Up to the checkpoint, the run would have gone the same way."""
PACKAGES = ("torch", "transformers", "reason2decide")
HASH_CHARACTERS = 16

OnLog = Callable[[int, Mapping[str, float]], None]
"""Receives (optimiser step, metrics) as soon as they are known; for a tracker such as MLflow."""
ConfigT = TypeVar("ConfigT", bound=StageConfig)
Fingerprint = Mapping[str, Any]
"""Everything that decides the bits of a run, as JSON: stage, training, model, labels, method, data, start, versions."""


@dataclass(frozen=True, kw_only=True)
class StageWork(Generic[ConfigT]):
    """All that decides the weights of a stage, and the folder where it works."""

    examples: pa.Table
    """Table of `EXAMPLES_SCHEMA` with the splits `train` and `validation`."""
    config: ConfigT
    model: ModelConfig
    labels: LabelsConfig
    work_dir: Path
    """Holds the checkpoints while the stage trains, and the selected weights afterwards."""
    method: MethodConfig | None = None
    """Of Stage 2, by default `r2d`; None in Stage 1."""
    stage1_model: Path | None = None
    """Model folder that Stage 2 starts from; None for a method without Stage 1, which starts from `model.name`."""
    start_folder: Path | None = None
    """Where `model.name` lies, if it is a registered version."""

    @property
    def start(self) -> Path | None:
        """The model folder that training starts from; None for a hub name and for `scratch`."""
        folder = self.stage1_model or self.start_folder or Path(self.model.name)
        return folder if folder.is_dir() else None

    @property
    def stage(self) -> str:
        """`stage 1` or `stage 2`."""
        return "stage 1" if isinstance(self.config, Stage1Config) else "stage 2"


@dataclass(frozen=True)
class StageResult:
    model_folder: Path
    """The selected weights (safetensors), tokenizer, label set and resolved config: see `r2d.modeling.model_folder`."""
    history: list[dict[str, float]]
    """Every log record, training and validation, by step."""
    selected_step: int
    stopped_at_step: int
    metric: str
    best_value: float
    armed_from_step: float
    """First step whose evaluation could be selected."""
    gradient_accumulation_steps: int
    """As configured, or as `auto_batch` chose it."""
    training_seconds: float
    """Wall seconds in the training loop with its evaluations and checkpoints, summed over resumed sessions."""
    num_examples_per_second: float
    """Training rows in a second of training steps alone."""

    def summary(self) -> dict[str, float | str]:
        """All fields but `model_folder` and `history`, for a log or a card."""
        return {name: value for name, value in vars(self).items() if name not in ("model_folder", "history")}


# --- The fingerprint: a checkpoint may be resumed only where all of it is the same ---


def run_fingerprint(
    work: StageWork[Any], *, train: pa.Table, validation: pa.Table, model: nn.Module, tokenizer: PreTrainedTokenizerBase
) -> Fingerprint:
    """The fingerprint of a work that trains on `train` and starts from the weights in `model`."""
    vocabulary = [sorted(tokenizer.get_vocab().items()), sorted(map(str, tokenizer.special_tokens_map.items()))]
    tokenizer_hash = hashlib.sha256(repr(vocabulary).encode()).hexdigest()[:HASH_CHARACTERS]
    return {
        **_settings(work),
        "data": {"train": content_hash(train), "validation": content_hash(validation)},
        "start": {"weights": weights_hash(model), "tokenizer": tokenizer_hash},
        "versions": {package: version(package) for package in PACKAGES},
    }


def _settings(work: StageWork[Any]) -> Fingerprint:
    """All of a work but examples and paths, as JSON."""
    sections = {"training": work.config, "model": work.model, "labels": work.labels, "method": work.method}
    values = {name: section and section.model_dump(mode="json") for name, section in sections.items()}
    return {"stage": work.stage, **values}


def weights_hash(model: nn.Module) -> str:
    """Hash over names, shapes and values of all parameters and buffers."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:HASH_CHARACTERS]


def is_resumable(key: str) -> bool:
    """Whether a run may be resumed although this key of the fingerprint has changed."""
    section, _, name = key.partition(".")
    return section == "training" and name in RESUMABLE_KEYS


def stage_identity(config: StageConfig) -> Fingerprint:
    """The values of a stage that a checkpoint must share: two runs that differ in no other key are one work."""
    return config.model_dump(mode="json", exclude=set(RESUMABLE_KEYS))


# --- As files, for processes that share a folder ---


def ranks_folder(work_dir: Path) -> Path:
    """Where the ranks of a work find it, and leave its result or their failures."""
    return work_dir / "work"


def write_work(work: StageWork[Any]) -> None:
    """Write all that a rank needs into the work's folder."""
    folder = ranks_folder(work.work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(folder / "examples.parquet", work.examples)
    paths = {"stage1_model": work.stage1_model, "start_folder": work.start_folder}
    write_json(folder / "work.json", {**_settings(work), **{name: path and str(path) for name, path in paths.items()}})


def remove_examples(work_dir: Path) -> None:
    """Remove the notes that `write_work` has written: the ranks have ended, and the next run writes them anew."""
    (ranks_folder(work_dir) / "examples.parquet").unlink(missing_ok=True)


def read_work(work_dir: Path) -> StageWork[Any]:
    """The work that `write_work` has written for this folder."""
    folder = ranks_folder(work_dir)
    values = json.loads((folder / "work.json").read_text(encoding="utf-8"))
    config_type = Stage1Config if values["stage"] == "stage 1" else Stage2Config
    return StageWork(
        examples=pq.read_table(folder / "examples.parquet"),
        config=config_type.model_validate(values["training"]),
        model=ModelConfig.model_validate(values["model"]),
        labels=LabelsConfig.model_validate(values["labels"]),
        work_dir=work_dir,
        method=values["method"] and MethodConfig.model_validate(values["method"]),
        stage1_model=values["stage1_model"] and Path(values["stage1_model"]),
        start_folder=values["start_folder"] and Path(values["start_folder"]),
    )


def write_result(work_dir: Path, result: StageResult) -> None:
    write_json(ranks_folder(work_dir) / "result.json", vars(result) | {"model_folder": str(result.model_folder)})


def read_result(work_dir: Path) -> StageResult:
    """The result that the first rank has written."""
    result = json.loads((ranks_folder(work_dir) / "result.json").read_text(encoding="utf-8"))
    return StageResult(**result | {"model_folder": Path(result["model_folder"])})
