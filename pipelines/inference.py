"""A registered model in use: calls decided by the million, and whether they are still those that it was made for.

zenml pipeline run pipelines.batch_inference                                        # configs/batch_inference.yaml
zenml pipeline run pipelines.batch_inference --config configs/batch_inference.yaml
zenml pipeline run pipelines.drift                                                  # configs/drift.yaml
"""

from pathlib import Path
from typing import Any

from pipelines.outcome import pipeline
from r2d.config.jobs import DriftConfig, InferenceConfig
from r2d.config.loading import load_job
from r2d.config.section import parse_section
from steps.infer_batch import infer_batch
from steps.report_drift import report_drift

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


@pipeline("reason2decide_batch_inference")
def batch_inference(config: dict[str, Any] | None = None) -> None:
    """Parquet, CSV or JSON Lines in, Parquet out; a killed run goes on where it stopped.

    Args:
        config: the fields of `r2d.config.jobs.InferenceConfig`; by default `configs/batch_inference.yaml`.
    """
    if config is None:
        job = load_job(InferenceConfig, CONFIGS / "batch_inference.yaml")
    else:
        job = parse_section(InferenceConfig, config)
    infer_batch(job)


@pipeline("reason2decide_drift")
def drift(config: dict[str, Any] | None = None) -> None:
    """The output of a batch inference in, a verdict without any label out, with its reasons.

    Args:
        config: the fields of `r2d.config.jobs.DriftConfig`; by default `configs/drift.yaml`.
    """
    job = load_job(DriftConfig, CONFIGS / "drift.yaml") if config is None else parse_section(DriftConfig, config)
    report_drift(job)
