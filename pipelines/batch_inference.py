"""Calls by the million, decided and explained by a registered model; a killed run goes on where it stopped.

zenml pipeline run pipelines.batch_inference                                        # configs/batch_inference.yaml
zenml pipeline run pipelines.batch_inference --config configs/batch_inference.yaml
"""

from pathlib import Path
from typing import Any

from pipelines.outcome import pipeline
from r2d.config.jobs import InferenceConfig
from r2d.config.loading import load_job
from r2d.config.section import parse_section
from steps.infer_batch import infer_batch

DEFAULT = Path(__file__).resolve().parent.parent / "configs" / "batch_inference.yaml"


@pipeline("reason2decide_batch_inference")
def batch_inference(config: dict[str, Any] | None = None) -> None:
    """Parquet, CSV or JSON Lines in, Parquet out.

    Args:
        config: the fields of `r2d.config.jobs.InferenceConfig`; by default `configs/batch_inference.yaml`.
    """
    job = load_job(InferenceConfig, DEFAULT) if config is None else parse_section(InferenceConfig, config)
    infer_batch(job)
