"""The metadata of a model card that the Hugging Face hub reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from r2d.config.model import REGISTERED
from r2d.config.run import RunConfig
from r2d.evaluation.metrics import Metrics


def hub_metadata(run: RunConfig, metrics: Metrics) -> str:
    """The block at the top of the card, as YAML without its lines of dashes.

    The licence of the weights is that of their owner to say: the hub's word for what nobody said is `unknown`.
    """
    import yaml

    from_hub = run.model.name != "scratch" and not run.model.name.startswith(REGISTERED)
    facts: dict[str, Any] = {
        "library_name": "transformers",
        "license": "unknown",
        "pipeline_tag": "text-classification",
        "tags": ["reason2decide", "rationales", "clinical-decision-support", f"method:{run.method.name}"],
    }
    if from_hub and not Path(run.model.name).is_dir():
        facts["base_model"] = run.model.name
    if run.data.format == "huggingface" and not Path(run.data.path or "").exists():
        facts["datasets"] = [run.data.path]
    facts["metrics"] = ["accuracy"] if run.data.labels.per_row else ["accuracy", "f1"]
    facts["model-index"] = [{"name": run.registration.model_name, "results": [_result(run, metrics)]}]
    return yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=1_000).rstrip()


def _result(run: RunConfig, metrics: Metrics) -> dict[str, Any]:
    label = metrics.label
    measured = {
        "accuracy": ("accuracy", label.accuracy),
        "f1": ("macro-F1", label.macro_f1),
        "invalid_label_rate": ("invalid-label rate", label.invalid_label_rate),
    }
    if metrics.rationale is not None:
        written = metrics.rationale.populations.all
        measured |= {
            "sacrebleu": ("sacreBLEU of the rationales", written.bleu),
            "bertscore": ("BERTScore F1 of the rationales", written.bertscore_f1),
        }
    data = run.data.format if run.data.path is None else Path(run.data.path).name
    return {
        "task": {"type": "text-classification", "name": "decide and explain"},
        "dataset": {"type": run.data.format, "name": data, "split": "test"},
        "metrics": [
            {"type": kind, "name": name, "value": round(float(value), 4)}
            for kind, (name, value) in measured.items()
            if value is not None
        ],
    }
