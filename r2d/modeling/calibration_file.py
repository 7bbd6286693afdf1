"""The file `calibration.json` of a model folder, which an evaluation leaves beside the weights: the temperature of the
label probabilities, and the confidence below which a person decides. A model that was never evaluated has none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2d.errors import ModelError
from r2d.files import write_json

CALIBRATION_FILE = "calibration.json"
FORMAT_VERSION = 1
SMALLEST_PROBABILITY = 1e-30
"""Replaces a probability of 0, which 32-bit softmax makes of an improbable label and whose logarithm has no value."""


@dataclass(frozen=True)
class Calibration:
    """The content of `calibration.json`."""

    facts: Mapping[str, Any]
    """format_version, temperature (the fields of `r2d.evaluation.metrics.TemperatureFit`) and selective: risk,
    max_risk, bound_confidence, threshold, reason, validation, as `r2d.evaluation.calibration` chose them."""

    @classmethod
    def of(cls, temperature: Mapping[str, Any], selective: Mapping[str, Any]) -> Calibration:
        """From the facts of a fitted temperature and of a threshold that was chosen on scaled probabilities."""
        facts = {"format_version": FORMAT_VERSION, "temperature": dict(temperature), "selective": dict(selective)}
        return cls(facts)

    @property
    def temperature(self) -> float:
        return float(self.facts["temperature"]["value"])

    @property
    def threshold(self) -> float | None:
        """The scaled probability from which on a label is shown; None: no threshold kept the risk low enough on the
        validation rows."""
        value = self.facts["selective"]["threshold"]
        return None if value is None else float(value)

    def defers(self, confidence: float) -> bool:
        """Whether a person decides: the confidence is below the threshold, or there is no threshold."""
        return self.threshold is None or confidence < self.threshold


def scaled_probabilities(probabilities: Mapping[str, float], temperature: float) -> dict[str, float]:
    """p ** (1 / temperature), normalised again."""
    logs = {name: math.log(max(value, SMALLEST_PROBABILITY)) / temperature for name, value in probabilities.items()}
    highest = max(logs.values())
    weights = {name: math.exp(value - highest) for name, value in logs.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Add the file to a model folder."""
    write_json(folder / CALIBRATION_FILE, calibration.facts)


def read_calibration(folder: Path) -> Calibration | None:
    """The calibration of a model folder; None where it holds none.

    Raises:
        ModelError: the file is damaged, or of another format.
    """
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
        threshold = calibration.threshold
        if not (calibration.temperature > 0 and (threshold is None or 0 <= threshold <= 1)):
            raise ValueError("out of range")
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path}: is damaged ({type(error).__name__}); evaluate the model again, or remove the file to use its "
            "probabilities as they are"
        ) from None
    return calibration
