"""A registered model in use: calls decided by the million, and whether they are still those that it was made for.

zenml pipeline run pipelines.batch_inference                                        # configs/batch_inference.yaml
zenml pipeline run pipelines.batch_inference --config configs/batch_inference.yaml
zenml pipeline run pipelines.inference.mapped_batch_inference                       # the same, in several pods
zenml pipeline run pipelines.drift                                                  # configs/drift.yaml
"""

from pathlib import Path
from typing import Any

import zenml

from pipelines.outcome import pipeline
from r2d.config.jobs import DriftConfig, InferenceConfig
from r2d.config.loading import load_job
from r2d.config.section import parse_section
from steps.begin_shares import begin_shares
from steps.decide_share import decide_share
from steps.infer_batch import infer_batch
from steps.report_drift import report_drift

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


@pipeline("reason2decide_batch_inference")
def batch_inference(config: dict[str, Any] | None = None) -> None:
    """Parquet, CSV or JSON Lines in, Parquet out; a killed run goes on where it stopped.

    Args:
        config: the fields of `r2d.config.jobs.InferenceConfig`; by default `configs/batch_inference.yaml`.
    """
    infer_batch(_inference_job(config))


@zenml.pipeline(
    dynamic=True,
    name="reason2decide_mapped_batch_inference",
    enable_cache=False,
    depends_on=[begin_shares, decide_share, infer_batch],  # so that a configuration may name them
)
def mapped_batch_inference(config: dict[str, Any] | None = None) -> None:
    """The same output, its parts divided among `shares` steps that run at the same time, on a cluster each in a pod of
    its own (configs/cluster/batch_inference.yaml). The folder of the output must be one that all of them see. A killed
    run goes on part by part.

    Args:
        config: as of `batch_inference`.
    """
    job = _inference_job(config)
    decided = decide_share.map(share=begin_shares(job), inference=zenml.unmapped(job))
    infer_batch(job, after=decided)


def _inference_job(config: dict[str, Any] | None) -> InferenceConfig:
    if config is None:
        return load_job(InferenceConfig, CONFIGS / "batch_inference.yaml")
    return parse_section(InferenceConfig, config)


@pipeline("reason2decide_drift")
def drift(config: dict[str, Any] | None = None) -> None:
    """The output of a batch inference in, a verdict without any label out, with its reasons.

    Args:
        config: the fields of `r2d.config.jobs.DriftConfig`; by default `configs/drift.yaml`.
    """
    job = load_job(DriftConfig, CONFIGS / "drift.yaml") if config is None else parse_section(DriftConfig, config)
    report_drift(job)
