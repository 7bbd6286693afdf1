"""The door: from a drift configuration to `drift.json` and `drift.html`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from r2d.config.jobs import DriftConfig
from r2d.drift.incoming import incoming_calls
from r2d.drift.reference import REFERENCE_FILE, read_reference
from r2d.drift.report import drift_facts, render_drift_report
from r2d.errors import DataError
from r2d.inference.output import InferenceModel, read_plan


def report_drift(config: DriftConfig, model_folder: Path | None) -> tuple[dict[str, Any], str]:
    """Hold a batch of decided calls against the reference of its model; write `drift.html` and, last, `drift.json`.

    Args:
        model_folder: where the files of `config.model` lie; not needed where `config.reference` is given.

    Returns:
        the facts of `drift_facts`, and the page.

    Raises:
        DataError: the predictions cannot be read, or another model or other calls belong to them.
        ModelError: the model keeps no reference.
    """
    predictions = Path(config.predictions)
    if not predictions.is_file():
        raise DataError(f"{predictions}: no such file; give the output of a batch inference")
    reference = read_reference(_reference_file(config, model_folder, predictions))
    found = incoming_calls(predictions, config.calls, reference, max_texts=config.max_texts)
    facts = drift_facts(reference, found, config.limits)
    page = render_drift_report(facts)
    out = Path(config.output)
    out.mkdir(parents=True, exist_ok=True)
    (out / "drift.json").unlink(missing_ok=True)
    for name, text in (("drift.html", page), ("drift.json", json.dumps(facts, indent=2, ensure_ascii=False))):
        aside = out / f"{name}.partial"
        aside.write_text(text + "\n", encoding="utf-8")
        aside.replace(out / name)
    return facts, page


def _reference_file(config: DriftConfig, model_folder: Path | None, predictions: Path) -> Path:
    """The file given, or that of the model, which must be the one that decided: another model decides differently, and
    that would pass for drift of the calls."""
    if config.reference is not None or model_folder is None:
        return Path(config.reference or "")
    model = InferenceModel.of(config.model, model_folder)
    plan = read_plan(predictions)
    if plan is not None and plan.model.hash != model.hash:
        raise DataError(
            f"{predictions}: was decided by {plan.model.name}, and {config.model} is now {model.name}; name the "
            "model that decided, or let the other one decide these calls"
        )
    return model_folder / REFERENCE_FILE
