"""A failed run fails its command. On Kubernetes, ZenML's client returns without an error whatever became of the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zenml.models import PipelineRunResponse
from zenml.pipelines.pipeline_definition import Pipeline

from mlops.alerts import run_failed
from r2d.errors import R2DError


class RaisingPipeline(Pipeline):
    """A pipeline whose call raises `R2DError` when the run that it waited for has failed."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        run = super().__call__(*args, **kwargs)
        if isinstance(run, PipelineRunResponse) and run.status.is_failed:
            failed = sorted(name for name, step in run.steps.items() if not step.status.is_successful)
            raise R2DError(f"run {run.name!r} has failed; failed steps: {', '.join(failed) or 'none began'}")
        return run


def pipeline(name: str, *, alerts: bool = True) -> Callable[[Callable[..., None]], RaisingPipeline]:
    """Decorator like ZenML's, for a `RaisingPipeline`.

    Args:
        alerts: send an alert where a step fails; a `CommandStep` allows no hook.
    """

    def decorate(function: Callable[..., None]) -> RaisingPipeline:
        decorated = RaisingPipeline(name=name, entrypoint=function, on_failure=run_failed if alerts else None)
        decorated.__doc__ = function.__doc__
        return decorated

    return decorate
