"""A failed run fails its command: on Kubernetes, ZenML's client returns quietly whatever became of the run."""

from __future__ import annotations

from typing import Any

from zenml.models import PipelineRunResponse
from zenml.pipelines.pipeline_definition import Pipeline

from r2d.errors import R2DError


class _Loud(Pipeline):
    """A pipeline whose call raises when the run that it waited for has failed."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        run = super().__call__(*args, **kwargs)
        if isinstance(run, PipelineRunResponse) and run.status.is_failed:
            failed = sorted(name for name, step in run.steps.items() if not step.status.is_successful)
            raise R2DError(f"run {run.name!r} has failed; failed steps: {', '.join(failed) or 'none began'}")
        return run


def raising(pipeline: Pipeline) -> Pipeline:
    """The same pipeline; a call of it raises `R2DError` when its run fails."""
    pipeline.__class__ = _Loud
    return pipeline
