"""How a run ends: a failed run fails its command, and says why in one line.

On Kubernetes, ZenML's client returns without an error whatever became of the run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

from click import ClickException
from zenml.client import Client
from zenml.integrations.constants import PYTORCH, SKLEARN
from zenml.integrations.registry import integration_registry
from zenml.models import PipelineRunResponse
from zenml.pipelines.pipeline_definition import Pipeline

from mlops.alerts import run_failed
from mlops.dead_runs import OWNER_KEY, Process, close_dead_mlflow_runs, close_zenml_runs, open_zenml_runs
from mlops.door import one_line, stop
from mlops.registry.versions import registry_client
from mlops.tracking import EXPERIMENT
from pipelines.settings import refuse_unread_stack, require_zenml_values
from r2d.config.loading import read_parameters
from r2d.errors import R2DError, RegistryError
from r2d.files import keep_private
from r2d.signals import signals_caught

logger = logging.getLogger(__name__)

UNUSED_INTEGRATIONS = (PYTORCH, SKLEARN)
"""ZenML loads each that is installed, before the first step. These two store objects with pickle, which no step of ours
hands over, and to import their packages takes two seconds of CPU."""


NO_PROJECT = (
    "`zenml init` is not needed: the run works from this folder, and reads relative paths from it. If you meant the "
    "folder of your project, stop with Ctrl-C and go there with `cd`"
)
"""Said where ZenML has advised to make a repository of whatever folder the command was typed in."""


class RunError(R2DError, ClickException):
    """A run has failed; `zenml` shows the message alone, as `r2d` does."""


class StepErrors(logging.Filter):
    """Keeps ZenML's report of a failed step, a traceback, off the screen, and the error for the last line."""

    def __init__(self) -> None:
        super().__init__()
        self.by_step: dict[str, BaseException] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("zenml.") and record.exc_info and record.exc_info[1] is not None:
            if record.msg == "Step %s failed." and isinstance(record.args, tuple):
                self.by_step[str(record.args[0])] = record.exc_info[1]
            return False
        return not str(record.msg).startswith(("Failed to run step", "Skipping step", "Received signal"))


@contextmanager
def ends_in_one_line() -> Iterator[None]:
    """Turn whatever ends a run into a `RunError` with the step, the reason and the log."""
    errors, handlers = StepErrors(), [part for part in logging.root.handlers if isinstance(part, logging.StreamHandler)]
    for handler in handlers:
        handler.addFilter(errors)
    try:
        with signals_caught(stop):
            yield
    except RunError:
        raise
    except Exception as error:
        lines = [one_line(cause, step=step) for step, cause in errors.by_step.items()] or [one_line(error)]
        raise RunError("\n".join(lines)) from error
    finally:
        for handler in handlers:
            handler.removeFilter(errors)


class RaisingPipeline(Pipeline):
    """A pipeline whose call raises `RunError` when the run that it waited for has failed."""

    def with_options(self, config_path: str | None = None, **options: Any) -> Any:
        with ends_in_one_line():
            if config_path is not None:  # what is wrong with it is said before ZenML reads it
                path = Path(config_path)
                require_zenml_values(path)
                if "config" in signature(self.entrypoint).parameters:
                    read_parameters(path)
            if Client().root is None:
                logger.warning(NO_PROJECT)
            return super().with_options(config_path=config_path, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        keep_private()
        with ends_in_one_line():
            refuse_unread_stack()
            for name in UNUSED_INTEGRATIONS:
                integration_registry.integrations.pop(name, None)
            close_dead_runs()
            process = Process.this()
            if process is not None and Client().active_stack.orchestrator.flavor == "local":
                self.configure(extra={OWNER_KEY: process.to_text()})
            run = super().__call__(*args, **kwargs)
        if isinstance(run, PipelineRunResponse) and run.status.is_failed:
            failed = sorted(name for name, step in run.steps.items() if not step.status.is_successful)
            raise RunError(f"run {run.name!r} has failed; failed steps: {', '.join(failed) or 'none began'}")
        return run


def close_dead_runs() -> None:
    """Close what killed processes of this machine have left open. MLflow comes first: where it does not answer, its
    runs and those of ZenML stay for the next run. What still works is named."""
    dead = []
    for run, owner in open_zenml_runs():
        if owner.is_gone():
            dead.append(run)
        elif owner.is_alive():
            logger.warning(
                "%s is at work too, in process %d on %s: of two runs that train the same stage, the later one is "
                "refused", run.name, owner.pid, owner.host
            )  # fmt: skip
    if not dead:
        return
    try:
        with registry_client("closing what a killed run has left in MLflow") as client:
            if experiment := client.get_experiment_by_name(EXPERIMENT):
                close_dead_mlflow_runs(client, experiment.experiment_id)
    except RegistryError as error:
        logger.warning("%s. Until then the killed run stays open", error)
        return
    close_zenml_runs(dead)


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
