"""A model folder: what a stage leaves behind and everything needed to decide and explain with it.

| file | what |
|---|---|
| `model.safetensors`, `config.json`, `generation_config.json` | weights and architecture, as transformers writes them |
| `tokenizer.json`, `tokenizer_config.json`, ... | the tokenizer, likewise |
| `reason2decide.json` | label set, prompts, token limits and decoding, and the stage with its resolved config |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, StageConfig
from r2d.errors import ModelError
from r2d.files import write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FACTS_FILE = "reason2decide.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class ModelFacts:
    """The content of `reason2decide.json` that inference needs."""

    labels: LabelsConfig
    model: ModelConfig
    stage: str
    method: MethodConfig


def finish_model_folder(
    folder: Path,
    *,
    tokenizer: PreTrainedTokenizerBase,
    model: ModelConfig,
    labels: LabelsConfig,
    stage: str,
    training: StageConfig,
    method: MethodConfig | None = None,
) -> None:
    """Add tokenizer, label set and resolved config to a folder that holds weights; the facts file comes last."""
    tokenizer.save_pretrained(folder)
    facts = {
        "format_version": FORMAT_VERSION,
        "stage": stage,
        "labels": labels.model_dump(mode="json"),
        "model": model.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "method": (method or MethodConfig()).model_dump(mode="json"),
    }
    write_json(folder / FACTS_FILE, facts)


def read_model_facts(folder: Path) -> ModelFacts:
    """Label set, prompts and limits of a model folder.

    Raises:
        ModelError: the folder is no model folder, or one of another format.
    """
    try:
        facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        if facts["format_version"] != FORMAT_VERSION:
            raise ModelError(
                f"{folder}: is a model folder of format {facts['format_version']}, this version reads {FORMAT_VERSION}"
            )
        return ModelFacts(
            LabelsConfig.model_validate(facts["labels"]),
            ModelConfig.model_validate(facts["model"]),
            facts["stage"],
            MethodConfig.model_validate(facts.get("method", {})),
        )
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
        raise ModelError(
            f"{folder}: is no Reason2Decide model folder: {FACTS_FILE} is missing or damaged ({type(error).__name__}); "
            "give the folder that a run has registered or exported"
        ) from None


def require_same_labels(folder: Path, labels: LabelsConfig, *, name: str) -> None:
    """Compare the labels that a start model was trained on with those of this run; any other checkpoint has none.

    Args:
        folder: a model folder or any other path.
        name: what the config calls it.

    Raises:
        ModelError: names the labels that differ.
    """
    if not (folder / FACTS_FILE).exists():
        return
    model_labels = read_model_facts(folder).labels.names
    only_model = [label for label in model_labels if label not in labels.names]
    only_run = [label for label in labels.names if label not in model_labels]
    if only_model or only_run:
        raise ModelError(
            f"model.name {name!r} decides between other labels than this run: only the model has "
            f"{only_model or 'none'}, only data.labels.names has {only_run or 'none'}. Train on the labels that the "
            "model knows, or start from a checkpoint that has learnt none (a pretrained one, or `scratch`)"
        )
