"""Keeps cells of the data out of what ZenML stores of a failed step: it writes the message and the traceback of every
exception to its log and its database, and libraries quote the value that they could not read. What a step writes, only
the user of the run may read.

It also names run and step in every log record, where those are JSON."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from zenml import get_step_context
from zenml.constants import ENV_ZENML_CONSOLE_LOGGING_FORMAT
from zenml.logger import logging_context

from r2d.errors import R2DError
from r2d.failures import unexpected
from r2d.files import keep_private

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def private(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """The function of a step, whose unforeseen errors become an `UnexpectedError` with types and places alone."""

    @wraps(function)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        keep_private()
        try:
            with logging_context(**_run_and_step()):
                return function(*args, **kwargs)
        except R2DError:
            raise  # its message quotes nothing
        except Exception as error:
            raise unexpected(error) from None

    return run


def _run_and_step() -> dict[str, str]:
    """Names for a log record; none outside of a step, or where lines are for people, who would see them in each."""
    if os.environ.get(ENV_ZENML_CONSOLE_LOGGING_FORMAT, "").lower() != "json":
        return {}
    try:
        context = get_step_context()
    except RuntimeError:
        return {}
    return {"run_id": str(context.pipeline_run.id), "run": context.pipeline_run.name, "step": context.step_name}
