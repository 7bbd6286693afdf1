"""A model folder: what a stage leaves behind and everything needed to decide and explain with it.

| file | what |
|---|---|
| `model.safetensors`, `config.json`, `generation_config.json` | weights and architecture, as transformers writes them |
| `tokenizer.json`, `tokenizer_config.json`, ... | the tokenizer, likewise |
| `reason2decide.json` | label set, prompts, token limits and decoding, and the stage with its resolved config |
| `trained_rows.safetensors` | keyed hashes of the rows that it was trained on: `r2d.modeling.trained_rows` |
| `calibration.json` | temperature and threshold, left by an evaluation; a model that was never evaluated has none |
| `manifest.json` | the SHA-256 of every file above: `r2d.modeling.manifest` |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from r2d.config.data import LabelsConfig
from r2d.config.model import ModelConfig
from r2d.config.training import MethodConfig, StageConfig
from r2d.errors import ModelError
from r2d.files import write_json
from r2d.modeling.manifest import FACTS_FILE, MANIFEST_FILE, verify_model, write_manifest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CALIBRATION_FILE = "calibration.json"
FORMAT_VERSION = 1
"""Of both files."""
SMALLEST_PROBABILITY = 1e-30
"""Replaces a probability of 0, which 32-bit softmax makes of an improbable label and whose logarithm has no value."""


@dataclass(frozen=True)
class ModelFacts:
    """The content of `reason2decide.json` that inference needs."""

    labels: LabelsConfig
    model: ModelConfig
    stage: str
    method: MethodConfig


def finish_model_folder(
    folder: Path, tokenizer: PreTrainedTokenizerBase, facts: ModelFacts, training: StageConfig
) -> None:
    """Add tokenizer, label set and resolved config to a folder that holds weights; the manifest comes last."""
    if tokenizer.is_fast:
        tokenizer.backend_tokenizer.no_truncation()  # else the limit of the last call would be saved with it
    tokenizer.save_pretrained(folder)
    sections = {"labels": facts.labels, "model": facts.model, "training": training, "method": facts.method}
    dumped = {name: section.model_dump(mode="json") for name, section in sections.items()}
    promised = {"format_version": FORMAT_VERSION, "stage": facts.stage, "manifest": MANIFEST_FILE}
    write_json(folder / FACTS_FILE, {**promised, **dumped})
    write_manifest(folder)


def read_model_facts(folder: Path) -> ModelFacts:
    """Label set, prompts and limits of a model folder.

    Raises:
        ModelError: its files are damaged, or it is another folder or of another format.
    """
    verify_model(folder)
    return read_facts_file(folder)


def read_facts_file(folder: Path) -> ModelFacts:
    """`read_model_facts` of a folder that holds no other file of the model."""
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
    """Refuse a start model that was trained here on other labels than those of this run; `name` is its config's."""
    if not (folder / FACTS_FILE).exists():
        return
    model_labels = read_facts_file(folder).labels.names
    only_model = [label for label in model_labels if label not in labels.names]
    only_run = [label for label in labels.names if label not in model_labels]
    if only_model or only_run:
        raise ModelError(
            f"model.name {name!r} decides between other labels than this run: only the model has "
            f"{only_model or 'none'}, only data.labels.names has {only_run or 'none'}. Train on the labels that the "
            "model knows, or start from a checkpoint that has learnt none (a pretrained one, or `scratch`)"
        )


@dataclass(frozen=True)
class Calibration:
    """The content of `calibration.json`: the temperature of the label probabilities, and the confidence below which a
    person decides."""

    facts: Mapping[str, Any]
    """format_version, temperature and selective, as `r2d.evaluation.calibration` chose them: the fields of
    `TemperatureFit` and `ThresholdChoice` in `r2d.evaluation.sections`."""

    @classmethod
    def of(cls, temperature: Mapping[str, object], selective: Mapping[str, object]) -> Calibration:
        """From the facts of a fitted temperature and of a threshold that was chosen on scaled probabilities."""
        return cls({"format_version": FORMAT_VERSION, "temperature": temperature, "selective": selective})

    @property
    def temperature(self) -> float:
        return float(self.facts["temperature"]["value"])

    @property
    def threshold(self) -> float | None:
        """The scaled probability from which on a label is shown, but for calls with a threshold of their own; None: no
        threshold kept the risk low enough."""
        selective = self.facts["selective"]
        value = selective["threshold"] if selective.get("per") is None else selective["otherwise"]
        return None if value is None else float(value)

    @property
    def attribute(self) -> str | None:
        """The attribute whose values have thresholds of their own; None where none has."""
        per: str | None = self.facts["selective"].get("per")
        return None if per == "label" else per

    def has_part(self, label: str, attributes: Mapping[str, str]) -> bool:
        """Whether the evaluation looked for a threshold for calls like this, beside that of all."""
        return self._part(label, attributes) in self.facts["selective"].get("parts", {})

    def threshold_for(self, label: str, attributes: Mapping[str, str]) -> float | None:
        """The threshold for a predicted label of a call with these attributes; None: a person decides."""
        if not self.has_part(label, attributes):
            return self.threshold
        value = self.facts["selective"]["parts"][self._part(label, attributes)]["threshold"]
        return None if value is None else float(value)

    def _part(self, label: str, attributes: Mapping[str, str]) -> str | None:
        return label if self.attribute is None else attributes.get(self.attribute)

    def defers(self, confidence: float, label: str, attributes: Mapping[str, str]) -> bool:
        """Whether a person decides: the confidence is below the threshold for such a call, or there is none."""
        threshold = self.threshold_for(label, attributes)
        return threshold is None or confidence < threshold


def write_calibration(folder: Path, calibration: Calibration) -> None:
    write_json(folder / CALIBRATION_FILE, calibration.facts)


def read_calibration(folder: Path) -> Calibration | None:
    """The calibration of a model folder, None where it holds none; raises `ModelError` for a damaged file."""
    path = folder / CALIBRATION_FILE
    if not path.exists():
        return None
    try:
        calibration = Calibration(json.loads(path.read_text(encoding="utf-8")))
        version = calibration.facts["format_version"]
        if version != FORMAT_VERSION:
            raise ModelError(
                f"{path}: is of format {version}, this version reads {FORMAT_VERSION}; evaluate the model again"
            )
        parts = calibration.facts["selective"].get("parts", {}).values()
        thresholds = [calibration.threshold, *(part["threshold"] for part in parts)]
        if not (calibration.temperature > 0 and all(value is None or 0 <= value <= 1 for value in thresholds)):
            raise ValueError("out of range")
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path}: is damaged ({type(error).__name__}); evaluate and register the model again"
        ) from None
    return calibration
