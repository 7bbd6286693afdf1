"""Whether the calls of today are still those that the model was made for, without any label.

zenml pipeline run pipelines.drift                                # configs/drift.yaml
zenml pipeline run pipelines.drift --config configs/drift.yaml
"""

from pathlib import Path
from typing import Any

from pipelines.outcome import pipeline
from r2d.config.jobs import DriftConfig
from r2d.config.loading import load_job
from r2d.config.section import parse_section
from steps.report_drift import report_drift

DEFAULT = Path(__file__).resolve().parent.parent / "configs" / "drift.yaml"


@pipeline("reason2decide_drift")
def drift(config: dict[str, Any] | None = None) -> None:
    """The output of a batch inference in, a verdict with its reasons out.

    Args:
        config: the fields of `r2d.config.jobs.DriftConfig`; by default `configs/drift.yaml`.
    """
    job = load_job(DriftConfig, DEFAULT) if config is None else parse_section(DriftConfig, config)
    report_drift(job)
